//! One look at all VEs. Each is looked at in its turn by a thread that may hang on one (its disk doesn't answer, say):
//! another goes on with the next then, and that one is left out until the first comes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::traffic::Reading as Counter;
use hostel_model::units::Span;
use hostel_model::usage::{DAY, HOUR, Reading};

use super::known::{Entry, Known, Look};
use super::noter::Noter;
use super::steady::Steady;
use crate::error::{Class, Error, Result, chain};
use crate::facade::Progress;
use crate::host::Host;
use crate::ledger::{BATCH, Kept, Policy};
use crate::ve::registry::ids_in;

/// How long one VE may take before another thread goes on.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of a look.
#[derive(Debug, Default)]
pub struct Pass {
    /// How many VEs were measured.
    pub measured: usize,
    /// How many notes were entered into the ledger.
    pub entered: usize,
    /// VEs that could not be measured.
    pub failed: usize,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} VEs measured", self.measured)?;
        match self.failed {
            0 => Ok(()),
            n => write!(f, ", {n} could not be"),
        }
    }
}

/// What threads share.
struct Work {
    host: Arc<Host>,
    known: Arc<Known>,
    /// Being looked at, perhaps by a thread that hangs.
    in_hand: Mutex<BTreeSet<VeId>>,
    /// The counters of traffic, by VE, as read at the beginning, and when; `None`: they could not be.
    counters: Mutex<Option<Counters>>,
    /// Those that don't run are looked at too.
    all: AtomicBool,
}

/// What is counted by VE, and when it was read, in nanoseconds since the host's boot.
struct Counters {
    by_ve: BTreeMap<VeId, Vec<Counter>>,
    from_ns: u64,
}

/// What a thread says of a VE: nothing to measure, or what was measured.
type Answer = (VeId, Result<Option<Reading>>);

/// Where threads leave what they have seen in one pass. Whoever waits for it is woken once, as waking costs more than
/// looking at a VE.
#[derive(Default)]
struct Desk {
    /// Those that nobody looks at yet. Each look has its own: a thread that comes back late takes none of the next one's,
    /// which would not hear of it.
    waiting: Mutex<VecDeque<VeId>>,
    answers: Mutex<(Vec<Answer>, bool)>,
    bell: Condvar,
}

/// Looks at VEs again and again.
pub struct Sampler {
    work: Arc<Work>,
    ledger: Kept,
    /// The hour of the last look at all, and of the last thinning.
    hour: Option<i64>,
    /// What was told of which VE.
    told: BTreeMap<VeId, String>,
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler")
            .field("hour", &self.hour)
            .finish_non_exhaustive()
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    /// One that has seen nothing yet, for one pass.
    pub fn new(host: &Arc<Host>) -> Self {
        Self::begin(host, false)
    }

    /// One that stays, and is asked again and again.
    pub fn staying(host: &Arc<Host>) -> Self {
        Self::begin(host, true)
    }

    /// Who writes down what has passed the interfaces of those that are looked at.
    pub fn noter(&self) -> Noter {
        Noter::new(Arc::clone(&self.work.host), Arc::clone(&self.work.known))
    }

    fn begin(host: &Arc<Host>, stays: bool) -> Self {
        Self {
            work: Arc::new(Work {
                host: Arc::clone(host),
                known: Arc::new(Known::new(stays)),
                in_hand: Mutex::default(),
                counters: Mutex::default(),
                all: AtomicBool::new(false),
            }),
            ledger: Kept::default(),
            hour: None,
            told: BTreeMap::new(),
        }
    }

    /// Measures all VEs that run, once an hour the others too, and enters it with all that lies in the spool. Once an hour
    /// the ledger is thinned. `beat` is called while it goes on, at least each few seconds of the look.
    pub fn pass(&mut self, progress: &dyn Progress, beat: &dyn Fn()) -> Result<Pass> {
        let host = Arc::clone(&self.work.host);
        let now = host.moment();
        let wall = now.wall_ns;
        // Each time, as what it shows must have stayed so.
        let believed = Steady::look(&host.dirs.steady(), &now, (host.clock_is_set)());
        let hour = Some(wall.div_euclid(HOUR));
        let fresh = hour != self.hour;
        let (answers, mut wrong) = self.look(fresh, beat)?;
        let mut pass = Pass::default();
        let mut readings = Vec::with_capacity(answers.len());
        for (id, answer) in answers {
            match answer {
                Ok(Some(reading)) => readings.push(reading),
                Ok(None) => {}
                Err(e) => drop(wrong.insert(id, chain(&e))),
            }
        }
        (pass.measured, pass.failed) = (readings.len(), wrong.len());
        self.tell(wrong, progress);
        pass.entered = host.enter_usage_in(&mut self.ledger, "manager", readings, progress)?;
        if fresh {
            // What goes wrong is told, and tried again in an hour: it is no reason to look at all each time.
            self.hour = hour;
            while self.sum_up(wall)? {
                beat();
            }
            if let Some(believed) = believed {
                while self.thin_some(believed)? {
                    beat();
                }
            }
        } else if self.ledger.open(&host.dirs.ledger())?.unsummed()? >= BATCH / 2 {
            // So that who asks for a report has little left to read.
            self.sum_up(wall)?;
        }
        Ok(pass)
    }

    /// Sums up some records; true if there are more. Others may write in between.
    fn sum_up(&mut self, wall: i64) -> Result<bool> {
        let host = &self.work.host;
        let _lock = host.lock_ledger("manager")?;
        self.ledger.open(&host.dirs.ledger())?.sum_up(wall)
    }

    /// Thins the ledger by a part; true if there is more. Others may write in between.
    fn thin_some(&mut self, believed: i64) -> Result<bool> {
        let host = &self.work.host;
        let _lock = host.lock_ledger("manager")?;
        let ledger = self.ledger.open(&host.dirs.ledger())?;
        Ok(ledger.thin_some(believed, policy(host))?.is_some())
    }

    /// Each failure is told once for as long as it lasts.
    fn tell(&mut self, wrong: BTreeMap<VeId, String>, progress: &dyn Progress) {
        for (id, why) in &wrong {
            if self.told.get(id) != Some(why) {
                progress.note(&format!("VE {id} could not be measured: {why}"));
            }
        }
        self.told = wrong;
    }

    /// Looks at all that are to be; and which didn't answer.
    fn look(&self, all: bool, beat: &dyn Fn()) -> Result<(Vec<Answer>, BTreeMap<VeId, String>)> {
        let work = &self.work;
        let ids = ids_in(&work.host.dirs.ves())?;
        work.known.begin(&ids);
        work.all.store(all, Ordering::Relaxed);
        *locked(&work.counters) = work.counters();
        let hanging = locked(&work.in_hand).clone();
        let mut open: BTreeSet<VeId> = ids.into_iter().collect();
        let waiting: VecDeque<VeId> = open.difference(&hanging).copied().collect();
        let wanted = waiting.len();
        let desk = Arc::new(Desk {
            waiting: Mutex::new(waiting),
            ..Desk::default()
        });
        work.hire(&desk)?;
        let mut done = locked(&desk.answers);
        let mut seen = 0;
        while done.0.len() < wanted {
            let waits = |(answers, _): &mut (Vec<Answer>, bool)| answers.len() < wanted;
            done = desk
                .bell
                .wait_timeout_while(done, PATIENCE, waits)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if std::mem::replace(&mut seen, done.0.len()) < done.0.len() {
                beat();
                continue; // somebody is at work
            }
            // Whoever is at work hangs; if nobody waits any more, that is all.
            if locked(&desk.waiting).is_empty() {
                break;
            }
            beat();
            work.hire(&desk)?;
        }
        done.1 = true;
        *locked(&work.counters) = None;
        let answers = std::mem::take(&mut done.0);
        drop(done);
        for (id, _) in &answers {
            open.remove(id);
        }
        let silent = |id| {
            (
                id,
                "it did not answer in time, and is left out until it does".to_owned(),
            )
        };
        Ok((answers, open.into_iter().map(silent).collect()))
    }
}

/// How long what is kept.
fn policy(host: &Host) -> Policy {
    let ns = |span: Span| i64::try_from(span.duration().as_nanos()).unwrap_or(i64::MAX);
    let metering = host.config.metering;
    Policy {
        samples_ns: ns(metering.samples),
        hours_ns: ns(metering.hours),
        wait_ns: DAY,
    }
}

impl Work {
    /// The counters of all interfaces, with one look.
    fn counters(&self) -> Option<Counters> {
        let from_ns = self.host.moment().up_ns;
        let by_ve = self.host.counters_by_ve().ok()?;
        Some(Counters { by_ve, from_ns })
    }

    /// One thread more that goes through those who wait.
    fn hire(self: &Arc<Self>, desk: &Arc<Desk>) -> Result<()> {
        let (work, desk) = (Arc::clone(self), Arc::clone(desk));
        let body = move || {
            loop {
                let Some(id) = locked(&desk.waiting).pop_front() else {
                    desk.bell.notify_one();
                    return;
                };
                locked(&work.in_hand).insert(id);
                let answer = work.measure(id);
                locked(&work.in_hand).remove(&id);
                let mut done = locked(&desk.answers);
                if done.1 {
                    return; // nobody waits for it any more
                }
                done.0.push((id, answer));
            }
        };
        match std::thread::Builder::new().stack_size(256 << 10).spawn(body) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::new(Class::Failed, "cannot begin a thread").because(e)),
        }
    }

    fn measure(&self, id: VeId) -> Result<Option<Reading>> {
        let mut entry = self.known.take(id);
        let measured = self.look_at(id, &mut entry);
        self.known.put(id, entry);
        measured
    }

    fn look_at(&self, id: VeId, entry: &mut Entry) -> Result<Option<Reading>> {
        let host = &self.host;
        if !self.all.load(Ordering::Relaxed) && !entry.lives() && !host.cgroups.exists(id) {
            return Ok(None);
        }
        let Some(state) = entry.state(host, id)? else {
            return Ok(None);
        };
        let terms = entry.terms(&self.known, host, &state);
        let counters = locked(&self.counters)
            .as_mut()
            .map(|all| (all.by_ve.remove(&id).unwrap_or_default(), all.from_ns));
        let counters = counters.and_then(|read| entry.counters((&self.known, host), &state, read));
        let (counters, from_ns) = counters.unzip();
        let traffic = counters
            .as_deref()
            .zip(from_ns)
            .and_then(|(counters, from_ns)| entry.passed(host, id, counters, from_ns));
        let seen = traffic.is_some();
        let mut look = Look {
            known: &self.known,
            entry,
        };
        let reading = host.measure_with(&state, terms, traffic, &mut look)?;
        match (reading.as_ref().is_some_and(|r| r.condition.lives()), counters) {
            (true, Some(counters)) if seen => entry.remember(counters),
            (true, _) => {}
            (false, _) => entry.forget(),
        }
        Ok(reading)
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::request::Action;
    use hostel_model::traffic::Direction;

    use super::*;
    use crate::facade::Silent;
    use crate::testing::{engine, fakes, host, id, order, started, with_ve};

    fn bytes(reading: &Reading) -> u64 {
        let traffic = reading.traffic.as_ref().unwrap();
        traffic.iter().map(|(_, amount)| amount.bytes).sum()
    }

    /// Between the reading of all counters and the look at a VE another may have got its number.
    #[test]
    fn what_another_has_passed_under_the_same_number_is_not_its_own() {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        let passed = |bytes| {
            fakes(&host).counters.pass("hv101.0", "external", Direction::Out, bytes);
        };
        fakes(&host).time.pass(60);
        passed(700);
        let sampler = Sampler::new(&host);
        let work = &sampler.work;
        let read = || *locked(&work.counters) = work.counters();
        work.all.store(true, Ordering::Relaxed);
        read();
        assert_eq!(bytes(&work.measure(id(101)).unwrap().unwrap()), 700);
        read();
        engine(&host)
            .act(id(101), &Action::Destroy { force: true }, &Silent)
            .unwrap();
        engine(&host).create(&order("web2", &[("id", "101")]), &Silent).unwrap();
        for starts in [false, true] {
            if starts {
                started(&host);
            }
            assert_eq!(bytes(&work.measure(id(101)).unwrap().unwrap()), 0, "{starts}");
            read();
        }
        // An end and a start later it is written down, and nothing is there twice.
        fakes(&host).time.pass(60);
        passed(30);
        read();
        engine(&host)
            .act(id(101), &Action::Stop { timeout: None }, &Silent)
            .unwrap();
        started(&host);
        assert_eq!(bytes(&work.measure(id(101)).unwrap().unwrap()), 30);
        fakes(&host).time.pass(60);
        passed(5);
        read();
        assert_eq!(bytes(&work.measure(id(101)).unwrap().unwrap()), 35);
    }
}
