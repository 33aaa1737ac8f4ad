//! The ledger: on its own, and on hosts of fakes.

pub(crate) mod chain;
mod days;
mod hang;
mod life;
mod outbox;
