//! A VE between its birth and its init: what its monitor says, and how long that is waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_monitor::message::{Channel, FromMonitor, ToMonitor};
use hostel_monitor::spec::Init;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::monitor::from_failure;
use super::spawn::Spawned;
use super::{Launching, Mounting, interrupt};
use crate::scripts::LETTING_GO;
use crate::{Error, Kind, Result};

const ACT: &str = "start VE";

/// How long init may take to be run when all else is in place. What scripts of the host's owner have run inside by then
/// is the tenant's: it can freeze the process that is to become init, or give it a program that is never read to its end.
const RUNS_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether a person has given up.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Launched {
    id: u32,
    monitor: Spawned,
    channel: Channel,
    init: Init,
    network: OwnedFd,
    disk: Option<Mounting>,
    furnished: bool,
    without: Vec<String>,
}

/// Until when a word is waited for.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    end: Option<Instant>,
    /// Does a person's Ctrl-C end it?
    may_be_given_up: bool,
}

impl Launched {
    pub(super) fn new(id: u32, monitor: Spawned, channel: Channel, init: Init, network: OwnedFd) -> Self {
        Self {
            id,
            monitor,
            channel,
            init,
            network,
            disk: None,
            furnished: false,
            without: Vec::new(),
        }
    }

    /// Gives the monitor something for the VE. That it was sent doesn't say that it came.
    pub(super) fn hand_over(&self, what: &ToMonitor, fd: BorrowedFd<'_>) -> Result<()> {
        hand_over(&self.channel, what, fd).map_err(|e| Error::os(ACT, self.id, e))
    }

    /// Gives the monitor the disk, for which it waits last, as soon as that is mounted.
    pub(super) fn with_disk(mut self, disk: Mounting) -> Result<Self> {
        disk.hand_to(&self.channel)
            .map_err(|failure| from_failure(ACT, self.id, failure))?;
        self.disk = Some(disk);
        Ok(self)
    }

    /// The next word of the monitor's that isn't about what the VE does without; `None` if it has ended.
    fn hear(&mut self, bounds: Bounds) -> Result<Option<FromMonitor>> {
        loop {
            self.await_word(bounds)?;
            let heard = self.channel.receive::<FromMonitor>();
            match heard.map_err(|e| Error::os("hear from the monitor of VE", self.id, e))? {
                Some((FromMonitor::Without(failure), _)) => self.without.push(failure.to_string()),
                Some((FromMonitor::Failed(failure), _)) => {
                    let _ = self.monitor.wait();
                    return Err(from_failure(ACT, self.id, failure));
                }
                other => return Ok(other.map(|(message, _)| message)),
            }
        }
    }

    fn await_word(&self, bounds: Bounds) -> Result<()> {
        loop {
            let left = bounds.end.map(|end| end.saturating_duration_since(Instant::now()));
            let slice = left.map_or(LOOK, |left| left.min(LOOK));
            let slice = Timespec {
                tv_sec: slice.as_secs().cast_signed(),
                tv_nsec: slice.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], Some(&slice)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(Error::os("hear from the monitor of VE", self.id, e)),
            }
            if bounds.may_be_given_up && interrupt::raised() {
                return Err(interrupt::given_up(ACT, self.id));
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Err(self.too_late());
            }
        }
    }

    fn too_late(&self) -> Error {
        let why = format!("its init could not be run within {} s", RUNS_WITHIN.as_secs());
        Error::new(ACT, self.id, why)
            .kind(Kind::TimedOut)
            .hint("what a script of the event start runs inside may be the tenant's, and hold it up: docs/HOOKS.md")
    }

    fn until_furnished(&mut self) -> Result<()> {
        self.mounted()?;
        let bounds = Bounds {
            end: None,
            may_be_given_up: true,
        };
        while !self.furnished {
            self.furnished = match self.hear(bounds)? {
                Some(FromMonitor::Furnished) => true,
                _ => return Err(self.silence()),
            };
        }
        Ok(())
    }

    fn until_started(&mut self, bounds: Bounds) -> Result<()> {
        match self.hear(bounds)? {
            Some(FromMonitor::Started) => Ok(()),
            _ => Err(self.silence()),
        }
    }

    fn silence(&self) -> Error {
        Error::new(ACT, self.id, "its monitor ended without a word")
    }

    /// Has the monitor give up. Init may have been run in that very moment; then it stays.
    fn give_up(&mut self, why: Error) -> Result<()> {
        self.channel.fall_silent();
        let bounds = Bounds {
            end: Some(Instant::now() + LETTING_GO),
            may_be_given_up: false,
        };
        loop {
            match self.hear(bounds) {
                Ok(Some(FromMonitor::Furnished)) => {}
                Ok(Some(FromMonitor::Started)) => return Ok(()),
                _ => return Err(why),
            }
        }
    }
}

/// A monitor that has ended meanwhile has left a message, which is read next.
pub(super) fn hand_over(channel: &Channel, what: &ToMonitor, fd: BorrowedFd<'_>) -> std::io::Result<()> {
    match channel.send(what, &[fd]) {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Err(e),
        _ => Ok(()),
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Whoever mounts the disk holds this end too: the monitor is not to wait for that, nor be given it.
        self.channel.fall_silent();
    }
}

impl Launching for Launched {
    fn init(&self) -> Init {
        self.init
    }

    fn network_namespace(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    fn mounted(&mut self) -> Result<()> {
        let given = self.disk.take().map_or(Ok(()), |mut disk| disk.handed());
        given.map_err(|failure| from_failure(ACT, self.id, failure))?;
        match interrupt::raised() {
            true => Err(interrupt::given_up(ACT, self.id)),
            false => Ok(()),
        }
    }

    fn furnished(&mut self) -> Result<()> {
        self.until_furnished()
    }

    fn go(mut self: Box<Self>) -> Result<Vec<String>> {
        // It is what the monitor waits for before the word to go.
        self.mounted()?;
        // A monitor that has failed meanwhile has left its message, which is what is told; the send may fail then.
        if self.channel.send(&ToMonitor::Go, &[]).is_err() {
            // One that is well must not wait for a word that will not come.
            self.channel.fall_silent();
        }
        let done = self.until_furnished().and_then(|()| {
            self.until_started(Bounds {
                end: Some(Instant::now() + RUNS_WITHIN),
                may_be_given_up: true,
            })
        });
        match done {
            Err(e) if matches!(e.kind, Kind::TimedOut | Kind::Interrupted) => self.give_up(e)?,
            done => done?,
        }
        Ok(std::mem::take(&mut self.without))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// One that can't be sent is no mount that is simply missing.
    #[test]
    fn only_a_monitor_that_has_ended_needs_nothing_any_more() {
        let (ours, theirs) = Channel::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        let bind = |path: String| ToMonitor::Bind(path, true, true);
        assert!(hand_over(&ours, &bind("srv".into()), null.as_fd()).is_ok());
        let too_long = hand_over(&ours, &bind("x".repeat(1 << 24)), null.as_fd());
        assert_eq!(too_long.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        drop(theirs);
        assert!(hand_over(&ours, &bind("srv".into()), null.as_fd()).is_ok());
    }
}
