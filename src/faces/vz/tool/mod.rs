//! OpenVZ's small tools, a file each.

#[cfg(test)]
pub mod document;
pub mod vzcfgvalidate;
pub mod vzcpucheck;
pub mod vzmemcheck;
pub mod vznetstat;
pub mod vzpid;
pub mod vzps;
pub mod vzquota;
pub mod vzsplit;
pub mod vzubc;

#[cfg(test)]
mod tests;

use hostel_model::request::VeRef;

use super::word::Stop;

/// The VE that a word names.
fn ve(word: &str) -> Result<VeRef, Stop> {
    word.parse()
        .map_err(|_| Stop::Said(format!("Container {word} not found"), 1))
}
