//! `hostel network detach`

use clap::Args;
use hostel_engine::facade::AddressReport;
use hostel_model::id::NetworkName;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
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
        if self.json.json {
            context.print_json(&report)?;
        } else {
            context.say(&line(&report));
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn line(report: &AddressReport) -> String {
    let list: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let (name, list) = (&report.name, list.join(" and "));
    let network = report.network.as_ref().map(NetworkName::as_str).unwrap_or_default();
    if !report.changed {
        return format!("{name}: is not on {network}");
    }
    let end = report.interface.as_deref().unwrap_or_default();
    format!("{name}: {end} with {list} is off {network}")
}
