//! Running a command inside a VE.
//!
//! The process that stays outside joins nothing but the VE's limits; its child is born inside all namespaces of the
//! VE but the user one, which it joins first of all. The VE's /proc is never read, and no descriptor of the host's
//! goes along that leads anywhere: terminals, sockets and devices are relayed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromMonitor};
use crate::relay::{self, Relay};
use crate::spec::{Enter, Task};
use crate::sys::{self, Cloned};
use crate::{exit, identity, inside, place};

/// How long a process that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The child's standard input, output and error, where they are not simply inherited.
pub type Stdio = [Option<OwnedFd>; 3];

/// Runs it and returns its exit code (128 + n for signal n).
pub fn enter(spec: Enter, engine: &Channel) -> Result<u8> {
    let init = identity::open(spec.init)?;
    // Nobody inside may look into this process while it still has our program in memory.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("shield", "this process")?;
    let signals = relay::signals().step("watch for", "signals")?;
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    let (mut relay, stdio) = Relay::prepare(spec.pty.is_some()).step("prepare", "standard input and output")?;
    place::join_v1(&spec.payload)?;
    let group = place::open_v2(&spec.payload)?;
    match born_inside(&init, group.as_ref().map(AsFd::as_fd))? {
        Cloned::Child => inside::run(&spec, init, stdio, &theirs),
        Cloned::Parent(pid, child) => {
            drop((theirs, stdio, init, group));
            let begun = await_exec(&spec, &ours, &mut relay, &signals, engine);
            if !matches!(begun, Ok(Begun::Yes)) {
                end(child.as_fd());
            }
            match begun? {
                Begun::Yes => {
                    // The engine may have gone; the command runs all the same.
                    let _ = engine.send(&FromMonitor::Entered(pid as u32), &[]);
                    match relay.run(&child, &signals, || place::is_frozen(&spec.payload))? {
                        Some(code) => Ok(code),
                        None => give_up(&spec, child.as_fd(), engine),
                    }
                }
                Begun::NotRun(failure) => {
                    engine
                        .send(&FromMonitor::NotRun(failure), &[])
                        .step("report to", "the engine")?;
                    Ok(1)
                }
            }
        }
    }
}

/// Has a child born in the VE's namespaces, all but the user and the cgroup one. This process goes there for that
/// moment itself and comes back: a child that were born outside and went in would for some microseconds be a process
/// that the guest sees, in the mount and network namespaces of the host, whose tables everybody may read
/// (/proc/PID/mountinfo, /proc/PID/net).
fn born_inside(init: &OwnedFd, group: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let moved = [
        ("mnt", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("uts", libc::CLONE_NEWUTS),
    ];
    let moved = moved.into_iter().chain([("ipc", libc::CLONE_NEWIPC)]);
    let mut home = Vec::new();
    for (name, flag) in moved {
        home.push((
            flag,
            File::open(format!("/proc/self/ns/{name}")).step("open the host's namespace", name)?,
        ));
    }
    let all = home.iter().fold(libc::CLONE_NEWPID, |flags, (flag, _)| flags | flag);
    sys::setns(init.as_fd(), all).step("join", "the VE's namespaces")?;
    let born = sys::clone3(0, group);
    if matches!(born, Ok(Cloned::Child)) {
        return Ok(Cloned::Child);
    }
    for (flag, namespace) in &home {
        sys::setns(namespace.as_fd(), *flag).step("return to", "the host's namespaces")?;
    }
    born.step("start", "a process in the VE")
}

/// What came of the child's way to its exec.
enum Begun {
    /// The program runs.
    Yes,
    /// The VE was entered, but there is no running this program.
    NotRun(Failure),
}

/// Waits until the program runs. A guest can make that last for ever (its user database may lie on a file system
/// that it serves itself), so whoever waits may give up: by a signal, or by ending.
fn await_exec(spec: &Enter, child: &Channel, relay: &mut Relay, signals: &SignalFd, engine: &Channel) -> Result<Begun> {
    loop {
        let mut fds = [
            PollFd::new(child, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(engine, PollFlags::RDHUP),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.step("hear from", "the process in the VE")?,
        };
        let [said, signalled, engine_gone] = fds.map(|fd| !fd.revents().is_empty());
        if !said && (engine_gone || signalled && relay::told_to_end(signals)) {
            return Err(Failure::new(
                "enter",
                "the VE",
                "it was given up before the program ran",
            ));
        }
        if !said {
            continue;
        }
        match child
            .receive::<FromMonitor>()
            .step("hear from", "the process in the VE")?
        {
            Some((FromMonitor::Terminal, Some(master))) => {
                relay.terminal(master, spec.pty).step("set up", "the terminal")?;
            }
            Some((FromMonitor::Failed(failure), _)) => return Err(failure),
            Some((FromMonitor::NotRun(failure), _)) => return Ok(Begun::NotRun(failure)),
            Some(_) => return Err(Failure::new("enter", "the VE", "the child spoke out of turn")),
            None => return Ok(Begun::Yes), // its end closed at exec
        }
    }
}

/// The command is frozen. It has the signal, and gets it when the VE goes on; a terminal hangs up then. Only what is
/// our own inside ends now, with its streams, as somebody at the host waits for them.
fn give_up(spec: &Enter, child: BorrowedFd<'_>, engine: &Channel) -> Result<u8> {
    if !matches!(spec.task, Task::Run(_) | Task::Script { .. }) {
        let _ = pidfd_send_signal(child, Signal::KILL); // it may have ended by itself
    }
    engine.send(&FromMonitor::Paused, &[]).step("report to", "the engine")?;
    Ok(1)
}

fn end(child: BorrowedFd<'_>) {
    // It may have ended by itself, or not be able to end: it may wait for a file system of the guest's.
    let _ = pidfd_send_signal(child, Signal::KILL);
    exit::reap(child, PATIENCE);
}
