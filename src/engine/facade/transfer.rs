//! Giving a VE to another tenant: `hostel set NAME tenant=OTHER`.

use hostel_model::id::TenantName;
use hostel_model::resolve::Effective;
use hostel_model::state::State;

use super::{Engine, SetReport};
use crate::error::{Class, Error, Result};
use crate::op::tree::Tree;
use crate::ve::reality::Reality;
use crate::ve::record::VeState;

impl Engine {
    /// Whose it was, and whose copy of its template it stands on by this change, if that gives it to another tenant. Its
    /// record says whose it is, whatever was written into its definition by hand.
    pub(super) fn new_tree(
        &self,
        state: &VeState,
        before: Option<&Effective>,
        after: &Effective,
        reality: &Reality,
    ) -> Result<Option<(TenantName, Tree)>> {
        let from = state.tenant.as_ref().or(before.map(|b| &b.tenant));
        let Some(from) = from.filter(|from| **from != after.tenant) else {
            return Ok(None);
        };
        let tree = Tree {
            tenant: after.tenant.clone(),
            share: after.share,
        };
        let (name, was) = (&state.name, reality.state);
        if was == State::Stopped {
            return Ok(Some((from.clone(), tree)));
        }
        let message = format!("{name} can't go to another tenant while it is {was}");
        let error = Error::new(Class::Refused, message);
        Err(match was {
            State::Mounted => error.hint(format!("unmount it first: hostel umount {name}")),
            State::Suspended => error.hint(format!("resume it, then stop it: hostel resume {name}")),
            _ => error.hint(format!("stop it first: hostel stop {name}")),
        })
    }
}

/// A move that was written by hand shows in no difference of definitions.
pub(super) fn note_move(report: &mut SetReport, from: &TenantName, after: &Effective) {
    if report.applied.iter().all(|(key, ..)| key != "tenant") {
        let line = ("tenant".to_owned(), from.to_string(), after.tenant.to_string());
        report.applied.insert(0, line);
    }
}

/// Both rewrite its disk.
pub(super) fn one_after_the_other(state: &VeState) -> Error {
    let message = format!(
        "{} can't go to another tenant and its disk to another driver at once",
        state.name
    );
    Error::new(Class::Refused, message).hint("do one after the other")
}
