//! Its definition, judged and written.

use hostel_model::resolve::Effective;

use super::{Params, Set};
use crate::error::{Class, Error, Result};
use crate::step::Operation;

impl Set {
    /// Judged under the lock, so that two changes at once can't pass a tenant's budget together.
    pub(super) fn write_new(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let effective = self.effective(&self.params.new)?;
        self.host.judge(&effective, self.state.driver)?;
        self.refuse_name_of_another(&effective)?;
        let Params { old, new, .. } = &self.params;
        self.host.put_definition(&self.state.name, Some(old), new)
    }

    /// A name of the OpenVZ dialect's that it gets just when another VE does: who is meant by it was looked up before,
    /// without a lock.
    fn refuse_name_of_another(&self, new: &Effective) -> Result<()> {
        let Some(name) = new.openvz.get("NAME") else {
            return Ok(());
        };
        let had = self.effective(&self.params.old).ok();
        if had.is_some_and(|old| old.openvz.get("NAME") == Some(name)) {
            return Ok(());
        }
        match self.host.openvz_named(name)? {
            Some(other) if other != self.id => {
                let message = format!("VE {other} took the name {name} just now");
                Err(Error::new(Class::Busy, message).hint("try again"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write_old(&mut self) -> Result<()> {
        let Params { old, new, .. } = &self.params;
        self.host.put_back_definition(&self.state.name, Some(old), new)
    }
}
