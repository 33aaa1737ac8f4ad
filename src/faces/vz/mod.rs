//! The dialect of the OpenVZ tools: `hostel` called as `vzctl` and the like speaks it, and asks the engine for the same
//! as the command line does. A folder for each large tool.
//!
//! - `house` is what is asked of the engine, so that tests can put a fake in its place.
//! - `options` reads options as getopt_long does, `word` is what the tools that only tell share.
//! - `voice` is where it is said, `lookup` which VE is meant.

mod ctl;
#[cfg(test)]
mod document;
mod fate;
mod house;
pub mod list;
mod lookup;
mod options;
#[cfg(test)]
mod tests;
pub mod tool;
mod voice;
mod word;

use std::path::PathBuf;

pub use ctl::main as vzctl;

/// The version of vzctl that this one is compatible with: clients decide by it what they may ask.
const VERSION: &str = "4.11.1";

/// hostel.toml, as the command line finds it: these tools have no option for it.
fn config() -> PathBuf {
    let named = std::env::var_os("HOSTEL_CONFIG").filter(|path| !path.is_empty());
    named.map_or_else(|| "/etc/hostel/hostel.toml".into(), PathBuf::from)
}

/// What a VE is called that was made with a number and no name: a name can't be all digits.
fn usual_name(ctid: impl std::fmt::Display) -> String {
    format!("ct{ctid}")
}
