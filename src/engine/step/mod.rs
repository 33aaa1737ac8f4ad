//! Operations as tables of named steps, each with an act and an undo.
//!
//! What an operation's file looks like:
//!
//! ```ignore
//! impl Operation for Create {
//!     const VERB: &'static str = "create";
//!     const HOME: Home = Home::Durable;
//!     fn steps() -> &'static [Step<Self>] {
//!         &[
//!             Step::new("claim", "taking the name", claim, unclaim),
//!             Step::new("disk", "formatting the disk", make_disk, remove_disk),
//!             Step::new("commit", "writing the definition", commit, uncommit).point_of_no_return(),
//!         ]
//!     }
//! }
//! ```
//!
//! The rules that a step must keep, proved for each operation by [`testkit`]:
//! 1. Its act may run twice: what is there already is left as it is.
//! 2. Its undo may run twice, when the act never ran, and when it stopped half way.
//! 3. It needs nothing from memory that the parameters don't hold or the host can't be asked for: the next process
//!    undoes it, or takes the steps that are left, with a context made anew from the journal.
//! 4. Its undo touches only what its own act made. (It runs only if the act was begun.)
//!
//! If a step fails, it and all before it are undone, last first. Once a step that is a point of no return has been
//! taken, nothing is undone any more: what fails after it stays to be done, and the next operation on that VE goes on
//! with it. The journal knows whether it was taken; for one whose act can't be undone (a guest has ended) the host is
//! asked as well, for the act may be done and the line not be written.

mod points;
mod run;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use hostel_model::id::VeId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
pub use crate::journal::Home;
pub use points::{Points, Side, points};
pub use run::{Recovered, Runner};

/// An operation on one VE; the type itself is the context that its steps work on.
pub trait Operation: Sized + 'static {
    /// The verb, as people type it.
    const VERB: &'static str;
    /// Where its journal lies.
    const HOME: Home;
    /// What the steps act upon: the adapters, the real ones or the fakes.
    type Host: ?Sized;
    /// All that is needed to make the context, here or in the next process. It is written to the journal.
    type Params: Serialize + DeserializeOwned;

    /// Makes the context. It must change nothing.
    fn resume(host: Arc<Self::Host>, id: VeId, params: Self::Params) -> Result<Self>;
    /// The steps, in order. Names are unique, and stay what they are from version to version.
    fn steps() -> &'static [Step<Self>];
    /// What the last step found worth a line (and forgets now).
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// One step.
pub struct Step<C> {
    /// Its name in the journal: one word.
    pub name: &'static str,
    /// What a person is told: "formatting the disk".
    pub says: &'static str,
    /// Takes it.
    pub act: fn(&mut C) -> Result<()>,
    /// Takes it back.
    pub undo: fn(&mut C) -> Result<()>,
    /// When it has been taken, the operation only goes forward.
    pub point_of_no_return: bool,
    /// Asks the host whether what can't be taken back has happened, whatever the journal says.
    pub passed: Option<fn(&C) -> Result<bool>>,
}

impl<C> Step<C> {
    /// A step.
    pub const fn new(
        name: &'static str,
        says: &'static str,
        act: fn(&mut C) -> Result<()>,
        undo: fn(&mut C) -> Result<()>,
    ) -> Self {
        Self {
            name,
            says,
            act,
            undo,
            point_of_no_return: false,
            passed: None,
        }
    }

    /// After this one there is no way back. Until the journal says that it was taken, its undo takes it back.
    #[must_use]
    pub const fn point_of_no_return(mut self) -> Self {
        self.point_of_no_return = true;
        self
    }

    /// After this one there is no way back, and what it does can't be undone even before the journal knows: then
    /// `passed` asks the host whether it has happened. Its undo takes back only what happens before that.
    #[must_use]
    pub const fn irrevocable(mut self, passed: fn(&C) -> Result<bool>) -> Self {
        self.point_of_no_return = true;
        self.passed = Some(passed);
        self
    }
}

impl<C> fmt::Debug for Step<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The undo of a step that leaves nothing to take back: one that only looks, waits, or comes after the point of no
/// return.
pub fn nothing<C>(_: &mut C) -> Result<()> {
    Ok(())
}
