//! `[[traffic]]` in hostel.toml: the classes that VEs' traffic is counted in.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::field::{Field, Reading, Record, Shape, fields};
use super::value::{Cell, Read, read_list, read_text};

/// The class of all that no other names.
pub const REST: &str = "external";
/// The most classes. A packet to or from what no class names is looked up in all of them.
const MOST: usize = 16;

/// A class of traffic: what has its other end in these prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrafficClass {
    /// Its name.
    pub name: ClassName,
    /// Where the other end is. Of two classes that name an address the first has it.
    pub prefixes: Vec<Prefix>,
}

/// The name of a class of traffic: it stands in names of nftables sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClassName(String);

impl ClassName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ClassName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let good = (1..=16).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text != REST;
        if good { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

read_text! {
    ClassName, "a class's name: 1 to 16 of a-z 0-9 _, a letter first; not \"external\", which is what no class names";
}

/// Any prefix, such as `100.64.0.0/10` or `2000::/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Prefix(IpNetwork);

impl Prefix {
    /// It.
    pub fn get(self) -> IpNetwork {
        self.0
    }
    fn contains(self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Read for Prefix {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let text = cell.text()?;
        let Some(prefix) = text.parse::<IpNetwork>().ok().filter(|_| text.contains('/')) else {
            cell.wrong(Self::EXPECTED);
            return None;
        };
        if prefix.ip() != prefix.network() {
            let (network, length) = (prefix.network(), prefix.prefix());
            cell.wrong(format!("\"{network}/{length}\", the network that this address is in"));
            return None;
        }
        Some(Self(prefix))
    }
}

read_list! {
    Prefix, List, "a list of prefixes such as [\"10.0.0.0/8\", \"2001:db8::/32\"]";
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Option<ClassName>,
    prefixes: Option<Vec<Prefix>>,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "name": ClassName => name, "what it is called in reports", "\"internal\"";
        "prefixes": Vec<Prefix> => prefixes,
            "where the other end of its traffic is; the first class that names an address has it",
            "[\"10.0.0.0/8\", \"2001:db8::/32\"]";
    };
    const REQUIRED: &'static [&'static str] = &["name", "prefixes"];
}

impl Read for Vec<Draft> {
    const SHAPE: Shape = Shape::Tables;
    const EXPECTED: &'static str = "tables that each begin with [[traffic]]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        Some(cell.records())
    }
}

/// What the classes must be together.
pub(super) fn check(drafts: &[Draft], reading: &mut Reading<'_>) {
    if drafts.len() > MOST {
        reading.wrong("traffic", format!("at most {MOST} classes"));
    }
    let mut names = BTreeSet::new();
    for (i, draft) in drafts.iter().enumerate() {
        if let Some(name) = &draft.name
            && !names.insert(name)
        {
            reading.wrong(
                &format!("traffic.{i}.name"),
                format!("each class once, not {name} twice"),
            );
        }
        let prefixes = draft.prefixes.as_deref().unwrap_or_default();
        if draft.prefixes.is_some() && prefixes.is_empty() && reading.reports.is_empty() {
            reading.wrong(&format!("traffic.{i}.prefixes"), "at least one prefix");
        }
        let earlier = |prefix: &Prefix| {
            drafts[..i].iter().find_map(|other| {
                let whole = |p: &&Prefix| p.contains(prefix.get().ip()) && p.get().prefix() <= prefix.get().prefix();
                let by = other.prefixes.iter().flatten().find(whole)?;
                Some((other.name.clone()?, *by))
            })
        };
        // With a mistake in a list, its elements aren't where they were written.
        if reading.reports.is_empty() {
            for (n, prefix) in prefixes.iter().enumerate() {
                if let Some((name, by)) = earlier(prefix) {
                    let expected = format!("what no class before has: {by} of {name} has all of it");
                    reading.wrong(&format!("traffic.{i}.prefixes.{n}"), expected);
                }
            }
        }
    }
}

/// The classes of drafts in which no mistake was found.
pub(super) fn finish(drafts: Vec<Draft>) -> Vec<TrafficClass> {
    let one = |draft: Draft| {
        Some(TrafficClass {
            name: draft.name?,
            prefixes: draft.prefixes?,
        })
    };
    drafts.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use crate::definition::HostConfig;

    fn mistakes(text: &str) -> String {
        HostConfig::parse("hostel.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn classes_are_read_in_their_order() {
        let text = "[[traffic]]\nname = \"lan\"\nprefixes = [\"10.0.0.0/8\", \"fc00::/7\"]\n\
                    [[traffic]]\nname = \"peers\"\nprefixes = [\"0.0.0.0/1\"]\n";
        let classes = HostConfig::parse("hostel.toml", text).unwrap().traffic;
        let names: Vec<&str> = classes.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["lan", "peers"]);
        assert_eq!(classes[0].prefixes[1].to_string(), "fc00::/7");
        assert_eq!(HostConfig::default().traffic, []);
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let class = |name: &str, prefixes: &str| format!("[[traffic]]\nname = \"{name}\"\nprefixes = [{prefixes}]\n");
        for (text, told) in [
            (class("external", "\"10.0.0.0/8\""), "hostel.toml:2:"),
            (class("Lan", "\"10.0.0.0/8\""), "a letter first"),
            (
                class("lan", "\"10.0.0.1/8\""),
                "\"10.0.0.0/8\", the network that this address is in",
            ),
            (class("lan", "\"10.0.0.0\""), "a prefix such as"),
            (class("lan", ""), "at least one prefix"),
            ("[[traffic]]\nname = \"lan\"\n".to_owned(), "prefixes"),
            ("traffic = 3\n".to_owned(), "[[traffic]]"),
            (
                class("a", "\"10.0.0.0/8\"") + &class("a", "\"11.0.0.0/8\""),
                "each class once",
            ),
            (
                class("a", "\"10.0.0.0/8\"") + &class("b", "\"10.1.0.0/16\""),
                "10.0.0.0/8 of a has all of it",
            ),
        ] {
            let said = mistakes(&text);
            assert!(said.contains(told), "{told}: {said}");
        }
        let many: String = (0..17)
            .map(|n| class(&format!("c{n}"), &format!("\"10.{n}.0.0/16\"")))
            .collect();
        assert!(mistakes(&many).contains("at most 16 classes"));
    }
}
