//! What Hostel writes into a VE's root so that a distribution knows who it is: names, resolver, network, keys,
//! password, clock, and what its init needs to feel at home.
//!
//! [`identity`] turns facts into changes and touches nothing; `hostel_monitor::guest::apply` makes them from
//! inside the VE. No value comes from the guest, and no value can become a second line or a second key: facts
//! are checked first, see [`GuestFacts::check`].

mod facts;
mod identity;
mod neighbours;
mod network;
mod render;

#[cfg(test)]
mod tests;

pub use facts::{GuestFacts, Interface};
pub use identity::identity;
pub use neighbours::neighbours;
