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

/// How long a guest may take to shut down with its host.
///
/// `total` is what the host has for all, `spent` what has passed of it. `turns` is how many groups of VEs are to be
/// shut down one after the other, the present one included: each gets an equal share of what is left, so that the first
/// ones can't use up the time of the last, and time that isn't used goes to those that come. `own` is what the VE's
/// definition gives it, which is never exceeded.
pub fn grace(total: Duration, spent: Duration, turns: usize, own: Duration) -> Duration {
    let left = total.saturating_sub(reserve(total)).saturating_sub(spent);
    let turns = u32::try_from(turns.max(1)).unwrap_or(u32::MAX);
    own.min(left / turns)
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
    fn a_guest_has_its_own_time_but_never_more_than_its_share_of_the_hosts() {
        let total = 100 * S; // of which 10 are for killing
        assert_eq!(grace(total, Duration::ZERO, 1, 60 * S), 60 * S);
        assert_eq!(grace(total, Duration::ZERO, 1, 600 * S), 90 * S);
        assert_eq!(grace(total, Duration::ZERO, 3, 60 * S), 30 * S);
        // The first turn was quick: the others have more.
        assert_eq!(grace(total, 10 * S, 2, 60 * S), 40 * S);
        assert_eq!(grace(total, 85 * S, 1, 60 * S), 5 * S);
        assert_eq!(grace(total, 95 * S, 1, 60 * S), Duration::ZERO);
        assert_eq!(grace(total, 200 * S, 0, 60 * S), Duration::ZERO);
        assert_eq!(grace(5 * S, Duration::ZERO, 1, 60 * S), 4 * S);
    }

    #[test]
    fn whatever_each_takes_all_turns_end_in_time() {
        for turns in 1..=7usize {
            let (total, mut spent) = (60 * S, Duration::ZERO);
            for left in (1..=turns).rev() {
                spent += grace(total, spent, left, 600 * S);
            }
            assert!(spent <= total - reserve(total), "{turns} turns took {spent:?}");
        }
    }
}
