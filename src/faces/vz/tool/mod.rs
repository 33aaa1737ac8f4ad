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
