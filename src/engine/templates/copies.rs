//! Copies of a template's tree: one for each tenant, so that no page of the host's cache is shared between tenants
//! (kernel bugs that write to a read-only page cross from VE to VE exactly where it is), or one for a single VE.

use std::path::{Path, PathBuf};

use hostel_model::id::TenantName;
use hostel_model::template::TemplateRef;
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

    /// Removes a copy; none there is no error. The caller knows that no VE stands on it.
    pub fn remove_copy(&self, reference: &TemplateRef, share: &Share) -> Result<()> {
        match self.copy_store(share) {
            Some(store) if store.is_dir() => Staging::remove(&store, &copy_place(&store, reference)?),
            _ => Ok(()),
        }
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
        let mut found = Vec::new();
        for kind in ["tenants", "ve"] {
            let dir = self.data.join(kind);
            let owners: Vec<String> = super::entries(&dir)?;
            found.extend(
                owners
                    .iter()
                    .map(|o| dir.join(o).join("templates"))
                    .filter(|d| d.is_dir()),
            );
        }
        Ok(found)
    }
}

fn copy_place(store: &Path, reference: &TemplateRef) -> Result<PathBuf> {
    let version = reference.version.as_ref().ok_or_else(|| {
        Error::new(Class::Usage, format!("{reference} names no version")).hint("a copy is of one version")
    })?;
    Ok(store.join(reference.name.as_str()).join(version.as_str()))
}
