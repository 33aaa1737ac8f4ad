//! The process at the side of every VE, and what enters one: tiny, single-threaded, without a runtime.
//!
//! `hostel-monitor` starts a VE's init and stays its parent (see [`start`]), or runs a command inside (see [`enter`]).
//! It is told everything in a [`spec::Role`] and decides nothing. The engine shares these types.

#![allow(unsafe_code)] // system calls that no crate wraps; each block says why it is sound

pub mod error;
pub mod finisher;
pub mod guest;
pub mod memory;
pub mod message;
pub mod spec;

pub mod adopt;
pub mod after;
pub mod asker;
pub mod bind;
pub mod child;
pub mod console;
pub mod dev;
pub mod enter;
pub mod exit;
pub mod identity;
pub mod inherit;
pub mod inside;
pub mod notify;
pub mod pace;
pub mod pack;
pub mod place;
pub mod privilege;
pub mod relay;
pub mod request;
pub mod resume;
pub mod root;
pub mod seccomp;
pub mod serve;
pub mod sheet;
pub mod start;
pub mod sys;
pub mod table;
pub mod user;
pub mod view;

pub use error::{Failure, Result};
