//! What goes to a server and comes from it.

use tokio_postgres::types::{FromSql, ToSql};

use crate::{Error, Result};

/// A parameter of a command.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// bigint
    Int(i64),
    /// text
    Text(&'a str),
    /// bytea
    Bytes(&'a [u8]),
    /// bigint[]
    Ints(&'a [i64]),
    /// bytea[]
    Blobs(&'a [Vec<u8>]),
}

impl Value<'_> {
    pub(super) fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(n) => n,
            Self::Text(text) => text,
            Self::Bytes(bytes) => bytes,
            Self::Ints(all) => all,
            Self::Blobs(all) => all,
        }
    }
}

/// A row of an answer.
#[derive(Debug)]
pub struct Row {
    row: tokio_postgres::Row,
}

impl Row {
    pub(super) fn new(row: tokio_postgres::Row) -> Self {
        Self { row }
    }

    fn get<'r, T: FromSql<'r>>(&'r self, n: usize) -> Result<T> {
        let fail = |e| Error::new("read an answer of PostgreSQL, column", n, e);
        self.row.try_get(n).map_err(fail)
    }

    /// A bigint.
    pub fn int(&self, n: usize) -> Result<i64> {
        self.get(n)
    }

    /// A text.
    pub fn text(&self, n: usize) -> Result<String> {
        self.get(n)
    }

    /// A bytea.
    pub fn bytes(&self, n: usize) -> Result<Vec<u8>> {
        self.get(n)
    }
}
