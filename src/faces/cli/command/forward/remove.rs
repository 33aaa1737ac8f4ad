//! `hostel forward remove`

use clap::Args;
use hostel_model::definition::Protocol;
use hostel_model::forward::Listen;
use hostel_model::request::VeRef;

use super::{Done, Json, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Lead ports of the host to a VE no more
///
/// LISTEN as it was added. New connections reach the host itself from then on; those that there are go on until they end,
/// as with other firewalls, and with UDP until nothing was sent for some minutes. One that it hasn't is no error. With
/// --json, an object with id, name, protocol, listen, to, changed and live.
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_long_help = "Examples:\n  hostel forward remove web1 203.0.113.1:8080"
)]
pub struct Remove {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Ports of the host, as they were added
    #[arg(value_name = "LISTEN", value_parser = super::listen)]
    listen: Listen,

    /// tcp or udp; needed only where it has both
    #[arg(short, long, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,

    #[command(flatten)]
    json: Json,
}

impl Remove {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.remove_forward(&self.ve, self.listen, self.protocol, progress)
        })?;
        print(context, &report, "led to port", "doesn't lead to it", self.json)
    }
}
