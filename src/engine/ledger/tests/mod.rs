//! The ledger: on its own, and on hosts of fakes.

pub(crate) mod chain;
mod close;
mod days;
mod fill;
mod hang;
mod life;
mod many;
mod outbox;
mod power;
mod traffic;
mod until;
