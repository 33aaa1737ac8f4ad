//! The operations: a file each, each a table of steps.

pub mod clear;
pub mod create;
pub mod destroy;
pub mod kill;
pub mod mount;
mod orders;
#[cfg(test)]
mod power;
#[cfg(test)]
pub(crate) mod proofs;
pub mod recover;
pub mod reinstall;
pub mod relocate;
pub mod resume;
pub mod set;
pub mod start;
pub mod stop;
pub mod suspend;
pub mod tree;

use hostel_model::id::VeName;
use serde::{Deserialize, Serialize};

pub use orders::{switches, told};

use crate::journal::Begin;
use crate::step::Operation;

/// All that is needed to go on with an operation, or back: the VE itself. The rest is found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct VeAlone {}

/// The name of the VE that an operation makes or removes: while it is unfinished, its journal may be all that knows it.
pub fn name_in(begin: &Begin) -> Option<VeName> {
    let params = begin.params.clone();
    match begin.verb.as_str() {
        create::Create::VERB => serde_json::from_value(params)
            .map(|p: create::Params| p.state.name)
            .ok(),
        destroy::Destroy::VERB => serde_json::from_value(params).map(|p: destroy::Params| p.name).ok(),
        _ => None,
    }
}
