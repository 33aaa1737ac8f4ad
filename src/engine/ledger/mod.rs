//! The ledger: what every VE has used, in records that nobody can change unseen. What it says and means:
//! docs/METERING.md.
//!
//! Whoever changes or ends a VE takes a reading ([`measure`]) and leaves it in the spool ([`spool`]), a file in /run, which
//! takes microseconds and can't fail for the disk's sake. Whoever has time enters what lies there into the ledger
//! ([`store`], [`book`]): the manager, or where none runs the command itself when the VE's lock is free again. What can't
//! be entered goes to a spool on the disk, and into the ledger with the next that can.

mod book;
mod close;
mod daily;
mod ever;
mod expected;
mod hits;
mod measure;
mod month;
mod outbox;
mod query;
mod record;
mod settle;
mod spool;
mod store;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod thin;
mod until;
mod verify;

pub(crate) use daily::BATCH;
pub(crate) use ever::Ever;
pub(crate) use measure::{Eyes, METERED, Passed, life, terms};
pub use month::Month;
pub use outbox::{Outgoing, Place};
pub(crate) use query::Referred;
pub use query::{Line, Said, Source};
pub use record::{Hash, Kind, NOTHING, Record, hex};
pub(crate) use settle::{Kept, MANAGER};
pub use store::Ledger;
pub use tally::{Party, Piece};
pub use thin::Policy;
pub use until::Followed;
pub(crate) use verify::Walk;
pub use verify::{Broken, ClosedDay, Verified};
