//! Templates of VEs that bring their own tree: nothing is in them, and all of the VE is on its disk.

use std::path::Path;

use hostel_model::id::TemplateName;
use hostel_system::archive::{Report, Tree};

use super::build::Made;
use super::{Template, Templates, inspect};
use crate::error::{Class, Error, Result};
use crate::facade::Progress;

/// What the names of such templates begin with.
const NAME: &str = "imported";

/// What a tree needs of a template: its family and its init.
#[derive(Debug, Clone)]
pub struct Nature {
    made: (hostel_model::distribution::Family, hostel_model::template::Init),
    /// The template's name.
    pub name: TemplateName,
}

impl Nature {
    /// That of a tree; it must be one of a whole system.
    pub fn of(tree: &Path) -> Result<Self> {
        let tree = Tree::open(tree)?;
        let init = inspect::init(&tree)?;
        let family = inspect::family(&tree, init.kind)?;
        let name = format!("{NAME}-{family}-{}", init.kind);
        let name = name
            .parse()
            .map_err(|e| Error::new(Class::Failed, format!("cannot name a template {name}")).because(e))?;
        Ok(Self {
            made: (family, init),
            name,
        })
    }
}

impl Templates {
    /// The empty template for trees of this nature, made if there is none.
    pub fn bare(&self, nature: &Nature, progress: &dyn Progress) -> Result<Template> {
        if let Some(there) = self.versions(&nature.name)?.into_iter().next() {
            return Ok(there);
        }
        let draft = self.draft(&nature.name, None, progress)?;
        let root = Tree::create(&draft.staging.path().join("root"))?;
        let (family, init) = nature.made.clone();
        let made = Made {
            source: "nothing: its VEs bring their own trees".to_owned(),
            family,
            init,
            recipe: None,
            report: Report::default(),
        };
        self.finish(draft, &root, made, progress)
    }
}
