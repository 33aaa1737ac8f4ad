//! Access rules: which are in force for a VE and what they have counted, and making the kernel follow the definitions.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::definition::{AccessRule, Direction, Peer, Verdict, overlap};
use hostel_model::id::{TenantName, VeId, VeName};
use hostel_model::request::VeRef;
use hostel_model::resolve::{AccessRules, Effective, Source};
use hostel_system::firewall::{Change, Guard, Loaded, counters};
use serde::Serialize;

use super::Engine;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// The rules of a VE as they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessReport {
    /// The VE's number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// How the kernel stands to it: none (nothing to enforce), in force, not running, or differs.
    pub state: &'static str,
    /// In order: of "in" first, then of "out"; the last of each is what no rule is about.
    pub rules: Vec<AccessLine>,
}

/// A rule, where it comes from, and what it has decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessLine {
    /// To the VE, or from it.
    pub direction: Direction,
    /// "tenant acme", "VE web1" or "default".
    pub from: String,
    /// Its number there, from 1; `None`: it is what no rule is about.
    pub number: Option<usize>,
    /// What becomes of what it is about.
    pub action: Verdict,
    /// The rule in a line.
    pub rule: String,
    /// For people.
    pub comment: Option<String>,
    /// Packets that it has decided about; `None`: it isn't in force.
    pub packets: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
}

/// What [`Engine::apply_access`] has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Was it only to be told?
    pub dry_run: bool,
    /// All rules, and whom they touch.
    pub rules: Vec<Touch>,
    /// The VEs that run with rules, or are to.
    pub ves: Vec<VeChange>,
}

/// Whom a rule touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Touch {
    /// "tenant acme" or "VE web1".
    pub from: String,
    /// Its number there, from 1.
    pub number: usize,
    /// The rule in a line.
    pub rule: String,
    /// The VEs that it is a rule of.
    pub ves: Vec<VeName>,
    /// The VEs that its peers are by name.
    pub peers: Vec<VeName>,
}

/// What becomes of a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VeChange {
    /// Its name.
    pub name: VeName,
    /// right, changed (or would be), or failed.
    pub state: &'static str,
    /// Why it failed.
    pub problem: Option<String>,
}

/// A VE, and what is to be in force for it.
struct Candidate {
    id: VeId,
    state: VeState,
    runs: bool,
    effective: Result<Effective>,
}

/// A VE whose rules are to change, and what they are to be.
struct Due {
    id: VeId,
    name: VeName,
    guard: Option<Guard>,
}

/// How a VE that runs stands to its definition.
enum Standing {
    /// It has no rules, and is to have none.
    Nothing,
    /// There is nothing to do, or nothing that can be done.
    Told(VeChange),
    /// Its rules are to change.
    Due(Due),
}

impl Engine {
    /// The access rules of a VE.
    pub fn access(&self, ve: &VeRef) -> Result<AccessReport> {
        let host = &self.host;
        let state = host.find(ve)?;
        let effective = host.effective(&state.name, &mut Catalogue::default())?;
        let (id, rules) = (state.id, &effective.access);
        let table = host.access_table();
        let guard = host.guard_of(id, &state, rules);
        let loaded = host.access.loaded(&table)?;
        let there = loaded.guards.get(&id).cloned().unwrap_or_default();
        let kernel = match &guard {
            _ if host.reality(id)?.init.is_none() => "not running",
            Some(guard) if loaded.changed_by_hand || there != guard.marks() => "differs",
            None if !there.is_empty() => "differs",
            Some(_) => "in force",
            None => "none",
        };
        let counts = host.access.counts(&table, id)?;
        let mut lines = Vec::new();
        for direction in [Direction::In, Direction::Out] {
            let names = counters(id, direction, rules.of(direction));
            let mut told = sources(&effective, direction);
            told.push(rest(&effective, direction));
            for (mut line, counter) in told.into_iter().zip(names) {
                let count = counts.get(&counter);
                line.packets = count.map(|c| c.packets);
                line.bytes = count.map(|c| c.bytes);
                lines.push(line);
            }
        }
        Ok(AccessReport {
            id,
            name: state.name,
            state: kernel,
            rules: lines,
        })
    }

    /// Makes the kernel follow all definitions, or tells what that would change.
    pub fn apply_access(&self, dry_run: bool) -> Result<Applied> {
        let host = &self.host;
        let table = host.access_table();
        // Before looking who runs: who ends meanwhile waits with its rules' end.
        let _lock = host.lock_firewall("apply")?;
        let candidates = host.candidates()?;
        let mut loaded = host.access.loaded(&table)?;
        if loaded.changed_by_hand && !dry_run {
            host.reload_access(None, None)?;
        }
        if !dry_run {
            let readable = candidates.iter().filter_map(|c| c.effective.as_ref().ok());
            host.keep_tenants(readable.map(|e| &e.tenant))?;
            host.renew_peers(&loaded)?;
        }
        if loaded.changed_by_hand {
            // All of it is loaded anew, whatever it looks like.
            loaded.guards.values_mut().for_each(BTreeSet::clear);
        }
        let (mut ves, mut due) = (Vec::new(), Vec::new());
        for one in candidates.iter().filter(|c| c.runs) {
            match host.standing(one, &loaded) {
                Standing::Nothing => {}
                Standing::Told(told) => ves.push(told),
                Standing::Due(one) => due.push(one),
            }
        }
        ves.extend(match dry_run {
            true => due.iter().map(|d| told(&d.name, "changed", None)).collect(),
            false => host.follow(&due),
        });
        ves.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Applied {
            dry_run,
            rules: touches(host, &candidates),
            ves,
        })
    }
}

impl Host {
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let mut catalogue = Catalogue::default();
        let mut all = Vec::new();
        for (id, state) in self.states()? {
            let Ok(state) = state else { continue };
            all.push(Candidate {
                id,
                runs: self.reality(id)?.init.is_some(),
                effective: self.effective(&state.name, &mut catalogue),
                state,
            });
        }
        Ok(all)
    }

    /// The peers that rules name already have the addresses of the records.
    fn renew_peers(&self, loaded: &Loaded) -> Result<()> {
        let peers = self.peers(&loaded.peers.keys().cloned().collect())?;
        if peers == loaded.peers {
            return Ok(());
        }
        let change = Change {
            peers,
            ..Change::default()
        };
        if !self.access.change(&self.access_table(), &change)? {
            // Somebody has changed the table since it was looked at.
            self.reload_access(None, None)?;
        }
        Ok(())
    }

    /// How a VE that runs stands to its definition.
    fn standing(&self, ve: &Candidate, loaded: &Loaded) -> Standing {
        let name = ve.state.name.clone();
        let effective = match &ve.effective {
            Ok(effective) => effective,
            Err(e) => return Standing::Told(told(&name, "failed", Some(chain(e)))),
        };
        let guard = self.guard_of(ve.id, &ve.state, &effective.access);
        match (guard.as_ref().map(Guard::marks), loaded.guards.get(&ve.id)) {
            (None, None) => Standing::Nothing,
            (Some(wants), Some(has)) if wants == *has => Standing::Told(told(&name, "right", None)),
            _ => Standing::Due(Due { id: ve.id, name, guard }),
        }
    }

    /// All of them in one transaction; where that fails one by one, to tell which it is that can't be.
    fn follow(&self, due: &[Due]) -> Vec<VeChange> {
        let changed = |d: &Due| told(&d.name, "changed", None);
        if due.is_empty() || matches!(self.put(due), Ok(true)) {
            return due.iter().map(changed).collect();
        }
        let alone = |d: &Due| match self.put(std::slice::from_ref(d)) {
            Ok(true) => changed(d),
            Ok(false) => told(
                &d.name,
                "failed",
                Some("somebody is changing the table by hand".to_owned()),
            ),
            Err(e) => told(&d.name, "failed", Some(chain(&e))),
        };
        due.iter().map(alone).collect()
    }

    fn put(&self, due: &[Due]) -> Result<bool> {
        let named: BTreeSet<Peer> = due.iter().flat_map(|d| &d.guard).flat_map(Guard::peers).collect();
        let change = Change {
            end: due.iter().filter(|d| d.guard.is_none()).map(|d| d.id).collect(),
            put: due.iter().filter_map(|d| d.guard.clone()).collect(),
            peers: self.peers(&named)?,
        };
        self.change_access(&change)
    }
}

fn told(name: &VeName, state: &'static str, problem: Option<String>) -> VeChange {
    VeChange {
        name: name.clone(),
        state,
        problem,
    }
}

/// The rules of one direction in order, each with where it comes from.
fn sources(ve: &Effective, direction: Direction) -> Vec<AccessLine> {
    let AccessRules { tenant, own, .. } = &ve.access;
    let tenants = tenant.iter().enumerate().map(|(i, r)| (of_tenant(&ve.tenant), i, r));
    let own = own.iter().enumerate().map(|(i, r)| (of_ve(&ve.name), i, r));
    let all = tenants.chain(own).filter(|(_, _, rule)| rule.direction == direction);
    all.map(|(from, i, rule)| AccessLine {
        direction,
        from,
        number: Some(i + 1),
        action: rule.action,
        rule: rule.to_string(),
        comment: rule.comment.clone(),
        packets: None,
        bytes: None,
    })
    .collect()
}

fn rest(ve: &Effective, direction: Direction) -> AccessLine {
    let key = format!("firewall.{direction}");
    AccessLine {
        direction,
        from: match ve.sources.get(&key) {
            Some(Source::Definition(_)) => of_ve(&ve.name),
            Some(Source::Tenant(name)) => of_tenant(name),
            _ => "default".to_owned(),
        },
        number: None,
        action: ve.access.rest(direction),
        rule: format!("{direction} {} the rest", ve.access.rest(direction)),
        comment: None,
        packets: None,
        bytes: None,
    }
}

fn of_tenant(name: &TenantName) -> String {
    format!("tenant {name}")
}

fn of_ve(name: &VeName) -> String {
    format!("VE {name}")
}

/// All rules of VEs whose definitions can be read, and whom they touch.
fn touches(host: &Host, candidates: &[Candidate]) -> Vec<Touch> {
    let readable: Vec<&Effective> = candidates.iter().filter_map(|c| c.effective.as_ref().ok()).collect();
    let mut all: BTreeMap<(String, usize), (AccessRule, Vec<VeName>)> = BTreeMap::new();
    for ve in &readable {
        let lists = [
            (of_tenant(&ve.tenant), &ve.access.tenant),
            (of_ve(&ve.name), &ve.access.own),
        ];
        for (from, list) in lists {
            for (i, rule) in list.iter().enumerate() {
                let entry = all
                    .entry((from.clone(), i + 1))
                    .or_insert_with(|| (rule.clone(), Vec::new()));
                entry.1.push(ve.name.clone());
            }
        }
    }
    let is_meant = |rule: &AccessRule, ve: &Effective| {
        rule.peers.iter().any(|peer| match peer {
            Peer::Network(network) => host
                .find(&VeRef::Id(ve.id))
                .is_ok_and(|s| s.addresses().any(|a| network.contains(a)) || s.routes().any(|p| overlap(network, &p))),
            Peer::Ve(name) => *name == ve.name,
            Peer::Tenant(name) => *name == ve.tenant,
        })
    };
    let touch = |((from, number), (rule, ves)): ((String, usize), (AccessRule, Vec<VeName>))| Touch {
        from,
        number,
        rule: rule.to_string(),
        ves,
        peers: readable
            .iter()
            .filter(|ve| is_meant(&rule, ve))
            .map(|ve| ve.name.clone())
            .collect(),
    };
    all.into_iter().map(touch).collect()
}

impl Applied {
    /// An error if something couldn't be done.
    pub fn failure(&self) -> Option<Error> {
        let failed: Vec<&str> = self
            .ves
            .iter()
            .filter(|v| v.problem.is_some())
            .map(|v| v.name.as_str())
            .collect();
        (!failed.is_empty()).then(|| {
            let message = format!("the access rules of {} are not as they are defined", failed.join(", "));
            Error::new(Class::Failed, message)
        })
    }
}
