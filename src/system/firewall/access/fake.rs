//! Access rules without a kernel, for tests of the floors above.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostel_model::definition::Direction;
use hostel_model::id::VeId;

use super::{Access, Change, Count, Guard, Loaded, Peers, check_name, counters};
use crate::error::Result;
use crate::fake::{Calls, steered};

/// [`Access`] that remembers what it was told, and fails when told to.
#[derive(Debug, Default)]
pub struct FakeAccess {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, Table>,
    calls: Calls,
    lacks_ports: bool,
}

#[derive(Debug, Default)]
struct Table {
    guards: BTreeMap<VeId, Guard>,
    peers: Peers,
    changed_by_hand: bool,
}

steered!(FakeAccess);

impl FakeAccess {
    /// Somebody changes all tables by hand: no rule is left in them.
    pub fn tamper(&self) {
        for table in self.state().tables.values_mut() {
            table.changed_by_hand = true;
        }
    }

    /// This kernel can't hold rules for ports of bridges.
    pub fn lack_ports(&self) {
        self.state().lacks_ports = true;
    }

    /// Somebody removes all tables.
    pub fn flush(&self) {
        self.state().tables.clear();
    }

    /// All that is in force, a line each: for comparing before and after.
    pub fn inventory(&self) -> Vec<String> {
        let state = self.state();
        let lines = |(name, table): (&String, &Table)| {
            let named = |peer| table.guards.values().any(|g| g.peers().contains(peer));
            let guards = table.guards.values().map(|g| format!("rules in {name}: {g:?}"));
            let peers = table.peers.iter().filter(|(peer, _)| named(peer));
            let peers = peers.map(|(peer, addresses)| format!("{peer} in {name}: {addresses:?}"));
            let hand = table.changed_by_hand.then(|| format!("{name} is changed by hand"));
            guards.chain(peers).chain(hand).collect::<Vec<_>>()
        };
        state.tables.iter().flat_map(lines).collect()
    }

    /// The addresses of a peer in a table; `None` if no rule has named it.
    pub fn peers(&self, table: &str) -> Peers {
        self.state()
            .tables
            .get(table)
            .map(|t| t.peers.clone())
            .unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str, table: &str) -> Result<MutexGuard<'_, State>> {
        check_name(table)?;
        let mut state = self.state();
        state.calls.note(method, "the fake access rules")?;
        Ok(state)
    }
}

impl Table {
    fn put(&mut self, guards: &[Guard], peers: &Peers) {
        for guard in guards {
            self.guards.insert(guard.ve, guard.clone());
            for peer in guard.peers() {
                self.peers.entry(peer).or_default();
            }
        }
        for (peer, has) in &mut self.peers {
            if let Some(addresses) = peers.get(peer) {
                has.clone_from(addresses);
            }
        }
    }
}

impl Access for FakeAccess {
    fn change(&self, table: &str, change: &Change) -> Result<bool> {
        let mut state = self.call("change", table)?;
        let mut now = state.tables.remove(table).unwrap_or_default();
        let intact = !now.changed_by_hand;
        if intact {
            let puts = |ve: &VeId| change.put.iter().any(|g| g.ve == *ve);
            now.guards.retain(|ve, _| !change.end.contains(ve) && !puts(ve));
            let somewhere = |g: &&Guard| !g.links.is_empty() || !g.ports.is_empty();
            let put: Vec<Guard> = change.put.iter().filter(somewhere).cloned().collect();
            now.put(&put, &change.peers);
        }
        if !intact || !now.guards.is_empty() {
            state.tables.insert(table.to_owned(), now);
        }
        Ok(intact)
    }

    fn replace(&self, table: &str, guards: &[Guard], peers: &Peers) -> Result<()> {
        let mut state = self.call("replace", table)?;
        state.tables.remove(table);
        if !guards.is_empty() {
            let mut new = Table::default();
            new.put(guards, peers);
            state.tables.insert(table.to_owned(), new);
        }
        Ok(())
    }

    fn exists(&self, table: &str) -> Result<bool> {
        Ok(self.call("exists", table)?.tables.contains_key(table))
    }

    fn bears_ports(&self, table: &str) -> Result<bool> {
        Ok(!self.call("bears_ports", table)?.lacks_ports)
    }

    fn loaded(&self, table: &str) -> Result<Loaded> {
        let state = self.call("loaded", table)?;
        Ok(state.tables.get(table).map_or_else(Loaded::default, |t| Loaded {
            changed_by_hand: t.changed_by_hand,
            guards: t.guards.iter().map(|(ve, guard)| (*ve, guard.marks())).collect(),
            peers: t.peers.clone(),
        }))
    }

    fn counts(&self, table: &str, ve: VeId) -> Result<BTreeMap<String, Count>> {
        let state = self.call("counts", table)?;
        let guard = state.tables.get(table).and_then(|t| t.guards.get(&ve));
        let names = guard.into_iter().flat_map(|g| {
            let of = |d: Direction| counters(ve, d, g.rules.of(d));
            [of(Direction::In), of(Direction::Out)].concat()
        });
        Ok(names.map(|name| (name, Count::default())).collect())
    }
}
