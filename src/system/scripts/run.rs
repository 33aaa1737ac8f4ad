//! Running one: bounded in time and in what is kept of its words.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::note::Note;
use super::{Bounds, How, MOST_SAID, Ran, not_run};
use crate::{Error, Result};

/// How often it is looked whether a person has given up.
const LOOK: Duration = Duration::from_millis(100);

/// How long what was killed may take to end.
pub(crate) const LETTING_GO: Duration = Duration::from_secs(5);

/// Reads what a script says until it has ended.
#[derive(Debug)]
pub(crate) struct Listening {
    from: Option<PipeReader>,
    said: Vec<u8>,
}

impl Listening {
    pub(crate) fn to(from: PipeReader) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&from, true)?;
        Ok(Self {
            from: Some(from),
            said: Vec::new(),
        })
    }

    /// Waits for words or for `end` to be readable. True if it is.
    pub(crate) fn turn(&mut self, end: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&end, PollFlags::IN)];
        fds.extend(self.from.as_ref().map(|from| PollFd::new(from, PollFlags::IN)));
        match poll(&mut fds, Some(&timespec(patience))) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        let (ended, spoke) = (
            !fds[0].revents().is_empty(),
            fds.get(1).map(|fd| !fd.revents().is_empty()),
        );
        if spoke == Some(true) {
            self.hear();
        }
        Ok(ended)
    }

    /// Takes what is there, once. False if there is nothing.
    fn hear(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.from.as_mut().map(|from| from.read(&mut chunk)) {
            Some(Ok(n @ 1..)) => {
                let room = MOST_SAID.saturating_sub(self.said.len());
                self.said.extend_from_slice(&chunk[..n.min(room)]);
                true
            }
            Some(Err(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => false,
            _ => {
                self.from = None;
                false
            }
        }
    }

    /// All that was said. What it has left running may hold the pipe for ever: only what is there is read.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for _ in 0..256 {
            if !self.hear() {
                break;
            }
        }
        self.said
    }
}

/// Does this process (a pidfd) end within that time?
pub(crate) fn ends_within(process: &impl AsFd, time: Duration) -> io::Result<bool> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timespec(left))) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// What is left of a script's time, no more than until the next look at who gives up. Or why it is over.
pub(crate) fn left(bounds: Bounds<'_>, end: Instant) -> std::result::Result<Duration, How> {
    if bounds.interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err(How::Interrupted);
    }
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(How::TimedOut),
        left => Ok(left.min(LOOK)),
    }
}

/// See [`super::Scripts::run`].
pub(super) fn on_host(script: &Path, env: &[(String, String)], note: &Path, bounds: Bounds<'_>) -> Result<Ran> {
    let fail = |e: io::Error| Error::os("run", script.display(), e);
    let (ours, theirs) = io::pipe().map_err(fail)?;
    let mut listening = Listening::to(ours).map_err(fail)?;
    let nothing = File::open("/dev/null").map_err(fail)?;
    let mut command = Command::new(script);
    command
        .env_clear()
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir("/")
        .stdin(Stdio::from(nothing))
        .stdout(Stdio::from(theirs.try_clone().map_err(fail)?))
        .stderr(Stdio::from(theirs));
    // A disk that fails must not keep it from running.
    let note = Note::open(note).ok().map(Arc::new);
    let signed = note.clone();
    // SAFETY: between fork and exec only close_range, sigaction, sigprocmask, prctl, setsid, and open, read and write of
    // the note are called, which allocate nothing and take no lock.
    unsafe {
        command.pre_exec(move || {
            alone()?;
            let _ = signed.as_ref().map(|note| note.sign());
            Ok(())
        })
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return not_run(script.display(), e),
    };
    drop(command); // with our copies of the pipe's other end
    let how = wait(&mut child, &mut listening, bounds).map_err(|e| {
        // Nobody waits for it any more, and it must not work on unseen. Its number is still its own.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        fail(e)
    })?;
    let _ = note.map(|note| note.clear());
    Ok(Ran {
        how,
        said: listening.finish(),
    })
}

/// In the child: nothing of ours stays open, signals are as they are by default, and it doesn't outlive us. Without a
/// terminal: who asks a person there, as ssh does, would be stopped, and stand until its time is over.
fn alone() -> io::Result<()> {
    rustix::process::setsid()?;
    hostel_monitor::sys::close_from(3, true)?;
    hostel_monitor::sys::restore_signals()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn wait(child: &mut Child, listening: &mut Listening, bounds: Bounds<'_>) -> io::Result<How> {
    let group = Pid::from_child(child);
    let pidfd = pidfd_open(group, PidfdFlags::empty());
    let end = Instant::now() + bounds.patience;
    let given_up = loop {
        match (left(bounds, end), &pidfd) {
            (Err(how), _) => break Some(how),
            (Ok(left), Ok(pidfd)) if listening.turn(pidfd.as_fd(), left)? => break None,
            (Ok(_), Ok(_)) => {}
            // Without a descriptor to spare it is ended at once: its end could not be waited for in time.
            (Ok(_), Err(e)) => break Some(How::NotRun(e.to_string())),
        }
    };
    if given_up.is_some() {
        // It isn't waited for yet, so its number is its own, and its group's.
        let _ = kill_process_group(group, Signal::KILL);
    }
    match (&given_up, &pidfd) {
        // It hangs in the kernel, on a disk or a server that doesn't answer. Nobody waits for that.
        (Some(how), Ok(pidfd)) if !ends_within(pidfd, LETTING_GO)? => return Ok(how.clone()),
        _ => {}
    }
    let status = child.wait()?;
    Ok(given_up.unwrap_or_else(|| match (status.code(), status.signal()) {
        (Some(code), _) => How::Code(code),
        (None, signal) => How::Signal(signal.unwrap_or_default()),
    }))
}
