//! Floor 0: what Hostel talks about, as plain data and arithmetic.
//!
//! Nothing here does I/O, reads a clock, or knows Linux. Everything that comes from a person or a file
//! becomes one of these types at the door, or an error that names the text and what was expected.

pub mod aside;
pub mod bandwidth;
pub mod beancounters;
pub mod budget;
pub mod calendar;
pub mod capacity;
pub mod definition;
pub mod distribution;
pub mod edit;
pub mod forward;
pub mod hook;
pub mod host_life;
mod hostname;
pub mod id;
pub mod idmap;
pub mod ipam;
pub mod kernel;
pub mod limits;
pub mod mac;
pub mod monthly;
pub mod openvz;
pub mod policy;
pub mod prices;
pub mod quantity;
pub mod recipe;
pub mod request;
pub mod resolve;
pub mod stat;
pub mod state;
pub mod template;
pub mod traffic;
pub mod units;
pub mod usage;
pub mod why;
