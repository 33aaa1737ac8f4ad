//! One look at all VEs. Each is looked at in its turn by a thread that may hang on one (its disk doesn't answer, say):
//! another goes on with the next then, and that one is left out until the first comes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::traffic::Reading as Counter;
use hostel_model::usage::{HOUR, Reading};

use super::known::Known;
use crate::error::{Class, Error, Result, chain};
use crate::facade::Progress;
use crate::host::Host;
use crate::ledger::{Ledger, Passed, Policy};
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
    known: Known,
    /// Being looked at, perhaps by a thread that hangs.
    in_hand: Mutex<BTreeSet<VeId>>,
    /// The counters of traffic, by VE, as read at the beginning, and when; `None`: they could not be.
    counters: Mutex<Option<Counters>>,
    /// Those that don't run are looked at too.
    all: Mutex<bool>,
}

/// Those that nobody looks at yet. Each look has its own: a thread that comes back late takes none of the next one's, which
/// would not hear of it.
type Waiting = Mutex<VecDeque<VeId>>;

/// What is counted by VE, and when it was read, in nanoseconds since the host's boot.
struct Counters {
    by_ve: BTreeMap<VeId, Vec<Counter>>,
    from_ns: u64,
}

/// What a thread says of a VE: nothing to measure, or what was measured.
type Answer = (VeId, Result<Option<Reading>>);

/// Looks at VEs again and again.
pub struct Sampler {
    work: Arc<Work>,
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
    /// One that has seen nothing yet.
    pub fn new(host: &Arc<Host>) -> Self {
        Self {
            work: Arc::new(Work {
                host: Arc::clone(host),
                known: Known::default(),
                in_hand: Mutex::default(),
                counters: Mutex::default(),
                all: Mutex::default(),
            }),
            hour: None,
            told: BTreeMap::new(),
        }
    }

    /// Measures all VEs that run, once an hour the others too, and enters it with all that lies in the spool. Once an hour
    /// the ledger is thinned. `beat` is called while it goes on, at least each few seconds of the look.
    pub fn pass(&mut self, progress: &dyn Progress, beat: &dyn Fn()) -> Result<Pass> {
        let host = Arc::clone(&self.work.host);
        let wall = host.moment().wall_ns;
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
        pass.entered = host.enter_usage("manager", readings, progress)?;
        if fresh {
            // What goes wrong is told, and tried again in an hour: it is no reason to look at all each time.
            self.hour = hour;
            let ns = |span: hostel_model::units::Span| i64::try_from(span.duration().as_nanos()).unwrap_or(i64::MAX);
            let metering = host.config.metering;
            let policy = Policy {
                samples_ns: ns(metering.samples),
                hours_ns: ns(metering.hours),
            };
            beat();
            let _lock = host.lock_ledger("manager")?;
            Ledger::open(&host.dirs.ledger())?.thin(wall, policy)?;
        }
        Ok(pass)
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
        work.known.keep(&ids);
        *locked(&work.all) = all;
        *locked(&work.counters) = work.counters();
        let hanging = locked(&work.in_hand).clone();
        let mut open: BTreeSet<VeId> = ids.into_iter().collect();
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(open.difference(&hanging).copied().collect()));
        let (say, hear) = channel();
        let mut answers = Vec::new();
        work.hire(&waiting, &say)?;
        while open.difference(&hanging).next().is_some() {
            match hear.recv_timeout(PATIENCE) {
                Ok((id, answer)) => {
                    open.remove(&id);
                    answers.push((id, answer));
                }
                // Whoever is at work hangs; if nobody waits any more, that is all.
                Err(RecvTimeoutError::Timeout) if locked(&waiting).is_empty() => break,
                Err(RecvTimeoutError::Timeout) => {
                    beat();
                    work.hire(&waiting, &say)?;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop::<Receiver<_>>(hear);
        let silent = |id| {
            (
                id,
                "it did not answer in time, and is left out until it does".to_owned(),
            )
        };
        Ok((answers, open.into_iter().map(silent).collect()))
    }
}

impl Work {
    /// The counters of all interfaces, with one look.
    fn counters(&self) -> Option<Counters> {
        let from_ns = self.host.moment().up_ns;
        let all = self.host.counters.read(&self.host.traffic_table(), None).ok()?;
        let mut by_ve: BTreeMap<VeId, Vec<Counter>> = BTreeMap::new();
        for counter in all {
            if let Some(id) = self.host.config.interface_prefix.id_of(&counter.interface) {
                by_ve.entry(id).or_default().push(counter);
            }
        }
        Some(Counters { by_ve, from_ns })
    }

    /// One thread more that goes through those who wait.
    fn hire(self: &Arc<Self>, waiting: &Arc<Waiting>, say: &Sender<Answer>) -> Result<()> {
        let (work, waiting, say) = (Arc::clone(self), Arc::clone(waiting), say.clone());
        let body = move || {
            loop {
                let Some(id) = locked(&waiting).pop_front() else {
                    return;
                };
                locked(&work.in_hand).insert(id);
                let answer = work.measure(id);
                locked(&work.in_hand).remove(&id);
                if say.send((id, answer)).is_err() {
                    return; // nobody waits for it any more
                }
            }
        };
        match std::thread::Builder::new().stack_size(256 << 10).spawn(body) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::new(Class::Failed, "cannot begin a thread").because(e)),
        }
    }

    fn measure(&self, id: VeId) -> Result<Option<Reading>> {
        let host = &self.host;
        if !*locked(&self.all) && !host.cgroups.exists(id) {
            return Ok(None);
        }
        let Some((state, terms)) = self.known.of(host, id)? else {
            return Ok(None);
        };
        let counters = locked(&self.counters)
            .as_mut()
            .map(|all| (all.by_ve.remove(&id).unwrap_or_default(), all.from_ns));
        let traffic = counters.and_then(|(counters, from_ns)| {
            let traffic = host.traffic_with(id, counters).ok()?;
            Some(Passed {
                flows: traffic.totals().into_iter().collect(),
                from_ns,
            })
        });
        Ok(host.measure(&state, terms, traffic))
    }
}
