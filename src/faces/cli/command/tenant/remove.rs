//! `hostel tenant remove`

use clap::Args;
use hostel_model::id::TenantName;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Remove a tenant that has no VEs
///
/// Its copies of templates go too. The tenant that new VEs get, defaults.tenant in hostel.toml, stays.
#[derive(Debug, Args)]
#[command(visible_alias = "rm", after_long_help = "Examples:\n  hostel tenant remove acme")]
pub struct Remove {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,
}

impl Remove {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context.careful_engine()?.remove_tenant(&self.name)?;
        context.say(&format!("{}: removed", self.name));
        Ok(Exit::Ok)
    }
}
