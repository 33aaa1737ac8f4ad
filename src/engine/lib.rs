//! Floor 2: operations on VEs as named steps with undo, and what they stand on.

pub mod error;
pub mod facade;
pub mod guest;
pub mod journal;
pub mod lock;
pub mod step;
pub mod templates;

pub use error::{Class, Error, Result};
pub use facade::Engine;
