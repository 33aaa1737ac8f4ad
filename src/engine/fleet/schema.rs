//! The tables in PostgreSQL. Each host's records are there as in its own ledger, so that the same can be proved of them.

use hostel_system::postgres::{Session, Value};

use crate::error::{Class, Error, Result};

/// The version of the tables.
const VERSION: i64 = 1;

/// Which lock of PostgreSQL's keeps two hosts from making the tables at once: any number that others don't take.
const MAKING: i64 = 0x0068_6f73_7465_6c01;

const SCHEMA: &str = "
CREATE SCHEMA IF NOT EXISTS hostel;
CREATE TABLE hostel.version (version bigint NOT NULL);
INSERT INTO hostel.version VALUES (1);
-- The ledgers of hosts. Up to seq all of it is here; up to caught_up, in nanoseconds, all that VEs have used.
-- One that was begun anew is set aside, and its id is no longer a host's.
CREATE TABLE hostel.host (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    name text NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL,
    caught_up bigint NOT NULL DEFAULT 0,
    aside boolean NOT NULL DEFAULT false
);
CREATE TABLE hostel.record (
    seq bigint NOT NULL,
    life bigint NOT NULL,
    terms bigint NOT NULL,
    begins bigint NOT NULL,
    ends bigint NOT NULL,
    host integer NOT NULL REFERENCES hostel.host,
    kind smallint NOT NULL,
    body bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (host, seq)
);
CREATE INDEX record_in_time ON hostel.record (host, ends) WHERE kind IN (3, 4, 5);
CREATE INDEX record_referred ON hostel.record (host, seq) WHERE kind IN (1, 2, 6);
";

const EXISTS: &str = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'hostel' AND tablename = 'version'";

fn exists(session: &mut Session) -> Result<bool> {
    let found = session.first(EXISTS, &[])?;
    Ok(found.map(|row| row.int(0)).transpose()?.is_some_and(|n| n > 0))
}

/// Makes the tables where there are none.
pub fn make(session: &mut Session) -> Result<()> {
    if exists(session)? {
        return Ok(());
    }
    session.run("BEGIN")?;
    session.execute("SELECT pg_advisory_xact_lock($1)", &[Value::Int(MAKING)])?;
    if !exists(session)? {
        session.run(SCHEMA)?;
    }
    Ok(session.run("COMMIT")?)
}

/// Are they there, and can we read them?
pub fn check(session: &mut Session) -> Result<()> {
    let error = |why: String| Error::new(Class::Failed, "cannot use the fleet's ledger").because(why);
    if !exists(session)? {
        let error = error("there is none in that database".to_owned());
        return Err(error
            .class(Class::NotFound)
            .hint("it is made by the first host that forwards to it"));
    }
    let version = session.first("SELECT version FROM hostel.version", &[])?;
    match version.map(|row| row.int(0)).transpose()? {
        Some(VERSION) => Ok(()),
        Some(newer) => {
            let why = format!("its version {newer} is newer than this hostel's {VERSION}");
            Err(error(why).hint("use the version of hostel that made it"))
        }
        None => Err(error("it has no version".to_owned())),
    }
}
