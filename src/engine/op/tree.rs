//! Which copy of its template's tree a VE stands on that goes to another tenant: `hostel set NAME tenant=OTHER`. Tenants
//! share no page of the host's cache, so it takes the other's copy, and what overlayfs has noted on its disk of the old
//! one is rewritten ([`hostel_system::disk::Drivers::rebase`]).

use std::path::PathBuf;

use hostel_model::definition;
use hostel_model::id::TenantName;
use hostel_system::file;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::facade::Silent;
use crate::host::Host;
use crate::templates::Share;
use crate::ve::record::VeState;

/// Whose copy of its template a VE is to stand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Its tenant.
    pub tenant: TenantName,
    /// Who shares it.
    pub share: definition::Share,
}

impl Host {
    /// Lets a stopped VE's disk stand on that tree, which is made if need be.
    pub(crate) fn stand_on(&self, state: &VeState, tree: &Tree) -> Result<()> {
        let store = self.templates();
        let template = store.resolve(&state.template)?;
        let lower = store.lower_for(&template, &self.sharers(state, tree), &Silent)?;
        if lower == state.lower {
            return Ok(());
        }
        // In order before it is changed: what a crash left in its journal belongs to it.
        self.check_disk(state)?;
        let disk = (state.driver, &*self.dirs.ve(state.id));
        Ok(self.disks.rebase(disk, &state.lower, &lower)?)
    }

    /// And on the one of its record again. The other copy stays for its tenant's next VE.
    pub(crate) fn stand_back(&self, state: &VeState, tree: &Tree) -> Result<()> {
        let lower = self.tree_of(state, tree)?;
        if lower == state.lower {
            return Ok(());
        }
        // Without it, nothing can have been let stand on it.
        if lower.is_dir() {
            let disk = (state.driver, &*self.dirs.ve(state.id));
            self.disks.rebase(disk, &lower, &state.lower)?;
        }
        self.drop_own_tree(state)
    }

    /// Where that tree lies.
    pub(crate) fn tree_of(&self, state: &VeState, tree: &Tree) -> Result<PathBuf> {
        let store = self.templates();
        store.place_of(&store.resolve(&state.template)?, &self.sharers(state, tree))
    }

    /// Removes a copy of the VE's own that it doesn't stand on.
    pub(crate) fn drop_own_tree(&self, state: &VeState) -> Result<()> {
        let own = self.dirs.ve(state.id).join("templates");
        match state.lower.starts_with(&own) {
            true => Ok(()),
            false => Ok(file::remove_tree(&own)?),
        }
    }

    fn sharers(&self, state: &VeState, tree: &Tree) -> Share {
        sharing(tree.share, &tree.tenant, self.dirs.ve(state.id))
    }
}

/// Who shares a template's tree: `own` is where one lies that is a VE's alone.
pub(crate) fn sharing(share: definition::Share, tenant: &TenantName, own: PathBuf) -> Share {
    match share {
        definition::Share::Tenant => Share::Tenant(tenant.clone()),
        definition::Share::Host => Share::Host,
        definition::Share::None => Share::None(own),
    }
}
