//! What the OpenVZ dialect asks beside everybody's requests: a VE as it is, in one piece, and its CTID.conf.
//!
//! Where there is a directory for them (`hostel init --vz` makes it), each VE's CTID.conf is kept there: it is written
//! when the VE is made, changed or started, for whoever reads such files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hostel_model::definition::{Addresses, Network};
use hostel_model::edit::edit;
use hostel_model::id::{NetworkName, PlanName, VeId};
use hostel_model::openvz::{Conf, Facts, Held, InterfaceFacts, render};
use hostel_model::request::VeRef;
use hostel_model::resolve::{Effective, Interface};
use hostel_system::cgroup::{Limit, Support};
use hostel_system::file;

use super::set::refused_edit;
use super::{Engine, Progress, SetReport};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ve::judge::numbers;
use crate::ve::record::{InterfaceState, VeState};
use crate::ve::registry::Catalogue;

/// What libvirt's line in a CTID.conf begins with.
const UUID: &str = "#UUID:";

impl Engine {
    /// What a VE is to be, all told.
    pub fn effective(&self, ve: &VeRef) -> Result<Effective> {
        let state = self.host.find(ve)?;
        self.host.effective(&state.name, &mut Catalogue::default())
    }

    /// What is known of it beside, in the words of CTID.conf.
    pub fn openvz_facts(&self, ve: &VeRef) -> Result<Facts> {
        Ok(self.host.openvz_facts(&self.host.find(ve)?))
    }

    /// The interfaces of its definition, with the addresses that they are to have: those that stand there, and for
    /// "auto" the ones that it was given. What waits for a start is among them, and what ends with it is not: who changes
    /// the definition starts from there.
    pub fn interfaces(&self, ve: &VeRef) -> Result<Vec<Held>> {
        let state = self.host.find(ve)?;
        let given = |network: &NetworkName| {
            let has = state.interfaces.iter().find(|i| i.network == *network);
            has.map(|i| i.addresses.clone()).unwrap_or_default()
        };
        let held = |(i, number): (Interface, u8)| Held {
            addresses: match i.addresses {
                Addresses::Fixed(list) => list,
                Addresses::Auto => given(&i.network.name),
            },
            network: i.network.name,
            name: format!("eth{number}"),
        };
        let effective = self.host.effective(&state.name, &mut Catalogue::default())?;
        let numbers = numbers(&effective, &state.interfaces);
        Ok(effective.interfaces.into_iter().zip(numbers).map(held).collect())
    }

    /// Settings that were changed and wait for its next start.
    pub fn waiting(&self, ve: &VeRef) -> Result<BTreeSet<String>> {
        Ok(self.host.find(ve)?.waiting)
    }

    /// The networks whose definitions can be read, in order of name.
    pub fn network_definitions(&self) -> Vec<Network> {
        let names = self.host.names_of("networks").into_iter();
        let names = names.filter_map(|name| name.parse::<NetworkName>().ok());
        let read = |name: NetworkName| Catalogue::default().network(&self.host, &name).ok().cloned();
        names.filter_map(read).collect()
    }

    /// The network that a new VE joins if nobody says else.
    pub fn default_network(&self) -> Option<NetworkName> {
        self.host.config.defaults.network.clone()
    }

    /// Is there a plan of this name?
    pub fn has_plan(&self, name: &PlanName) -> bool {
        self.host.names_of("plans").iter().any(|known| known == name.as_str())
    }

    /// Is a VE made from some template if nobody says else?
    pub fn has_default_template(&self) -> bool {
        self.host.config.defaults.template.is_some()
    }

    /// Why this host can't hold weights of disk bandwidth; `None` if it can.
    pub fn no_io_weight(&self) -> Option<String> {
        match self.host.cgroups.support(Limit::IoWeight) {
            Support::No(why) => Some(why),
            Support::Full | Support::Partly(_) => None,
        }
    }

    /// The VE that is remembered under a name that is not its own.
    pub fn openvz_named(&self, name: &str) -> Result<Option<VeId>> {
        self.host.openvz_named(name)
    }

    /// Changes a definition by settings that depend on how the VE is: they are made while nobody else can change it.
    pub fn set_made(
        &self,
        ve: &VeRef,
        make: &mut dyn FnMut() -> Result<Vec<(String, String)>>,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "set", progress)?;
        let settings = make()?;
        if settings.is_empty() {
            return Ok(SetReport::default());
        }
        let old = self.definition_text(ve)?;
        let file = self.host.dirs.definition(&state.name).display().to_string();
        let new = edit(&file, &old, &settings).map_err(|e| refused_edit(&state, e))?;
        self.change(&state, &old, &new, false, progress)
    }

    /// Where CTID.conf files and action scripts lie.
    pub fn openvz_dir(&self) -> PathBuf {
        self.host.dirs.openvz()
    }

    /// Keeps a VE's CTID.conf. That it can't is told and no failure: nothing of Hostel's reads it.
    pub(super) fn note_openvz(&self, id: VeId, progress: &dyn Progress) {
        if let Err(e) = self.host.write_openvz(id) {
            progress.note(&format!("its CTID.conf is not what it should be: {e}"));
        }
    }
}

impl Host {
    /// Where a VE's CTID.conf lies.
    pub fn openvz_conf(&self, id: VeId) -> PathBuf {
        self.dirs.openvz().join(format!("{id}.conf"))
    }

    /// Writes a VE's CTID.conf, if there is a place for such; removes it if there is no such VE.
    pub fn write_openvz(&self, id: VeId) -> Result<()> {
        if !self.dirs.openvz().is_dir() {
            return Ok(());
        }
        let path = self.openvz_conf(id);
        let Some(state) = self.state_of(id)? else {
            return Ok(file::remove_file(&path)?);
        };
        let effective = self.effective(&state.name, &mut Catalogue::default())?;
        let mut text = render(&effective, &self.openvz_facts(&state));
        // libvirt keeps its own name of it there.
        let old = file::read_opt(&path)?.unwrap_or_default();
        if let Some(uuid) = Conf::parse(&old).0.after(UUID) {
            text = format!("{UUID} {uuid}\n{text}");
        }
        file::write_atomic(&path, text.as_bytes(), 0o600).map_err(Error::from)
    }

    pub(crate) fn openvz_facts(&self, state: &VeState) -> Facts {
        let mut catalogue = Catalogue::default();
        let mut bridge = |name: &NetworkName| {
            let network = catalogue.network(self, name).ok()?;
            Some(network.bridge.as_ref()?.existing.as_ref()?.to_string())
        };
        let interface = |i: &InterfaceState| InterfaceFacts {
            bridged: i.bridged.is_some(),
            name: i.guest_name(),
            bridge: bridge(&i.network).unwrap_or_else(|| i.network.to_string()),
            addresses: i.addresses.clone(),
            mac: i.mac,
            host_name: self.interface_name(state.id, i),
            filtered: !i.bridged.unwrap_or_default().mac_spoofing,
        };
        Facts {
            root: self.dirs.mount(state.id).display().to_string(),
            private: self.dirs.ve(state.id).display().to_string(),
            interfaces: state.interfaces.iter().map(interface).collect(),
        }
    }
}
