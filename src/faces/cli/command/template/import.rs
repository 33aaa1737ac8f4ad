//! `hostel template import`

use std::path::PathBuf;

use clap::Args;
use hostel_model::id::TemplateName;

use super::{Done, Json, made};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel;

/// Make a template from a root tree or an image
///
/// Takes a directory or an archive of a root tree, an LXD or Incus image, or an OCI layout. With --json, the new
/// template as show gives it.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel template import debian-12 ./rootfs.tar.zst\n  hostel template import my-app ./oci-layout"
)]
pub struct Import {
    /// Name of the template
    #[arg(value_name = "NAME")]
    name: TemplateName,

    /// Archive, image or directory
    #[arg(value_name = "PATH")]
    from: PathBuf,

    #[command(flatten)]
    json: Json,
}

impl Import {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let label = self.name.to_string();
        let work =
            |progress: &dyn hostel_engine::facade::Progress| engine.template_import(&self.name, &self.from, progress);
        let info = parallel::one(context.show, &label, work)?;
        made(context, &info, self.json)?;
        Ok(Exit::Ok)
    }
}
