//! All VEs together, when their host comes up and when it goes down: `hostel boot` and `hostel shutdown`.

use std::time::{Duration, Instant};

use hostel_model::definition::StopMode;
use hostel_model::host_life::{for_suspending, share};
use hostel_model::id::VeId;
use hostel_model::request::{Action, StartOptions};
use hostel_model::state::State;
use hostel_system::file;

use super::act::outcome;
use super::{Engine, Outcome, Progress, VeHandle};
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::interrupt;
use crate::turns::Turns;
use crate::ve::dump::BY_SHUTDOWN;
use crate::ve::outline::Outline;
use crate::ve::registry::Catalogue;

/// How long is waited between two looks at a VE that another operation holds.
const BUSY: Duration = Duration::from_millis(100);

/// VEs, all of which something is to be done to, in the order in which it begins.
#[derive(Debug)]
pub struct Procession {
    ves: Vec<Member>,
    turns: Turns,
    begun: Instant,
    /// How long all may take.
    total: Duration,
}

/// One of them.
#[derive(Debug)]
struct Member {
    handle: VeHandle,
    outline: Outline,
    turn: u32,
    mode: StopMode,
    stop_timeout: Duration,
}

impl Procession {
    /// Their names, in order.
    pub fn ves(&self) -> Vec<VeHandle> {
        self.ves.iter().map(|member| member.handle.clone()).collect()
    }
}

impl Engine {
    /// The VEs that should run when the host has booted: those that are `onboot`, and those that its shutdown has
    /// suspended; those of a higher priority first. Whatever was cut short on any VE is put right first. `progress` is
    /// told of the VEs that could not be looked at.
    pub fn boot(&self, progress: &dyn Progress) -> Result<Procession> {
        for id in self.host.journals.pending()? {
            match self.lock_ve(id, "boot", progress) {
                Ok(lock) if self.host.outline(id).is_none() => lock.retire()?,
                Ok(lock) => drop(lock),
                // Whoever works on it ends that himself.
                Err(e) if e.class == Class::Busy => {}
                Err(e) => progress.note(&format!(
                    "what was cut short on VE {id} is left as it is: {}",
                    chain(&e)
                )),
            }
        }
        let mut ves = self.members(|member, defined| {
            let suspended = self.was_suspended_by_shutdown(member.outline.id);
            match defined {
                Ok(onboot) => *onboot || suspended,
                Err(e) if !suspended => {
                    let (id, name) = (member.outline.id, &member.outline.name);
                    progress.note(&format!(
                        "VE {id} ({name}) is passed over, as it can't be told whether it is to run: {}",
                        chain(e)
                    ));
                    false
                }
                Err(_) => true,
            }
        })?;
        ves.retain(|member| !self.is_withheld(&member.outline, progress));
        for member in &mut ves {
            member.turn = u32::from(u16::MAX) - member.turn;
        }
        ves.sort_by_key(|member| (member.turn, member.outline.id));
        let turns = Turns::as_the_host_bears(ves.iter().map(|member| member.turn), &self.host.pressure);
        if !ves.is_empty() && !turns.is_told_of_pressure() {
            progress.note(&format!(
                "this kernel tells no pressure ({} can't be read): VEs start as many at once as there are processors",
                self.host.pressure.display()
            ));
        }
        Ok(self.procession(ves, turns, Duration::MAX))
    }

    /// Starts one of them when its turn comes, and waits until it has booted.
    pub fn boot_one(&self, boot: &Procession, n: usize, progress: &dyn Progress) -> Result<Outcome> {
        let member = member(boot, n)?;
        let waits = || progress.step("waiting for its turn");
        let _turn = boot.turns.wait(member.turn, interrupt::flag(), waits)?;
        if self.host.reality(member.outline.id)?.state == State::Paused {
            return Ok(outcome("is paused, and left so", false));
        }
        let start = Action::Start(StartOptions {
            wait: true,
            ..StartOptions::default()
        });
        self.act(member.outline.id, &start, progress)
    }

    /// The VEs that are to end before the host does: all that run, those of a lower priority first.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<Procession> {
        let lives = |member: &Member| {
            let state = self.host.reality(member.outline.id).map(|reality| reality.state);
            // One that can't be looked at can't be taken for ended.
            !matches!(state, Ok(State::Stopped | State::Suspended | State::Broken))
        };
        let mut ves = self.members(|member, _| lives(member))?;
        ves.sort_by_key(|member| (member.turn, member.outline.id));
        let turns = Turns::new(ves.iter().map(|member| member.turn));
        let total = timeout.unwrap_or_else(|| self.host.config.shutdown.timeout.duration());
        Ok(self.procession(ves, turns, total))
    }

    /// Ends one of them when its turn comes, as its definition says, within its part of the time that all have.
    pub fn shut_down_one(&self, shutdown: &Procession, n: usize, progress: &dyn Progress) -> Result<Outcome> {
        let member = member(shutdown, n)?;
        let waits = || progress.step("waiting for its turn");
        let turn = shutdown.turns.wait(member.turn, interrupt::flag(), waits)?;
        let begun = Instant::now();
        let share = share(shutdown.total, shutdown.begun.elapsed(), turn.numbers_left);
        let left = || share.saturating_sub(begun.elapsed());
        loop {
            match self.end_with_host(member, &left, progress) {
                // Somebody else does something to it, perhaps the same.
                Err(e) if e.class == Class::Busy && !left().is_zero() && !interrupt::raised() => {
                    std::thread::sleep(BUSY);
                }
                other => return other,
            }
        }
    }

    /// When all have ended: what they have used last is brought to the disk, before the host's memory goes. A manager that
    /// was to do that may have been ended at the same time.
    pub fn end_shutdown(&self, progress: &dyn Progress) {
        self.host.settle_last("shutdown", progress);
    }

    /// `left`: what there is still of its time.
    fn end_with_host(&self, member: &Member, left: &dyn Fn() -> Duration, progress: &dyn Progress) -> Result<Outcome> {
        let id = member.outline.id;
        match self.host.reality(id)?.state {
            State::Mounted => return self.act(id, &Action::Umount, progress),
            // It can't write what it has in memory while it is frozen, and then that would be lost.
            State::Paused => {
                self.act(id, &Action::Unpause, progress)?;
                progress.note("it was paused, and goes on so that it can shut down");
            }
            State::Running if member.mode == StopMode::Suspend && !left().is_zero() => {
                let timeout = Some(for_suspending(left(), member.stop_timeout));
                match self.act(id, &Action::Suspend { timeout }, progress) {
                    Ok(done) => {
                        self.mark_suspended_by_shutdown(id)?;
                        return Ok(done);
                    }
                    // It is, but a script failed that could keep nothing from it.
                    Err(e) if e.class == Class::Script && self.host.is_suspended(id) => {
                        self.mark_suspended_by_shutdown(id)?;
                        return Err(e);
                    }
                    Err(e) if matches!(e.class, Class::Busy | Class::Interrupted) => return Err(e),
                    Err(e) => progress.note(&format!("it is stopped instead of suspended: {}", chain(&e))),
                }
            }
            _ => {}
        }
        let timeout = Some(left().min(member.stop_timeout));
        self.act(id, &Action::Stop { timeout }, progress)
    }

    fn procession(&self, ves: Vec<Member>, turns: Turns, total: Duration) -> Procession {
        Procession {
            ves,
            turns,
            begun: Instant::now(),
            total,
        }
    }

    /// The VEs that are wanted. Asked with whether a VE is `onboot`, if its definition can be read; where it can't, all
    /// else is as if it said nothing.
    fn members(&self, wanted: impl Fn(&Member, &Result<bool>) -> bool) -> Result<Vec<Member>> {
        let mut catalogue = Catalogue::default();
        let mut members = Vec::new();
        for outline in self.outlines()? {
            let effective = self.host.effective(&outline.name, &mut catalogue);
            let (turn, mode, stop_timeout) = effective.as_ref().map_or_else(
                |_| (0, StopMode::Stop, self.host.config.defaults.stop_timeout),
                |e| (e.priority, e.stop_mode, e.stop_timeout),
            );
            let member = Member {
                handle: VeHandle {
                    id: outline.id,
                    name: outline.name.clone(),
                },
                outline,
                turn: u32::from(turn),
                mode,
                stop_timeout: stop_timeout.duration(),
            };
            if wanted(&member, &effective.map(|e| e.onboot)) {
                members.push(member);
            }
        }
        Ok(members)
    }

    fn was_suspended_by_shutdown(&self, id: VeId) -> bool {
        let suspended = self
            .host
            .reality(id)
            .is_ok_and(|reality| reality.state == State::Suspended);
        suspended && self.host.by_shutdown(id).exists()
    }

    pub(crate) fn mark_suspended_by_shutdown(&self, id: VeId) -> Result<()> {
        Ok(file::write_atomic(&self.host.by_shutdown(id), b"", 0o600)?)
    }
}

impl Host {
    fn by_shutdown(&self, id: VeId) -> std::path::PathBuf {
        self.dirs.dump(id).join(BY_SHUTDOWN)
    }
}

fn member(procession: &Procession, n: usize) -> Result<&Member> {
    let none = || Error::new(Class::NotFound, format!("there is no VE at place {n}"));
    procession.ves.get(n).ok_or_else(none)
}
