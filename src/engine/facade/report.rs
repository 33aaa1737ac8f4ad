//! What was used: `hostel report` and `hostel ledger`.

use std::collections::BTreeMap;

use hostel_model::definition::Prices;
use hostel_model::prices::Bill;
use hostel_model::usage::{Counter, Level, Sums, Time};
use hostel_system::file;
use serde::Serialize;

use super::fleet::{Books, date, nobody};
use super::report_groups::{Groups, Parties};
use super::{Engine, Progress};
use crate::error::{Class, Error, Result, chain};
use crate::ledger::{Ledger, Line, MANAGER, Party, Piece, Said, Source, Verified};
use crate::manager::Sampler;
use crate::ve::record::VeState;

/// What a report has a row for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // what they say
pub enum By {
    Tenant,
    Ve,
    Plan,
    Day,
    Hour,
    /// Of the fleet's ledger only.
    Host,
}

/// Whose usage is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// That of VEs while they were this tenant's.
    Tenant(String),
    /// That of VEs while they had this name, or of the number.
    Ve(String),
}

/// From when to when, in nanoseconds since 1970; the end isn't in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The beginning.
    pub from_ns: i64,
    /// The end.
    pub to_ns: i64,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The total first, then a row each.
    pub rows: Vec<Row>,
    /// Up to when, in nanoseconds since 1970, all is in it that was used in the time asked for.
    pub complete_ns: i64,
}

/// A row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is of: a name, or the beginning of a day or an hour. The first row is of everything, and has none.
    pub group: Option<String>,
    /// How many VEs.
    pub ves: usize,
    /// What was used.
    pub sums: Sums,
    /// The most that one VE had at any time, by level.
    pub peaks: Vec<(&'static str, Option<u64>)>,
    /// Bits per second to the VEs and from them, all together, that 95 of 100 hours did not pass.
    pub p95: Option<[u64; 2]>,
}

impl Whose {
    pub(super) fn has(&self, party: &Party) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(wanted) => party.tenant == *wanted,
            Self::Ve(wanted) => party.name == *wanted || party.id.to_string() == *wanted,
        }
    }
}

impl Engine {
    /// Brings the ledger up to now. Where a manager runs that is its work, and the ledger is no older than its interval.
    pub(super) fn bring_up(&self, progress: &dyn Progress) {
        if self.host.locks.holder(MANAGER).is_ok_and(|holder| holder.is_some()) {
            return;
        }
        if let Err(e) = Sampler::new(&self.host).pass(progress, &|| {}) {
            progress.note(&format!("the ledger could not be brought up to now: {}", chain(&e)));
        }
    }

    /// Of whom nothing is in a report is there all the same, or the name is a mistake.
    fn know(&self, books: &Books, whose: &Whose) -> Result<()> {
        let (what, known) = match whose {
            Whose::All => return Ok(()),
            Whose::Tenant(name) => {
                let tenants = self.tenants()?;
                (
                    format!("tenant \"{name}\""),
                    tenants.iter().any(|t| t.name.as_str() == name),
                )
            }
            Whose::Ve(name) => {
                let states = self.host.all_states()?;
                let is = |state: &VeState| state.name.as_str() == name || state.id.to_string() == *name;
                (format!("VE \"{name}\""), states.iter().any(is))
            }
        };
        match known {
            true => Ok(()),
            // What the other hosts have is not known here.
            false if books.of_fleet() => Err(nobody(&what)),
            false => Err(Error::new(
                Class::NotFound,
                format!("there is no {what}, and there was none in that time"),
            )),
        }
    }

    pub(super) fn existing(&self) -> Result<Ledger> {
        let path = self.host.dirs.ledger();
        Ledger::open_existing(&path)?.ok_or_else(|| {
            Error::new(Class::NotFound, format!("there is no ledger at {}", path.display()))
                .hint("it is made when a VE has used something")
        })
    }

    /// What was used, worked out anew from the ledger.
    pub fn report(
        &self,
        books: &Books,
        window: Window,
        whose: &Whose,
        by: By,
        progress: &dyn Progress,
    ) -> Result<Report> {
        if *books == Books::Own {
            self.bring_up(progress);
        }
        self.report_as_it_is(books, window, whose, by, progress)
    }

    /// The same of what is in the ledger already: for who asks again in other words, and wants to hear of the same.
    pub fn report_as_it_is(
        &self,
        books: &Books,
        window: Window,
        whose: &Whose,
        by: By,
        progress: &dyn Progress,
    ) -> Result<Report> {
        let mut groups = Groups::by(by);
        let time = (window.from_ns, window.to_ns);
        let complete_ns;
        if *books == Books::Own {
            let mut ledger = self.existing()?;
            complete_ns = self.complete(&ledger, window, whose, progress)?;
            ledger.tally(time, by == By::Hour, &|party| whose.has(party), &mut |party, piece| {
                groups.add(party, &piece)
            })?;
        } else {
            let mut parties = Parties::default();
            let mut source = self.fleet_of(books, window, progress)?;
            complete_ns = source.complete_ns().min(window.to_ns);
            source.each(time, false, &mut |line| {
                if let Said::Usage(interval, terms) = &line.said
                    && let Some(piece) = interval.within(window.from_ns, window.to_ns)
                    && let party = parties.of(&line, terms)
                    && whose.has(party)
                {
                    groups.add(party, &Piece::Record(&piece));
                }
                Ok(())
            })?;
        }
        if groups.is_empty() {
            self.know(books, whose)?;
        }
        Ok(Report {
            rows: groups.rows(),
            complete_ns,
        })
    }

    /// What the rows of a report come to by prices.toml: all together first, then a bill each.
    pub fn bills(&self, rows: &[Row]) -> Result<Vec<Bill>> {
        let path = self.host.dirs.config().join("prices.toml");
        let name = path.display().to_string();
        let text = file::read_opt(&path)?.ok_or_else(|| {
            let error = Error::new(Class::NotFound, format!("there is no {name}"));
            error.hint("write what usage costs there; docs/METERING.md has an example")
        })?;
        let prices = Prices::parse(&name, &text)
            .map_err(|e| Error::new(Class::Usage, format!("{name} has mistakes")).because(e))?;
        let bills: Vec<Bill> = rows
            .iter()
            .filter(|row| row.group.is_some())
            .map(|row| prices.bill(row.group.clone(), &row.sums))
            .collect();
        Ok(std::iter::once(prices.together(&bills)).chain(bills).collect())
    }

    /// Whether anything in the ledger was changed.
    pub fn verify_ledger(&self) -> Result<Verified> {
        self.existing()?.verify()
    }

    /// Shows each record that says something of this time.
    pub fn export_ledger(
        &self,
        books: &Books,
        window: Window,
        see: &mut dyn FnMut(&Exported) -> Result<()>,
    ) -> Result<()> {
        let window = (window.from_ns, window.to_ns);
        self.source(books)?
            .each(window, true, &mut |line| see(&Exported::of(&line)))
    }
}

/// A number that JSON's readers would round is a text: JavaScript and jq do from 2^53 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub u128);

impl Serialize for Whole {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(n) if n <= 1 << 53 => serializer.serialize_u64(n),
            _ => serializer.collect_str(&self.0),
        }
    }
}

fn whole<S: serde::Serializer>(usage: &BTreeMap<String, u128>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(usage.iter().map(|(name, n)| (name, Whole(*n))))
}

/// A record for an auditor: what it says, and the bytes that its hash is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The host whose ledger it is of, if it is from the fleet's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its number.
    pub seq: i64,
    /// What it is: life, terms, sample, hour, day, thinned.
    pub kind: String,
    /// The VE's number; 0: of none.
    pub ve: u32,
    /// The VE for all time.
    pub life: String,
    /// The number of the record that the VE appeared in.
    pub life_record: i64,
    /// The number of the record with its terms.
    pub terms_record: i64,
    /// The VE's name under these terms.
    pub name: String,
    /// Whose it was.
    pub tenant: String,
    /// Its plan.
    pub plan: String,
    /// When it begins, in UTC.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// The same in nanoseconds since 1970.
    pub from_ns: i64,
    /// The same of the end.
    pub to_ns: i64,
    /// What was used, by name; what isn't there is none. Levels are times nanoseconds.
    #[serde(serialize_with = "whole")]
    pub usage: BTreeMap<String, u128>,
    /// The counters that could not be read.
    pub unread: Vec<&'static str>,
    /// What a record says that isn't of usage.
    pub text: String,
    /// Its bytes.
    pub body: String,
    /// Its hash.
    pub hash: String,
}

impl Exported {
    fn of(line: &Line) -> Self {
        let mut one = Self {
            host: line.host.clone(),
            seq: line.seq,
            kind: line.kind.name().to_owned(),
            ve: line.id,
            life: line.life.clone(),
            life_record: line.refers.0,
            terms_record: line.refers.1,
            name: String::new(),
            tenant: String::new(),
            plan: String::new(),
            from: date(line.at.0),
            to: date(line.at.1),
            from_ns: line.at.0,
            to_ns: line.at.1,
            usage: BTreeMap::new(),
            unread: Vec::new(),
            text: String::new(),
            body: line.body.iter().map(|byte| format!("{byte:02x}")).collect(),
            hash: line.hash.clone(),
        };
        match &line.said {
            Said::Text(text) => one.text.clone_from(text),
            Said::Usage(interval, terms) => {
                one.name.clone_from(&terms.name);
                one.tenant.clone_from(&terms.tenant);
                one.plan.clone_from(&terms.plan);
                let mut sums = Sums::default();
                sums.add(&interval.amounts);
                one.usage = sums.0;
                for level in Level::ALL {
                    if let Some(peak) = interval.amounts.level(level).peak {
                        one.usage.insert(format!("{}.peak", level.name()), peak.into());
                    }
                }
                // What doesn't run counts nothing that could be read.
                let ran = [Time::Running, Time::Paused]
                    .iter()
                    .any(|t| interval.amounts.time(*t) > 0);
                let unread = Counter::ALL
                    .into_iter()
                    .filter(|c| ran && interval.amounts.counter(*c).is_none());
                one.unread = unread.map(Counter::name).collect();
            }
        }
        one
    }
}
