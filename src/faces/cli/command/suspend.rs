//! `hostel suspend`

use clap::Args;
use hostel_model::request::{Action, VeRef};
use serde_json::json;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Write what runs in VEs to disk and free their memory
///
/// Processes, memory, open files and connections are kept, also over a boot of the host, and go on at resume or start.
/// Commands that exec or enter run in it from outside end.
/// If it can't be done, the VE runs on and the error names what stands in the way.
/// What --check looks at, nothing being touched: CRIU, the host, namespaces, mounts, descriptors, and who is being traced.
/// Sockets, mappings and what changes meanwhile only a suspension itself can tell.
/// With --check and --json, an object for each VE, one a line, with id, name, ok, obstacles and visitors.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel suspend web1\n  hostel suspend --check web1\n  hostel suspend --all")]
pub struct Suspend {
    #[command(flatten)]
    pub selected: Selected,

    /// Only tell what would stand in the way, as far as it is seen without trying; the VE isn't stopped for it
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    json: Json,
}

impl Suspend {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Suspend { timeout: None }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        if self.check {
            return self.look(context);
        }
        verb::run(context, &self.selected, self.json, Load::Heavy, &self.action())
    }

    /// A line for each obstacle, or that there is none.
    fn look(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let mut exit = Exit::Ok;
        for ve in engine.select(&self.selected.selection(), context)? {
            let obstacles = engine.obstacles(&VeRef::Id(ve.id))?;
            let visitors = engine.visitors(&VeRef::Id(ve.id))?;
            if !obstacles.is_empty() {
                exit = Exit::Refused;
            }
            if self.json.json {
                context.print_json_line(&json!({
                    "id": ve.id, "name": ve.name, "ok": obstacles.is_empty(),
                    "obstacles": obstacles, "visitors": visitors,
                }))?;
            } else {
                context.print(&lines(ve.name.as_str(), &obstacles, &visitors))?;
            }
        }
        Ok(exit)
    }
}

/// For a person.
fn lines(name: &str, obstacles: &[String], visitors: &[String]) -> String {
    let mut text = String::new();
    for visitor in visitors {
        let visitor = failure::visible(visitor);
        text += &format!("{name}: note: it would end {visitor}, which exec or enter runs\n");
    }
    if obstacles.is_empty() {
        text += &format!("{name}: nothing is seen that stands in the way\n");
    }
    for obstacle in obstacles {
        text += &format!("{name}: {}\n", failure::visible(obstacle));
    }
    text
}
