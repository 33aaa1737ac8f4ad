//! When schedules are due: what the manager looks at between its other work.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::{Duration, Instant};

use hostel_model::definition::Schedule;
use hostel_model::id::ScheduleName;
use hostel_system::command;
use jiff::{SignedDuration, Timestamp};

use super::record::Looked;
use super::zone;
use crate::error::{Result, chain};
use crate::facade::Progress;
use crate::host::Host;

/// How often it looks. A schedule is due at a whole minute.
const LOOK: Duration = Duration::from_secs(1);

/// A schedule may begin so late in any case: what the manager does otherwise takes its time.
const LEAST_LATE: Duration = Duration::from_secs(60);

/// A clock that was so much ahead was wrong, and what was due up to then has not been.
const WRONG: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done about a schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    No,
    /// Run it: it was due then.
    At(Timestamp),
    /// It was due then, longer ago than it may begin late.
    Missed(Timestamp),
}

/// Starts what is due. All that has to last is on the disk before.
#[derive(Debug)]
pub(crate) struct Timetable {
    look: Instant,
    /// Those that were started, until they have ended.
    children: Vec<Child>,
    /// Those that were gone at the last look.
    gone: BTreeSet<ScheduleName>,
    /// What was told of which, so that it is told once.
    told: BTreeMap<String, String>,
}

impl Timetable {
    pub(crate) fn new() -> Self {
        Self {
            look: Instant::now(),
            children: Vec::new(),
            gone: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Looks, if it is time to. What goes wrong is told, once for as long as it does.
    pub(crate) fn look(&mut self, host: &Host, progress: &dyn Progress) {
        if Instant::now() < self.look {
            return;
        }
        self.look = Instant::now() + LOOK;
        self.look_now(host, progress);
    }

    pub(super) fn look_now(&mut self, host: &Host, progress: &dyn Progress) {
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let names = host.names_of("schedules");
        let now = Timestamp::from_second((host.clock)()).unwrap_or_default();
        let forgotten = self.forget(host, &names);
        self.tell("", forgotten.err().map(|e| chain(&e)), progress);
        self.told.retain(|of, _| of.is_empty() || names.contains(of));
        for name in names {
            let problem = match self.of(host, &name, now, progress) {
                Ok(()) => None,
                Err(e) => Some(format!("schedule {name} is not run: {}", chain(&e))),
            };
            self.tell(&name, problem, progress);
        }
    }

    /// What is kept of those that were gone at the last look, too: who edits a file may put another in its place, and there is
    /// none for a moment.
    fn forget(&mut self, host: &Host, names: &[String]) -> Result<()> {
        let mut kept = host.kept_schedules();
        kept.retain(|name| !names.iter().any(|there| there == name.as_str()));
        let before = std::mem::replace(&mut self.gone, kept);
        self.gone
            .intersection(&before)
            .try_for_each(|name| host.forget_schedule(name))
    }

    fn of(&mut self, host: &Host, name: &str, now: Timestamp, progress: &dyn Progress) -> Result<()> {
        let name: ScheduleName = name
            .parse()
            .map_err(|e: hostel_model::id::NameError| crate::Error::new(crate::Class::Usage, e.to_string()))?;
        let schedule = host.schedule(&name)?;
        match due(host, &schedule, now)? {
            Due::No => Ok(()),
            _ if schedule.disabled => Ok(()),
            Due::Missed(at) => {
                progress.note(&format!("schedule {name} was due at {at}, and is not run so late"));
                Ok(())
            }
            Due::At(at) if host.schedule_runs(&name) => {
                progress.note(&format!(
                    "schedule {name} is due at {at}, and is left out as it still runs"
                ));
                Ok(())
            }
            Due::At(at) => {
                let config = host.config_file.display().to_string();
                let args = [
                    "--config",
                    &config,
                    "schedule",
                    "run",
                    "--due",
                    &at.to_string(),
                    name.as_str(),
                ];
                self.children
                    .push(command::leave(&host.program, &args.map(str::to_owned))?);
                Ok(())
            }
        }
    }

    fn tell(&mut self, of: &str, problem: Option<String>, progress: &dyn Progress) {
        match problem {
            Some(why) if self.told.get(of) != Some(&why) => {
                progress.note(&why);
                self.told.insert(of.to_owned(), why);
            }
            Some(_) => {}
            None => {
                self.told.remove(of);
            }
        }
    }
}

/// What was due since the last look, of which this is the next. That it was looked at is on the disk before anything is
/// done: what is due once is run once at most.
pub(super) fn due(host: &Host, schedule: &Schedule, now: Timestamp) -> Result<Due> {
    let zone = zone(schedule)?;
    let of = format!(
        "{} {}",
        schedule.at,
        schedule.time_zone.as_ref().map(ToString::to_string).unwrap_or_default()
    );
    let looked = |until: Timestamp| host.write_looked(&schedule.name, &Looked { of: of.clone(), until });
    let until = match host.looked(&schedule.name) {
        Some(last) if last.of == of && last.until.duration_since(now) < WRONG => last.until,
        // A schedule that is new, or has other times now, begins here.
        _ => {
            looked(now)?;
            return Ok(Due::No);
        }
    };
    let Some(first) = schedule.at.next(until, &zone).filter(|at| *at <= now) else {
        return Ok(Due::No);
    };
    let late = SignedDuration::try_from(schedule.late.duration().max(LEAST_LATE)).unwrap_or(WRONG);
    let from = now.checked_sub(late).map_or(until, |from| from.max(until));
    let last = schedule.at.last(from, now, &zone);
    looked(now)?;
    Ok(last.map_or(Due::Missed(first), Due::At))
}
