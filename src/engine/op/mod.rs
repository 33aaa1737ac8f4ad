//! The operations: a file each, each a table of steps.

pub mod clear;
pub mod create;
pub mod destroy;
pub mod mount;
#[cfg(test)]
mod proofs;
pub mod recover;
pub mod set;
pub mod start;
pub mod stop;
