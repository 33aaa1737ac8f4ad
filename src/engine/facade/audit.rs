//! What shouldn't exist: `hostel audit`. Everything that exists carries a VE's id in its name, so what exists is
//! matched with what should.

mod access;
mod counters;
mod files;
mod forwards;
mod inventory;
mod links;
mod names;
mod objects;
mod proxies;
mod rules;

use std::time::Duration;

use hostel_model::id::VeId;

use super::{Engine, Orphan, Silent};
use crate::error::{Class, Result, whole};
use crate::host::Host;
use crate::interrupt;
use crate::journal::Look;
use crate::lock::{Lock, Patience, Subject};
use crate::op;

/// How long the kernel may take to let go of an orphan.
const PATIENCE: Duration = Duration::from_secs(10);

/// A VE that has ended is cleared up after by its monitor, which takes a moment, and a longer one on a busy host: what
/// is found is looked for again after each of these.
const LOOKS: [Duration; 2] = [Duration::from_millis(700), Duration::from_millis(1300)];

/// How an orphan is removed.
type Remedy<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// One that was found.
struct Found<'a> {
    orphan: Orphan,
    remedy: Option<Remedy<'a>>,
}

/// All that were found.
#[derive(Default)]
pub(super) struct Findings<'a>(Vec<Found<'a>>);

impl<'a> Findings<'a> {
    pub(super) fn add(
        &mut self,
        kind: &str,
        object: impl ToString,
        why: impl ToString,
        remedy: impl Fn() -> Result<()> + 'a,
    ) {
        self.0.push(Found {
            orphan: orphan(kind, object, why),
            remedy: Some(Box::new(remedy)),
        });
    }

    /// One that only a person can remove.
    fn tell(&mut self, kind: &str, object: impl ToString, why: impl ToString) {
        self.0.push(Found {
            orphan: orphan(kind, object, why),
            remedy: None,
        });
    }
}

fn orphan(kind: &str, object: impl ToString, why: impl ToString) -> Orphan {
    Orphan {
        kind: kind.into(),
        object: object.to_string(),
        why: why.to_string(),
        fixed: false,
        error: None,
    }
}

impl Engine {
    /// What shouldn't exist, or what should and doesn't; removes (or mends) it with `fix`.
    pub fn audit(&self, fix: bool) -> Result<Vec<Orphan>> {
        // First, as what they have made is theirs to finish or undo.
        let mut all = if fix { self.end_operations()? } else { Vec::new() };
        if fix {
            all.extend(self.host.mend_rules()?);
        }
        let mut found = self.findings(fix)?.0;
        for pause in LOOKS {
            if found.is_empty() {
                break;
            }
            std::thread::sleep(pause);
            let before = found;
            found = self.findings(fix)?.0;
            let was_there = |f: &Found<'_>| {
                let same =
                    |old: &Found<'_>| (&old.orphan.kind, &old.orphan.object) == (&f.orphan.kind, &f.orphan.object);
                before.iter().any(same)
            };
            found.retain(was_there);
        }
        all.extend(found.into_iter().map(|f| settle(f, fix)));
        Ok(all)
    }

    fn findings(&self, operations_have_ended: bool) -> Result<Findings<'_>> {
        let inventory = self.host.inventory()?;
        let mut findings = Findings::default();
        if !operations_have_ended {
            for (_, orphan) in self.unfinished_operations()? {
                findings.0.push(Found { orphan, remedy: None });
            }
        }
        self.host.audit_monitors(&inventory, &mut findings);
        self.host.audit_groups(&inventory, &mut findings)?;
        self.host.audit_interfaces(&inventory, &mut findings)?;
        self.host.audit_ports(&inventory, &mut findings)?;
        self.host.audit_shapers(&inventory, &mut findings)?;
        self.host.audit_bridges(&inventory, &mut findings)?;
        self.host.audit_proxies(&inventory, &mut findings)?;
        self.host.audit_forwarding(&inventory, &mut findings)?;
        self.host.audit_links(&inventory, &mut findings)?;
        self.host.audit_vlans(&mut findings)?;
        self.host.audit_pools(&mut findings);
        self.host.audit_firewall(&inventory, &mut findings)?;
        self.host.audit_rules(&inventory, &mut findings)?;
        self.host.audit_tables(&mut findings)?;
        self.host.audit_access(&inventory, &mut findings)?;
        self.host.audit_names(&inventory, &mut findings)?;
        self.host.audit_counters(&inventory, &mut findings)?;
        self.host.audit_held(&inventory, &mut findings)?;
        self.host.audit_loop_devices(&inventory, &mut findings)?;
        self.host.audit_mounts(&inventory, &mut findings)?;
        self.host.audit_files(&inventory, &mut findings)?;
        self.host.audit_dumps(&inventory, &mut findings);
        self.host.audit_hooks(&inventory, &mut findings);
        self.host.audit_disks(&inventory, &mut findings)?;
        self.host.audit_definitions(&inventory, &mut findings)?;
        self.host.audit_dialect(&mut findings)?;
        self.host.audit_mistakes(&mut findings);
        self.host.audit_allocations(&mut findings)?;
        Ok(findings)
    }

    /// What killed commands left unfinished, and nobody is at now.
    fn unfinished_operations(&self) -> Result<Vec<(VeId, Orphan)>> {
        let mut found = Vec::new();
        for id in self.host.journals.pending()? {
            if self.host.is_held(id) {
                continue;
            }
            // Looked at after the lock: one that has ended since isn't there any more.
            match self.host.journals.look(id) {
                Look::Unfinished(begin) => {
                    let name = op::name_in(&begin).or_else(|| self.host.outline(id).map(|ve| ve.name));
                    let name = name.map(|n| format!(" ({n})")).unwrap_or_default();
                    let why = "its command was killed or failed; the next one for that VE ends it first";
                    found.push((id, orphan("operation", format!("{} of VE {id}{name}", begin.verb), why)));
                }
                Look::Corrupt(why) => found.push((id, orphan("journal", format!("of VE {id}"), why))),
                Look::Nothing => {}
            }
        }
        Ok(found)
    }

    fn end_operations(&self) -> Result<Vec<Orphan>> {
        let mut ended = Vec::new();
        for (id, mut orphan) in self.unfinished_operations()? {
            let recovered = self.lock_and_recover(id, "audit", &Silent).map(drop);
            orphan.end(self.host.with_hooks_told(id, recovered, &mut |_| ()));
            ended.push(orphan);
        }
        Ok(ended)
    }
}

impl Host {
    /// For putting something of a VE in order that nobody works on: whoever begins meanwhile is waited for.
    fn lock_idle(&self, id: VeId) -> Result<Lock> {
        let patience = Patience {
            wait: PATIENCE,
            progress: &Silent,
            interrupted: interrupt::flag(),
        };
        self.locks.take(Subject::Ve(id), "audit", &patience)
    }

    /// Is somebody working on this VE right now?
    fn is_held(&self, id: VeId) -> bool {
        matches!(self.locks.holder(Subject::Ve(id)), Ok(Some(_)))
    }
}

fn settle(found: Found<'_>, fix: bool) -> Orphan {
    let mut orphan = found.orphan;
    if let (true, Some(remedy)) = (fix, found.remedy) {
        orphan.end(remedy());
    }
    orphan
}

impl Orphan {
    /// What became of it. A script that fails as it ends something keeps nothing, and isn't run again: nobody but who
    /// mends this would hear of it.
    fn end(&mut self, mended: Result<()>) {
        self.fixed = mended.as_ref().err().is_none_or(|e| e.class == Class::Script);
        self.error = mended.err().map(|e| whole(&e));
    }
}
