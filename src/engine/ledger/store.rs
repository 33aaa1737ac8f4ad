//! The file of the ledger: an SQLite database. The table `record` is the ledger; all others are at hand for who writes,
//! and prove nothing.

use std::path::Path;
use std::time::Duration;

use hostel_system::file;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::book::Marks;
use super::daily::DAILY;
use super::record::{Hash, Kind, NOTHING, Record};
use crate::error::{Class, Error, Result};

/// The version of the tables; `PRAGMA user_version`.
const VERSION: i64 = 3;

const SCHEMA: &str = "
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    life INTEGER NOT NULL,
    terms INTEGER NOT NULL,
    begins INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX record_of_kind ON record (kind, ends);
-- The last record, so that one cut off the end is missed.
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 0), seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
-- How far each VE is accounted for.
CREATE TABLE life (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    boot INTEGER NOT NULL,
    terms INTEGER NOT NULL,
    mark TEXT NOT NULL
) STRICT;
-- The boots of the host in their order.
CREATE TABLE boot (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
-- The last record of each removed row of records, and its hash.
CREATE TABLE gap (last INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
-- What has passed interfaces in each month of UTC, by whose it was.
CREATE TABLE passed (
    month INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    life INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (month, tenant, life)
) STRICT, WITHOUT ROWID;
";

/// What version 2 has besides what each VE has used in each day. Nothing of version 1 is changed, so that its records are as
/// they were.
const SECOND: &str = "
-- All records up to `seq` that say what was used are in it. Hours and days count up to `since` only: what came later was made
-- of samples.
CREATE TABLE summed (id INTEGER PRIMARY KEY CHECK (id = 0), seq INTEGER NOT NULL, since INTEGER NOT NULL) STRICT;
INSERT INTO summed (id, seq, since) SELECT 0, 0, seq FROM head;
-- Marks that could not be understood.
CREATE TABLE aside (life INTEGER NOT NULL, wall INTEGER NOT NULL, mark TEXT NOT NULL) STRICT;
PRAGMA user_version = 2;
";

/// Version 3 has records of one kind more, which who knows only those of before can't read.
const THIRD: &str = "PRAGMA user_version = 3;";

/// How long another connection's transaction is waited for.
const BUSY: Duration = Duration::from_secs(5);

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        let code = e.sqlite_error_code();
        let class = match code {
            Some(ErrorCode::DiskFull) => Class::Limit,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Class::Busy,
            _ => Class::Failed,
        };
        let error = Self::new(class, "cannot use the ledger").because(e);
        match code {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => error.hint(
                "keep the file for an expert: stop all VEs, move it away, and start them: usage goes on in a new one; \
                     what a VE that runs meanwhile has used since its start would be in both",
            ),
            _ => error,
        }
    }
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) connection: Connection,
    /// The marks that were written last, for who goes on with the same ledger.
    pub(super) marks: Marks,
}

/// Makes the tables that are missing.
fn bring_up(connection: &mut Connection) -> Result<()> {
    let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another may have been quicker.
    let made: i64 = making.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if made == 0 {
        making.execute_batch(SCHEMA)?;
        let head = params![0, 0, NOTHING];
        making.execute("INSERT INTO head (id, seq, hash) VALUES (?1, ?2, ?3)", head)?;
    }
    if made < 2 {
        making.execute_batch(DAILY)?;
        making.execute_batch(SECOND)?;
    }
    if made < VERSION {
        making.execute_batch(THIRD)?;
    }
    Ok(making.commit()?)
}

impl Ledger {
    /// Opens the ledger at a path, for reading and writing; it is made if there is none. Hold the ledger's lock to write.
    pub fn open(path: &Path) -> Result<Self> {
        // So that nobody else may read it; SQLite gives what it puts beside it the same mode.
        drop(file::open_own(path)?);
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        // What is committed is on the disk when a reading is taken out of the spool.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        // The program has few statements, and each is wanted again.
        connection.set_prepared_statement_cache_capacity(32);
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION => {}
            0..VERSION => bring_up(&mut connection)?,
            newer => {
                return Err(Error::new(Class::Failed, format!("cannot use {}", path.display()))
                    .because(format!("its version {newer} is newer than this hostel's {VERSION}"))
                    .hint("use the version of hostel that wrote it"));
            }
        }
        Ok(Self {
            connection,
            marks: Marks::default(),
        })
    }

    /// The one that is there; `None` if there is none.
    pub fn open_existing(path: &Path) -> Result<Option<Self>> {
        match path.exists() {
            true => Self::open(path).map(Some),
            false => Ok(None),
        }
    }

    /// Begins to write: all of it comes to be with [`Writer::commit`], or nothing.
    pub(super) fn writer(&mut self) -> Result<Writer<'_>> {
        Writer::begin(&mut self.connection)
    }
}

/// The last record that was found to be what was written there.
#[derive(Default)]
pub(super) struct Proof(Option<(i64, Hash)>);

/// What is said of a record that its hash doesn't fit.
pub(super) fn changed(seq: i64) -> Error {
    Error::new(
        Class::Failed,
        format!("record {seq} of the ledger is not as it was written"),
    )
}

/// A transaction that adds to the ledger.
pub(super) struct Writer<'a> {
    pub tx: Transaction<'a>,
    /// The last record.
    pub seq: i64,
    hash: Hash,
}

impl<'a> Writer<'a> {
    pub fn begin(connection: &'a mut Connection) -> Result<Self> {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (seq, hash) = tx.query_row("SELECT seq, hash FROM head", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { tx, seq, hash })
    }

    /// Adds a record. Its number.
    pub fn append(&mut self, kind: Kind, (life, terms): (i64, i64), at: (i64, i64), body: Vec<u8>) -> Result<i64> {
        let record = Record {
            seq: self.seq + 1,
            kind: kind.number(),
            life,
            terms,
            from_ns: at.0,
            to_ns: at.1,
            body,
        };
        let hash = record.hash(&self.hash);
        self.tx
            .prepare_cached(
                "INSERT INTO record (seq, kind, life, terms, begins, ends, body, hash) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                record.seq,
                record.kind,
                life,
                terms,
                record.from_ns,
                record.to_ns,
                record.body,
                hash
            ])?;
        self.seq = record.seq;
        self.hash = hash;
        Ok(record.seq)
    }

    /// The hash of a record, be it removed or not, if it is the last of those removed with it.
    pub fn hash_of(&self, seq: i64) -> Result<Option<Hash>> {
        if seq == 0 {
            return Ok(Some(NOTHING));
        }
        let find = |query: &str| -> Result<Option<Hash>> {
            let mut statement = self.tx.prepare_cached(query)?;
            Ok(statement.query_row([seq], |row| row.get(0)).optional()?)
        };
        match find("SELECT hash FROM record WHERE seq = ?1")? {
            None => find("SELECT hash FROM gap WHERE last = ?1"),
            found => Ok(found),
        }
    }

    /// Is a record what was written there? By the hash before it, which is at hand if `proof` has come from there.
    pub fn prove(&self, proof: &mut Proof, record: &Record, hash: &Hash) -> Result<()> {
        let before = match proof.0.take() {
            Some((seq, hash)) if seq + 1 == record.seq => Some(hash),
            _ => self.hash_of(record.seq - 1)?,
        };
        if before.is_none_or(|before| record.hash(&before) != *hash) {
            return Err(changed(record.seq).hint("nothing was changed; see: hostel ledger verify"));
        }
        proof.0 = Some((record.seq, *hash));
        Ok(())
    }

    /// All that was added is in the ledger, and on the disk.
    pub fn commit(self) -> Result<()> {
        let head = params![self.seq, self.hash];
        self.tx.execute("UPDATE head SET seq = ?1, hash = ?2", head)?;
        Ok(self.tx.commit()?)
    }
}
