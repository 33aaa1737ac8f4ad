//! `[capacity]` of hostel.toml: how much of this host may be promised to its VEs in all.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Shape;
use super::value::{Cell, Read, words};
use crate::capacity::{Each, Resource};

words! {
    /// What becomes of a VE that would have more promised than may be.
    Beyond, "\"off\", \"warn\" or \"refuse\"",
    /// Nothing: nobody looks.
    Off = "off",
    /// It is made, and a line says so.
    Warn = "warn",
    /// It is not made, changed or started.
    Refuse = "refuse",
}

/// How many times what there is may be promised, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Oversell(u32);

impl Oversell {
    /// As much as there is.
    pub const ONCE: Self = Self(1000);
    /// The least and the most.
    const RANGE: std::ops::RangeInclusive<u32> = 10..=1_000_000;

    /// In thousandths.
    pub const fn milli(self) -> u32 {
        self.0
    }

    /// How much may be promised where there is `have`.
    pub fn of(self, have: u64) -> u64 {
        u64::try_from(u128::from(have) * u128::from(self.0) / 1000).unwrap_or(u64::MAX)
    }
}

impl FromStr for Oversell {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |d: &str, most| !d.is_empty() && d.len() <= most && d.bytes().all(|b| b.is_ascii_digit());
        // What has more digits would be rounded without a word.
        if !digits(whole, 6) || !digits(fraction.trim_end_matches('0'), 3) && fraction.bytes().any(|b| b != b'0') {
            return Err(());
        }
        let fraction = format!("{:0<3}", fraction.trim_end_matches('0'));
        let milli = format!("{whole}{fraction}").parse().map_err(|_| ())?;
        if Self::RANGE.contains(&milli) {
            Ok(Self(milli))
        } else {
            Err(())
        }
    }
}

impl From<Oversell> for String {
    fn from(oversell: Oversell) -> Self {
        oversell.to_string()
    }
}

impl fmt::Display for Oversell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Read for Oversell {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "a number from 0.01 to 1000 such as 1.5, with at most three digits behind the point";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.parse_number_or_text()
    }
}

/// What holds for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// How many times what there is may be promised.
    pub oversell: Oversell,
    /// What becomes of a VE that would pass it.
    pub beyond: Beyond,
}

/// What holds for each.
pub type Rules = Each<Rule>;

#[derive(Debug, Default)]
pub(super) struct RuleDraft {
    pub oversell: Option<Oversell>,
    pub beyond: Option<Beyond>,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub cpu: RuleDraft,
    pub memory: RuleDraft,
    pub guarantee: RuleDraft,
    pub swap: RuleDraft,
    pub disk: RuleDraft,
    pub processes: RuleDraft,
}

impl Draft {
    /// Whoever sets a bound wants to hear of it. Where nothing is said nobody looks, but for guaranteed memory: what is
    /// guaranteed twice is guaranteed to nobody.
    pub fn fill(&self) -> Rules {
        Each::of(|resource| {
            let draft = match resource {
                Resource::Cpu => &self.cpu,
                Resource::Memory => &self.memory,
                Resource::Guarantee => &self.guarantee,
                Resource::Swap => &self.swap,
                Resource::Disk => &self.disk,
                Resource::Processes => &self.processes,
            };
            let usual = match (draft.oversell, resource) {
                (Some(_), _) | (_, Resource::Guarantee) => Beyond::Warn,
                _ => Beyond::Off,
            };
            Rule {
                oversell: draft.oversell.unwrap_or(Oversell::ONCE),
                beyond: draft.beyond.unwrap_or(usual),
            }
        })
    }
}

/// The key of a resource's bound.
pub const fn key(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "capacity.cpu.oversell",
        Resource::Memory => "capacity.memory.oversell",
        Resource::Guarantee => "capacity.guarantee.oversell",
        Resource::Swap => "capacity.swap.oversell",
        Resource::Disk => "capacity.disk.oversell",
        Resource::Processes => "capacity.processes.oversell",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::HostConfig;

    #[test]
    fn factors() {
        for (text, milli) in [
            ("1", 1000),
            ("1.5", 1500),
            ("0.01", 10),
            ("4.000", 4000),
            ("1000", 1_000_000),
            ("1.250", 1250),
        ] {
            assert_eq!(text.parse(), Ok(Oversell(milli)), "{text}");
        }
        for text in [
            "", "0", "0.001", "1001", "1.2345", "-1", "1e3", "inf", "150%", ".5", "1.x",
        ] {
            assert!(text.parse::<Oversell>().is_err(), "{text}");
        }
        assert_eq!(Oversell(1500).of(3), 4);
        assert_eq!(Oversell(1_000_000).of(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_hostel_toml_says() {
        let rules = |text: &str| HostConfig::parse("hostel.toml", text).unwrap().capacity;
        let bare = rules("");
        assert_eq!(bare[Resource::Memory].beyond, Beyond::Off);
        assert_eq!(bare[Resource::Guarantee].beyond, Beyond::Warn);
        let set = rules(
            "[capacity.memory]\noversell = 1.5\n[capacity.disk]\nbeyond = \"refuse\"\n\
             [capacity.guarantee]\nbeyond = \"off\"\n[capacity]\ncpu = { oversell = 4, beyond = \"refuse\" }",
        );
        let of = |r: Resource| (set[r].oversell.milli(), set[r].beyond);
        assert_eq!(of(Resource::Memory), (1500, Beyond::Warn));
        assert_eq!(of(Resource::Disk), (1000, Beyond::Refuse));
        assert_eq!(of(Resource::Guarantee), (1000, Beyond::Off));
        assert_eq!(of(Resource::Cpu), (4000, Beyond::Refuse));
        assert_eq!(of(Resource::Processes), (1000, Beyond::Off));
    }

    #[test]
    fn mistakes_are_told_with_their_places() {
        let text = "[capacity]\nmemory = 1.5\n[capacity.cpu]\noversell = 0\nbeyond = \"never\"\n[capacity.disks]\noversell = 1\n";
        let told = HostConfig::parse("hostel.toml", text).unwrap_err().to_string();
        for part in [
            "hostel.toml:2",
            "hostel.toml:4",
            "a number from 0.01 to 1000",
            "hostel.toml:5",
            "\"off\", \"warn\" or \"refuse\"",
            "hostel.toml:6",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_back(milli in Oversell::RANGE) {
            prop_assert_eq!(Oversell(milli).to_string().parse(), Ok(Oversell(milli)));
        }
    }
}
