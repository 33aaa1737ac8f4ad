//! A firewall without a kernel, for tests of the floors above.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keys::Family;
use super::{Firewall, Member, Ruleset, Standing, ruleset};
use crate::error::{Error, Kind, Result};
use crate::fake::{Calls, steered};
use crate::net::check;

/// A [`Firewall`] that remembers what it was told, checks it as the real one does, and fails when told to.
#[derive(Debug, Default)]
pub struct FakeFirewall {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: BTreeMap<String, Table>,
    held: BTreeMap<String, Vec<String>>,
    strays: Vec<String>,
    calls: Calls,
}

#[derive(Debug)]
struct Table {
    version: String,
    prefix: String,
    /// Somebody has changed its rules by hand.
    tampered: bool,
    bridged: bool,
    members: BTreeMap<String, Member>,
}

steered!(FakeFirewall);

impl FakeFirewall {
    /// A host without tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all tables, as `nft flush ruleset` does.
    pub fn flush(&self) {
        self.state().tables.clear();
    }

    /// Somebody changes the rules of all tables.
    pub fn tamper(&self) {
        self.state().tables.values_mut().for_each(|t| t.tampered = true);
    }

    /// Somebody leads a port of the host somewhere, by hand.
    pub fn add_stray(&self, text: &str) {
        self.state().strays.push(text.to_owned());
    }

    /// All that may pass, a line each: for comparing before and after.
    pub fn inventory(&self) -> Vec<String> {
        let state = self.state();
        let members = state
            .tables
            .iter()
            .flat_map(|(name, t)| t.members.values().map(move |m| (name, m)));
        let held = state.held.iter().map(|(name, list)| format!("{name} holds {list:?}"));
        let members: Vec<_> = members.collect();
        let members = members.into_iter();
        held.chain(members.map(|(table, member)| format!("member of {table}: {member:?}")))
            .collect()
    }

    /// Is there such a table?
    pub fn has_table(&self, table: &str) -> bool {
        self.state().tables.contains_key(table)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(method, "the fake firewall")?;
        Ok(state)
    }
}

fn sorted(members: &[Member]) -> impl Iterator<Item = (String, Member)> {
    members.iter().cloned().map(|mut member| {
        member.addresses.sort_unstable();
        (member.interface.clone(), member)
    })
}

impl State {
    fn standing(&self, ruleset: &Ruleset) -> Result<Standing> {
        let version = ruleset::version(ruleset, Family::Inet)?;
        Ok(match self.tables.get(&ruleset.table) {
            Some(table) if table.tampered || (ruleset.bridged && !table.bridged) => Standing::Broken,
            Some(table) if table.version == version => Standing::Current,
            Some(_) => Standing::Outdated,
            None => Standing::Broken,
        })
    }

    fn load(&mut self, ruleset: &Ruleset) -> Result<()> {
        let table = Table {
            version: ruleset::version(ruleset, Family::Inet)?,
            prefix: ruleset.prefix.clone(),
            tampered: false,
            bridged: ruleset.bridged,
            members: sorted(&ruleset.members).collect(),
        };
        self.tables.insert(ruleset.table.clone(), table);
        Ok(())
    }
}

impl Firewall for FakeFirewall {
    /// Each time another one: it isn't asked for the sake of saving a look at a fake.
    fn generation(&self) -> Result<u32> {
        let state = self.call("generation")?;
        Ok(state.calls.made().len() as u32)
    }

    fn tracked(&self) -> Result<Option<u32>> {
        drop(self.call("tracked")?);
        Ok(None)
    }

    fn hold(&self, held: &str, interfaces: &[String], bridged: bool) -> Result<()> {
        let ports = if bridged { ", as a port too" } else { "" };
        let what = interfaces.iter().map(|i| format!("{i}{ports}")).collect();
        self.call("hold")?.held.insert(held.to_owned(), what);
        Ok(())
    }

    fn release(&self, held: &str) -> Result<()> {
        self.call("release")?.held.remove(held);
        Ok(())
    }

    fn tables(&self, prefix: &str) -> Result<Vec<String>> {
        let state = self.call("tables")?;
        let names = state.held.keys().chain(state.tables.keys());
        Ok(names.filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn replace(&self, ruleset: &Ruleset) -> Result<()> {
        self.call("replace")?.load(ruleset)
    }

    fn standing(&self, ruleset: &Ruleset) -> Result<Standing> {
        self.call("standing")?.standing(ruleset)
    }

    fn ensure(&self, ruleset: &Ruleset) -> Result<bool> {
        let mut state = self.call("ensure")?;
        if state.standing(ruleset)? != Standing::Current {
            return state.load(ruleset).map(|()| true);
        }
        if let Some(table) = state.tables.get_mut(&ruleset.table) {
            table.members.extend(sorted(&ruleset.members));
        }
        Ok(false)
    }

    fn admit(&self, table: &str, members: &[Member]) -> Result<()> {
        let mut state = self.call("admit")?;
        ruleset::check_table(table)?;
        ruleset::check_members(members)?;
        let none = || Error::new("change the members of firewall table", table, "there is no such table");
        let table = state.tables.get_mut(table).ok_or_else(|| none().kind(Kind::NotFound))?;
        if !table.bridged && members.iter().any(|m| m.port.is_some()) {
            return Err(none().kind(Kind::NotFound));
        }
        table.members.extend(sorted(members));
        Ok(())
    }

    fn expel(&self, table: &str, interface: &str) -> Result<()> {
        let mut state = self.call("expel")?;
        ruleset::check_table(table)?;
        check::interface_name(interface)?;
        if let Some(table) = state.tables.get_mut(table) {
            table.members.remove(interface);
        }
        Ok(())
    }

    fn members(&self, table: &str) -> Result<Vec<Member>> {
        let state = self.call("members")?;
        ruleset::check_table(table)?;
        Ok(state
            .tables
            .get(table)
            .map(|t| t.members.values().cloned().collect())
            .unwrap_or_default())
    }

    fn deviating(&self, table: &str, members: &[Member]) -> Result<BTreeSet<String>> {
        let state = self.call("deviating")?;
        let has: BTreeMap<String, Member> = state.tables.get(table).map(|t| t.members.clone()).unwrap_or_default();
        let wanted: BTreeMap<String, Member> = sorted(members).collect();
        let differs = |name: &&String| has.get(*name) != wanted.get(*name);
        Ok(has.keys().chain(wanted.keys()).filter(differs).cloned().collect())
    }

    fn strays(&self, table: &str, prefix: &str) -> Result<Vec<String>> {
        let state = self.call("strays")?;
        let others = state
            .tables
            .iter()
            .filter(|(name, t)| *name != table && t.prefix == prefix);
        Ok(others.map(|(name, _)| name.clone()).collect())
    }

    fn stray_forwards(&self, _table: &str) -> Result<Vec<String>> {
        Ok(self.call("stray_forwards")?.strays.clone())
    }

    fn remove_stray_forwards(&self, _table: &str) -> Result<()> {
        self.call("remove_stray_forwards")?.strays.clear();
        Ok(())
    }

    fn text(&self, ruleset: &Ruleset) -> Result<String> {
        drop(self.call("text")?);
        ruleset::text(ruleset, &ruleset::families(ruleset))
    }

    fn remove(&self, table: &str) -> Result<()> {
        let mut state = self.call("remove")?;
        ruleset::check_table(table)?;
        state.tables.remove(table);
        Ok(())
    }
}
