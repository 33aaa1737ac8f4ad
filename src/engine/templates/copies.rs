//! Copies of a template's tree: one for each tenant, so that no page of the host's cache is shared between tenants
//! (kernel bugs that write to a read-only page cross from VE to VE exactly where it is), or one for a single VE. What
//! was copied is compared with the checksums that were recorded when the template was made: no VE is made of a tree
//! that has changed since.

use std::path::{Path, PathBuf};

use hostel_model::id::{TemplateName, TenantName};
use hostel_model::template::{TemplateRef, TemplateVersion};
use hostel_system::archive::{self, Tree};
use hostel_system::{Error as SystemError, file};

use super::{Staging, Template, Templates, staging};
use crate::error::{Class, Error, Result};
use crate::facade::Progress;

/// Who shares a template's tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Share {
    /// The VEs of one tenant.
    Tenant(TenantName),
    /// All VEs of the host.
    Host,
    /// Nobody: the tree is one VE's own, and lies in this directory of its.
    None(PathBuf),
}

/// A copy of a template version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Whose it is: "tenant acme", "VE 101".
    pub whose: String,
    /// Of which version.
    pub reference: TemplateRef,
    /// Its directory.
    pub path: PathBuf,
    /// Of a tenant: all its VEs may stand on it. That of a single VE goes with the VE.
    pub shared: bool,
    store: PathBuf,
}

impl Templates {
    /// The lower tree for a VE: the template's own, or the copy of those who share it, made now if this is the
    /// first need. When two make the same copy at once, the second waits and takes the first's.
    pub fn lower_for(&self, template: &Template, share: &Share, progress: &dyn Progress) -> Result<PathBuf> {
        let Some(store) = self.copy_store(share) else {
            return Ok(template.root());
        };
        let reference = template.record.reference();
        let place = copy_place(&store, &reference)?;
        let parent = place.parent().unwrap_or(&store);
        file::make_dir(parent)?;
        let lock = file::open_own(&store.join(format!(".lock-{}", reference.to_string().replace('/', "_"))))?;
        lock.lock()
            .map_err(|e| SystemError::os("lock the copy of", &reference, e))?;
        let root = place.join("root");
        if root.is_dir() {
            return Ok(root);
        }
        progress.step(&format!("copying template {reference}"));
        staging::remove_leftovers(&store)?;
        let staged = Staging::new(&store, parent)?;
        let copy = Tree::create(&staged.path().join("root"))?;
        archive::copy_tree(&Tree::open(&template.root())?, &copy)?;
        refuse_changed(template, &self.compare(template, &copy)?)?;
        for name in ["template.toml", "manifest", "packages"] {
            let text = file::read(&template.path.join(name))?;
            file::write_atomic(&staged.path().join(name), text.as_bytes(), 0o600)?;
        }
        copy.sync()?;
        staged.commit(&place)?;
        Ok(root)
    }

    /// Where that tree lies, or will when it is made.
    pub fn place_of(&self, template: &Template, share: &Share) -> Result<PathBuf> {
        match self.copy_store(share) {
            Some(store) => Ok(copy_place(&store, &template.record.reference())?.join("root")),
            None => Ok(template.root()),
        }
    }

    /// All copies, of tenants and of single VEs, whether or not the version is in the store.
    pub fn copies(&self) -> Result<Vec<Copy>> {
        let mut found = Vec::new();
        for (shared, owner, store) in self.owned_stores()? {
            // A VE that is being made or destroyed.
            if owner.starts_with('.') {
                continue;
            }
            let whose = format!("{} {owner}", if shared { "tenant" } else { "VE" });
            for name in super::entries::<TemplateName>(&store)? {
                for version in super::entries::<TemplateVersion>(&store.join(name.as_str()))? {
                    found.push(Copy {
                        whose: whose.clone(),
                        path: store.join(name.as_str()).join(version.as_str()),
                        reference: TemplateRef {
                            name: name.clone(),
                            version: Some(version),
                        },
                        shared,
                        store: store.clone(),
                    });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes a copy; none there is no error. The caller knows that no VE stands on it.
    pub fn remove_copy(&self, copy: &Copy) -> Result<()> {
        Staging::remove(&copy.store, &copy.path)
    }

    /// The directory that holds the copies of those who share; `None` where the template itself is shared.
    fn copy_store(&self, share: &Share) -> Option<PathBuf> {
        match share {
            Share::Host => None,
            Share::Tenant(tenant) => Some(self.data.join("tenants").join(tenant.as_str()).join("templates")),
            Share::None(dir) => Some(dir.join("templates")),
        }
    }

    /// All directories that hold copies.
    pub(super) fn copy_stores(&self) -> Result<Vec<PathBuf>> {
        Ok(self.owned_stores()?.into_iter().map(|(_, _, store)| store).collect())
    }

    /// The same, each with whether it is a tenant's, and of which one or of which VE. A tenant whose file is gone still
    /// has its copies.
    fn owned_stores(&self) -> Result<Vec<(bool, String, PathBuf)>> {
        let mut found = Vec::new();
        for (kind, shared) in [("tenants", true), ("ve", false)] {
            let dir = self.data.join(kind);
            for owner in super::entries::<String>(&dir)? {
                let store = dir.join(&owner).join("templates");
                if store.is_dir() {
                    found.push((shared, owner, store));
                }
            }
        }
        Ok(found)
    }
}

/// `differences`: between a fresh copy of the template and what is on record of it.
fn refuse_changed(template: &Template, differences: &[String]) -> Result<()> {
    let Some(first) = differences.first() else {
        return Ok(());
    };
    let reference = template.record.reference();
    let more = match differences.len() {
        1 => String::new(),
        n => format!(", and {} more", n - 1),
    };
    Err(Error::new(
        Class::Failed,
        format!("template {reference} is not what it was when it was made"),
    )
    .because(format!("{first}{more}"))
    .hint(format!("see all that differs: hostel template verify {reference}"))
    .hint("make a new version, and create VEs from that: hostel template build RECIPE, or template import"))
}

fn copy_place(store: &Path, reference: &TemplateRef) -> Result<PathBuf> {
    let version = reference.version.as_ref().ok_or_else(|| {
        Error::new(Class::Usage, format!("{reference} names no version")).hint("a copy is of one version")
    })?;
    Ok(store.join(reference.name.as_str()).join(version.as_str()))
}
