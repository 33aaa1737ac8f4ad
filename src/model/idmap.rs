//! Which range of host user and group ids each VE's own 0 to 65535 stand for.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::definition::IdRange;

/// How many ids a slot has: all that 16-bit software can name.
pub const SLOT_SIZE: u32 = 65_536;

/// The number of a slot of ids, from 0. A VE keeps its slot for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// No slot is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {count} id ranges are in use; raise idmap.count in hostel.toml")]
pub struct Full {
    count: u32,
}

impl IdRange {
    /// The first host id of a slot; `None` if the slot isn't of this range (recorded under another hostel.toml).
    pub fn base(&self, slot: Slot) -> Option<u32> {
        if slot.0 >= self.count {
            return None;
        }
        slot.0
            .checked_mul(SLOT_SIZE)
            .and_then(|offset| self.base.checked_add(offset))
    }

    /// The lowest slot that isn't used.
    pub fn allocate(&self, used: &BTreeSet<Slot>) -> Result<Slot, Full> {
        (0..self.count)
            .map(Slot)
            .find(|s| !used.contains(s))
            .ok_or(Full { count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_free_one() {
        let range = IdRange {
            base: 1 << 20,
            count: 3,
        };
        let mut used = BTreeSet::from([Slot(1)]);
        assert_eq!(range.allocate(&used), Ok(Slot(0)));
        used.insert(Slot(0));
        assert_eq!(range.allocate(&used), Ok(Slot(2)));
        used.insert(Slot(2));
        assert!(range.allocate(&used).unwrap_err().to_string().contains("idmap.count"));
        assert_eq!(
            (range.base(Slot(2)), range.base(Slot(3))),
            (Some((1 << 20) + 2 * 65_536), None)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_never_overlap(start in 16_u32..1000, count in 1_u32..200, freed in prop::collection::vec(0_u32..200, 0..50)) {
            let range = IdRange { base: start * SLOT_SIZE, count };
            let mut used = BTreeSet::new();
            // Fill up, free some, fill up again: no two of those in use ever share an id.
            while let Ok(slot) = range.allocate(&used) {
                prop_assert!(used.insert(slot));
            }
            for slot in freed {
                used.remove(&Slot(slot));
            }
            while let Ok(slot) = range.allocate(&used) {
                prop_assert!(used.insert(slot));
            }
            prop_assert_eq!(used.len(), count as usize);
            let mut end = start * SLOT_SIZE;
            for slot in used {
                let base = range.base(slot).unwrap();
                prop_assert!(base >= end);
                end = base + SLOT_SIZE;
            }
            prop_assert_eq!(end, (start + count) * SLOT_SIZE);
            prop_assert_eq!(range.base(Slot(count)), None);
        }
    }
}
