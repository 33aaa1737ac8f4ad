//! Templates.

use std::path::{Path, PathBuf};

use hostel_model::id::{TemplateName, VeName};
use hostel_model::recipe::Recipe;
use hostel_model::template::TemplateRef;
use hostel_system::file;

use super::{Engine, Progress, TemplateInfo, Verified};
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::templates::{Template, Templates, parse_reference};
use crate::ve::record::STATE;

impl Engine {
    /// Builds a template from a recipe (a name in the recipe directory, or a file).
    pub fn template_build(&self, recipe: &str, progress: &dyn Progress) -> Result<TemplateInfo> {
        let path = self.recipe_path(recipe)?;
        let text = file::read(&path)?;
        let parsed = Recipe::parse(&text)
            .map_err(|e| Error::new(Class::Usage, format!("recipe {} has mistakes", path.display())).because(e))?;
        let template = self.host.templates().build(&parsed, &text, progress)?;
        self.info_of(&template)
    }

    fn recipe_path(&self, recipe: &str) -> Result<PathBuf> {
        let images = self.host.dirs.images();
        if recipe.contains('/') || recipe.ends_with(".toml") {
            return Ok(PathBuf::from(recipe));
        }
        let path = images.join(format!("{recipe}.toml"));
        if path.exists() {
            return Ok(path);
        }
        let entries = std::fs::read_dir(&images).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
            .collect();
        names.sort();
        Err(Error::new(Class::NotFound, format!("there is no recipe \"{recipe}\""))
            .hint(format!("recipes in {}: {}", images.display(), names.join(", ")))
            .hint("a file is named with a slash in it: ./my.toml"))
    }

    /// Makes a template from a root tree, an LXD/Incus image or an OCI layout.
    pub fn template_import(&self, name: &TemplateName, from: &Path, progress: &dyn Progress) -> Result<TemplateInfo> {
        let template = self.host.templates().import(name, None, from, progress)?;
        self.info_of(&template)
    }

    /// All template versions.
    pub fn template_list(&self) -> Result<Vec<TemplateInfo>> {
        self.host.templates().list()?.iter().map(|t| self.info_of(t)).collect()
    }

    /// One template (`name` or `name/version`).
    pub fn template_show(&self, name: &str) -> Result<TemplateInfo> {
        self.info_of(&self.host.templates().resolve(name)?)
    }

    /// Removes a template version (`name` with one version, or `name/version`) and the tenants' copies of it.
    pub fn template_remove(&self, name: &str) -> Result<()> {
        let _lock = self.host.lock_registry("template remove")?;
        let store = self.host.templates();
        // As it was typed: a name alone must not mean the newest of several here.
        let removed = store.remove(&parse_reference(name)?, &|t| self.host.users_of(&t.record.reference()))?;
        let reference = removed.record.reference();
        for copy in store.copies()?.iter().filter(|c| c.shared && c.reference == reference) {
            store.remove_copy(copy)?;
        }
        Ok(())
    }

    /// Compares trees with the checksums that were recorded when they were made: those of the template that is named
    /// (`name`: all its versions, or `name/version`), or of all; in the store, then the copies. Reads every file of them.
    pub fn template_verify(&self, name: Option<&str>, progress: &dyn Progress) -> Result<Vec<Verified>> {
        let store = self.host.templates();
        let asked = name.map(parse_reference).transpose()?;
        let wanted = |reference: &TemplateRef| {
            asked
                .as_ref()
                .is_none_or(|a| a.name == reference.name && (a.version.is_none() || a.version == reference.version))
        };
        let mut verified = Vec::new();
        let mut add = |reference: &TemplateRef, place: &str, path: PathBuf, look: &dyn Fn() -> Result<Vec<String>>| {
            progress.step(&format!("reading {reference} of {place}"));
            verified.push(Verified {
                template: reference.to_string(),
                place: place.to_owned(),
                path,
                differences: look()?,
            });
            Ok::<(), Error>(())
        };
        for template in store.list()?.iter().filter(|t| wanted(&t.record.reference())) {
            let look = || store.verify(template);
            add(&template.record.reference(), "the store", template.path.clone(), &look)?;
        }
        for copy in store.copies()?.iter().filter(|c| wanted(&c.reference)) {
            add(&copy.reference, &copy.whose, copy.path.clone(), &|| {
                store.verify_copy(copy)
            })?;
        }
        match (verified.is_empty(), &asked) {
            // Says what there is.
            (true, Some(asked)) => store.show(asked).map(|_| verified),
            _ => Ok(verified),
        }
    }

    fn info_of(&self, template: &Template) -> Result<TemplateInfo> {
        let record = &template.record;
        Ok(TemplateInfo {
            name: record.name.clone(),
            version: record.version.to_string(),
            family: record.family.to_string(),
            size: record.size,
            created: record.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            used_by: self.host.users_of(&record.reference())?,
            source: record.source.clone(),
            checksum: record.checksum.clone(),
            init: record.init.kind.to_string(),
        })
    }
}

impl Host {
    /// The store.
    pub fn templates(&self) -> Templates {
        Templates::new(self.dirs.templates(), self.dirs.data())
    }

    /// The VEs that stand on a template version, those too that are being made.
    pub(super) fn users_of(&self, reference: &TemplateRef) -> Result<Vec<VeName>> {
        let reference = reference.to_string();
        let whole = self.all_states()?.into_iter().filter(|s| s.template == reference);
        let mut users: Vec<VeName> = whole.map(|s| s.name).collect();
        // One whose record is damaged stands on what it still names.
        for (id, _) in self.states()?.into_iter().filter(|(_, s)| s.is_err()) {
            let text = std::fs::read(self.dirs.ve(id).join(STATE)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(&format!("\"{reference}\"")) {
                users.extend(self.outline(id).map(|ve| ve.name));
            }
        }
        Ok(users)
    }
}
