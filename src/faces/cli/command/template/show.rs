//! `hostel template show`

use clap::Args;

use super::{Done, Json, block};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Show a template
///
/// With --json, an object with name, version, family, init, size in bytes, created, source, checksum and used_by.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel template show debian-12")]
pub struct Show {
    /// Template, or template/version
    #[arg(value_name = "TEMPLATE")]
    name: String,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let info = context.engine()?.template_show(&self.name)?;
        if self.json.json {
            context.print_json(&info)?;
        } else {
            context.print_table(&block(&info))?;
        }
        Ok(Exit::Ok)
    }
}
