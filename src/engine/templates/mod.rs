//! The store of distribution templates: `<templates>/<name>/<version>/` with the tree (`root/`), what is known of
//! it (`template.toml`), the list of its files (`manifest`) and of its packages (`packages`).
//!
//! A version never changes once it stands under its name: it is made under a staging name and renamed into place,
//! and removed by renaming away first. Whoever is killed in between leaves a staging directory that nobody holds
//! a lock on; the next build or import, or an audit, removes it. All parents of a tree have mode 0700, so no user
//! of the host reaches a setuid file in it.

mod bare;
mod bootstrap;
mod build;
mod busybox;
mod copies;
mod import;
mod inspect;
mod needs;
mod staging;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hostel_model::id::{TemplateName, VeName};
use hostel_model::template::{TemplateRecord, TemplateRef, TemplateVersion};
use hostel_system::archive::{self, Tree};
use hostel_system::file;

pub use bare::Nature;
pub use copies::{Copy, Share};
use staging::Staging;

use crate::error::{Class, Error, Result};

/// The store of templates of one Hostel, and the copies that tenants have of them.
#[derive(Debug, Clone)]
pub struct Templates {
    dir: PathBuf,
    data: PathBuf,
}

/// One version of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What is known of it.
    pub record: TemplateRecord,
    /// Its directory.
    pub path: PathBuf,
}

impl Template {
    /// Its tree. Read-only by agreement: everything that stands on it shares it.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    fn read(path: PathBuf) -> Result<Option<Self>> {
        let file = path.join("template.toml");
        let Some(text) = file::read_opt(&file)? else {
            return Ok(None);
        };
        let record = TemplateRecord::parse(&text).map_err(|e| {
            Error::new(Class::Failed, format!("cannot read {}", file.display()))
                .because(e)
                .hint("mend the file, or remove the template version and build it again")
        })?;
        let named = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        let place = (path.parent().and_then(named), named(&path));
        if place != (Some(record.name.to_string()), Some(record.version.to_string())) {
            let message = format!(
                "{} describes {}, which lies elsewhere",
                file.display(),
                record.reference()
            );
            return Err(Error::new(Class::Failed, message).hint("move the directory to <name>/<version>"));
        }
        Ok(Some(Self { record, path }))
    }
}

impl Templates {
    /// The store in `dir`, with the copies of tenants below `data`.
    pub fn new(dir: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            data: data.into(),
        }
    }

    /// All versions of all templates: by name, the newest first.
    pub fn list(&self) -> Result<Vec<Template>> {
        let mut all = Vec::new();
        let mut names: Vec<TemplateName> = entries(&self.dir)?;
        names.sort();
        for name in names {
            all.extend(self.versions(&name)?);
        }
        Ok(all)
    }

    /// All versions of one template, the newest first.
    pub fn versions(&self, name: &TemplateName) -> Result<Vec<Template>> {
        let dir = self.dir.join(name.as_str());
        let mut found = Vec::new();
        for version in entries::<TemplateVersion>(&dir)? {
            found.extend(Template::read(dir.join(version.as_str()))?);
        }
        found.sort_by(|a, b| (b.record.created, &b.record.version).cmp(&(a.record.created, &a.record.version)));
        Ok(found)
    }

    /// The newest version of a template.
    pub fn latest(&self, name: &TemplateName) -> Result<Template> {
        self.versions(name)?
            .into_iter()
            .next()
            .ok_or_else(|| self.unknown(name.as_str()))
    }

    /// The template that a reference means: that version, or the newest.
    pub fn show(&self, reference: &TemplateRef) -> Result<Template> {
        match &reference.version {
            None => self.latest(&reference.name),
            Some(version) => Template::read(self.place(&reference.name, version))?
                .ok_or_else(|| self.unknown(&reference.to_string())),
        }
    }

    /// The template that a person means by `name` or `name/version`.
    pub fn resolve(&self, text: &str) -> Result<Template> {
        self.show(&parse_reference(text)?)
    }

    /// Compares a template's tree with the list made when it was: a line for every difference.
    pub fn verify(&self, template: &Template) -> Result<Vec<String>> {
        self.compare(template, &Tree::open(&template.root())?)
    }

    /// Compares a tree with what is on record of a template; the record itself by the checksum of its list.
    fn compare(&self, template: &Template, tree: &Tree) -> Result<Vec<String>> {
        let recorded = file::read(&template.path.join("manifest"))?;
        let mut found = Vec::new();
        if archive::sha256(recorded.as_bytes()) != template.record.checksum {
            found.push("manifest: is not the one whose checksum template.toml has".to_owned());
        }
        found.extend(archive::verify(tree, &recorded)?);
        Ok(found)
    }

    /// Compares a copy with what is on record of the template in the store; with its own record where the store has
    /// that version no more.
    pub fn verify_copy(&self, copy: &Copy) -> Result<Vec<String>> {
        let original = match &copy.reference.version {
            Some(version) => Template::read(self.place(&copy.reference.name, version))?,
            None => None,
        };
        let record = match original {
            Some(template) => Some(template),
            None => Template::read(copy.path.clone())?,
        };
        match record {
            Some(template) => self.compare(&template, &Tree::open(&copy.path.join("root"))?),
            None => Ok(vec!["template.toml: is gone".to_owned()]),
        }
    }

    /// Removes a version; `name` alone will do if there is only one. `used_by`: the VEs that stand on it, as the
    /// caller knows them.
    pub fn remove(
        &self,
        reference: &TemplateRef,
        used_by: &dyn Fn(&Template) -> Result<Vec<VeName>>,
    ) -> Result<Template> {
        let template = match &reference.version {
            Some(_) => self.show(reference)?,
            None => {
                let mut versions = self.versions(&reference.name)?;
                if versions.len() > 1 {
                    let names: Vec<String> = versions.iter().map(|t| t.record.reference().to_string()).collect();
                    return Err(Error::new(Class::Usage, format!("{reference} has several versions"))
                        .hint(format!("name one of {}", names.join(", "))));
                }
                versions.pop().ok_or_else(|| self.unknown(reference.name.as_str()))?
            }
        };
        let users: Vec<String> = used_by(&template)?.iter().map(ToString::to_string).collect();
        if !users.is_empty() {
            let message = format!("{} is in use by {}", template.record.reference(), users.join(", "));
            return Err(Error::new(Class::Refused, message).hint("destroy these VEs first, or keep the template"));
        }
        Staging::remove(&self.dir, &template.path)?;
        Ok(template)
    }

    /// What builds, imports, removals and copies that were killed have left: staging directories whose owner is
    /// gone. For an audit.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut found = staging::leftovers(&self.dir)?;
        for dir in self.copy_stores()? {
            found.extend(staging::leftovers(&dir)?);
        }
        Ok(found)
    }

    /// Removes them; says which they were.
    pub fn remove_leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut removed = staging::remove_leftovers(&self.dir)?;
        for dir in self.copy_stores()? {
            removed.extend(staging::remove_leftovers(&dir)?);
        }
        Ok(removed)
    }

    fn place(&self, name: &TemplateName, version: &TemplateVersion) -> PathBuf {
        self.dir.join(name.as_str()).join(version.as_str())
    }

    fn unknown(&self, what: &str) -> Error {
        // Only for a hint: names whose versions can't be read are no help.
        let names = entries::<TemplateName>(&self.dir).unwrap_or_default();
        let usable = |name: &&TemplateName| self.versions(name).is_ok_and(|v| !v.is_empty());
        let known: Vec<String> = names.iter().filter(usable).map(ToString::to_string).collect();
        let error = Error::new(Class::NotFound, format!("there is no template {what}"));
        if known.is_empty() {
            error.hint("build one: hostel template build RECIPE")
        } else {
            error.hint(format!("there are: {}", known.join(", ")))
        }
    }
}

/// `name` or `name/version`.
pub(crate) fn parse_reference(text: &str) -> Result<TemplateRef> {
    text.parse()
        .map_err(|e| Error::new(Class::Usage, format!("\"{text}\" names no template")).because(e))
}

/// The names in a directory that parse as `T`; none if there is no directory. Others (staging, locks) are passed
/// over.
fn entries<T: std::str::FromStr>(dir: &Path) -> Result<Vec<T>> {
    let fail = |e| hostel_system::Error::os("list", dir.display(), e);
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e).into()),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() {
            found.extend(entry.file_name().to_str().and_then(|n| n.parse().ok()));
        }
    }
    Ok(found)
}
