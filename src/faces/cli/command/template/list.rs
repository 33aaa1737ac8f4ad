//! `hostel template list`

use clap::Args;

use super::{Done, Json, table};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print a table of templates
///
/// With --json, an array of the objects that show gives.
#[derive(Debug, Args)]
#[command(visible_alias = "ls", after_long_help = "Examples:\n  hostel template list")]
pub struct List {
    /// Leave the headings out
    #[arg(short = 'H', long)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let templates = context.engine()?.template_list()?;
        if self.json.json {
            context.print_json(&templates)?;
        } else {
            context.print_table(&table(&templates).headless(self.no_header))?;
        }
        Ok(Exit::Ok)
    }
}
