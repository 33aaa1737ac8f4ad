//! From a host's own ledger to the fleet's, exactly once.
//!
//! One transaction adds records and moves the host's place to the last of them: all of it is there, or nothing. Where that
//! place is, PostgreSQL alone knows; whoever forwards asks it first, each time, and holds the host's row until it has
//! committed. So it may die anywhere, as may PostgreSQL and the line between them. Record and hash at that place must be
//! those of the ledger here, or it isn't this ledger that was forwarded before, and nothing is.

use hostel_system::file;
use hostel_system::postgres::{Session, Value};

use super::Fleet;
use crate::error::{Class, Error, Result};
use crate::facade::Silent;
use crate::host::Host;
use crate::interrupt;
use crate::ledger::{Hash, Ledger, NOTHING, Outgoing, Place, Record};
use crate::lock::{Patience, Subject};
use crate::step::{Side, points};

/// The lock of whoever forwards.
const FORWARDING: Subject = Subject::Host("forwarding");

/// How many records a transaction has, unless it can't stop there.
const MOST: usize = 5_000;

const ENTER: &str = "INSERT INTO hostel.host (id, name, hash) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
const FIND: &str = "SELECT number::bigint, seq, hash FROM hostel.host WHERE id = $1 FOR UPDATE";
const ADD: &str = "INSERT INTO hostel.record (host, seq, kind, life, terms, begins, ends, body, hash) SELECT $1::bigint, * FROM \
                   unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], \
                   $8::bytea[], $9::bytea[])";
const REMOVE: &str = "DELETE FROM hostel.record WHERE host = $1::bigint AND seq BETWEEN $2 AND $3";
const MOVE: &str = "UPDATE hostel.host SET seq = $2, hash = $3, name = $4, caught_up = greatest(caught_up, $5) WHERE number = $1::bigint";
const SET_ASIDE: &str = "UPDATE hostel.host SET id = id || '/' || number, aside = true WHERE id = $1";

/// What was forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many records.
    pub records: u64,
    /// The last that the fleet's ledger has.
    pub last: i64,
}

/// A place in a test where this may die or fail.
fn reach(step: &str, side: Side) -> Result<()> {
    points().reach("forward", step, side)
}

/// How this host is called by whoever reads.
fn own_name() -> Result<String> {
    let name = file::read(std::path::Path::new("/proc/sys/kernel/hostname"))?;
    Ok(name.trim().to_owned())
}

fn column(records: &[(Record, Hash)], of: impl Fn(&Record) -> i64) -> Vec<i64> {
    records.iter().map(|(record, _)| of(record)).collect()
}

/// Adds records of the host with this number.
fn add(session: &mut Session, number: i64, records: &[(Record, Hash)]) -> Result<()> {
    let numbers = [
        column(records, |r| r.seq),
        column(records, |r| r.kind),
        column(records, |r| r.life),
        column(records, |r| r.terms),
        column(records, |r| r.from_ns),
        column(records, |r| r.to_ns),
    ];
    let bodies: Vec<Vec<u8>> = records.iter().map(|(record, _)| record.body.clone()).collect();
    let hashes: Vec<Vec<u8>> = records.iter().map(|(_, hash)| hash.to_vec()).collect();
    let mut values = vec![Value::Int(number)];
    values.extend(numbers.iter().map(|all| Value::Ints(all)));
    values.extend([Value::Blobs(&bodies), Value::Blobs(&hashes)]);
    reach("records", Side::Before)?;
    session.execute(ADD, &values)?;
    reach("records", Side::After)
}

/// Removes a row of records that others stand for now. All of them must be there, or somebody has taken some away.
fn remove(session: &mut Session, number: i64, (first, last): (i64, i64)) -> Result<()> {
    let removed = session.execute(REMOVE, &[Value::Int(number), Value::Int(first), Value::Int(last)])?;
    match i64::try_from(removed) {
        Ok(removed) if removed == last - first + 1 => Ok(()),
        _ => {
            let why = format!("of this host's records {first} to {last}, {removed} were left there");
            let error = Error::new(Class::Failed, "the fleet's ledger was changed by somebody else").because(why);
            Err(error.hint("see: hostel ledger verify --fleet; to write it anew: hostel ledger forward --anew"))
        }
    }
}

/// One connection's transaction for one ledger.
struct Round<'a> {
    host: &'a Host,
    ledger: &'a mut Ledger,
    session: &'a mut Session,
    id: &'a str,
}

impl Round<'_> {
    /// The host's number there, and how far its records are.
    fn find(&mut self, name: &str) -> Result<(i64, Place)> {
        let id = Value::Text(self.id);
        self.session
            .execute(ENTER, &[id, Value::Text(name), Value::Bytes(&NOTHING)])?;
        let none = || Error::new(Class::Failed, "the fleet's ledger lost this host's line");
        let row = self.session.first(FIND, &[id])?.ok_or_else(none)?;
        let hash: Hash = row.bytes(2)?.try_into().map_err(|_| none())?;
        Ok((row.int(0)?, (row.int(1)?, hash)))
    }

    /// Is this the ledger that was forwarded before?
    fn compare(&self, (seq, hash): Place) -> Result<()> {
        let why = match self.ledger.hash_at(seq)? {
            Some(own) if own == hash => return Ok(()),
            Some(_) => format!("the fleet's ledger has another record {seq} under this one's id"),
            None if seq > self.ledger.head()?.0 => {
                format!("the fleet's ledger has this one up to record {seq}, which is not here")
            }
            None => format!("the fleet's ledger is at record {seq}, which can't be compared any more"),
        };
        Err(Error::new(Class::Refused, "nothing was forwarded").because(why).hint(
            "this host's ledger or the fleet's was restored from an older copy, or this host is a copy of another; \
             what to do then: docs/METERING.md, \"Several hosts\"",
        ))
    }

    /// Sends what it takes to stop again, and commits. How many records; `None`: nothing was done, as it was thinned
    /// meanwhile. And whether that was all.
    fn go(&mut self, anew: bool) -> Result<Option<(Sent, bool)>> {
        let name = own_name()?;
        reach("begin", Side::Before)?;
        self.session.run("BEGIN")?;
        if anew {
            self.session.execute(SET_ASIDE, &[Value::Text(self.id)])?;
        }
        let (number, from) = self.find(&name)?;
        self.compare(from)?;
        // Before its end is read, so that all of it is sent.
        let until = self.host.known_until(self.ledger)?;
        let head = self.ledger.head()?;
        let (session, mut records) = (&mut *self.session, 0);
        let most = if anew { usize::MAX } else { MOST };
        let to = self.ledger.send(from, most, &mut |what| match what {
            Outgoing::Records(all) => {
                records += all.len() as u64;
                add(session, number, all)
            }
            Outgoing::Replaced(first, last) => remove(session, number, (first, last)),
        })?;
        let all = to.0 >= head.0;
        let caught_up = Value::Int(if all { until } else { 0 });
        let values = [
            Value::Int(number),
            Value::Int(to.0),
            Value::Bytes(&to.1),
            Value::Text(&name),
            caught_up,
        ];
        session.execute(MOVE, &values)?;
        if to.0 != from.0 {
            reach("note", Side::Before)?;
            let _lock = self.host.lock_ledger("forward")?;
            if !self.ledger.note_sending(from.0, to.0)? {
                self.session.run("ROLLBACK")?;
                return Ok(None);
            }
        }
        reach("commit", Side::Before)?;
        self.session.run("COMMIT")?;
        reach("commit", Side::After)?;
        Ok(Some((Sent { records, last: to.0 }, all)))
    }
}

impl Host {
    /// Forwards all that the fleet's ledger has not. `fleet`: the connection, if there is one that can be used again, and
    /// afterwards if it can. `anew`: what is there of this host is set aside, and all of it forwarded once more.
    pub(crate) fn forward(&self, fleet: &mut Option<Fleet>, anew: bool) -> Result<Sent> {
        let server = self.ledger_server()?;
        let patience = Patience {
            wait: self.patience,
            progress: &Silent,
            interrupted: interrupt::flag(),
        };
        let _alone = self.locks.take(FORWARDING, "forward", &patience)?;
        let Some(mut ledger) = Ledger::open_existing(&self.dirs.ledger())? else {
            return Ok(Sent::default());
        };
        let id = {
            let _lock = self.lock_ledger("forward")?;
            ledger.fleet_id(&crate::facade::random_seed)?
        };
        // One that was left open may have been closed meanwhile, which says nothing yet.
        if let Some(open) = fleet.take() {
            match self.forward_by(open, &mut ledger, &id, anew) {
                Ok((sent, open)) => {
                    *fleet = Some(open);
                    return Ok(sent);
                }
                Err(e) if e.class == Class::Refused => return Err(e),
                Err(_) => {}
            }
        }
        let (sent, open) = self.forward_by(Fleet::open(server)?, &mut ledger, &id, anew)?;
        *fleet = Some(open);
        Ok(sent)
    }

    /// Forwards by this connection. It is given back if all went well; else whatever was begun ends with it.
    fn forward_by(&self, mut open: Fleet, ledger: &mut Ledger, id: &str, mut anew: bool) -> Result<(Sent, Fleet)> {
        let mut sum = Sent::default();
        loop {
            let mut round = Round {
                host: self,
                ledger,
                session: &mut open.session,
                id,
            };
            let Some((sent, all)) = round.go(anew)? else { continue };
            anew = false;
            sum.records += sent.records;
            sum.last = sent.last;
            if all {
                return Ok((sum, open));
            }
        }
    }
}
