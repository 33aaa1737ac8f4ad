//! What is known of a VE: what it should be, what was allocated for it, and what it is.

pub mod access;
pub mod addresses;
pub mod bridge;
pub mod budget;
pub mod called;
pub mod capacity;
pub mod counting;
pub mod dump;
pub mod forward;
pub mod identity;
pub mod judge;
pub mod lan;
pub mod last;
pub mod name_server;
pub mod names;
pub mod outline;
pub mod passage;
mod pools;
pub mod reality;
pub mod record;
pub mod registry;
mod routes;
mod sheet;
mod standing;
pub mod storage;
pub mod taken;
pub mod traffic;
