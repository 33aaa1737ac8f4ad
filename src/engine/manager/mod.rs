//! The manager: measures the VEs again and again, writes down what has passed their interfaces, sees that the firewall
//! stands, and has done what schedules say. It keeps nothing that isn't on disk but what saves it work, so whoever ends it,
//! and however, changes nothing about any VE; without it each stop still enters what a VE has used.

mod forward;
mod guardian;
mod known;
mod noter;
mod sampler;
mod steady;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use hostel_system::heap;
use hostel_system::notify::Notify;

use crate::error::{Result, chain};
use crate::facade::{Engine, Progress, Silent};
use crate::interrupt;
use crate::ledger::MANAGER;
use crate::lock::Patience;
use crate::schedule::Timetable;

use forward::Forwarder;
use guardian::Guardian;
pub(crate) use sampler::Sampler;

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);

/// How often it tells that it is alive, if nobody says how often that is wanted.
const ALIVE: Duration = Duration::from_secs(60);

/// How long after a look the next one comes: no later than the interval, and nobody inside a VE can foretell when, and so
/// have little in memory just then.
fn pause(interval: Duration) -> Duration {
    // Its keys are random.
    let drawn = RandomState::new().hash_one(interval);
    let part = u32::try_from(drawn % 1_000).unwrap_or(0);
    interval - interval / 5 * part / 1_000
}

impl Engine {
    /// Measures all VEs that run, at the interval of hostel.toml, until told to end; then it enters what was left to it.
    /// There is one manager at a time.
    /// `progress` is told what goes wrong, once for as long as it does.
    pub fn manage(&self, progress: &dyn Progress) -> Result<()> {
        let patience = Patience {
            wait: self.host.patience,
            progress: &Silent,
            interrupted: interrupt::flag(),
        };
        let lock = self.host.locks.take(MANAGER, "manager", &patience)?;
        let notify = Notify::of_environment();
        let heartbeat = notify.watchdog().map_or(ALIVE, |most| most / 2);
        let interval = self.host.config.metering.interval.duration();
        heap::share();
        let mut sampler = Sampler::staying(&self.host);
        sampler.noter().begin()?;
        let (mut guardian, mut forwarder) = (Guardian::new(&self.host), Forwarder::begin(&self.host)?);
        let (mut due, mut beat, mut trouble) = (Instant::now(), Instant::now(), None);
        let (mut status, mut timetable) = ("starting".to_owned(), Timetable::new());
        notify.ready();
        while !interrupt::raised() {
            timetable.look(&self.host, progress);
            if Instant::now() >= due {
                guardian.look(&self.host, progress);
                // A disk that hangs, under many VEs, makes a pass long: that it goes on is seen from outside.
                match sampler.pass(progress, &|| notify.alive(&status)) {
                    Ok(pass) => (status, trouble) = (pass.to_string(), None),
                    Err(e) => {
                        let why = chain(&e);
                        if trouble.as_ref() != Some(&why) {
                            progress.note(&why);
                        }
                        status.clone_from(&why);
                        trouble = Some(why);
                    }
                }
                forwarder.iter().for_each(Forwarder::wake);
                // After a long pause of the host or the disk it goes on from now, and makes up for nothing.
                due = (due + pause(interval)).max(Instant::now());
                beat = Instant::now();
            }
            if let Some(news) = forwarder.as_mut().and_then(Forwarder::news) {
                progress.note(&news);
            }
            if Instant::now() >= beat {
                notify.alive(&format!(
                    "{status}{}",
                    forwarder.as_ref().map_or_else(String::new, Forwarder::status)
                ));
                beat = Instant::now() + heartbeat;
            }
            std::thread::sleep(LOOK.min(due.saturating_duration_since(Instant::now())));
        }
        notify.stopping();
        // What was left to it up to now it enters; from here on nobody leaves anything to it. A host that goes down has
        // nothing else that would, and /run goes with it.
        drop(lock);
        self.host.settle_last("manager", progress);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At least as often as it is said, not much more often, and at no time that can be told from those before.
    #[test]
    fn looks_come_when_nobody_expects_them() {
        let minute = Duration::from_secs(60);
        let pauses: Vec<Duration> = (0..1_000).map(|_| pause(minute)).collect();
        let within = |from: u64, to: u64| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            pauses.iter().filter(|p| (from..=to).contains(p)).count()
        };
        assert_eq!(within(48, 60), 1_000);
        for second in 48..60 {
            assert!(within(second, second + 1) > 30, "{second}");
        }
    }
}
