//! Changing files of a VE that runs, from inside it.

use std::time::{Duration, Instant};

use hostel_monitor::message::FromMonitor;
use hostel_monitor::spec::{Enter, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::init::{Process, gone};
use super::monitor::{Monitors, from_failure};
use crate::{Error, Kind, Result};

const ACT: &str = "change files of";
const OBJECT: &str = "the VE";

/// See [`super::Guests::edit`].
pub(super) fn edit(monitors: &Monitors, enter: Enter, patience: Duration) -> Result<bool> {
    if Process::open(enter.init)?.is_none() {
        return Err(gone(enter.init));
    }
    let fail = |e: std::io::Error| Error::os(ACT, OBJECT, e);
    let end = Instant::now() + patience;
    let (mut entry, channel) = monitors.spawn(&Role::Enter(Box::new(enter)), None)?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&channel, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            // Without its other end the entry gives up as well.
            Ok(0) => return Err(Error::new(ACT, OBJECT, "it takes too long").kind(Kind::TimedOut)),
            other => other.map_err(|e| fail(e.into()))?,
        };
        match channel.receive::<FromMonitor>().map_err(fail)? {
            Some((FromMonitor::Failed(failure) | FromMonitor::NotRun(failure), _)) => {
                return Err(from_failure(ACT, OBJECT, failure));
            }
            Some(_) => {}
            None => break,
        }
    }
    let code = entry.wait().map_err(fail)?;
    match (code, entry.failure()) {
        (_, Some(e)) => Err(fail(e)),
        (0, None) => Ok(true),
        (1, None) => Ok(false),
        (code, None) => Err(Error::new(ACT, OBJECT, format!("it ended with code {code}"))),
    }
}
