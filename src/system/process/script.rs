//! Running a script of the host's inside a VE, for as long as it may take.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_monitor::message::{Channel, FromMonitor};
use hostel_monitor::spec::{Enter, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};

use super::Streams;
use super::init::{Process, gone};
use super::monitor::{Monitors, from_failure};
use crate::scripts::{Bounds, How, LETTING_GO, Listening, Ran, ends_within, left};
use crate::{Error, Result};

const ACT: &str = "run a script in";
const OBJECT: &str = "the VE";

/// What the entry has told so far.
#[derive(Debug, Default)]
struct Told {
    /// The script's process.
    script: Option<Pid>,
    failure: Option<Error>,
    not_run: Option<String>,
}

/// See [`super::Guests::script`].
pub(super) fn script(monitors: &Monitors, enter: Enter, bounds: Bounds<'_>) -> Result<Ran> {
    if Process::open(enter.init)?.is_none() {
        return Err(gone(enter.init));
    }
    let fail = |e: std::io::Error| Error::os(ACT, OBJECT, e);
    let (ours, theirs) = std::io::pipe().map_err(fail)?;
    let mut listening = Listening::to(ours).map_err(fail)?;
    let streams = Streams {
        input: Some(OwnedFd::from(File::open("/dev/null").map_err(fail)?)),
        output: Some(theirs.try_clone().map_err(fail)?.into()),
        error: Some(theirs.into()),
    };
    let end = Instant::now() + bounds.patience;
    let (mut entry, channel) = monitors.spawn(&Role::Enter(Box::new(enter)), Some(streams))?;
    let mut told = Told::default();
    let given_up = loop {
        match left(bounds, end) {
            Err(how) => break Some(how),
            Ok(left) if listening.turn(entry.as_fd(), left).map_err(fail)? => break None,
            Ok(_) => told.hear(&channel).map_err(fail)?,
        }
    };
    if let Some(how) = &given_up {
        told.hear(&channel).map_err(fail)?;
        // As long as the entry lives it hasn't waited for the script: its number is its own, and its group's.
        if let Some(script) = told.script.filter(|_| !has_ended(&entry)) {
            let _ = kill_process_group(script, Signal::KILL);
        }
        // Without its other end an entry that waits gives up.
        drop(channel);
        if !ends_within(&entry, LETTING_GO).map_err(fail)? {
            // The script hangs in the kernel, or is frozen with its VE; nobody waits for that.
            let _ = pidfd_send_signal(&entry, Signal::KILL);
            return Ok(Ran {
                how: how.clone(),
                said: listening.finish(),
            });
        }
    } else {
        told.hear(&channel).map_err(fail)?;
    }
    let code = entry.wait().map_err(fail)?;
    if let Some(e) = entry.failure() {
        return Err(fail(e));
    }
    if let Some(failure) = told.failure.filter(|_| given_up.is_none()) {
        return Err(failure);
    }
    let how = match (given_up, told.not_run) {
        (Some(how), _) => how,
        (None, Some(why)) => How::NotRun(why),
        (None, None) => How::Code(code.into()),
    };
    Ok(Ran {
        how,
        said: listening.finish(),
    })
}

fn has_ended(entry: &impl AsFd) -> bool {
    ends_within(entry, Duration::ZERO).unwrap_or(true)
}

impl Told {
    /// Takes the messages that are there.
    fn hear(&mut self, channel: &Channel) -> std::io::Result<()> {
        while poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&Timespec::default()))? > 0 {
            match channel.receive::<FromMonitor>()? {
                Some((FromMonitor::Entered(pid), _)) => self.script = Pid::from_raw(pid.cast_signed()),
                Some((FromMonitor::NotRun(failure), _)) => self.not_run = Some(failure.to_string()),
                Some((FromMonitor::Failed(failure), _)) => self.failure = Some(from_failure(ACT, OBJECT, failure)),
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }
}
