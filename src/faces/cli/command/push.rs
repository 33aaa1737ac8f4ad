//! `hostel push`

use std::path::PathBuf;

use clap::Args;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Copy a file or directory into a VE
///
/// Sockets, FIFOs and devices in a directory are left out. A file that grows meanwhile comes as long as it was when it was
/// opened.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel push web1 ./site /var/www/site\n  hostel push web1 nginx.conf /etc/nginx/nginx.conf"
)]
pub struct Push {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// File or directory on the host
    #[arg(value_name = "SRC")]
    from: PathBuf,

    /// Path inside the VE
    #[arg(value_name = "DEST")]
    to: String,
}

impl Push {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context.engine()?.push(&self.ve, &self.from, &self.to)?;
        Ok(Exit::Ok)
    }
}
