//! `hostel tenant set`

use clap::Args;
use hostel_model::edit::parse_setting;
use hostel_model::id::TenantName;

use super::{Done, Json};
use crate::cli::command::set::print;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Change settings of a tenant
///
/// All of them or none; comments in its file stay. KEY= removes a key, KEY+= and KEY-= add to a list and take from it.
/// A budget may be set below what is in use: that is told, what there is stays, and nothing can grow. With --json, the
/// object that set gives.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel tenant set acme memory=32GiB plans+=large
  hostel tenant set acme addresses.ipv4= --dry-run")]
pub struct Set {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,

    /// Keys of its definition, and their new values
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = parse_setting)]
    settings: Vec<(String, String)>,

    /// Say what would change, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    json: Json,
}

impl Set {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = engine.set_tenant(&self.name, &self.settings, self.dry_run, context)?;
        print(context, &report, self.json.json)?;
        Ok(Exit::Ok)
    }
}
