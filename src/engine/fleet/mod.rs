//! The fleet's ledger: those of several hosts in one PostgreSQL. Each host's own is the truth, and is forwarded there
//! record by record by [`forward`]; what is there is read as one's own is ([`read`]). docs/METERING.md, "Several hosts".

mod forward;
mod read;
mod schema;
mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hostel_model::definition::LedgerServer;
use hostel_system::postgres::Session;

pub use forward::Sent;
pub use read::{FleetHost, FleetSource};
pub use status::{Attempts, Forwarding};

use crate::error::{Class, Error, Result};
use crate::host::Host;

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What holds for each connection: what is committed stays when the server dies, names mean what they say, and a host that
/// vanished in mid-transaction keeps nobody waiting.
const SETTINGS: &str = "
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SET search_path = pg_catalog;
SET lock_timeout = '20s';
SET idle_in_transaction_session_timeout = '5min'";

/// An open fleet's ledger.
#[derive(Debug)]
pub struct Fleet {
    session: Session,
}

impl Fleet {
    /// Connects.
    fn connect(server: &LedgerServer) -> Result<Session> {
        let session = Session::open(server, "hostel", PATIENCE)?;
        session.run(SETTINGS)?;
        Ok(session)
    }

    /// To write; the tables are made if there are none.
    pub fn open(server: &LedgerServer) -> Result<Self> {
        let mut session = Self::connect(server)?;
        schema::make(&mut session)?;
        schema::check(&mut session)?;
        Ok(Self { session })
    }

    /// To read.
    pub fn open_existing(server: &LedgerServer) -> Result<Self> {
        let mut session = Self::connect(server)?;
        schema::check(&mut session)?;
        Ok(Self { session })
    }
}

impl Host {
    /// Where the ledger is forwarded to.
    pub(crate) fn ledger_server(&self) -> Result<&LedgerServer> {
        self.config.ledger.as_ref().ok_or_else(|| {
            let error = Error::new(Class::Refused, "this host's ledger is not forwarded anywhere");
            error.hint("name a PostgreSQL in hostel.toml: ledger = \"postgres://…\"; see docs/METERING.md")
        })
    }
}
