//! `hostel why`

use clap::Args;
use hostel_engine::facade::Why as Answer;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::visible;

/// Say why a VE is slow, doesn't start, or ended
///
/// The likeliest cause first, each with what it is seen by and what can be done. Looked at are the state, the last
/// command, how the last run ended, what its tasks wait for, its limits, disk, the kernel's log, and its console. Of what
/// was before the host's boot nothing is known. With --json, an object with id, name, state, and causes: an array of
/// objects with what, seen and advice.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel why web1\n  hostel why web1 --json")]
pub struct Why {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    #[command(flatten)]
    json: Json,
}

impl Why {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let answer = context.engine()?.why(&self.ve)?;
        if self.json.json {
            context.print_json(&answer)?;
        } else {
            context.print(&page(&answer))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person. A guest decides what stands in its console, and may not steer the terminal.
pub fn page(answer: &Answer) -> String {
    let mut out = String::new();
    for cause in &answer.causes {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&visible(&cause.what));
        out.push('\n');
        let lines = |kind: &'static str, lines: &[String]| -> String {
            lines.iter().map(|l| format!("  {kind} {}\n", visible(l))).collect()
        };
        out.push_str(&lines("seen:", &cause.seen));
        out.push_str(&lines("do:  ", &cause.advice));
    }
    out
}
