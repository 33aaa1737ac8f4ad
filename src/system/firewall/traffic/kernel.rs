//! The counters in the kernel: tables by `nft`, elements by netlink.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use hostel_model::definition::REST;
use hostel_model::traffic::{Direction, Flow, Reading};

use super::wire::{self, CounterSet, Element};
use super::{Counted, Counters, Counting, text};
use crate::error::{Error, Kind, Result};
use crate::firewall::keys::Family;
use crate::firewall::nftables::{commit, open};
use crate::firewall::ruleset::check_table;
use crate::firewall::standing::{mark_rules, standing};
use crate::firewall::wire::delete_table;
use crate::firewall::{Nftables, Standing};
use crate::net::check;
use crate::net::netlink::{Netlink, Refusal};

/// Chains that stay when the rules change: those that packets come in by.
const BASE: [&str; 2] = ["prerouting", "postrouting"];

/// nf_tables of the calling thread's network namespace.
#[derive(Debug, Clone, Default)]
pub struct NftCounters {
    nft: Nftables,
}

/// A mark that no counter ever had: 128 bits of chance.
fn new_mark() -> Result<String> {
    let (path, mut bytes) = ("/dev/urandom", [0_u8; 16]);
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::os("read", path, e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Where a family's interfaces are counted.
fn is_of(family: Family, counted: &Counted) -> bool {
    counted.port == (family == Family::Bridge)
}

fn refused(refusal: Refusal, table: &str) -> Error {
    let missing = refusal.errno() == libc::ENOENT;
    let error = refusal.into_error("change the counters in firewall table", table);
    if missing { error.kind(Kind::NotFound) } else { error }
}

/// What there is nothing of when the table is gone.
fn or_nothing<T: Default>(outcome: std::result::Result<T, Refusal>, table: &str) -> Result<T> {
    match outcome {
        Err(refusal) if refusal.errno() == libc::ENOENT => Ok(T::default()),
        outcome => outcome.map_err(|r| r.into_error("read the counters of firewall table", table)),
    }
}

/// The names of a table's sets; none if it isn't there.
fn sets(netlink: &mut Netlink, family: Family, table: &str) -> Result<Vec<String>> {
    let answers = or_nothing(netlink.dump(&wire::list_sets(family, table)), table)?;
    Ok(answers.iter().filter_map(|body| wire::set_name(table, body)).collect())
}

/// The sets of counters that a table has, of whatever classes.
fn counter_sets(netlink: &mut Netlink, table: &str) -> Result<Vec<CounterSet>> {
    let mut all = Vec::new();
    for family in [Family::Inet, Family::Bridge] {
        let names = sets(netlink, family, table)?;
        all.extend(names.iter().filter_map(|name| CounterSet::of(family, name)));
    }
    Ok(all)
}

/// The sets of counters that a table shall have.
fn wanted_sets(counting: &Counting, family: Family) -> Vec<CounterSet> {
    let classes = counting.classes.iter().map(|c| c.name.as_str()).chain([REST]);
    let flow = |class: &str, direction, ipv6| Flow {
        class: class.to_owned(),
        direction,
        ipv6,
    };
    classes
        .flat_map(|class| {
            let ways = [Direction::Out, Direction::In].into_iter();
            ways.flat_map(move |way| [flow(class, way, false), flow(class, way, true)])
        })
        .map(|flow| CounterSet { family, flow })
        .collect()
}

/// The counters of a set.
fn all_of(netlink: &mut Netlink, table: &str, set: &CounterSet) -> Result<Vec<Element>> {
    let answers = or_nothing(netlink.dump(&wire::list(table, set)), table)?;
    Ok(answers.iter().flat_map(|body| wire::read(body)).collect())
}

/// Is there such a counter?
fn is_there(netlink: &mut Netlink, table: &str, set: &CounterSet, interface: &str) -> Result<bool> {
    Ok(!or_nothing(netlink.get(&wire::get(table, set, interface)), table)?.is_empty())
}

impl Counters for NftCounters {
    fn standing(&self, counting: &Counting) -> Result<Standing> {
        let mut netlink = open()?;
        let mut one = |family| standing(&mut netlink, family, &counting.table, &text::version(counting, family)?);
        let each: Result<Vec<Standing>> = text::families(counting).into_iter().map(&mut one).collect();
        Ok(Standing::of_all(each?))
    }

    fn load(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()> {
        text::check_interfaces(counting, interfaces)?;
        let (mut netlink, mark, mut whole) = (open()?, new_mark()?, String::new());
        let families = text::families(counting);
        for family in &families {
            let own: Vec<&Counted> = interfaces.iter().filter(|c| is_of(*family, c)).collect();
            let answers = or_nothing(netlink.dump(&wire::list_chains(*family)), &counting.table)?;
            let chains = answers
                .iter()
                .filter_map(|body| wire::chain_name(&counting.table, body));
            let old: Vec<String> = chains.filter(|c| !BASE.contains(&c.as_str())).collect();
            whole += &text::text(counting, *family, &own, &mark, &old)?;
        }
        self.nft.load(&counting.table, &whole)?;
        families
            .into_iter()
            .try_for_each(|family| mark_rules(&mut netlink, family, &counting.table))
    }

    fn begin(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()> {
        text::check_interfaces(counting, interfaces)?;
        let (mark, table) = (new_mark()?, &counting.table);
        let mut requests = Vec::new();
        for family in text::families(counting) {
            let own = interfaces.iter().filter(|c| is_of(family, c));
            let names: Vec<&str> = own.map(|c| c.interface.as_str()).collect();
            if !names.is_empty() {
                let sets = wanted_sets(counting, family);
                requests.extend(sets.iter().map(|set| wire::add(table, set, &names, &mark)));
            }
        }
        commit(&mut open()?, requests).map_err(|r| refused(r, table))
    }

    fn read(&self, table: &str, interfaces: Option<&[String]>) -> Result<Vec<Reading>> {
        check_table(table)?;
        let (mut netlink, mut readings) = (open()?, Vec::new());
        for set in counter_sets(&mut netlink, table)? {
            let mut elements = Vec::new();
            match interfaces {
                None => elements = all_of(&mut netlink, table, &set)?,
                Some(names) => {
                    for name in names {
                        check::interface_name(name)?;
                        let answer = or_nothing(netlink.get(&wire::get(table, &set, name)), table)?;
                        elements.extend(wire::read(&answer));
                    }
                }
            }
            readings.extend(elements.into_iter().map(|e| Reading {
                interface: e.interface,
                flow: set.flow.clone(),
                mark: e.mark,
                amount: e.amount,
            }));
        }
        Ok(readings)
    }

    fn end(&self, table: &str, interfaces: &[String]) -> Result<()> {
        check_table(table)?;
        let (mut netlink, mut requests) = (open()?, Vec::new());
        for set in counter_sets(&mut netlink, table)? {
            for name in interfaces {
                check::interface_name(name)?;
                if is_there(&mut netlink, table, &set, name)? {
                    requests.push(wire::delete(table, &set, name));
                }
            }
        }
        commit(&mut netlink, requests).map_err(|r| refused(r, table))
    }

    fn prune(&self, counting: &Counting) -> Result<()> {
        let (mut netlink, table) = (open()?, &counting.table);
        for family in text::families(counting) {
            let wanted: BTreeSet<String> = wanted_sets(counting, family).iter().map(CounterSet::name).collect();
            let classes: BTreeSet<&str> = counting.classes.iter().map(|c| c.name.as_str()).collect();
            for name in sets(&mut netlink, family, table)? {
                let stale = match (CounterSet::of(family, &name), name.strip_prefix("prefixes_")) {
                    (Some(set), _) => !wanted.contains(&name) && all_of(&mut netlink, table, &set)?.is_empty(),
                    (None, Some(rest)) => !rest.rsplit_once('_').is_some_and(|(class, _)| classes.contains(class)),
                    (None, None) => false,
                };
                match commit(
                    &mut netlink,
                    stale
                        .then(|| wire::delete_set(family, table, &name))
                        .into_iter()
                        .collect(),
                ) {
                    Err(refusal) if refusal.errno() != libc::ENOENT => return Err(refused(refusal, table)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn remove(&self, table: &str) -> Result<()> {
        check_table(table)?;
        for family in [Family::Bridge, Family::Inet] {
            match commit(&mut open()?, vec![delete_table(family, table)]) {
                Err(refusal) if refusal.errno() != libc::ENOENT => return Err(refused(refusal, table)),
                _ => {}
            }
        }
        Ok(())
    }
}
