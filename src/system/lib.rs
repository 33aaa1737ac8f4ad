//! Floor 1: thin adapters to Linux, one folder each. They act and report; they decide nothing.
//!
//! Types of `nix`, `rtnetlink` and `cgroups-rs` never leave this crate. The roots of /proc, /sys, /var and
//! /run are parameters, so that the adapters can be pointed at a throw-away directory.

#![allow(unsafe_code)] // each block says why it is sound

pub mod archive;
pub mod cgroup;
pub mod clock;
pub mod command;
pub mod crash;
pub mod criu;
pub mod disk;
pub mod error;
mod fake;
#[cfg(feature = "faults")]
pub mod faults;
pub mod file;
pub mod firewall;
pub mod heap;
mod helper;
pub mod kernel_log;
pub mod load;
pub mod mount;
pub mod nameserver;
mod namespace;
pub mod net;
pub mod notify;
pub mod postgres;
pub mod pressure;
pub mod process;
mod remove;
pub mod resolver;
pub mod scripts;
pub mod service;
pub mod sysctl;

pub use error::{Error, Kind, Result};
