//! `hostel beancounters`

use clap::Args;
use hostel_engine::facade::VeBeancounters;
use hostel_model::beancounters;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print VEs' limits as OpenVZ's /proc/user_beancounters has them
///
/// For programs that read that file: the same lines and columns, of the VEs named or of all that run. Of a resource that
/// control groups don't know, held is 0 and the limit 9223372036854775807, "none". Figures are counted since the VE's start.
/// With --json, an array of objects with id, name and resources, in which null is what isn't known, or no limit. For
/// people there is limits.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel beancounters web1\n  hostel beancounters > /run/user_beancounters")]
pub struct Beancounters {
    /// Names or ids of VEs
    #[arg(value_name = "NAME|ID")]
    ves: Vec<VeRef>,

    #[command(flatten)]
    json: Json,
}

impl Beancounters {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let ves = context.engine()?.beancounters(&self.ves)?;
        if self.json.json {
            context.print_json(&ves)?;
        } else {
            context.print(&text(&ves))?;
        }
        Ok(Exit::Ok)
    }
}

/// The file.
pub fn text(ves: &[VeBeancounters]) -> String {
    let rows: Vec<_> = ves.iter().map(|ve| (ve.id, ve.resources.clone())).collect();
    beancounters::text(&rows)
}
