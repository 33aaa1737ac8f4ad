//! `hostel forward add`

use clap::Args;
use hostel_model::definition::{ForwardKeys, Protocol};
use hostel_model::forward::{Listen, Ports};
use hostel_model::id::NetworkName;
use hostel_model::request::VeRef;

use super::{Done, Json, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Lead ports of the host to a VE
///
/// LISTEN is a port of one of the host's addresses, or of all of them: 203.0.113.1:8080, [2001:db8::1]:8080, :8080, or a
/// range: :8000-8010. All of them leaves out loopback and link-local addresses. The same ports lead to one VE only. Take
/// care with ports of the host's own services (:22): they are then reached by the host alone, under 127.0.0.1 and ::1,
/// and by connections that there are already. A forward that the VE has already is no error. With --json, an object with
/// id, name, protocol, listen, to, changed and live.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel forward add web1 203.0.113.1:8080 80
  hostel forward add web1 :443
  hostel forward add voip :10000-10100 --protocol udp")]
pub struct Add {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Ports of the host: [ADDRESS]:PORT, or [ADDRESS]:PORT-PORT
    #[arg(value_name = "LISTEN", value_parser = super::listen)]
    listen: Listen,

    /// The VE's port; of a range, the first or all; the same as the host's if not given
    #[arg(value_name = "TO")]
    to: Option<Ports>,

    /// tcp or udp
    #[arg(short, long, value_name = "PROTOCOL", default_value = "tcp")]
    protocol: Protocol,

    /// To the VE's address on NETWORK; otherwise on the first with one of the family
    #[arg(short, long, value_name = "NETWORK")]
    network: Option<NetworkName>,

    #[command(flatten)]
    json: Json,
}

impl Add {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let ports = self.listen.ports;
        let to = self.to.unwrap_or(ports);
        if ![1, ports.count()].contains(&to.count()) || ports.moved_to(to.first()).is_none() {
            let message = format!("{ports} are {} ports, and {to} are others", ports.count());
            let error = hostel_engine::Error::new(hostel_engine::Class::Usage, message);
            return Err(error.hint("give the first port only, or as many").into());
        }
        let forward = ForwardKeys {
            protocol: self.protocol,
            listen: self.listen,
            to: to.first(),
            network: self.network.clone(),
        };
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.add_forward(&self.ve, &forward, progress)
        })?;
        print(context, &report, "leads to port", "leads to it already", self.json)
    }
}
