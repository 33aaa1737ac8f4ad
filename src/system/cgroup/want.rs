//! What is to be read of many VEs, so that nothing is read for nothing.

/// What is to be read of a VE's groups. Memory, processes and processor time are always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want(u8);

impl Want {
    /// Memory, processes, and processor time.
    pub const GLANCE: Self = Self(0);
    /// How processor time is made up, and how the cap bit.
    pub const ALL_TIMES: Self = Self(1);
    /// Swap.
    pub const LEVELS: Self = Self(2);
    /// Traffic with disks.
    pub const IO: Self = Self(4);
    /// The most memory, processes killed and refused, and allocations that the limit stood in the way of.
    pub const HITS: Self = Self(8);
    /// Of swap, and the most processes.
    pub const MORE_HITS: Self = Self(16);
    /// How long tasks have waited.
    pub const WAITS: Self = Self(32);
    /// What is shown live.
    pub const LIVE: Self = Self(2 | 4);
    /// All that [`Usage`] has.
    pub const USAGE: Self = Self(1 | 2 | 4 | 8 | 32);
    /// All that [`Hits`] has.
    pub const ALL_HITS: Self = Self(1 | 8 | 16);
    /// All that there is.
    pub const EVERYTHING: Self = Self(63);

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of it but this.
    pub const fn without(self, part: Self) -> Self {
        Self(self.0 & !part.0)
    }

    /// Is this part of it?
    pub const fn has(self, part: Self) -> bool {
        self.0 & part.0 == part.0
    }
}
