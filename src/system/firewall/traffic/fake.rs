//! Counters without a kernel, for tests of the floors above.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostel_model::definition::REST;
use hostel_model::traffic::{Amount, Direction, Flow, Reading};

use super::{Counted, Counters, Counting, text};
use crate::error::{Error, Kind, Result};
use crate::fake::{Calls, steered};
use crate::firewall::Standing;
use crate::firewall::keys::Family;

/// [`Counters`] that remember what they were told, and fail when told to.
#[derive(Debug, Default)]
pub struct FakeCounters {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, Table>,
    marks: u32,
    calls: Calls,
}

#[derive(Debug, Default)]
struct Table {
    version: String,
    touched: bool,
    counters: BTreeMap<(String, Flow), (String, Amount)>,
}

steered!(FakeCounters);

impl FakeCounters {
    /// A host without tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet of so many bytes passes: from the VE (or to it) and another end of this class.
    pub fn pass(&self, interface: &str, class: &str, direction: Direction, bytes: u64) {
        for table in self.state().tables.values_mut().filter(|table| !table.touched) {
            for ((name, flow), (_, amount)) in &mut table.counters {
                if name == interface && flow.class == class && flow.direction == direction && !flow.ipv6 {
                    *amount = amount.plus(Amount { bytes, packets: 1 });
                }
            }
        }
    }

    /// Forgets all tables, as `nft flush ruleset` does.
    pub fn flush(&self) {
        self.state().tables.clear();
    }

    /// Somebody changes the rules of all tables by hand: nothing is counted from then on.
    pub fn touch(&self) {
        self.state().tables.values_mut().for_each(|table| table.touched = true);
    }

    /// On which interfaces it counts, a line each.
    pub fn inventory(&self) -> Vec<String> {
        let state = self.state();
        let names = state
            .tables
            .values()
            .flat_map(|t| t.counters.keys().map(|(name, _)| name));
        let mut lines: Vec<String> = names.map(|name| format!("counters of {name}")).collect();
        lines.dedup();
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(method, "the fake counters")?;
        Ok(state)
    }
}

fn flows(counting: &Counting) -> Vec<Flow> {
    let classes = counting.classes.iter().map(|c| c.name.as_str()).chain([REST]);
    let of = |class: &str| {
        let class = class.to_owned();
        [Direction::In, Direction::Out].map(|direction| Flow {
            class: class.clone(),
            direction,
            ipv6: false,
        })
    };
    classes.flat_map(of).collect()
}

impl State {
    fn begin(&mut self, counting: &Counting, interfaces: &[Counted]) -> Result<()> {
        text::check_interfaces(counting, interfaces)?;
        self.marks += 1;
        let mark = self.marks.to_string();
        let missing = || {
            Error::new(
                "change the counters in firewall table",
                &counting.table,
                "no such table",
            )
        };
        let table = self.tables.get_mut(&counting.table);
        let table = table.ok_or_else(|| missing().kind(Kind::NotFound))?;
        for counted in interfaces {
            for flow in flows(counting) {
                let counter = table.counters.entry((counted.interface.clone(), flow));
                counter.or_insert_with(|| (mark.clone(), Amount::default()));
            }
        }
        Ok(())
    }
}

impl Counters for FakeCounters {
    fn standing(&self, counting: &Counting) -> Result<Standing> {
        let state = self.call("standing")?;
        let version = text::version(counting, Family::Inet)?;
        Ok(match state.tables.get(&counting.table) {
            None => Standing::Broken,
            Some(table) if table.touched => Standing::Broken,
            Some(table) if table.version != version => Standing::Outdated,
            Some(_) => Standing::Current,
        })
    }

    fn load(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()> {
        let mut state = self.call("load")?;
        let table = state.tables.entry(counting.table.clone()).or_default();
        (table.version, table.touched) = (text::version(counting, Family::Inet)?, false);
        state.begin(counting, interfaces)
    }

    fn begin(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()> {
        self.call("begin")?.begin(counting, interfaces)
    }

    fn read(&self, table: &str, interfaces: Option<&[String]>) -> Result<Vec<Reading>> {
        let state = self.call("read")?;
        let counters = state.tables.get(table).into_iter().flat_map(|t| &t.counters);
        let wanted = counters.filter(|((name, _), _)| interfaces.is_none_or(|all| all.contains(name)));
        let reading = |((interface, flow), (mark, amount)): (&(String, Flow), &(String, Amount))| Reading {
            interface: interface.clone(),
            flow: flow.clone(),
            mark: mark.clone(),
            amount: *amount,
        };
        Ok(wanted.map(reading).collect())
    }

    fn end(&self, table: &str, interfaces: &[String]) -> Result<()> {
        if let Some(table) = self.call("end")?.tables.get_mut(table) {
            table.counters.retain(|(name, _), _| !interfaces.contains(name));
        }
        Ok(())
    }

    fn prune(&self, counting: &Counting) -> Result<()> {
        // Nothing is kept of a class but its counters.
        drop((self.call("prune")?, counting));
        Ok(())
    }

    fn remove(&self, table: &str) -> Result<()> {
        self.call("remove")?.tables.remove(table);
        Ok(())
    }
}
