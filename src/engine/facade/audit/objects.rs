//! Orphans in the kernel: control groups, interfaces, packet rules, loop devices, mounts.

use std::collections::BTreeSet;

use hostel_model::definition::DriverName;
use hostel_model::id::VeId;
use hostel_system::net::Need;
use hostel_system::process::{Adopt, Request};

use super::inventory::Inventory;
use super::{Findings, PATIENCE};
use crate::error::Result;
use crate::host::Host;
use crate::ve::registry::Catalogue;

impl Host {
    /// A VE whose monitor was killed runs on, but nobody would see it end.
    pub(super) fn audit_monitors<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) {
        for (&id, ve) in inventory.running.iter().filter(|(id, _)| !inventory.busy.contains(id)) {
            // One that doesn't answer is there.
            if !matches!(self.guests.ask(&self.dirs.run(id), &Request::Status), Ok(None)) {
                continue;
            }
            let init = ve.init;
            let adopt = move || {
                Ok(self.guests.adopt(Adopt {
                    watch: self.watch(id)?,
                    init,
                })?)
            };
            found.add(
                "monitor",
                format!("of VE {id}"),
                "it is gone; the next command gives the VE a new one",
                adopt,
            );
        }
    }

    pub(super) fn audit_groups<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        for id in self.cgroups.list()?.into_iter().filter(|id| !inventory.may_live(*id)) {
            found.add("cgroup", id, "no VE with that id runs", move || {
                if let Some(init) = self.guests.find(&self.cgroups.processes(id).unwrap_or_default()) {
                    self.guests.end(init, PATIENCE)?;
                }
                self.cgroups.kill(id)?;
                Ok(self.cgroups.remove(id, PATIENCE)?)
            });
        }
        Ok(())
    }

    pub(super) fn audit_interfaces<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let links = self.network.list(self.config.interface_prefix.as_str())?;
        let there: BTreeSet<&str> = links.iter().map(|l| l.name.as_str()).collect();
        for missing in inventory.interfaces().filter(|name| !there.contains(name.as_str())) {
            found.tell("interface", missing, "its VE runs, but it is gone; restart the VE");
        }
        for link in links.iter().filter(|l| !inventory.may_have_interface(&l.name)) {
            let name = link.name.clone();
            found.add("interface", &link.name, "no VE that runs has it", move || {
                Ok(self.network.detach(std::slice::from_ref(&name))?)
            });
        }
        Ok(())
    }

    /// A host end that should be a port and is none: somebody has removed the bridge, or taken it out.
    pub(super) fn audit_ports<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let links = self.network.list(self.config.interface_prefix.as_str())?;
        let mut catalogue = Catalogue::default();
        for &id in inventory.running.keys().filter(|id| !inventory.busy.contains(id)) {
            let Ok(state) = self.state(id) else { continue };
            for interface in state.interfaces.iter().filter(|i| i.bridged.is_some()) {
                let name = self.interface_name(id, interface);
                let network = catalogue.network_in_force(self, &interface.network).ok();
                let Some(bridge) = network.and_then(|n| n.bridge.as_ref()) else {
                    continue;
                };
                let wanted = self.bridge_name(interface.network.as_str(), bridge);
                // One that is gone is told of already.
                let link = links.iter().find(|l| l.name == name);
                if link.is_none_or(|l| l.bridge.as_ref() == Some(&wanted)) {
                    continue;
                }
                let why = format!("it is no port of bridge {wanted}: its VE reaches nobody");
                found.add("port", name, why, move || {
                    let _lock = self.lock_idle(id)?;
                    self.mend_ports(id)
                });
            }
        }
        Ok(())
    }

    /// What a VE's limits are held by goes when the VE has ended.
    pub(super) fn audit_shapers<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let prefix = self.config.interface_prefix.as_str();
        for name in self.network.shapers(prefix)? {
            let number = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
            let id = number.and_then(|(id, _)| id.parse::<VeId>().ok());
            if id.is_some_and(|id| inventory.may_live(id)) {
                continue;
            }
            found.add("interface", name.clone(), "no VE that runs has it", move || {
                Ok(self.network.unshape(std::slice::from_ref(&name))?)
            });
        }
        Ok(())
    }

    /// A bridge is its network's, whoever is on it, and goes with it.
    pub(super) fn audit_bridges<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let bridges = self.network.bridges(self.config.interface_prefix.as_str())?;
        if bridges.is_empty() {
            return Ok(());
        }
        let mut catalogue = Catalogue::default();
        let mut wanted = BTreeSet::new();
        for name in self.names_of("networks") {
            let network = name.parse().ok().map(|name| catalogue.network(self, &name));
            // One that can't be read may want its bridge.
            let wants = match network {
                Some(Ok(network)) => match &network.bridge {
                    Some(bridge) => bridge.existing.is_none(),
                    // For its name server.
                    None => !network.names.servers.is_empty(),
                },
                Some(Err(_)) | None => true,
            };
            wanted.extend(wants.then(|| self.own_name("br", &name)));
        }
        let in_use = |ports: &[String]| ports.iter().any(|p| inventory.may_have_interface(p));
        for bridge in bridges {
            if wanted.contains(&bridge.name) || in_use(&bridge.ports) {
                continue;
            }
            let name = bridge.name.clone();
            found.add("bridge", &bridge.name, "no network has it", move || {
                let _lock = self.lock_firewall("audit")?;
                Ok(self.network.unbridge(&name)?)
            });
        }
        Ok(())
    }

    /// Somebody turned forwarding off while VEs run that need it.
    pub(super) fn audit_forwarding<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        if inventory.interfaces().next().is_none() {
            return Ok(());
        }
        for (need, setting) in self.network.unprepared()? {
            let why = match need {
                Need::Forwarding => "it is off: the VEs that run reach nothing but this host",
                Need::Neighbours => "it is low: the root of one VE can fill the table that all VEs and this host share",
            };
            found.add("setting", setting, why, move || {
                Ok(self.network.prepare_host().map(drop)?)
            });
        }
        Ok(())
    }

    pub(super) fn audit_firewall<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let table = self.config.nft_table.as_str();
        let there = self.firewall.members(table)?;
        self.audit_forwards(inventory, &there, found)?;
        let members: BTreeSet<String> = there.into_iter().map(|m| m.interface).collect();
        for member in members.iter().filter(|m| !inventory.may_have_interface(m)) {
            let name = member.clone();
            found.add(
                "firewall element",
                member,
                "no VE that runs has that interface",
                move || {
                    let _lock = self.lock_firewall("audit")?;
                    Ok(self.firewall.expel(table, &name)?)
                },
            );
        }
        for missing in inventory.interfaces().filter(|name| !members.contains(*name)) {
            found.add(
                "firewall element",
                missing,
                "the rules were changed by hand: its VE can't send",
                move || {
                    let _lock = self.lock_firewall("audit")?;
                    self.mend_firewall()?;
                    Ok(self.firewall.admit(table, &self.members()?)?)
                },
            );
        }
        Ok(())
    }

    /// A suspend or resume that was cut short, and whose journal is lost: the VE would be cut off for good.
    pub(super) fn audit_held<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let prefix = self.held_prefix();
        for table in self.firewall.tables(&prefix)? {
            let id = table.strip_prefix(&prefix).and_then(|id| id.parse::<VeId>().ok());
            if let Some(id) = id.filter(|id| !inventory.busy.contains(id)) {
                let why = "it holds the packets of a VE that is not being suspended or resumed";
                found.add("firewall table", table.clone(), why, move || {
                    let lock = self.lock_idle(id)?;
                    self.firewall.release(&table)?;
                    match self.outline(id) {
                        Some(_) => Ok(()),
                        None => lock.retire(),
                    }
                });
            }
        }
        Ok(())
    }

    pub(super) fn audit_loop_devices<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let ves = self.dirs.ves();
        for device in self.disks.list(&ves)? {
            let dir = device
                .backing
                .ancestors()
                .skip(1)
                .filter_map(|d| d.file_name()?.to_str())
                .find(|name| *name != ".moving")
                .unwrap_or_default();
            let name = [".creating-", ".destroyed-"]
                .iter()
                .find_map(|p| dir.strip_prefix(p))
                .unwrap_or(dir);
            let id = name.parse::<VeId>().ok();
            let in_use = |id: VeId| inventory.may_live(id) || inventory.mounted.contains(&id);
            if id.is_some_and(in_use) && !device.deleted {
                continue;
            }
            let object = format!("{} ({})", device.node().display(), device.backing.display());
            let why = if device.deleted {
                "the disk behind it is gone"
            } else {
                "no VE that runs or is mounted uses it"
            };
            found.add("loop device", object, why, move || {
                let image = self.disks.get(DriverName::Image);
                Ok(image.release(&device, PATIENCE)?)
            });
        }
        Ok(())
    }

    /// Roots of VEs that aren't mounted, and what a person mounted inside them.
    pub(super) fn audit_mounts<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let runs = self.dirs.runs();
        for point in self.mounts.below(&runs)? {
            let below = point.strip_prefix(&runs).unwrap_or(&point);
            let id = below
                .components()
                .next()
                .and_then(|c| c.as_os_str().to_str()?.parse::<VeId>().ok());
            let Some(id) = id else { continue };
            let ours = [self.dirs.disk_mount(id), self.dirs.mount(id)]
                .iter()
                .any(|p| point.starts_with(p));
            if ours && !inventory.mounted.contains(&id) && !inventory.busy.contains(&id) {
                found.add(
                    "mount",
                    point.display().to_string(),
                    "its VE is not mounted",
                    move || Ok(self.mounts.detach(&point)?),
                );
            }
        }
        Ok(())
    }
}
