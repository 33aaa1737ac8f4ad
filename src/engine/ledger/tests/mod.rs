//! The ledger: on its own, and on hosts of fakes.

pub(crate) mod chain;
mod life;
mod outbox;
