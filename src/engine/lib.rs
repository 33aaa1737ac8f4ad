//! Floor 2: operations on VEs as named steps with undo, and what they stand on.

pub mod dirs;
pub mod error;
pub mod facade;
pub mod fleet;
pub mod guest;
pub mod hooks;
pub mod host;
pub mod interrupt;
pub mod journal;
pub mod ledger;
pub mod lock;
pub mod manager;
pub mod op;
pub mod reserve;
mod schedule;
mod settings;
mod shares;
pub mod step;
pub mod templates;
#[cfg(test)]
pub(crate) mod testing;
pub mod turns;
pub mod ve;

pub use error::{Class, Detail, Error, Result};
pub use facade::Engine;
