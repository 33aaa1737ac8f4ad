//! Schedules: what the manager has done at certain times, each by a command of its own.
//!
//! The manager decides when one is due and starts `hostel schedule run NAME`, which does it, holds the schedule's lock
//! meanwhile, and writes down how it went. So neither needs the other to live, and a person can do the same by hand.

mod record;
mod run;
mod timetable;

use hostel_model::definition::Schedule;
use hostel_model::id::ScheduleName;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::error::{Class, Error, Result, chain};
use crate::facade::{Engine, Family, FamilyKind, Sample};
use crate::host::Host;
use crate::ve::registry::load;

pub use record::LastRun;
pub(crate) use timetable::Timetable;

/// How many times to come are told.
const UPCOMING: usize = 5;

/// A schedule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleStatus {
    /// Its name.
    pub name: String,
    /// waiting, running, disabled, or broken where its definition has mistakes.
    pub state: &'static str,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// When it is due, as in crontab(5).
    pub at: Option<String>,
    /// By whose clocks; `None`: the host's.
    pub time_zone: Option<String>,
    /// What is done: the words after `hostel`.
    pub run: Vec<String>,
    /// How much later it may begin, in seconds.
    pub late: Option<u64>,
    /// How long it may take, in seconds.
    pub timeout: Option<u64>,
    /// When it is due next, by those clocks; none if it is disabled or broken.
    pub upcoming: Vec<String>,
    /// How it went last.
    pub last: Option<LastRun>,
}

/// The clocks that a schedule goes by.
fn zone(schedule: &Schedule) -> Result<TimeZone> {
    let Some(zone) = &schedule.time_zone else {
        return Ok(TimeZone::system());
    };
    TimeZone::get(&zone.to_string()).map_err(|e| {
        Error::new(Class::Usage, format!("this host knows no time zone {zone}"))
            .because(e)
            .hint("see what there is with: timedatectl list-timezones")
    })
}

impl Host {
    fn schedule(&self, name: &ScheduleName) -> Result<Schedule> {
        load(self, "schedules", name.as_str(), Schedule::parse)
    }
}

impl Engine {
    /// All schedules, in order of name.
    pub fn schedules(&self) -> Vec<ScheduleStatus> {
        let names = self.host.names_of("schedules").into_iter();
        names.map(|name| self.schedule_of_file(name)).collect()
    }

    /// One of them.
    pub fn schedule(&self, name: &ScheduleName) -> Result<ScheduleStatus> {
        match self.host.schedule(name) {
            Err(e) if e.class == Class::NotFound => Err(e),
            _ => Ok(self.schedule_of_file(name.to_string())),
        }
    }

    fn schedule_of_file(&self, name: String) -> ScheduleStatus {
        let known = name.parse::<ScheduleName>();
        let found = match &known {
            Ok(name) => self
                .host
                .schedule(name)
                .and_then(|schedule| Ok((zone(&schedule)?, schedule))),
            Err(e) => Err(Error::new(Class::Usage, e.to_string())),
        };
        let mut status = match found {
            Ok((zone, schedule)) => stands(&schedule, &zone, self.now()),
            Err(e) => broken(name, &chain(&e)),
        };
        if let Ok(name) = known {
            status.last = self.host.last_run(&name);
            if status.last.as_ref().is_some_and(LastRun::goes_on) {
                status.state = "running";
            }
        }
        status
    }

    /// Of each that has run: when it ended last, and whether it did what it was to do; of a broken one, that it doesn't.
    /// Whoever watches a host is to hear of one that fails.
    pub(crate) fn schedule_metrics(&self) -> Vec<Family> {
        let all = self.schedules();
        let family = |name, help, value: &dyn Fn(&ScheduleStatus) -> Option<f64>| Family {
            name,
            kind: FamilyKind::Gauge,
            help,
            samples: all
                .iter()
                .filter_map(|schedule| {
                    let labels = vec![("schedule", schedule.name.clone())];
                    value(schedule).map(|value| Sample { labels, value })
                })
                .collect(),
        };
        vec![
            family(
                "hostel_schedule_last_end_timestamp_seconds",
                "When a schedule's last run ended.",
                &|schedule| Some(schedule.last.as_ref()?.ended?.as_duration().as_secs_f64()),
            ),
            family(
                "hostel_schedule_last_success",
                "Whether a schedule's last run did what it was to do; not so while its definition has mistakes.",
                &|schedule| match &schedule.last {
                    _ if schedule.problem.is_some() => Some(0.0),
                    Some(run) if !run.goes_on() => Some(if run.is_done() { 1.0 } else { 0.0 }),
                    _ => None,
                },
            ),
        ]
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second((self.host.clock)()).unwrap_or_default()
    }
}

fn broken(name: String, problem: &str) -> ScheduleStatus {
    ScheduleStatus {
        name,
        state: "broken",
        problem: Some(problem.to_owned()),
        description: None,
        at: None,
        time_zone: None,
        run: Vec::new(),
        late: None,
        timeout: None,
        upcoming: Vec::new(),
        last: None,
    }
}

fn stands(schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> ScheduleStatus {
    let upcoming = std::iter::successors(schedule.at.next(now, zone), |last| schedule.at.next(*last, zone));
    let shown = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M%:z").to_string();
    ScheduleStatus {
        name: schedule.name.to_string(),
        state: if schedule.disabled { "disabled" } else { "waiting" },
        problem: None,
        description: schedule.description.clone(),
        at: Some(schedule.at.to_string()),
        time_zone: schedule.time_zone.as_ref().map(ToString::to_string),
        run: schedule.run.clone(),
        late: Some(schedule.late.duration().as_secs()),
        timeout: Some(schedule.timeout.duration().as_secs()),
        upcoming: if schedule.disabled {
            Vec::new()
        } else {
            upcoming.take(UPCOMING).map(shown).collect()
        },
        last: None,
    }
}

#[cfg(test)]
mod tests;
