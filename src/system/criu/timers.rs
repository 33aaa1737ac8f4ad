//! Timers that a restore has left standing.
//!
//! A timer of timerfd_create(2) that ticks again and again is wound up anew by whoever reads its ticks. One that has ticked while
//! its process stood still has no next time then, so its image tells CRIU (up to 4.2) of none, and what is restored from it
//! has ticks to be read, and never ticks again.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::time::{ClockId, Itimerspec, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_settime};

use super::mend::{descriptors, get, open};
use crate::{Error, Result};

/// TFD_IOC_SET_TICKS of linux/timerfd.h.
const SET_TICKS: libc::Ioctl = 0x4008_5400;

/// A timer that stands though it is to tick.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ticks: u64,
    interval: (i64, i64),
    /// To be told of a clock that is set (TFD_TIMER_CANCEL_ON_SET).
    on_set: bool,
}

/// Lets timers of these processes tick again, with the ticks that wait to be read, the next one an interval from now. Whoever
/// holds them must not run: once the ticks are read, such a timer can't be told from one that was stopped.
pub fn wind_up(processes: &[u32]) -> Result<()> {
    for pid in processes {
        let numbers = descriptors(*pid, b"anon_inode:[timerfd]");
        if numbers.is_empty() {
            continue;
        }
        let Some(process) = open(*pid) else { continue };
        for number in numbers {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
            if let Some(standing) = standing(&info)
                && let Some(timer) = get(&process, number)
            {
                wind(&timer, &standing).map_err(|e| Error::os("let tick", format!("a timer of process {pid}"), e))?;
            }
        }
    }
    Ok(())
}

/// proc_pid_fdinfo(5). A timer that was stopped has no ticks, and one that ticks has a next time.
fn standing(info: &str) -> Option<Standing> {
    let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let pair = |key: &str| {
        let (seconds, ns) = value(key)?.trim_matches(['(', ')']).split_once(", ")?;
        Some((seconds.parse().ok()?, ns.parse().ok()?))
    };
    let flags = u32::from_str_radix(value("settime flags:")?, 8).ok()?;
    let standing = Standing {
        ticks: value("ticks:")?.parse().ok()?,
        interval: pair("it_interval:")?,
        on_set: flags & TimerfdTimerFlags::CANCEL_ON_SET.bits() != 0,
    };
    (standing.ticks > 0 && pair("it_value:")? == (0, 0) && standing.interval != (0, 0)).then_some(standing)
}

fn wind(timer: &OwnedFd, standing: &Standing) -> std::io::Result<()> {
    let it_interval = Timespec {
        tv_sec: standing.interval.0,
        tv_nsec: standing.interval.1,
    };
    // Only a time of the clock on the wall can be told of its setting.
    let (flags, it_value) = if standing.on_set {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        (flags, clock_gettime(ClockId::Realtime) + it_interval)
    } else {
        (TimerfdTimerFlags::empty(), it_interval)
    };
    timerfd_settime(timer, flags, &Itimerspec { it_interval, it_value })?;
    // SAFETY: the kernel reads eight bytes of `ticks`, which lives through the call.
    match unsafe { libc::ioctl(timer.as_raw_fd(), SET_TICKS, &raw const standing.ticks) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

    use super::*;

    const EACH: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

    /// As CRIU restores one: no next time, and ticks.
    fn restored(clock: TimerfdClockId, flags: TimerfdTimerFlags, ticks: u64) -> OwnedFd {
        let timer = timerfd_create(clock, TimerfdFlags::CLOEXEC).unwrap();
        let spec = Itimerspec {
            it_interval: EACH,
            it_value: NEVER,
        };
        timerfd_settime(&timer, flags, &spec).unwrap();
        if ticks > 0 {
            // SAFETY: as above.
            let set = unsafe { libc::ioctl(timer.as_raw_fd(), SET_TICKS, &raw const ticks) };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        }
        timer
    }

    fn info(timer: &OwnedFd) -> String {
        fs::read_to_string(format!("/proc/self/fdinfo/{}", timer.as_raw_fd())).unwrap()
    }

    fn ticks(timer: &OwnedFd) -> u64 {
        let mut bytes = [0; 8];
        rustix::io::read(timer, &mut bytes).unwrap();
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn what_was_left_standing_ticks_on_and_what_was_stopped_does_not() {
        let on_set = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        let stand = [
            restored(TimerfdClockId::Monotonic, TimerfdTimerFlags::empty(), 3),
            restored(TimerfdClockId::Realtime, on_set, 3),
        ];
        let stopped = restored(TimerfdClockId::Monotonic, TimerfdTimerFlags::empty(), 0);
        for timer in &stand {
            assert!(standing(&info(timer)).is_some(), "{}", info(timer));
        }
        wind_up(&[std::process::id(), u32::MAX / 2]).unwrap();
        for timer in &stand {
            assert!((3..100).contains(&ticks(timer)), "those that waited are there");
            // It waits for the next one; without that this would stand for ever.
            assert!((1..100).contains(&ticks(timer)));
            assert_eq!(standing(&info(timer)), None);
        }
        assert!(info(&stopped).contains("it_value: (0, 0)"), "{}", info(&stopped));
    }

    #[test]
    fn other_texts_are_no_timers() {
        for text in [
            "",
            "ticks: 3\n",
            "settime flags: 00\nticks: 3\nit_value: (0, 0)\nit_interval: 7\n",
        ] {
            assert_eq!(standing(text), None, "{text}");
        }
    }
}
