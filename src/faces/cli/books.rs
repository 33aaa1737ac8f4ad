//! Whose ledger is meant: this host's, or what hosts have forwarded to the fleet's.

use clap::Args;
use hostel_engine::facade::Books;

/// The options that say so.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct From {
    /// From the fleet's ledger: of all hosts that forward theirs
    #[arg(long)]
    fleet: bool,

    /// From the fleet's ledger: of this host, by its name or its ledger's id
    #[arg(long, value_name = "HOST", conflicts_with = "fleet")]
    host: Option<String>,
}

impl From {
    /// What they say.
    pub fn get(&self) -> Books {
        match &self.host {
            Some(host) => Books::Host(host.clone()),
            None if self.fleet => Books::Fleet,
            None => Books::Own,
        }
    }
}
