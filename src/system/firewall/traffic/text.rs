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
    names4: bool,
    names6: bool,
    ways: [Way; 2],
}

/// Its prefixes of a family of addresses.
#[derive(Serialize)]
struct Way {
    v: u8,
    r#type: &'static str,
    prefixes: Vec<String>,
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
    let one = |name, prefixes: Vec<String>| {
        let ways = ways(&prefixes);
        let [names4, names6] = [0, 1].map(|way: usize| !ways[way].prefixes.is_empty());
        Class {
            name,
            names4,
            names6,
            ways,
        }
    };
    let prefixes = |class: &TrafficClass| class.prefixes.iter().map(ToString::to_string).collect();
    let named = classes.iter().map(|class| one(class.name.as_str(), prefixes(class)));
    named.chain([one(REST, Vec::new())]).collect()
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
    context.insert("classes", &classes(&counting.classes));
    context.insert("elements", &interfaces.collect::<Vec<_>>());
    TEMPLATE.fill(&context, "render the counters of table", &counting.table)
}
