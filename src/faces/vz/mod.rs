//! The dialect of OpenVZ: what the binary speaks when it is called by the name of one of OpenVZ's tools.

pub mod list;
mod options;
pub mod tool;
mod word;
