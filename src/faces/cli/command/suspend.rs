//! `hostel suspend`

use clap::Args;
use hostel_model::request::{Action, VeRef};

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
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel suspend web1\n  hostel suspend --check web1\n  hostel suspend --all")]
pub struct Suspend {
    #[command(flatten)]
    pub selected: Selected,

    /// Only tell what would stand in the way; the VE isn't stopped for it
    #[arg(long, conflicts_with = "json")]
    check: bool,

    #[command(flatten)]
    json: Json,
}

impl Suspend {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Suspend
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
            for visitor in engine.visitors(&VeRef::Id(ve.id))? {
                let visitor = failure::visible(&visitor);
                context.print(&format!(
                    "{}: note: it would end {visitor}, which exec or enter runs\n",
                    ve.name
                ))?;
            }
            if obstacles.is_empty() {
                context.print(&format!("{}: nothing stands in the way\n", ve.name))?;
            } else {
                exit = Exit::Refused;
            }
            for obstacle in obstacles {
                context.print(&format!("{}: {}\n", ve.name, failure::visible(&obstacle)))?;
            }
        }
        Ok(exit)
    }
}
