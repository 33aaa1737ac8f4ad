//! Which time of day is believed where something is done that can't be taken back: to close a day, and to make hours and days
//! of what is old. A clock that is months ahead, as that of a host may be until it has asked for the time, would make days of
//! all that there is.

use std::path::Path;

use hostel_model::usage::{HOUR, Moment};
use hostel_system::file;
use serde::{Deserialize, Serialize};

/// What is no jump: 10 s.
const SLACK: i64 = 10_000_000_000;

/// What the clock on the wall has shown in this boot. It lies in /run, so that whoever comes next goes on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    boot: String,
    /// What it shows when the host boots, as far as it is believed.
    #[serde(default)]
    believed: Option<i64>,
    /// The same of what is ahead of that, and since when it is so, in nanoseconds since the boot.
    #[serde(default)]
    ahead: Option<(i64, u64)>,
}

impl Steady {
    /// Looks at the clock; `set`: the kernel says that it is right. Gives the time that is believed, never later than what the
    /// clock shows; `None`: none is yet.
    pub fn look(path: &Path, now: &Moment, set: bool) -> Option<i64> {
        let text = std::fs::read(path).ok();
        let known = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let known = known.filter(|known| known.boot == now.boot).unwrap_or_else(|| Self {
            boot: now.boot.clone(),
            ..Self::default()
        });
        let mut next = known.clone();
        let time = next.see(now, set);
        if next != known {
            // Where it can't be written, the next knows nothing of this look, and waits the longer.
            if let Ok(text) = serde_json::to_vec(&next) {
                let _ = file::replace(path, &text);
            }
        }
        time
    }

    /// A clock that is set back is believed at once: what is done later than it could be is no harm. What jumps ahead is
    /// believed when it has stayed so for an hour: until then time goes on from where it was, by the clock that nobody sets.
    /// The first time of a boot is believed at once where the kernel says that it is right; else it waits like a jump.
    fn see(&mut self, now: &Moment, set: bool) -> Option<i64> {
        let up = i64::try_from(now.up_ns).unwrap_or(i64::MAX);
        let shown = now.wall_ns.saturating_sub(up);
        let near = |of: i64| shown.saturating_sub(of).saturating_abs() <= SLACK;
        let at_once = match self.believed {
            Some(believed) => shown <= believed.saturating_add(SLACK),
            None => set,
        };
        let held = |(of, since): (i64, u64)| near(of) && now.up_ns.saturating_sub(since) >= HOUR.unsigned_abs();
        if at_once || self.ahead.is_some_and(held) {
            (self.believed, self.ahead) = (Some(shown), None);
        } else if !self.ahead.is_some_and(|(of, _)| near(of)) {
            self.ahead = Some((shown, now.up_ns));
        }
        self.believed
            .map(|believed| believed.saturating_add(up).min(now.wall_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * HOUR;

    fn see(clock: &mut Steady, shown: i64, up: i64, set: bool) -> Option<i64> {
        let now = Moment {
            wall_ns: shown + up,
            boot: String::new(),
            up_ns: up.unsigned_abs(),
        };
        clock.see(&now, set)
    }

    #[test]
    fn a_jump_ahead_is_believed_when_it_has_stayed_for_an_hour() {
        let mut clock = Steady::default();
        assert_eq!(see(&mut clock, 0, HOUR, true), Some(HOUR));
        for minute in 0..60 {
            let up = 2 * HOUR + minute * HOUR / 60;
            assert_eq!(see(&mut clock, 90 * DAY, up, true), Some(up), "{minute}");
        }
        assert_eq!(see(&mut clock, 90 * DAY, 3 * HOUR, true), Some(90 * DAY + 3 * HOUR));
        // Back at once, and then ahead again.
        assert_eq!(see(&mut clock, 0, 4 * HOUR, true), Some(4 * HOUR));
        assert_eq!(see(&mut clock, 90 * DAY, 5 * HOUR, true), Some(5 * HOUR));
        assert_eq!(see(&mut clock, 0, 6 * HOUR, true), Some(6 * HOUR));
        assert_eq!(
            see(&mut clock, 90 * DAY, 7 * HOUR, true),
            Some(7 * HOUR),
            "it has not stayed"
        );
    }

    #[test]
    fn of_a_clock_that_nobody_has_set_nothing_is_believed_for_an_hour() {
        let mut clock = Steady::default();
        assert_eq!(see(&mut clock, 90 * DAY, 1, false), None);
        // It is set meanwhile.
        assert_eq!(see(&mut clock.clone(), DAY, HOUR / 2, true), Some(DAY + HOUR / 2));
        assert_eq!(see(&mut clock, 90 * DAY, HOUR, false), None);
        assert_eq!(see(&mut clock, 90 * DAY, HOUR + 1, false), Some(90 * DAY + HOUR + 1));
    }

    /// It is corrected bit by bit for as long as the host is up.
    #[test]
    fn a_clock_that_is_drawn_to_the_right_time_is_believed() {
        let mut clock = Steady::default();
        for n in 0..100 {
            let (shown, up) = (n * SLACK / 2, n * HOUR / 60);
            let seen = see(&mut clock, shown, up, true).unwrap();
            assert!((0..=SLACK).contains(&(shown + up - seen)), "{n}: {seen}");
        }
    }
}
