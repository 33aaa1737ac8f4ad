//! (being built)

pub mod guest;
