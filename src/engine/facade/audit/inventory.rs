//! What should exist: the VEs, and of what each may have objects in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::id::VeId;
use hostel_model::state::State;
use hostel_system::process::Init;

use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;

/// A VE that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) init: Init,
    /// The names of its interfaces; `None` if its record can't be read: then any with its number may be its.
    pub(super) interfaces: Option<Vec<String>>,
}

/// The VEs as they are.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    prefix: String,
    /// All.
    pub(super) known: BTreeSet<VeId>,
    pub(super) running: BTreeMap<VeId, Running>,
    pub(super) mounted: BTreeSet<VeId>,
    /// In the middle of an operation, under way or cut short: what they have is that operation's affair.
    pub(super) busy: BTreeSet<VeId>,
}

impl Inventory {
    /// May this VE have a control group and a disk that is attached?
    pub(super) fn may_live(&self, id: VeId) -> bool {
        self.running.contains_key(&id) || self.busy.contains(&id)
    }

    /// May a VE have an interface of this name?
    pub(super) fn may_have_interface(&self, name: &str) -> bool {
        let number = name
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.split_once('.'))
            .map(|(id, _)| id);
        let Some(id) = number.and_then(|id| id.parse::<VeId>().ok()) else {
            return false;
        };
        let its = |ve: &Running| {
            ve.interfaces
                .as_ref()
                .is_none_or(|names| names.iter().any(|n| n == name))
        };
        self.busy.contains(&id) || self.running.get(&id).is_some_and(its)
    }

    /// The interfaces that there must be.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &String> {
        let settled = self.running.iter().filter(|(id, _)| !self.busy.contains(id));
        settled.filter_map(|(_, ve)| ve.interfaces.as_ref()).flatten()
    }
}

impl Host {
    pub(super) fn inventory(&self) -> Result<Inventory> {
        let mut inventory = Inventory {
            prefix: self.config.interface_prefix.as_str().to_owned(),
            ..Inventory::default()
        };
        inventory.busy.extend(self.journals.pending()?);
        for (id, state) in self.states()? {
            inventory.known.insert(id);
            if self.is_held(id) {
                inventory.busy.insert(id);
            }
            let reality = self.reality(id)?;
            if let Some(init) = reality.init {
                let names = |s: VeState| s.interfaces.iter().map(|i| self.interface_name(id, i)).collect();
                let interfaces = state.ok().map(names);
                inventory.running.insert(id, Running { init, interfaces });
            }
            if reality.state == State::Mounted {
                inventory.mounted.insert(id);
            }
        }
        // Again, for those that began meanwhile; one that is being made has no record yet.
        inventory.busy.extend(self.journals.pending()?);
        inventory.known.extend(inventory.busy.iter().copied());
        Ok(inventory)
    }
}
