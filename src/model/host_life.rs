//! How a host carries its VEs up at its boot and down at its shutdown: plain decisions, without a clock of their own.

use std::time::Duration;

/// How long it is looked before more VEs are let in: shorter, and what the last ones cost has not shown yet.
pub const WINDOW: Duration = Duration::from_millis(100);

/// For how long tasks of the host have waited since its boot, in microseconds: the `total` of the `some` lines in
/// /proc/pressure (kernel: accounting/psi.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalled {
    /// For a processor.
    pub cpu: u64,
    /// For a disk.
    pub io: u64,
    /// For memory.
    pub memory: u64,
}

/// The share of a window, in percent, for which something may have waited if more is to be let in. A boot uses what
/// processors and disks there are, so some waiting is a host well used; but no waiting for memory is good: more VEs
/// only make it worse.
const BEARABLE: Stalled = Stalled {
    cpu: 70,
    io: 60,
    memory: 10,
};

/// Did the host bear what ran on it in this window? `before` and `after` are the readings at its ends. An empty window
/// says nothing, so it doesn't bear it.
pub fn bears(before: Stalled, after: Stalled, window: Duration) -> bool {
    let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
    let below = |before: u64, after: u64, percent: u64| {
        let waited = after.saturating_sub(before);
        u128::from(waited) * 100 < u128::from(micros) * u128::from(percent)
    };
    below(before.cpu, after.cpu, BEARABLE.cpu)
        && below(before.io, after.io, BEARABLE.io)
        && below(before.memory, after.memory, BEARABLE.memory)
}

/// What is put by of the time for a shutdown, for killing and clearing up what didn't shut down.
fn reserve(total: Duration) -> Duration {
    (total / 5).min(Duration::from_secs(10))
}

/// How long it may take to end a VE with its host.
///
/// `total` is what the host has for all, `spent` what has passed of it. `turns` is how many groups of VEs are to be
/// ended one after the other, the present one included: each gets an equal share of what is left, so that the first ones
/// can't use up the time of the last, and time that isn't used goes to those that come.
pub fn share(total: Duration, spent: Duration, turns: usize) -> Duration {
    let left = total.saturating_sub(reserve(total)).saturating_sub(spent);
    let turns = u32::try_from(turns.max(1)).unwrap_or(u32::MAX);
    left / turns
}

/// How much of its share a VE may take to be suspended: should that come to nothing, it can still shut down, for which
/// its definition gives it `own`; but half is left for either.
pub fn for_suspending(share: Duration, own: Duration) -> Duration {
    share - own.min(share / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn stalled(cpu: u64, io: u64, memory: u64) -> Stalled {
        Stalled { cpu, io, memory }
    }

    #[test]
    fn a_host_bears_more_until_something_waits_too_long() {
        let before = stalled(5_000_000, 10, 10);
        let after = |cpu, io, memory| stalled(before.cpu + cpu, before.io + io, before.memory + memory);
        let bears = |after| bears(before, after, S);
        assert!(bears(before));
        assert!(bears(after(699_999, 599_999, 99_999)));
        assert!(!bears(after(700_000, 0, 0)));
        assert!(!bears(after(0, 600_000, 0)));
        assert!(!bears(after(0, 0, 100_000)));
        // A counter that went back (nobody knows why) is no wait.
        assert!(bears(stalled(0, 0, 0)));
        assert!(!super::bears(before, before, Duration::ZERO));
    }

    #[test]
    fn each_turn_has_its_share_and_what_others_have_left() {
        let total = 100 * S; // of which 10 are for killing
        assert_eq!(share(total, Duration::ZERO, 1), 90 * S);
        assert_eq!(share(total, Duration::ZERO, 3), 30 * S);
        // The first turn was quick: the others have more.
        assert_eq!(share(total, 10 * S, 2), 40 * S);
        assert_eq!(share(total, 85 * S, 1), 5 * S);
        assert_eq!(share(total, 95 * S, 1), Duration::ZERO);
        assert_eq!(share(total, 200 * S, 0), Duration::ZERO);
        assert_eq!(share(5 * S, Duration::ZERO, 1), 4 * S);
    }

    #[test]
    fn whatever_each_takes_all_turns_end_in_time() {
        for turns in 1..=7usize {
            let (total, mut spent) = (60 * S, Duration::ZERO);
            for left in (1..=turns).rev() {
                spent += share(total, spent, left);
            }
            assert!(spent <= total - reserve(total), "{turns} turns took {spent:?}");
        }
    }

    #[test]
    fn a_suspension_leaves_time_to_shut_down() {
        assert_eq!(for_suspending(90 * S, 30 * S), 60 * S);
        assert_eq!(for_suspending(90 * S, 600 * S), 45 * S);
        assert_eq!(for_suspending(Duration::ZERO, 30 * S), Duration::ZERO);
    }
}
