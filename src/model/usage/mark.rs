//! How far a VE is accounted for, and what the next reading adds to that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::interval::Interval;
use super::listed::list;
use super::meter::{Counter, Counters, Level, Levels, Time};
use super::reading::{Condition, Moment, Reading, Run, Terms};
use super::stretch::{Stretch, held, signed};
use crate::traffic::{Amount, Flow};

/// How long a host may be up until its time of day is taken for right, if nobody has said that it is: ten minutes.
pub const CLOCK_SET_NS: u64 = 600_000_000_000;

/// All that has to be known of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Up to when all is accounted for.
    pub at: Moment,
    /// When the last of its values was read, in nanoseconds since that boot.
    #[serde(default)]
    pub until_ns: u64,
    /// How it has been since.
    pub condition: Condition,
    /// The terms in force since. They are written down where they were agreed on, and not with each mark.
    #[serde(skip)]
    pub terms: Arc<Terms>,
    /// The run that the counters are of.
    pub run: Option<Run>,
    /// How much of that run's counters is accounted for.
    #[serde(with = "list")]
    pub counters: Counters,
    /// The levels at that time.
    #[serde(with = "list")]
    pub levels: Levels,
    /// The most memory since the run began.
    pub memory_peak: Option<u64>,
    /// How much traffic is accounted for, in the order of flows; `None`: none was ever read.
    pub traffic: Option<Vec<(Flow, Amount)>>,
    /// Which sums that is of; `None`: of counters that a boot has ended, so that there may be less by now.
    #[serde(default)]
    pub traffic_of: Option<String>,
    /// The time for which the host was down, if it isn't known yet how long that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
}

/// The time from the last reading of a boot to the beginning of the next, of which only the time of day tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// Its beginning, in nanoseconds since 1970.
    wall_ns: i64,
    /// How the VE was.
    condition: Condition,
    /// The levels that there were all along.
    #[serde(with = "list")]
    levels: Levels,
}

const fn time_of(condition: Condition) -> Time {
    match condition {
        Condition::Running => Time::Running,
        Condition::Paused => Time::Paused,
        Condition::Suspended => Time::Suspended,
        Condition::Stopped | Condition::Gone => Time::Stopped,
    }
}

/// What has passed in a flow, of many in their order.
fn of(flows: &[(Flow, Amount)], flow: &Flow) -> Option<Amount> {
    let at = flows.binary_search_by(|(other, _)| other.cmp(flow)).ok()?;
    flows.get(at).map(|(_, amount)| *amount)
}

impl Mark {
    /// The first reading of a VE. A run that is under way counts from its start; what has passed its interfaces by then
    /// can't be dated, and doesn't.
    pub fn begin(reading: &Reading) -> (Self, Vec<Interval>) {
        let terms = reading.terms.clone().unwrap_or_else(|| Arc::new(reading.owner.terms()));
        Self::before(reading, terms).proceed(reading)
    }

    /// Goes on from this reading where nobody knows any more how far a VE was accounted for: nothing that it tells of is
    /// counted, as it may have been already. `terms`: those in force until now.
    pub fn resume(reading: &Reading, terms: Arc<Terms>) -> Self {
        Self::before(reading, terms).after(reading, true)
    }

    /// Nothing is known yet.
    fn before(reading: &Reading, terms: Arc<Terms>) -> Self {
        let now = reading.at.up_ns;
        let began = reading.run.as_ref().map_or(now, |run| run.began_ns.min(now));
        Self {
            at: Moment {
                wall_ns: reading.at.wall_ns.saturating_sub(signed(now - began)),
                up_ns: began,
                ..reading.at.clone()
            },
            until_ns: 0,
            condition: Condition::Stopped,
            terms,
            run: None,
            counters: Counters::default(),
            levels: Levels::default(),
            memory_peak: None,
            traffic: None,
            traffic_of: None,
            away: None,
        }
    }

    /// The mark after this reading, and what was used between the two, under the terms of this mark. `None`: that reading
    /// is accounted for. A reading of another boot must be of a later one.
    pub fn advance(&self, reading: &Reading) -> Option<(Self, Vec<Interval>)> {
        if self.condition == Condition::Gone {
            return None;
        }
        if self.at.boot == reading.at.boot {
            return (self.at.up_ns < reading.at.up_ns).then(|| self.go_on(reading));
        }
        // It went down once more before the clock was set: nobody will know better.
        let mut intervals = self.away_until(&self.at);
        let (mark, more) = self.over_boot(&reading.at).go_on(reading);
        intervals.extend(more);
        Some((mark, intervals))
    }

    /// To a reading of the same boot; with how long the host was away before, once the time of day tells.
    fn go_on(&self, reading: &Reading) -> (Self, Vec<Interval>) {
        // What holds from now on didn't hold then, and nothing comes after the end.
        let last =
            reading.condition == Condition::Gone || reading.terms.as_ref().is_some_and(|terms| *terms != self.terms);
        if self.away.is_none() || (reading.unsure && !last) {
            return self.proceed(reading);
        }
        let mut intervals = self.away_until(&reading.at);
        let here = Self {
            away: None,
            ..self.clone()
        };
        let (mark, more) = here.proceed(reading);
        intervals.extend(more);
        (mark, intervals)
    }

    /// In which state its time is spent.
    const fn time(&self) -> Time {
        time_of(self.condition)
    }

    /// From the last reading before this boot to its beginning, as the clock stands now.
    fn away_until(&self, now: &Moment) -> Vec<Interval> {
        let Some(away) = &self.away else {
            return Vec::new();
        };
        let booted = now.wall_ns.saturating_sub(signed(now.up_ns));
        let length = u64::try_from(booted.saturating_sub(away.wall_ns)).unwrap_or(0);
        if length == 0 {
            return Vec::new();
        }
        let stretch = Stretch {
            from: 0,
            to: length,
            time: match away.condition.lives() {
                true => Time::Unknown,
                false => time_of(away.condition),
            },
        };
        let then = Self {
            levels: away.levels,
            ..self.clone()
        };
        vec![Interval {
            from_ns: booted.saturating_sub(signed(length)),
            to_ns: booted,
            amounts: then.amounts(stretch, &Levels::default(), false),
        }]
    }

    /// At the beginning of the boot that `now` is in. What ran has ended at a time that nobody has seen.
    fn over_boot(&self, now: &Moment) -> Self {
        let at = Moment {
            wall_ns: now.wall_ns.saturating_sub(signed(now.up_ns)),
            boot: now.boot.clone(),
            up_ns: 0,
        };
        Self {
            at,
            until_ns: 0,
            condition: if self.condition.lives() {
                Condition::Stopped
            } else {
                self.condition
            },
            run: None,
            counters: Counters::default(),
            levels: self.lasting(),
            memory_peak: None,
            traffic_of: None,
            away: Some(Away {
                wall_ns: self.at.wall_ns,
                condition: self.condition,
                levels: self.lasting(),
            }),
            ..self.clone()
        }
    }

    /// The levels that there are also of what doesn't run.
    fn lasting(&self) -> Levels {
        let keep = |level: Level| self.levels[level as usize].filter(|_| level.lasts());
        Level::ALL.map(keep)
    }

    /// To a reading of the same boot.
    fn proceed(&self, reading: &Reading) -> (Self, Vec<Interval>) {
        let now = &reading.at;
        let fresh = reading
            .run
            .as_ref()
            .filter(|run| !self.run.as_ref().is_some_and(|known| known.is(run)));
        let mut intervals = Vec::new();
        let mut last = Stretch {
            from: self.at.up_ns,
            to: now.up_ns,
            time: self.time(),
        };
        if let Some(run) = fresh {
            // It ran on from there, or nobody has seen how it ended.
            let before = Stretch {
                to: run.began_ns.clamp(self.at.up_ns, now.up_ns),
                time: if self.condition.lives() {
                    Time::Unknown
                } else {
                    self.time()
                },
                ..last
            };
            if before.length() > 0 {
                let amounts = self.amounts(before, &Levels::default(), false);
                intervals.push(before.seen_from(now, amounts));
            }
            last.from = before.to;
            last.time = Time::Running;
        }
        let mut amounts = self.amounts(last, &reading.levels, fresh.is_some());
        self.count(reading, fresh.is_some(), &mut amounts);
        if last.length() > 0 || !amounts.is_empty() {
            intervals.push(last.seen_from(now, amounts));
        }
        (self.after(reading, fresh.is_some()), intervals)
    }

    /// Time and levels of a stretch that ends with these levels. `fresh`: its run has just begun.
    fn amounts(&self, stretch: Stretch, end: &Levels, fresh: bool) -> Amounts {
        let mut amounts = Amounts::default();
        amounts.times[stretch.time as usize] = stretch.length();
        let lives = matches!(stretch.time, Time::Running | Time::Paused);
        for level in Level::ALL.into_iter().filter(|level| lives || level.lasts()) {
            let start = self.levels[level as usize].filter(|_| level.lasts() || !fresh);
            amounts.levels[level as usize] = held(start, end[level as usize], stretch.length());
        }
        amounts
    }

    /// What counters have counted since, and the memory that was seen by the kernel alone.
    fn count(&self, reading: &Reading, fresh: bool, amounts: &mut Amounts) {
        for (n, now) in reading.counters.iter().enumerate() {
            let had = self.counters[n].filter(|_| !fresh).unwrap_or(0);
            let set_back = |now| if self.overlaps(reading.at.up_ns) { 0 } else { now };
            amounts.counters[n] = now.map(|now| now.checked_sub(had).unwrap_or_else(|| set_back(now)));
        }
        let full = reading.levels[Level::DiskFull as usize];
        let hit = full == Some(1) && self.levels[Level::DiskFull as usize] != full;
        amounts.counters[Counter::DiskHits as usize] = full.map(|_| hit.into());
        let known = self.memory_peak.filter(|_| !fresh);
        let memory = &mut amounts.levels[Level::Memory as usize];
        if reading.memory_peak > known {
            memory.peak = memory.peak.max(reading.memory_peak);
        }
        let (Some(had), Some(now)) = (&self.traffic, &reading.traffic) else {
            return;
        };
        if self.other_sums(reading) {
            return;
        }
        for (flow, amount) in now {
            let before = of(had, flow).unwrap_or_default();
            // These are sums, and no counters that begin at zero: what is less than before has nothing new in it that could be
            // told from what was entered already.
            let passed = amount.after(before).unwrap_or_default();
            if passed != Amount::default() {
                amounts.traffic.insert(flow.clone(), passed);
            }
        }
    }

    /// Are the sums of a reading none that what is accounted for is a part of? Somebody has begun them anew.
    fn other_sums(&self, reading: &Reading) -> bool {
        let of = self.traffic_of.as_deref().unwrap_or_default();
        reading.traffic.is_some() && !of.is_empty() && of != reading.traffic_of
    }

    /// May sums that are less than what is accounted for come back to it? They were read before that; or counters have gone
    /// in a run that goes on, and who remembers them will add what they had.
    fn may_come_back(&self, reading: &Reading) -> bool {
        let remembered = self.traffic_of.is_some() && reading.condition.lives() && !self.other_sums(reading);
        remembered || self.overlaps(reading.traffic_ns)
    }

    /// May what was read from then on have been read before what this mark has? Then less than before is no counter that
    /// was set back, which would count from zero.
    const fn overlaps(&self, from_ns: u64) -> bool {
        from_ns <= self.until_ns
    }

    /// The mark after a reading: what that couldn't read is as it was.
    fn after(&self, reading: &Reading, fresh: bool) -> Self {
        let counter = |n: usize| {
            let (had, now) = (self.counters[n].filter(|_| !fresh), reading.counters[n]);
            match self.overlaps(reading.at.up_ns) {
                true => now.max(had),
                false => now.or(had),
            }
        };
        let level = |level: Level| {
            let (had, now) = (self.levels[level as usize], reading.levels[level as usize]);
            match level.lasts() {
                true => now.or(had),
                false => now.or(had.filter(|_| !fresh)).filter(|_| reading.condition.lives()),
            }
        };
        let traffic = reading.traffic.as_ref().map(|now| {
            let had = self.traffic.as_deref().unwrap_or_default();
            let stays = self.may_come_back(reading);
            let counted = |(flow, amount): &(Flow, Amount)| {
                let before = of(had, flow).unwrap_or_default();
                let less = stays && !amount.has(before);
                (flow.clone(), if less { before } else { *amount })
            };
            let mut all: Vec<(Flow, Amount)> = now.iter().map(counted).collect();
            let gone = |(flow, _): &&(Flow, Amount)| stays && !now.iter().any(|(other, _)| other == flow);
            all.extend(had.iter().filter(gone).cloned());
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
            all
        });
        Self {
            at: reading.at.clone(),
            until_ns: self.until_ns.max(reading.until_ns),
            condition: reading.condition,
            terms: reading.terms.clone().unwrap_or_else(|| Arc::clone(&self.terms)),
            run: reading.run.clone().or_else(|| self.run.clone()),
            counters: std::array::from_fn(counter),
            levels: Level::ALL.map(level),
            memory_peak: reading.memory_peak.or(self.memory_peak.filter(|_| !fresh)),
            traffic_of: match traffic {
                Some(_) => Some(reading.traffic_of.clone()),
                None => self.traffic_of.clone(),
            },
            traffic: traffic.or_else(|| self.traffic.clone()),
            away: self.away.clone(),
        }
    }
}
