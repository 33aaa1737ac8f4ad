//! Changes of a VE's definition.

use hostel_model::definition::{VeDefinition, When};
use hostel_model::edit::{self, EditError};
use hostel_model::request::VeRef;
use hostel_model::resolve::{DiskLimits, Effective};
use hostel_model::units::{Bytes, human};
use hostel_system::file;

use super::{Engine, Progress, SetReport};
use crate::error::{Class, Error, Result};
use crate::op;
use crate::op::set::Set;
use crate::ve::record::VeState;
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

    /// The text of a VE's definition, for an editor.
    pub fn definition_text(&self, ve: &VeRef) -> Result<String> {
        let state = self.host.find(ve)?;
        Ok(file::read(&self.host.dirs.definition(&state.name))?)
    }

    /// Replaces a VE's definition by an edited text if it is right; the error names every mistake with its line.
    pub fn replace_definition(&self, ve: &VeRef, text: &str, progress: &dyn Progress) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "edit", progress)?;
        let old = self.definition_text(ve)?;
        self.change(&state, &old, text, false, progress)
    }

    fn change(
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
        for warning in self.host.judge(&after)? {
            progress.note(&warning);
        }
        let running = self.host.reality(state.id)?.init.is_some();
        let disk_size = self.new_disk_size(state, before.as_ref(), &after, running, progress)?;
        // What the disk has is what changes, whatever was written in the definition or the plan meanwhile.
        let before = before.map(|b| {
            let size = disk_size.map_or(after.disk.size, |_| Bytes(state.disk_size));
            Effective {
                disk: DiskLimits { size, ..b.disk },
                ..b
            }
        });
        let report = plan_change(state, before.as_ref(), &after, running, dry_run)?;
        if !dry_run && (old != new || disk_size.is_some()) {
            let params = op::set::Params {
                old: old.to_owned(),
                new: new.to_owned(),
                disk_size,
            };
            self.run::<Set>(state.id, &params, progress)?;
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
        running: bool,
        progress: &dyn Progress,
    ) -> Result<Option<u64>> {
        let size = after.disk.size.get();
        if size == state.disk_size {
            return Ok(None);
        }
        if running && before.is_some_and(|b| b.disk.size == after.disk.size) {
            // Its plan was edited, or its definition by hand; this change is about something else.
            let (has, should) = (human(state.disk_size), human(size));
            progress.note(&match size > state.disk_size {
                true => format!("its disk has {has}; it grows to the {should} of its definition at the next start"),
                false => format!("its disk has {has}, not the {should} of its definition; stop it to shrink it"),
            });
            return Ok(None);
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

    fn check_shrink(&self, state: &VeState, size: u64) -> Result<()> {
        let usage = self.host.disks.usage(&self.host.dirs.ve(state.id))?;
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
        match change.when {
            When::Never(why) => return Err(never(state, &change.key, why)),
            When::Restart if running => report.waiting.push(line),
            When::Restart | When::Live => report.applied.push(line),
        }
    }
    Ok(report)
}

fn never(state: &VeState, key: &str, why: &str) -> Error {
    Error::new(Class::Refused, format!("{key} of {} can't be changed", state.name)).because(why.to_owned())
}

fn refused_edit(state: &VeState, e: EditError) -> Error {
    Error::new(
        Class::Usage,
        format!("the definition of {} would have mistakes", state.name),
    )
    .because(e)
}
