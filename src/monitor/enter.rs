//! Running a command inside a VE.
//!
//! The process that stays outside joins nothing but the VE's limits; its child is born in the VE's pid namespace and
//! cgroup, then joins the rest. The VE's /proc is never read, and no descriptor of the host's goes along that leads
//! anywhere: terminals and devices are relayed.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromMonitor};
use crate::relay::{self, Relay};
use crate::spec::Enter;
use crate::sys::{self, Cloned};
use crate::{identity, inside, place};

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
    sys::setns(init.as_fd(), libc::CLONE_NEWPID).step("join", "the VE's processes")?;
    match sys::clone3(0, group.as_ref().map(AsFd::as_fd)).step("start", "a process in the VE")? {
        Cloned::Child => {
            drop((ours, relay, signals));
            inside::run(&spec, init, stdio, &theirs)
        }
        Cloned::Parent(pid, child) => {
            drop((theirs, stdio));
            await_exec(&spec, &ours, &mut relay, pid, engine)?;
            relay.run(&child, &signals)
        }
    }
}

fn await_exec(spec: &Enter, child: &Channel, relay: &mut Relay, pid: i32, engine: &Channel) -> Result<()> {
    loop {
        match child
            .receive::<FromMonitor>()
            .step("hear from", "the process in the VE")?
        {
            Some((FromMonitor::Terminal, Some(master))) => relay.terminal(master, spec.pty),
            Some((FromMonitor::Failed(failure), _)) => return Err(failure),
            Some((FromMonitor::NotRun(failure), _)) => {
                engine
                    .send(&FromMonitor::NotRun(failure), &[])
                    .step("report to", "the engine")?;
                return Ok(());
            }
            Some(_) => return Err(Failure::new("enter", "the VE", "the child spoke out of turn")),
            // Its end closed at exec. The engine may have gone; the command runs all the same.
            None => break,
        }
    }
    let _ = engine.send(&FromMonitor::Entered(pid as u32), &[]);
    Ok(())
}

/// The child's standard input, output and error, where they are not simply inherited.
pub type Stdio = [Option<OwnedFd>; 3];
