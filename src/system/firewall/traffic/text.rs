//! From a [`Counting`] to the text that nft reads.

use hostel_model::definition::{REST, TrafficClass};
use serde::Serialize;
use tera::Context;

use super::{Counted, Counting};
use crate::error::{Error, Kind, Result};
use crate::firewall::keys::Family;
use crate::firewall::ruleset::{check_table, digest};
use crate::firewall::template::Template;
use crate::net::check;

static TEMPLATE: Template = Template::new(include_str!("../../../../templates/nftables/traffic.nft.tera"));

/// A class, as the template wants it.
#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    ways: [Way; 2],
}

/// Its prefixes of a family of addresses.
#[derive(Serialize)]
struct Way {
    v: u8,
    r#type: &'static str,
    prefixes: Vec<String>,
}

/// Where packets are counted that go one way.
#[derive(Serialize)]
struct Hook<'a> {
    name: &'static str,
    priority: i32,
    way: &'static str,
    interface: &'static str,
    peer: &'static str,
    ways: [HookWay<'a>; 2],
}

/// What is looked at there of a family of addresses: the classes that name some, before the rest.
#[derive(Serialize)]
struct HookWay<'a> {
    v: u8,
    family: &'static str,
    classes: Vec<&'a str>,
}

#[derive(Serialize)]
struct Element<'a> {
    interface: &'a str,
    mark: &'a str,
}

/// The families that there are tables of.
pub(super) fn families(counting: &Counting) -> Vec<Family> {
    let bridge = counting.bridged.then_some(Family::Bridge);
    [Family::Inet].into_iter().chain(bridge).collect()
}

/// Checks the interfaces' names against what the rules look at.
pub(super) fn check_interfaces(counting: &Counting, interfaces: &[Counted]) -> Result<()> {
    check_table(&counting.table)?;
    for counted in interfaces {
        check::interface_name(&counted.interface)?;
        if !counted.interface.starts_with(&counting.prefix) {
            let why = format!("its name doesn't begin with \"{}\"", counting.prefix);
            return Err(Error::new("count on", format!("interface {}", counted.interface), why).kind(Kind::Invalid));
        }
    }
    Ok(())
}

fn ways(prefixes: &[String]) -> [Way; 2] {
    let of = |ipv6: bool| prefixes.iter().filter(|p| p.contains(':') == ipv6).cloned().collect();
    [
        Way {
            v: 4,
            r#type: "ipv4_addr",
            prefixes: of(false),
        },
        Way {
            v: 6,
            r#type: "ipv6_addr",
            prefixes: of(true),
        },
    ]
}

fn classes(classes: &[TrafficClass]) -> Vec<Class<'_>> {
    let one = |name, prefixes: Vec<String>| Class {
        name,
        ways: ways(&prefixes),
    };
    let prefixes = |class: &TrafficClass| class.prefixes.iter().map(ToString::to_string).collect();
    let named = classes.iter().map(|class| one(class.name.as_str(), prefixes(class)));
    named.chain([one(REST, Vec::new())]).collect()
}

/// Out behind anti-spoofing, in behind all that may change an address.
fn hooks<'a>(classes: &[Class<'a>]) -> [Hook<'a>; 2] {
    let ways = || {
        [(0, 4, "ip"), (1, 6, "ip6")].map(|(at, v, family)| {
            let named = classes.iter().filter(|class| !class.ways[at].prefixes.is_empty());
            HookWay {
                v,
                family,
                classes: named.map(|class| class.name).collect(),
            }
        })
    };
    [
        Hook {
            name: "prerouting",
            priority: -290,
            way: "out",
            interface: "iifname",
            peer: "daddr",
            ways: ways(),
        },
        Hook {
            name: "postrouting",
            priority: 290,
            way: "in",
            interface: "oifname",
            peer: "saddr",
            ways: ways(),
        },
    ]
}

/// The text of one table, which begins to count on these interfaces. `old`: its chains that are to go.
pub(super) fn text(
    counting: &Counting,
    family: Family,
    interfaces: &[&Counted],
    mark: &str,
    old: &[String],
) -> Result<String> {
    render(counting, family, interfaces, mark, old, &version(counting, family)?)
}

/// A hash of its text without interfaces: 32 hexadecimal digits.
pub(super) fn version(counting: &Counting, family: Family) -> Result<String> {
    check::prefix(&counting.prefix)?;
    Ok(digest(render(counting, family, &[], "", &[], "")?.as_bytes()))
}

fn render(
    counting: &Counting,
    family: Family,
    interfaces: &[&Counted],
    mark: &str,
    old: &[String],
    version: &str,
) -> Result<String> {
    let interfaces = interfaces.iter().map(|c| Element {
        interface: &c.interface,
        mark,
    });
    let mut context = Context::new();
    context.insert("table", &counting.table);
    context.insert("family", if family == Family::Inet { "inet" } else { "bridge" });
    context.insert("prefix", &counting.prefix);
    context.insert("version", version);
    context.insert("rest", REST);
    context.insert("old", old);
    let classes = classes(&counting.classes);
    context.insert("hooks", &hooks(&classes));
    context.insert("classes", &classes);
    context.insert("elements", &interfaces.collect::<Vec<_>>());
    TEMPLATE.fill(&context, "render the counters of table", &counting.table)
}
