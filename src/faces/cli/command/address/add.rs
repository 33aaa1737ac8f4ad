//! `hostel address add`

use clap::Args;
use hostel_model::request::{VeRef, Wanted};

use super::{Done, Json, Nothing, print};
use crate::cli::context::Context;
use crate::cli::parallel;

/// Give a VE an address
///
/// One that it has already is no error. Addresses that were given automatically are written into the definition with
/// the new one. With --json, an object with id, name, interface, network, addresses, changed and live.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel address add web1 203.0.113.10
  hostel address add web1 auto6 --interface 1")]
pub struct Add {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// An address; auto for a free one of each family, auto4 or auto6 for one of that family
    #[arg(value_name = "ADDRESS|auto")]
    address: Wanted,

    /// Put it on interface N inside, eth0 being 0; otherwise on the first whose network has it
    #[arg(short, long, value_name = "N")]
    interface: Option<usize>,

    #[command(flatten)]
    json: Json,
}

impl Add {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.add_address(&self.ve, self.address, self.interface, progress)
        })?;
        print(context, &report, "added to", Nothing::HasIt, self.json)
    }
}
