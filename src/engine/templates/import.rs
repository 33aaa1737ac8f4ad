//! Making a template from a tree that somebody else has packed.

use std::path::Path;

use hostel_model::id::TemplateName;
use hostel_model::template::TemplateVersion;
use hostel_system::archive::{Import, Limits};

use super::build::Made;
use super::{Template, Templates, inspect};
use crate::error::{Error, Result};
use crate::facade::Progress;

impl Templates {
    /// Makes a template from a root tree (a directory, a tarball or a squashfs image), an image of LXD or Incus, or
    /// an OCI image layout. Without `version`, it is the time of the import.
    pub fn import(
        &self,
        name: &TemplateName,
        version: Option<TemplateVersion>,
        from: &Path,
        progress: &dyn Progress,
    ) -> Result<Template> {
        let draft = self.draft(name, version, progress)?;
        let staging = draft.staging.path();
        let log = staging.join("build.log");
        progress.step(&format!("unpacking {}", from.display()));
        let import = Import {
            staging,
            log: &log,
            line: &|_| {},
            limits: Limits::default(),
        };
        let (root, form, report) = import.run(from)?;
        let init = inspect::init(&root).map_err(|mut e: Error| {
            e.message = format!("{} can't become a template: {}", from.display(), e.message);
            e
        })?;
        let family = inspect::family(&root, init.kind)?;
        let file_name = from
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let source = format!("import of {form} {file_name}");
        self.finish(
            draft,
            &root,
            Made {
                source,
                family,
                init,
                recipe: None,
                report,
            },
            progress,
        )
    }
}
