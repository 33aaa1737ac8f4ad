//! `hostel address remove`

use std::net::IpAddr;

use clap::Args;
use hostel_model::request::VeRef;

use super::{Done, Json, Nothing, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Take an address from a VE
///
/// One that it hasn't is no error. For a while nobody is given it automatically: its network's quarantine. With --json,
/// an object with id, name, interface, network, addresses, changed and live.
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_long_help = "Examples:\n  hostel address remove web1 203.0.113.10"
)]
pub struct Remove {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// The address
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,

    #[command(flatten)]
    json: Json,
}

impl Remove {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.remove_address(&self.ve, self.address, progress)
        })?;
        print(context, &report, "removed from", Nothing::HasntIt, self.json)
    }
}
