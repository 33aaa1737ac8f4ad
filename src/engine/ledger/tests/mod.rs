//! The ledger: on its own, and on hosts of fakes.

mod chain;
mod life;
