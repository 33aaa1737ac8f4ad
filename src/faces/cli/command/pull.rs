//! `hostel pull`

use std::path::PathBuf;

use clap::Args;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Copy a file or directory out of a VE
///
/// Sockets, FIFOs and devices in a directory are left out. What comes belongs to who copies it, and has no power here: no
/// set-id bits, capabilities or attributes. A file that grows meanwhile comes as long as it was when it was opened.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel pull web1 /var/log/syslog web1.syslog")]
pub struct Pull {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Path inside the VE
    #[arg(value_name = "SRC")]
    from: String,

    /// File or directory on the host
    #[arg(value_name = "DEST")]
    to: PathBuf,
}

impl Pull {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context.engine()?.pull(&self.ve, &self.from, &self.to)?;
        Ok(Exit::Ok)
    }
}
