//! Ending a run of a VE and all that belonged to it: `hostel stop`, and the first part of `restart` and `destroy`.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostel_model::id::VeId;
use hostel_model::request::VeRef;
use hostel_system::process::Init;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::facade::Progress;
use crate::host::Host;
use crate::interrupt;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::outline::Outline;
use crate::ve::registry::unknown_ve;

/// Written into a VE's runtime directory when its guest is asked to shut down: which process was asked, and how many
/// milliseconds it has for it.
pub const ASKED: &str = "asked-to-end";

/// A stop under way. Once the guest has ended there is no way back but another start.
#[derive(Debug)]
pub struct Stop {
    host: Arc<Host>,
    id: VeId,
    ve: Outline,
    params: Params,
    /// As long as we hold this, clearing up is our affair and not the monitor's.
    clearing: Option<OwnedFd>,
    interrupted: &'static AtomicBool,
    notes: Vec<String>,
}

/// How to end it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Params {
    /// Milliseconds that the guest has to shut down; 0: it is killed at once.
    pub grace: u64,
}

impl Operation for Stop {
    const VERB: &'static str = "stop";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let ve = host.outline(id).ok_or_else(|| unknown_ve(&VeRef::Id(id)))?;
        Ok(Self {
            host,
            id,
            ve,
            params,
            clearing: None,
            interrupted: interrupt::flag(),
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("end", "shutting down", Stop::end, Stop::let_live).irrevocable(Stop::has_ended),
                Step::new("clear", "clearing up", Stop::clear, nothing),
            ]
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Stop {
    /// Takes all steps, for a host whose /run is so full that no journal can be written. What a kill on the way leaves
    /// the next operation on that VE, or an audit, clears up.
    pub fn without_journal(host: &Arc<Host>, id: VeId, params: Params) -> Result<()> {
        let mut stop = Self::resume(Arc::clone(host), id, params)?;
        Self::steps().iter().try_for_each(|step| (step.act)(&mut stop))
    }

    fn end(&mut self) -> Result<()> {
        let Some(init) = self.host.reality(self.id)?.init else {
            return Ok(());
        };
        self.host.note_ending(self.id);
        // A monitor that doesn't answer clears up as well as we do, and finds nothing left then.
        self.clearing = self
            .host
            .guests
            .take_over_clearing(&self.host.dirs.run(self.id))
            .unwrap_or_default();
        if self.params.grace > 0 {
            let end = Instant::now() + Duration::from_millis(self.params.grace);
            // What is frozen runs no script, and would keep it waiting.
            if !self.host.is_frozen(self.id)? {
                self.host.stop_hooks(&self.ve, init, end)?;
            }
            if self.shut_down(init, end)? {
                return Ok(());
            }
            self.notes.push("it did not shut down in time and was killed".into());
        }
        self.host.end_by_force(&self.ve, init)
    }

    fn has_ended(&self) -> Result<bool> {
        Ok(self.host.reality(self.id)?.init.is_none())
    }

    /// It lives on, or ends by itself later: then clearing up is its monitor's affair again.
    fn let_live(&mut self) -> Result<()> {
        self.clearing = None;
        Ok(())
    }

    /// Asks the guest, and waits. False when its time is over.
    fn shut_down(&self, init: Init, end: Instant) -> Result<bool> {
        let guests = &self.host.guests;
        // Where even this can't be written, a stop that is cut short is forgotten, and nothing worse.
        let asked = format!("{} {}", init.pid, self.params.grace);
        let _ = fs::write(self.host.dirs.run(self.id).join(ASKED), asked);
        // An init that was just started hears nothing yet.
        let mut heard = guests.shut_down(init)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if guests.wait(init, left.min(Duration::from_millis(200)))? {
                return Ok(true);
            }
            heard = heard || guests.shut_down(init)?;
            if left.is_zero() {
                return Ok(false);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                let name = &self.ve.name;
                return Err(
                    Error::new(Class::Interrupted, format!("the stop of {name} was interrupted")).hint(format!(
                        "{name} was asked to shut down and may still do so; see: hostel status {name}"
                    )),
                );
            }
        }
    }

    fn clear(&mut self) -> Result<()> {
        self.host.clear(&self.ve)
    }
}

impl Host {
    /// How long a guest that was asked to shut down by a stop which was cut short may still take for it.
    fn time_to_end(&self, id: VeId, init: Init) -> Option<Duration> {
        let mark = self.dirs.run(id).join(ASKED);
        let text = fs::read_to_string(&mark).ok()?;
        let (asked, grace) = text.split_once(' ')?;
        // Not a later run's, as after a reboot from inside.
        if asked.parse() != Ok(init.pid) {
            return None;
        }
        let grace = Duration::from_millis(grace.parse().ok()?);
        // Whatever became of the clock meanwhile, it is no longer than it was.
        let passed = fs::metadata(&mark).ok()?.modified().ok()?.elapsed().unwrap_or_default();
        grace.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// Waits for a guest that may be shutting down, as a stop which was cut short has asked it. True if it has ended; at
    /// once false if nobody has asked.
    pub fn await_asked_end(&self, id: VeId, init: Init, progress: &dyn Progress) -> Result<bool> {
        let Some(left) = self.time_to_end(id, init) else {
            return Ok(false);
        };
        progress.step("shutting down, as it was asked to before");
        let end = Instant::now() + left;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if self.guests.wait(init, left.min(Duration::from_millis(200)))? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            if interrupt::raised() {
                let message = format!("interrupted while VE {id} shuts down, as a stop had asked it to");
                return Err(Error::new(Class::Interrupted, message));
            }
        }
    }
}
