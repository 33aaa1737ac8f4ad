//! Reading the fleet's ledger: the same records, from another place.

use hostel_system::postgres::{Row, Session, Value};
use serde::Serialize;

use super::Fleet;
use crate::error::{Class, Error, Result};
use crate::ledger::{Hash, Line, Record, Referred, Source, Verified, Walk};

const HOSTS: &str = "SELECT number::bigint, id, name, seq, hash, caught_up, aside::int::bigint FROM hostel.host \
                     ORDER BY aside, name, number";
const REFERRED: &str = "SELECT seq, kind::bigint, body FROM hostel.record WHERE host = $1::bigint AND kind IN (1, 2)";
const THINNINGS: &str = "SELECT seq, body FROM hostel.record WHERE host = $1::bigint AND kind = 6 ORDER BY seq";
const USAGE: &str = "SELECT seq, kind::bigint, life, terms, begins, ends, body, hash FROM hostel.record \
                     WHERE host = $1::bigint AND kind IN (3, 4, 5) AND ends >= $2 AND begins < $3";
const EVERYTHING: &str = "SELECT seq, kind::bigint, life, terms, begins, ends, body, hash FROM hostel.record \
                          WHERE host = $1::bigint AND ends >= $2 AND begins < $3 ORDER BY seq";

/// All is of one moment, whoever forwards meanwhile.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// A host whose ledger is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetHost {
    #[serde(skip)]
    number: i64,
    /// Its ledger's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The last record that is there.
    pub last: i64,
    /// The hash of it.
    #[serde(skip)]
    hash: Hash,
    /// Up to when all that its VEs have used is there, in nanoseconds since 1970; 0: not all has ever been.
    #[serde(rename = "caught_up", serialize_with = "crate::facade::moment")]
    pub caught_up_ns: i64,
    /// It was begun anew, and is in no report.
    pub aside: bool,
}

fn makes_no_sense() -> Error {
    let error = Error::new(Class::Failed, "the fleet's ledger makes no sense");
    error.hint("see what is wrong with: hostel ledger verify --fleet")
}

fn hash(row: &Row, n: usize) -> Result<Hash> {
    row.bytes(n)?.try_into().map_err(|_| makes_no_sense())
}

fn record(row: &Row) -> Result<(Record, Hash)> {
    let record = Record {
        seq: row.int(0)?,
        kind: row.int(1)?,
        life: row.int(2)?,
        terms: row.int(3)?,
        from_ns: row.int(4)?,
        to_ns: row.int(5)?,
        body: row.bytes(6)?,
    };
    Ok((record, hash(row, 7)?))
}

fn hosts(session: &mut Session) -> Result<Vec<FleetHost>> {
    let mut all = Vec::new();
    session.each(HOSTS, &[], &mut |row| {
        all.push(FleetHost {
            number: row.int(0)?,
            id: row.text(1)?,
            name: row.text(2)?,
            last: row.int(3)?,
            hash: hash(&row, 4)?,
            caught_up_ns: row.int(5)?,
            aside: row.int(6)? != 0,
        });
        Ok::<_, Error>(())
    })?;
    Ok(all)
}

/// Those that somebody means: all that are not set aside, or the ones of that name, or with an id that begins so.
fn chosen(all: Vec<FleetHost>, wanted: Option<&str>) -> Result<Vec<FleetHost>> {
    let Some(wanted) = wanted else {
        return Ok(all.into_iter().filter(|host| !host.aside).collect());
    };
    let is = |host: &FleetHost| !host.aside && host.name == wanted || host.id == wanted;
    let found: Vec<FleetHost> = all.into_iter().filter(is).collect();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let error = Error::new(Class::NotFound, format!("the fleet's ledger has no host \"{wanted}\""));
            Err(error.hint("see all with: hostel ledger hosts"))
        }
    }
}

impl Fleet {
    /// All hosts, those that are set aside last.
    pub fn hosts(&mut self) -> Result<Vec<FleetHost>> {
        hosts(&mut self.session)
    }

    /// Those that somebody means by a name or an id; `None`: all.
    pub fn source(mut self, wanted: Option<&str>) -> Result<FleetSource> {
        self.session.run(BEGIN)?;
        let hosts = chosen(hosts(&mut self.session)?, wanted)?;
        Ok(FleetSource {
            session: self.session,
            hosts,
        })
    }
}

/// Ledgers of hosts, as they were at one moment.
#[derive(Debug)]
pub struct FleetSource {
    session: Session,
    hosts: Vec<FleetHost>,
}

impl FleetSource {
    /// Whose they are.
    pub fn hosts(&self) -> &[FleetHost] {
        &self.hosts
    }

    /// Up to when all of all hosts is there, in nanoseconds since 1970.
    pub fn complete_ns(&self) -> i64 {
        self.hosts.iter().map(|host| host.caught_up_ns).min().unwrap_or(0)
    }

    /// What a host is called, so that no other is meant.
    fn label(&self, host: &FleetHost) -> String {
        let same = self.hosts.iter().filter(|other| other.name == host.name).count();
        match same {
            1 => host.name.clone(),
            _ => format!("{} ({})", host.name, &host.id[..host.id.len().min(8)]),
        }
    }

    fn each_of(
        &mut self,
        n: usize,
        window: (i64, i64),
        all: bool,
        see: &mut dyn FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let (number, label) = (self.hosts[n].number, self.label(&self.hosts[n]));
        let mut referred = Referred::default();
        self.session.each(REFERRED, &[Value::Int(number)], &mut |row| {
            referred.add(row.int(0)?, row.int(1)?, &row.bytes(2)?)
        })?;
        let values = [Value::Int(number), Value::Int(window.0), Value::Int(window.1)];
        self.session
            .each(if all { EVERYTHING } else { USAGE }, &values, &mut |row| {
                let (record, hash) = record(&row)?;
                let line = referred.line(record, &hash)?;
                see(Line {
                    host: label.clone(),
                    ..line
                })
            })
    }

    /// Has anybody changed them? Each is read whole.
    pub fn verify(&mut self) -> Result<Vec<(FleetHost, Verified)>> {
        let mut all = Vec::new();
        for host in &self.hosts {
            let number = [Value::Int(host.number)];
            let (mut walk, mut walked) = (Walk::new()?, Ok(()));
            self.session.each(THINNINGS, &number, &mut |row| {
                if walked.is_ok() {
                    walked = walk.expect_gaps(row.int(0)?, &row.bytes(1)?);
                }
                Ok::<_, Error>(())
            })?;
            let ever = [number[0], Value::Int(i64::MIN), Value::Int(i64::MAX)];
            self.session.each(EVERYTHING, &ever, &mut |row| {
                let (record, hash) = record(&row)?;
                if walked.is_ok() {
                    walked = walk.step(&record, &hash);
                }
                Ok::<_, Error>(())
            })?;
            all.push((host.clone(), walk.end(walked, (host.last, host.hash))?));
        }
        Ok(all)
    }
}

impl Source for FleetSource {
    fn each(&mut self, window: (i64, i64), all: bool, see: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        (0..self.hosts.len()).try_for_each(|n| self.each_of(n, window, all, see))
    }
}
