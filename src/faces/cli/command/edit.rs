//! `hostel edit`

use std::io::{self, IsTerminal};

use clap::Args;
use hostel_engine::Error;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;
use crate::cli::editor::{self, Edited, Source};
use crate::cli::exit::Exit;
use crate::cli::{command::set, parallel};

/// Edit a VE's definition
///
/// Opens $VISUAL, else $EDITOR, else vi. A text with mistakes is opened again with the mistakes at its top; leave it
/// as it is to give up. Comments are kept. What can change while the VE runs does so at once.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel edit web1\n  EDITOR='code --wait' hostel edit web1")]
pub struct Edit {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,
}

impl Edit {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let label = self.ve.to_string();
        let source = Source {
            label: &label,
            read: &|| engine.definition_text(&self.ve),
            replace: &|before, text| -> Result<_, Error> {
                parallel::one(context.show, &label, |progress| {
                    engine.replace_definition(&self.ve, before, text, progress)
                })
            },
        };
        match editor::edit(&source, &editor::chosen(), io::stdin().is_terminal())? {
            Edited::Unchanged => context.say("no changes"),
            Edited::Replaced(report) => set::print(context, &report, false)?,
        }
        Ok(Exit::Ok)
    }
}
