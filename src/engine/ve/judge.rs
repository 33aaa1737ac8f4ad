//! May a VE be as its definition has it, on this host, beside the others? Asked by every verb that commits to a
//! definition, right before it does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use hostel_model::definition::{Addresses, DriverName, Unenforceable, VeDefinition};
use hostel_model::edit::line_of;
use hostel_model::id::{VeId, VeName};
use hostel_model::limits::Limits;
use hostel_model::mac::Mac;
use hostel_model::policy::{Sort, Violation, check};
use hostel_model::resolve::{Effective, Interface};
use hostel_model::units::Bytes;
use hostel_model::{idmap, ipam};
use hostel_system::cgroup::{Limit, Support};
use hostel_system::{file, process};

use super::forward;
use super::record::{InterfaceState, VeState};
use super::registry::Catalogue;
use super::taken::Taken;
use crate::error::{Class, Detail, Error, Result};
use crate::host::Host;

impl Host {
    /// Everything that is wrong with it as one error; else what is worth a warning. `driver`: what its disk is, or will
    /// be, made of.
    pub fn judge(&self, ve: &Effective, driver: DriverName) -> Result<Vec<String>> {
        self.judge_text(ve, driver, None)
    }

    /// The same of a definition that is yet to be written; with its text, mistakes are told with their lines.
    pub fn judge_text(&self, ve: &Effective, driver: DriverName, text: Option<&str>) -> Result<Vec<String>> {
        let mut catalogue = Catalogue::default();
        let tenant = catalogue.tenant(self, &ve.tenant)?.clone();
        let existing = self.existing(ve, &tenant, &mut catalogue)?;
        let mut violations = check(ve, &tenant, &existing);
        violations.extend(self.misfit(ve, driver));
        let (beyond, capacity) = self.judge_capacity(ve, &mut catalogue)?;
        violations.extend(beyond);
        if let Some(sort) = violations.iter().map(|v| v.sort).min() {
            let class = match sort {
                Sort::Sense => Class::Usage,
                Sort::Taken => Class::Refused,
                Sort::Grant => Class::Limit,
            };
            let place = |key: &str| self.place(ve, text, key);
            let reasons: Vec<String> = violations.iter().map(|v| format!("{}{v}", place(&v.key))).collect();
            let error = Error::new(class, format!("{} may not be as it is defined", ve.name));
            return Err(error.because(reasons.join("\n")));
        }
        self.judge_sides(ve)?;
        self.judge_names(ve)?;
        let mut notes = self.judge_access(ve)?;
        notes.extend(self.judge_limits(ve, driver)?);
        notes.extend(self.odd_forwards(ve)?);
        notes.extend(capacity);
        Ok(notes)
    }

    /// What a start would stumble on before it touched anything. `fresh`: the tenant's traffic is looked up first.
    pub fn check_start(&self, state: &VeState, fresh: bool) -> Result<()> {
        let effective = self.effective(&state.name, &mut Catalogue::default())?;
        refuse_disabled(&effective)?;
        self.judge(&effective, state.driver)?;
        self.may_start(state, &effective, fresh)?;
        let gone = |what: String, hint: String| {
            let error = Error::new(Class::Failed, format!("{what} is gone"));
            error.detail(Detail::Gone).hint(hint)
        };
        if !state.lower.is_dir() {
            let hint = format!("restore template {} at that place", state.template);
            return Err(gone(format!("the template tree {}", state.lower.display()), hint));
        }
        match self.disks.get(state.driver).exists(&self.dirs.ve(state.id))? {
            true => Ok(()),
            false => Err(gone("its disk".into(), "restore it from a backup".into())),
        }
    }

    /// The file and the line of a key of a definition, with a colon behind; nothing if the key doesn't stand there.
    pub(super) fn place(&self, ve: &Effective, text: Option<&str>, key: &str) -> String {
        let path = self.dirs.definition(&ve.name);
        let text = match text {
            Some(text) => Some(text.to_owned()),
            None => self.own_text(&path, ve),
        };
        let line = text.and_then(|text| line_of(&text, key));
        line.map(|line| format!("{}:{line}: ", path.display()))
            .unwrap_or_default()
    }

    /// What stands in a VE's definition, if that is what it was made from.
    fn own_text(&self, path: &Path, ve: &Effective) -> Option<String> {
        let text = file::read_opt(path).ok()??;
        let definition = VeDefinition::parse(&path.display().to_string(), &text).ok()?;
        let same = self
            .resolve(&definition, &mut Catalogue::default())
            .is_ok_and(|e| e == *ve);
        same.then_some(text)
    }

    /// How large a disk can be, and how many files it can hold (they take room too), depends on what makes it.
    fn misfit(&self, ve: &Effective, driver: DriverName) -> Option<Violation> {
        let disks = self.disks.get(driver);
        let size = ve.disk.size;
        let largest = *disks.sizes().end();
        if size.get() > largest {
            return Some(Violation {
                sort: Sort::Sense,
                key: "disk.size".into(),
                problem: format!("{size} is more than a disk of driver {} can have", disks.name()),
                instead: format!("give at most {}", Bytes(largest)),
            });
        }
        let inodes = ve.disk.inodes?;
        let (least, most) = disks.inodes(size.get())?.into_inner();
        let instead = match inodes {
            n if n > most => format!("have at most {most}, or raise disk.size"),
            n if n < least => format!("have at least {least}"),
            _ => return None,
        };
        Some(Violation {
            sort: Sort::Sense,
            key: "disk.inodes".into(),
            problem: format!("a disk with the disk.size of {size} can't be made for {inodes} files"),
            instead,
        })
    }

    /// Limits that this host can't hold: refused by name, or warned about where hostel.toml says so.
    fn judge_limits(&self, ve: &Effective, driver: DriverName) -> Result<Vec<String>> {
        let mut cannot: Vec<(String, String)> = Vec::new();
        for one in self.cgroups.unenforceable(&ve.limits) {
            cannot.push((one.limit.key().to_owned(), one.why));
        }
        if ve.limits.io.weight.is_some()
            && driver == DriverName::Image
            && let Support::Partly(why) = self.cgroups.support(Limit::IoWeight)
        {
            cannot.push((Limit::IoWeight.key().to_owned(), why));
        }
        cannot.extend(self.unshapeable(ve)?);
        if ve.disk.inodes.is_some() && self.disks.get(driver).inodes(ve.disk.size.get()).is_none() {
            cannot.push((
                "disk.inodes".to_owned(),
                format!("the disk driver {driver} can't limit files"),
            ));
        }
        let lines = cannot
            .iter()
            .map(|(key, why)| format!("this host can't enforce {key}: {why}"));
        if cannot.is_empty() || self.config.unenforceable == Unenforceable::Warn {
            return Ok(lines.collect());
        }
        let mut error = Error::new(
            Class::Limit,
            format!("{} has limits that this host can't enforce", ve.name),
        );
        error.hints = lines.collect();
        error
            .hints
            .push("remove them from the plan or the VE, or set unenforceable = \"warn\" in hostel.toml".into());
        Err(error)
    }

    /// The limits without those that this host can't hold (which have been warned about).
    pub fn enforceable(&self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        for cannot in self.cgroups.unenforceable(&limits) {
            cannot.limit.lift(&mut limits);
        }
        limits
    }

    /// The interfaces that a VE is to have, with addresses: those named, and for "auto" the ones it has already or
    /// the next free ones. The registry must be locked if any may be new.
    pub fn interfaces(&self, ve: &Effective, has: &[InterfaceState], taken: &Taken) -> Result<Vec<InterfaceState>> {
        self.judge_routes(ve, taken)?;
        let mut used = taken.addresses.clone();
        let mut list = Vec::new();
        for (interface, number) in ve.interfaces.iter().zip(numbers(ve, has)) {
            let network = &interface.network;
            let addresses = match &interface.addresses {
                Addresses::Fixed(fixed) => {
                    if let Some(clash) = fixed.iter().find(|a| used.contains(a)) {
                        return Err(
                            Error::new(Class::Refused, format!("address {clash} is taken by another VE"))
                                .hint("see who has it with: hostel list -o name,addresses"),
                        );
                    }
                    let new = |a: &IpAddr| !has.iter().any(|i| i.addresses.contains(a));
                    self.refuse_own(&ve.name, fixed.iter().copied().filter(new).collect())?;
                    fixed.clone()
                }
                Addresses::Auto => match has.iter().find(|i| i.network == network.name) {
                    Some(old) if !old.addresses.is_empty() => old.addresses.clone(),
                    _ => {
                        let not: BTreeSet<_> = used.union(&taken.heard).copied().collect();
                        ipam::allocate(network, &not, &taken.aside, taken.now).map_err(|e| {
                            Error::new(Class::Limit, format!("cannot give {} an address", ve.name)).because(e)
                        })?
                    }
                },
            };
            if let Some((lost, owner)) = addresses.iter().find_map(|a| Some((a, taken.owner_of(*a)?))) {
                let message = format!("address {lost} can't be {}'s", ve.name);
                let why = format!("it is in a prefix that is routed to VE \"{owner}\"");
                return Err(Error::new(Class::Refused, message).because(why));
            }
            self.judge_gateways(ve, interface, &addresses)?;
            // One whose addresses were given out long ago keeps them, whatever has been defined since.
            if !has.iter().any(|i| i.network == network.name) {
                self.judge_pools(network)?;
            }
            used.extend(addresses.iter().copied());
            list.push(InterfaceState {
                network: network.name.clone(),
                mac: self.free_mac(ve, interface, number, taken)?,
                index: interface.mac.is_some().then_some(number),
                addresses,
                forwards: Vec::new(),
                routes: interface.routes.clone(),
                bridged: network.bridge.is_some().then_some(interface.allowed),
            });
        }
        forward::lead(ve, &mut list, taken)?;
        Ok(list)
    }

    /// The hardware address that an interface is to have, if nobody else on this host has it.
    fn free_mac(&self, ve: &Effective, interface: &Interface, number: u8, taken: &Taken) -> Result<Mac> {
        let mac = interface.mac.unwrap_or(Mac::guest(ve.id, number));
        match taken.macs.get(&mac) {
            None => Ok(mac),
            Some(owner) => Err(Error::new(
                Class::Refused,
                format!("{} can't have the hardware address {mac}", ve.name),
            )
            .because(format!("VE \"{owner}\" has it"))
            .hint("give one of them another: network.N.mac of its definition")),
        }
    }

    /// A range of ids that no VE has.
    pub fn free_slot(&self, ve: &Effective, taken: &Taken) -> Result<u32> {
        let used = taken.slots.iter().map(|s| idmap::Slot(*s)).collect();
        let slot = self.config.idmap.allocate(&used);
        slot.map(|slot| slot.0)
            .map_err(|e| Error::new(Class::Limit, format!("cannot give {} a range of user ids", ve.name)).because(e))
    }

    /// Whom the kernel counts a VE's namespaces and inotify instances against: the VE's own first user, so that none
    /// starves the next. CRIU asks for the limits of each process, which takes CAP_SYS_RESOURCE or the ownership of its
    /// namespace (prlimit(2)); where root lacks the first, hostel.toml can choose the second.
    pub fn owner(&self, state: &VeState) -> Result<u32> {
        match self.config.root_owns_namespaces && !process::has_sys_resource() {
            true => Ok(0),
            false => self.id_base(state),
        }
    }

    /// The first host id of a VE's range.
    pub fn id_base(&self, state: &VeState) -> Result<u32> {
        self.config.idmap.base(idmap::Slot(state.slot)).ok_or_else(|| {
            Error::new(
                Class::Failed,
                format!("the id range of {} lies outside of this host's", state.name),
            )
            .because(format!(
                "it has slot {}, and hostel.toml has {}",
                state.slot, self.config.idmap.count
            ))
            .hint("raise idmap.count in hostel.toml to what it was")
        })
    }

    /// Brings what was allocated in line with a definition whose interfaces were changed. What it had stays the VE's
    /// until [`Self::keep_interfaces`] or [`Self::restore_interfaces`]. The answer is what is worth a line.
    pub fn adjust_interfaces(&self, id: VeId, state: &mut VeState, ve: &Effective) -> Result<Vec<String>> {
        let had = state.former.clone().unwrap_or_else(|| state.interfaces.clone());
        let unchanged = state.former.is_none() && self.interfaces(ve, &had, &Taken::default()).is_ok_and(|i| i == had);
        if unchanged {
            return Ok(Vec::new());
        }
        // The LAN is not asked while others wait for the lock.
        let heard = self.heard_for(ve, &had, &self.taken(Some(id))?)?;
        let _lock = self.lock_registry("start")?;
        let taken = Taken {
            heard,
            ..self.taken(Some(id))?
        };
        let new = self.interfaces(ve, &had, &taken)?;
        let told = self.given_again(&state.name, &had, &new, &taken);
        state.former = (new != had).then_some(had);
        state.interfaces = new;
        state.write(&self.dirs.ve(id))?;
        Ok(told)
    }

    /// The new interfaces are in force: the former ones' addresses are put aside.
    pub fn keep_interfaces(&self, state: &mut VeState) -> Result<()> {
        self.put_former_aside(state)?;
        match state.former.take() {
            Some(_) => self.write_somehow(state),
            None => Ok(()),
        }
    }

    /// They never came into force.
    pub fn restore_interfaces(&self, state: &mut VeState) -> Result<()> {
        match state.former.take() {
            Some(former) => {
                state.interfaces = former;
                self.write_somehow(state)
            }
            None => Ok(()),
        }
    }

    /// On a full disk too: a record that has to be written gets what was put by.
    pub fn write_somehow(&self, state: &VeState) -> Result<()> {
        let dir = self.dirs.ve(state.id);
        match state.write(&dir) {
            Err(e) if e.class == Class::Limit && self.reserve.release()? => state.write(&dir),
            other => other,
        }
    }
}

/// A VE that its definition takes out of service is started by nobody.
pub fn refuse_disabled(ve: &Effective) -> Result<()> {
    if !ve.disabled {
        return Ok(());
    }
    Err(Error::new(Class::Refused, format!("{} is disabled", ve.name))
        .because("its definition says disabled = true")
        .hint(format!("let it start again: hostel set {} disabled=no", ve.name)))
}

/// The kernel takes no memory away that is in use and can't be freed; nothing has changed then.
pub fn memory_in_use(name: &VeName, limits: &Limits, e: hostel_system::Error) -> Error {
    let limit = limits.memory.limit.map_or_else(|| "less".to_owned(), |l| l.to_string());
    let hint = e.hint.clone().unwrap_or_else(|| "lower it when less is used".into());
    Error::new(
        Class::Limit,
        format!("the memory of {name} can't be lowered to {limit}"),
    )
    .because(e)
    .hint(hint)
}

/// The number of each interface: one on a network that the VE is on already keeps its own, so that none is disturbed when
/// another comes or goes; a new one has the lowest that is left.
pub fn numbers(ve: &Effective, has: &[InterfaceState]) -> Vec<u8> {
    let kept = |i: &Interface| {
        has.iter()
            .find(|h| h.network == i.network.name)
            .map(InterfaceState::index)
    };
    let mut used: BTreeSet<u8> = ve.interfaces.iter().filter_map(kept).collect();
    let number = |i: &Interface| {
        let free = || (0..=u8::MAX).find(|n| !used.contains(n)).unwrap_or(u8::MAX);
        let number = kept(i).unwrap_or_else(free);
        used.insert(number);
        number
    };
    ve.interfaces.iter().map(number).collect()
}
