//! Changes of a VE's definition.

use hostel_model::definition::{DriverName, VeDefinition, When};
use hostel_model::edit::{self, EditError};
use hostel_model::request::VeRef;
use hostel_model::resolve::{DiskLimits, Effective};
use hostel_model::state::State;
use hostel_model::units::{Bytes, human};
use hostel_system::file;

use super::transfer::{note_move, one_after_the_other};
use super::{Engine, Progress, SetReport};
use crate::error::{Class, Error, Result};
use crate::op;
use crate::op::relocate::Relocate;
use crate::op::set::{Interfaces, Set};
use crate::ve::reality::Reality;
use crate::ve::record::{InterfaceState, VeState};
use crate::ve::registry::Catalogue;

impl Engine {
    /// Changes a definition, live where it can; all or nothing.
    pub fn set(
        &self,
        ve: &VeRef,
        settings: &[(String, String)],
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "set", progress)?;
        let old = self.definition_text(ve)?;
        let file = self.host.dirs.definition(&state.name).display().to_string();
        let new = edit::edit(&file, &old, settings).map_err(|e| refused_edit(&state, e))?;
        self.change(&state, &old, &new, dry_run, progress)
    }

    pub(super) fn change(
        &self,
        state: &VeState,
        old: &str,
        new: &str,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let file = self.host.dirs.definition(&state.name).display().to_string();
        let mut catalogue = Catalogue::default();
        let after = VeDefinition::parse(&file, new).map_err(|e| refused_edit(state, e.into()))?;
        let after = self.host.resolve(&after, &mut catalogue)?;
        // A definition that was broken by hand has no effect to compare with: then all of the new one waits.
        let before = VeDefinition::parse(&file, old)
            .ok()
            .and_then(|d| self.host.resolve(&d, &mut catalogue).ok());
        let reality = self.host.reality(state.id)?;
        // What is suspended goes on as it was, so that a start is awaited too, from the disk.
        let running = reality.init.is_some() || reality.state == State::Suspended;
        let driver = self.new_driver(state, before.as_ref(), &after, &reality, progress)?;
        for warning in self
            .host
            .judge_text(&after, driver.unwrap_or(state.driver), Some(new))?
        {
            progress.note(&warning);
        }
        let disk_size = self.new_disk_size(state, before.as_ref(), &after, &reality, progress)?;
        // What the disk has is what changes, whatever was written in the definition or the plan meanwhile.
        let before = before.map(|b| {
            let size = disk_size.map_or(after.disk.size, |_| Bytes(state.disk_size));
            Effective {
                disk: DiskLimits { size, ..b.disk },
                ..b
            }
        });
        let interfaces = self.new_interfaces(state, before.as_ref(), &after, &reality)?;
        let tree = self.new_tree(state, before.as_ref(), &after, &reality)?;
        let mut report = plan_change(state, before.as_ref(), &after, running, interfaces.is_some(), dry_run)?;
        if let Some((from, _)) = &tree {
            note_move(&mut report, from, &after);
        }
        if let Some(to) = driver {
            if tree.is_some() {
                return Err(one_after_the_other(state));
            }
            if interfaces.is_some() {
                return Err(two_at_once(state, to));
            }
            let disk_size = disk_size.unwrap_or(state.disk_size);
            let params = op::relocate::Params {
                old: old.to_owned(),
                new: new.to_owned(),
                from: state.driver,
                to,
                disk_size,
                inodes: self.check_move(state, to, disk_size, after.disk.inodes)?,
            };
            if !dry_run {
                self.run::<Relocate>(state.id, &params, progress)?;
                self.host.note_change(state.id);
                self.note_openvz(state.id, progress);
                self.host.settle_usage("set", progress);
            }
            return Ok(report);
        }
        if !dry_run && (old != new || disk_size.is_some() || tree.is_some()) {
            let params = op::set::Params {
                old: old.to_owned(),
                new: new.to_owned(),
                disk_size,
                tree: tree.map(|(_, tree)| tree),
                waiting: report.waiting.iter().map(|(key, ..)| key.clone()).collect(),
                interfaces,
            };
            self.run::<Set>(state.id, &params, progress)?;
            self.note_openvz(state.id, progress);
            self.host.settle_usage("set", progress);
        }
        Ok(report)
    }

    /// The size that its disk gets by this change; `None` if it stays. What can't be is refused beforehand, so that
    /// nothing else of the change is begun.
    fn new_disk_size(
        &self,
        state: &VeState,
        before: Option<&Effective>,
        after: &Effective,
        reality: &Reality,
        progress: &dyn Progress,
    ) -> Result<Option<u64>> {
        let size = after.disk.size.get();
        if size == state.disk_size {
            return Ok(None);
        }
        let (running, suspended) = (reality.init.is_some(), reality.state == State::Suspended);
        if (running || suspended) && before.is_some_and(|b| b.disk.size == after.disk.size) {
            // Its plan was edited, or its definition by hand; this change is about something else.
            let (has, should) = (human(state.disk_size), human(size));
            progress.note(&match size > state.disk_size {
                true => format!("its disk has {has}; it grows to the {should} of its definition at the next start"),
                false => format!("its disk has {has}, not the {should} of its definition; stop it to shrink it"),
            });
            return Ok(None);
        }
        if suspended {
            let name = &state.name;
            return Err(Error::new(
                Class::Refused,
                format!("the disk of {name} can't be resized while the VE is suspended"),
            )
            .because("its memory was saved for the disk as it is")
            .hint(format!("resume it first: hostel resume {name}"))
            .hint(format!("or give up what ran in it: hostel start --discard {name}")));
        }
        if size < state.disk_size {
            if running {
                return Err(Error::new(
                    Class::Refused,
                    format!("the disk of {} can't shrink while it runs", state.name),
                )
                .hint(format!("stop it first: hostel stop {}", state.name)));
            }
            self.check_shrink(state, size)?;
        }
        Ok(Some(size))
    }

    /// Its interfaces by this change, if they change now: a VE that runs can get other addresses, come onto networks
    /// and off them, and be allowed more or less there; what is stopped can get anything. What waits for a start is allocated then, so that a dump in which addresses stand stays right.
    fn new_interfaces(
        &self,
        state: &VeState,
        before: Option<&Effective>,
        after: &Effective,
        reality: &Reality,
    ) -> Result<Option<Interfaces>> {
        let networks = |ve: &Effective| ve.interfaces.iter().map(|i| i.network.name.clone()).collect::<Vec<_>>();
        let asked = |ve: &Effective| {
            ve.interfaces
                .iter()
                .map(|i| (i.addresses.clone(), i.routes.clone(), i.mac, i.allowed))
                .collect::<Vec<_>>()
        };
        let all = |ve: &Effective| (networks(ve), asked(ve), ve.forwards.clone());
        if before.is_none_or(|b| all(b) == all(after)) {
            return Ok(None);
        }
        let runs = matches!(reality.state, State::Running | State::Paused);
        let has = |ve: &Effective| state.interfaces.iter().map(|i| &i.network).eq(&networks(ve));
        let now = match reality.state {
            // What was changed by hand before, and waits for a start, goes on waiting.
            State::Running | State::Paused => has(after) || before.is_some_and(has),
            State::Stopped | State::Mounted => true,
            State::Suspended | State::Broken => false,
        };
        if !now && before.is_some_and(|b| b.forwards == after.forwards) {
            return Ok(None);
        }
        let mut taken = self.host.taken(Some(state.id))?;
        if now {
            taken.heard = self.host.heard_for(after, &state.interfaces, &taken)?;
        }
        let new = self.host.interfaces(after, &state.interfaces, &taken)?;
        if !now {
            return Ok(None);
        }
        let old = state.interfaces.clone();
        // An interface can't be taken off one network and be on another in the same moment, nor change its hardware address.
        let moves = |i: &InterfaceState| {
            let was = old.iter().find(|o| o.index() == i.index());
            was.is_some_and(|o| o.network != i.network || o.mac != i.mac)
        };
        if runs && new.iter().any(moves) {
            return Ok(None);
        }
        Ok((new != old).then_some(Interfaces { old, new }))
    }

    /// The driver that its disk moves to by this change; `None` if it stays.
    fn new_driver(
        &self,
        state: &VeState,
        before: Option<&Effective>,
        after: &Effective,
        reality: &Reality,
        progress: &dyn Progress,
    ) -> Result<Option<DriverName>> {
        let Some(to) = after.disk.driver.filter(|to| *to != state.driver) else {
            return Ok(None);
        };
        if reality.state == State::Stopped {
            self.host.check_driver(to)?;
            return Ok(Some(to));
        }
        let (name, has) = (&state.name, state.driver);
        if before.is_some_and(|b| b.disk.driver == after.disk.driver) {
            // Its plan was edited, or its definition by hand; this change is about something else.
            progress.note(&format!(
                "its disk is of driver {has}, not the {to} of its definition; stop it to move it"
            ));
            return Ok(None);
        }
        let was = reality.state;
        let error = Error::new(
            Class::Refused,
            format!("the disk of {name} can't move from {has} to {to} while the VE is {was}"),
        );
        Err(match was {
            State::Mounted => error.hint(format!("unmount it first: hostel umount {name}")),
            State::Suspended => error.hint(format!(
                "its memory was saved for that very disk: resume it, then stop it: hostel resume {name}"
            )),
            _ => error.hint(format!("stop it first: hostel stop {name}")),
        })
    }

    /// Is there room for the other disk beside this one, and in it for what this one holds? Gives the limit of files.
    fn check_move(&self, state: &VeState, to: DriverName, size: u64, inodes: Option<u64>) -> Result<Option<u64>> {
        // What file systems keep for themselves of a disk at most: a sixteenth, a journal, and some tables.
        let room = size - size / 16 - size.min(16 << 20) / 4;
        let (dir, disks) = (self.host.dirs.ve(state.id), self.host.disks.get(to));
        if disks.exists(&dir)? {
            return Err(Error::new(
                Class::Refused,
                format!("the disk of {} can't move to driver {to}", state.name),
            )
            .because(format!(
                "there is another disk of that driver in {} already",
                dir.display()
            ))
            .hint("see what is on it, then remove it"));
        }
        let usage = self.host.disks.get(state.driver).usage(&dir)?;
        let inodes = inodes.filter(|_| disks.inodes(size).is_some());
        let refuse = |why: String, hint: &str| {
            let what = format!("the disk of {} can't move to driver {to}", state.name);
            Err(Error::new(Class::Limit, what).because(why).hint(hint))
        };
        let (used, files) = (usage.used.unwrap_or(0), usage.inodes_used.unwrap_or(0));
        if used > room {
            let why = format!(
                "{} are in use, and a disk of {} holds {}",
                human(used),
                human(size),
                human(room)
            );
            return refuse(why, "remove files inside first, or raise disk.size in the same command");
        }
        let most = inodes.or_else(|| disks.inodes(size).map(|_| size / 16384));
        if most.is_some_and(|most| files > most) {
            let why = format!("{files} files are on it, and the new one holds {}", most.unwrap_or(0));
            return refuse(why, "remove files inside first, or raise disk.size in the same command");
        }
        let free = file::free_space(&dir)?;
        let needed = used + used / 16 + (64 << 20);
        if free < needed {
            let why = format!(
                "{} are free on the host, and the copy takes {}",
                human(free),
                human(needed)
            );
            return refuse(
                why,
                "free some space on the host first: both disks are there for a while",
            );
        }
        Ok(inodes)
    }

    fn check_shrink(&self, state: &VeState, size: u64) -> Result<()> {
        let usage = self.host.disks.get(state.driver).usage(&self.host.dirs.ve(state.id))?;
        match usage.used {
            Some(used) if used >= size => Err(Error::new(
                Class::Limit,
                format!("the disk of {} can't shrink below what is on it", state.name),
            )
            .because(format!("{} are in use", human(used)))
            .hint("remove files inside first, or choose a larger size")),
            _ => Ok(()),
        }
    }
}

/// Sorts what differs into what is done now and what waits, and refuses what can't be.
fn plan_change(
    state: &VeState,
    before: Option<&Effective>,
    after: &Effective,
    running: bool,
    addresses_now: bool,
    dry_run: bool,
) -> Result<SetReport> {
    let mut report = SetReport {
        dry_run,
        ..SetReport::default()
    };
    if after.id != state.id || after.name != state.name {
        return Err(never(
            state,
            "id and name",
            "they are what everything of it is called by",
        ));
    }
    // With nothing to compare with, the record says whose it is.
    if before.is_none() && state.tenant.as_ref().is_some_and(|t| *t != after.tenant) {
        return Err(never(state, "tenant", "its template tree belongs to its tenant"));
    }
    for change in before.map(|b| edit::diff(b, after)).unwrap_or_default() {
        let line = (change.key.clone(), change.old, change.new);
        let now = addresses_now && (change.key.starts_with("network.") || change.key.starts_with("forward."));
        // Who shares its template is its tenant's word too, if it doesn't say it itself.
        let moves = before.is_some_and(|b| b.tenant != after.tenant);
        match change.when {
            When::Never(_) if moves && change.key == "share" => report.applied.push(line),
            When::Never(why) => return Err(never(state, &change.key, why)),
            When::Restart if running && !now => report.waiting.push(line),
            When::Restart | When::Live => report.applied.push(line),
        }
    }
    Ok(report)
}

fn never(state: &VeState, key: &str, why: &str) -> Error {
    Error::new(Class::Refused, format!("{key} of {} can't be changed", state.name)).because(why.to_owned())
}

/// A move of the disk reserves no addresses and no ports: another VE might be given them meanwhile.
fn two_at_once(state: &VeState, to: DriverName) -> Error {
    let name = &state.name;
    Error::new(
        Class::Refused,
        format!("the disk of {name} can't move in one change with its networks, addresses or forwards"),
    )
    .hint(format!("move it by itself: hostel set {name} disk.driver={to}"))
    .hint("then change the rest")
}

pub(super) fn refused_edit(state: &VeState, e: EditError) -> Error {
    Error::new(
        Class::Usage,
        format!("the definition of {} would have mistakes", state.name),
    )
    .because(e)
}
