//! Which VEs a verb is for.

use clap::Args;
use hostel_model::id::TenantName;
use hostel_model::request::{Selection, VeRef};

/// `NAME|ID...`, `--all` or `--tenant T`: exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Selected {
    /// Names or ids of VEs
    #[arg(value_name = "NAME|ID")]
    pub names: Vec<VeRef>,

    /// Take every VE of the host
    #[arg(long)]
    pub all: bool,

    /// Take every VE of TENANT
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<TenantName>,
}

impl Selected {
    /// What the engine is asked for.
    pub fn selection(&self) -> Selection {
        match &self.tenant {
            Some(tenant) => Selection::Tenant(tenant.clone()),
            None if self.all => Selection::All,
            None => Selection::Some(self.names.clone()),
        }
    }
}
