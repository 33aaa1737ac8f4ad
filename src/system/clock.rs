//! The time by two clocks at once: the one on the wall, which people set, and the one that only goes on.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since 1970 in UTC, and nanoseconds since the host's boot, sleep included (clock_gettime(2):
/// CLOCK_REALTIME, CLOCK_BOOTTIME).
pub fn moment() -> (i64, u64) {
    let ns = |t: Timespec| t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec);
    let up = ns(clock_gettime(ClockId::Boottime));
    (ns(clock_gettime(ClockId::Realtime)), u64::try_from(up).unwrap_or(0))
}

/// Does whoever sets the clock on the wall say that it is right (adjtimex(2): not STA_UNSYNC)? The kernel begins with no, and
/// it stays so where nobody sets it.
pub fn is_set() -> bool {
    // SAFETY: a timex has nothing but numbers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it is ours and lives through the call; its modes are 0, with which the kernel changes nothing but fills it in.
    let found = unsafe { libc::adjtimex(&raw mut state) };
    found >= 0 && state.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_clock_is_of_today_and_the_other_goes_on() {
        let (wall, up) = super::moment();
        assert!(wall > 1_700_000_000_000_000_000, "{wall}");
        assert!(super::moment().1 > up && up > 0);
    }

    #[test]
    fn it_can_be_asked_whether_it_is_set() {
        assert_eq!(super::is_set(), super::is_set());
    }
}
