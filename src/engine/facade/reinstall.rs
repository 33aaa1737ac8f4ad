//! Making a VE anew from a template.

use hostel_model::definition::VeDefinition;
use hostel_model::edit::edit;
use hostel_model::request::VeRef;
use hostel_model::resolve::Effective;
use hostel_model::state::State;
use hostel_model::template::TemplateRef;
use hostel_system::file;

use super::create::random_seed;
use super::set::refused_edit;
use super::{Engine, Progress};
use crate::error::{Class, Error, Result};
use crate::op::reinstall::{Params, Reinstall};
use crate::op::tree::sharing;
use crate::step::Operation;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

impl Engine {
    /// Gives a stopped VE a new disk, from this template or from the one of its definition. What it had on the old one is
    /// gone; all else of it stays: number, name, addresses, limits, scripts, and what it has used. Everything is judged
    /// before anything is touched, and whatever fails leaves it as it was.
    pub fn reinstall(&self, ve: &VeRef, template: Option<&TemplateRef>, progress: &dyn Progress) -> Result<()> {
        let id = self.host.find(ve)?.id;
        let lock = self.lock_ve(id, Reinstall::VERB, progress)?;
        // It may have been destroyed while we waited.
        let was = self.host.state(id)?;
        refuse_unless_stopped(&was, self.host.reality(id)?.state)?;
        let params = self.plan_reinstall(was, template, progress)?;
        let done = self.run::<Reinstall>(id, &params, progress);
        self.host
            .note_operation(id, &params.was.name, Reinstall::VERB, done.as_ref().err());
        done?;
        self.host.note_change(id);
        drop(lock);
        self.note_openvz(id, progress);
        self.host.settle_usage(Reinstall::VERB, progress);
        Ok(())
    }

    /// Everything is decided and judged here; nothing is touched yet.
    pub(crate) fn plan_reinstall(
        &self,
        was: VeState,
        template: Option<&TemplateRef>,
        progress: &dyn Progress,
    ) -> Result<Params> {
        let path = self.host.dirs.definition(&was.name);
        let (file, old) = (path.display().to_string(), file::read(&path)?);
        let new = match template {
            Some(template) => edit(&file, &old, &[("template".to_owned(), template.to_string())])
                .map_err(|e| refused_edit(&was, e))?,
            None => old.clone(),
        };
        let definition = VeDefinition::parse(&file, &new).map_err(|e| refused_edit(&was, e.into()))?;
        let effective = self.host.resolve(&definition, &mut Catalogue::default())?;
        refuse_another(&was, &effective)?;
        let is = self.anew(&was, &effective)?;
        for warning in self.host.judge_text(&effective, is.driver, Some(&new))? {
            progress.note(&warning);
        }
        self.host.check_driver(is.driver)?;
        let limits_files = self.host.disks.get(is.driver).inodes(is.disk_size).is_some();
        Ok(Params {
            old,
            new,
            was,
            is,
            inodes: effective.disk.inodes.filter(|_| limits_files),
            share: effective.share,
        })
    }

    /// Its record, as of one that was just made.
    fn anew(&self, was: &VeState, effective: &Effective) -> Result<VeState> {
        let store = self.host.templates();
        let template = store.resolve(&effective.template.to_string())?;
        let dir = self.host.dirs.ve(was.id);
        Ok(VeState {
            template: template.record.reference().to_string(),
            lower: store.place_of(&template, &sharing(effective.share, &effective.tenant, dir))?,
            family: template.record.family,
            init: template.record.init.kind,
            driver: effective.disk.driver.unwrap_or(was.driver),
            disk_size: effective.disk.size.get(),
            seed: random_seed()?,
            settled_in: false,
            password: None,
            tenant: Some(effective.tenant.clone()),
            damaged: None,
            ..was.clone()
        })
    }
}

fn refuse_unless_stopped(was: &VeState, state: State) -> Result<()> {
    let (name, instead) = (
        &was.name,
        match state {
            State::Stopped => return Ok(()),
            State::Mounted => "umount it first",
            // What ran would be lost without a word.
            State::Suspended => "resume it and stop it first, or give up what ran with start --discard",
            State::Running | State::Paused => "stop it first",
            State::Broken => "status says what is wrong with it",
        },
    );
    let error = Error::new(
        Class::Refused,
        format!("{name}: it is {state}, so it can't be reinstalled"),
    );
    Err(error.hint(instead))
}

/// A definition in which somebody has changed by hand what needs an operation of its own, or can't be changed.
fn refuse_another(was: &VeState, effective: &Effective) -> Result<()> {
    let what = match () {
        () if effective.id != was.id || effective.name != was.name => "id or name",
        () if was.tenant.as_ref().is_some_and(|tenant| *tenant != effective.tenant) => "tenant",
        () => return Ok(()),
    };
    let error = Error::new(Class::Refused, format!("{} can't be reinstalled", was.name));
    Err(error
        .because(format!("another {what} than it has stands in its definition"))
        .hint("put it back there first; another tenant is given to a VE with: hostel set NAME tenant=TENANT"))
}
