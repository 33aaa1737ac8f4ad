//! `hostel tenant create`

use std::path::PathBuf;

use clap::Args;
use hostel_model::edit::parse_setting;
use hostel_model::id::TenantName;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Make a tenant
///
/// Without settings nothing but the plans and the host hold its VEs. What is wrong is told with its key, and nothing is
/// made then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel tenant create acme max_ves=10 memory=16GiB addresses.ipv4=4
  hostel tenant create acme --file acme.toml")]
pub struct Create {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,

    /// Keys of its definition, and their values
    #[arg(value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,

    /// Take its definition from FILE; settings come on top
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Create {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        engine.create_tenant(&self.name, self.file.as_deref(), &self.settings, context)?;
        context.say(&format!("{}: created", self.name));
        Ok(Exit::Ok)
    }
}
