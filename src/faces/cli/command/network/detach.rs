//! `hostel network detach`

use clap::Args;
use hostel_engine::facade::AddressReport;
use hostel_model::id::NetworkName;
use hostel_model::request::VeRef;

use super::{Done, Json, names, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Take a VE off a network
///
/// At once and for good: in a VE that runs, which loses that interface, and in its definition. The other interfaces keep
/// their names. A network that it isn't on is no error. For a while nobody is given its addresses automatically: the
/// network's quarantine. With --json, an object with id, name, interface, network, addresses, changed and live.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel network detach web1 private")]
pub struct Detach {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Name of the network
    #[arg(value_name = "NETWORK")]
    network: NetworkName,

    #[command(flatten)]
    json: Json,
}

impl Detach {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.detach_network(&self.ve, &self.network, progress)
        })?;
        print(context, &report, &line(&report), self.json)
    }
}

/// For a person.
pub fn line(report: &AddressReport) -> String {
    let (name, network, list) = names(report);
    if !report.changed {
        return format!("{name}: is not on {network}");
    }
    let end = report.interface.as_deref().unwrap_or_default();
    format!("{name}: {end} with {list} is off {network}")
}
