//! `hostel network attach`

use std::net::IpAddr;

use clap::Args;
use hostel_engine::facade::AddressReport;
use hostel_model::id::NetworkName;
use hostel_model::request::VeRef;

use super::{Done, Json, names, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Put a VE on a network
///
/// At once and for good: in a VE that runs, which gets one more interface, and in its definition. All of it is done or
/// nothing. A network that it is on already is no error. With --json, an object with id, name, interface, network,
/// addresses, changed and live.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel network attach web1 private
  hostel network attach web1 public --address 203.0.113.10,2001:db8::10")]
pub struct Attach {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Name of the network
    #[arg(value_name = "NETWORK")]
    network: NetworkName,

    /// Give it ADDRESS there; otherwise a free one of each family
    #[arg(long = "address", value_name = "ADDRESS", value_delimiter = ',')]
    addresses: Vec<IpAddr>,

    #[command(flatten)]
    json: Json,
}

impl Attach {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.attach_network(&self.ve, &self.network, &self.addresses, progress)
        })?;
        print(context, &report, &line(&report), self.json)
    }
}

/// For a person.
pub fn line(report: &AddressReport) -> String {
    let (name, network, list) = names(report);
    if !report.changed {
        return format!("{name}: is on {network} already");
    }
    let end = report.interface.as_deref().unwrap_or_default();
    let when = if report.live {
        ""
    } else {
        "; in force at its next start"
    };
    format!("{name}: {end} is on {network} with {list}{when}")
}
