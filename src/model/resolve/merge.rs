//! The merge itself, a part of the settings at a time.

use std::collections::BTreeMap;

use super::{DiskLimits, Interface, ResolveError, Source, Traffic, unknown};
use crate::definition::{
    Addresses, Features, ForwardKeys, Guest, HostConfig, Network, Plan, Share, Tenant, VeDefinition,
};
use crate::limits::{CpuLimits, IoLimits, Limits, Max, MemoryLimits};
use crate::openvz::Remembered;
use crate::units::{Bytes, Rate};

/// A merge under way: notes where each value comes from.
pub(super) struct Merge<'a> {
    pub(super) ve: &'a VeDefinition,
    pub(super) plan: &'a Plan,
    pub(super) host: &'a HostConfig,
    pub(super) sources: BTreeMap<String, Source>,
}

impl Merge<'_> {
    pub(super) fn note(&mut self, key: impl Into<String>, source: Source) {
        self.sources.insert(key.into(), source);
    }

    pub(super) fn definition(&self) -> Source {
        Source::Definition(self.ve.file.clone())
    }

    /// A key that only the definition has.
    pub(super) fn own<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        let source = if value.is_some() {
            self.definition()
        } else {
            Source::Default
        };
        self.note(key, source);
        value
    }

    /// What is remembered for the OpenVZ tools.
    pub(super) fn openvz(&mut self) -> Remembered {
        for (name, _) in self.ve.openvz.iter() {
            self.note(format!("openvz.{name}"), self.definition());
        }
        self.ve.openvz.clone()
    }

    /// A key that hostel.toml has too, under another name.
    pub(super) fn or_host<T>(&mut self, key: &str, value: Option<T>, host_key: &str, host_value: T) -> T {
        let source = match value {
            Some(_) => self.definition(),
            None if self.host.says(host_key) => Source::Host,
            None => Source::Default,
        };
        self.note(key, source);
        value.unwrap_or(host_value)
    }

    /// A key that the plan has too.
    pub(super) fn pick<T: Clone>(&mut self, key: &str, over: &Option<T>, plan: &Option<T>) -> Option<T> {
        let source = match (over, plan) {
            (Some(_), _) => Source::Override(self.ve.file.clone()),
            (None, Some(_)) => Source::Plan(self.plan.name.clone()),
            (None, None) => Source::Default,
        };
        self.note(key, source);
        over.as_ref().or(plan.as_ref()).cloned()
    }

    /// The same for a limit: `None` for "unlimited".
    pub(super) fn max<T: Clone>(&mut self, key: &str, over: &Option<Max<T>>, plan: &Option<Max<T>>) -> Option<T> {
        self.pick(key, over, plan).and_then(Max::limit)
    }

    pub(super) fn limits(&mut self) -> Limits {
        let (ve, plan) = (&self.ve.overrides, &self.plan.resources);
        let bytes = |rate: Rate| Bytes(rate.0);
        let memory = self.max("memory.limit", &ve.memory.limit, &plan.memory.limit);
        Limits {
            cpu: CpuLimits {
                cap_milli: self.max("cpu.cap", &ve.cpu.cap, &plan.cpu.cap).map(|c| c.milli()),
                weight: self
                    .pick("cpu.weight", &ve.cpu.weight, &plan.cpu.weight)
                    .map(|w| w.get()),
                pin: self.max("cpu.pin", &ve.cpu.pin, &plan.cpu.pin),
                count: self.max("cpu.count", &ve.cpu.count, &plan.cpu.count).map(|c| c.get()),
            },
            memory: MemoryLimits {
                limit: memory,
                // Swap that nobody granted is none. A VE that may have all the memory may have the swap too: cgroup v1
                // can't limit swap alone.
                swap: match self.pick("memory.swap", &ve.memory.swap, &plan.memory.swap) {
                    Some(max) => max.limit(),
                    None => memory.map(|_| Bytes(0)),
                },
                guarantee: self.pick("memory.guarantee", &ve.memory.guarantee, &plan.memory.guarantee),
            },
            processes: self.max("processes", &ve.processes, &plan.processes).map(|c| c.get()),
            io: IoLimits {
                read_bytes: self.max("io.read", &ve.io.read, &plan.io.read).map(bytes),
                write_bytes: self.max("io.write", &ve.io.write, &plan.io.write).map(bytes),
                read_ops: self
                    .max("io.read_ops", &ve.io.read_ops, &plan.io.read_ops)
                    .map(|c| c.get()),
                write_ops: self
                    .max("io.write_ops", &ve.io.write_ops, &plan.io.write_ops)
                    .map(|c| c.get()),
                weight: self.pick("io.weight", &ve.io.weight, &plan.io.weight).map(|w| w.get()),
            },
        }
    }

    pub(super) fn traffic(&mut self) -> Traffic {
        let (ve, plan) = (&self.ve.overrides.net, &self.plan.resources.net);
        Traffic {
            inward: self.max("net.in", &ve.inward, &plan.inward),
            outward: self.max("net.out", &ve.outward, &plan.outward),
            burst: self.pick("net.burst", &ve.burst, &plan.burst),
        }
    }

    pub(super) fn disk(&mut self) -> Result<DiskLimits, ResolveError> {
        let (ve, plan) = (&self.ve.overrides.disk, &self.plan.resources.disk);
        let size = self.pick("disk.size", &ve.size, &plan.size);
        let inodes = self.max("disk.inodes", &ve.inodes, &plan.inodes).map(|c| c.get());
        let driver = self.pick("disk.driver", &ve.driver, &plan.driver);
        match size {
            Some(size) => Ok(DiskLimits { size, inodes, driver }),
            None => Err(ResolveError::NoDisk {
                file: self.ve.file.clone(),
                plan: self.plan.name.clone(),
            }),
        }
    }

    pub(super) fn features(&mut self, granted: Features) -> Features {
        let (ve, plan) = (&self.ve.overrides.features, &self.plan.resources.features);
        for ((key, over), (_, plan)) in ve.iter().zip(plan.iter()) {
            self.pick(key, &over, &plan);
        }
        granted.overridden_by(ve)
    }

    pub(super) fn share(&mut self, tenant: &Tenant) -> Share {
        if let (None, Some(share)) = (self.ve.share, tenant.share) {
            self.note("share", Source::Tenant(tenant.name.clone()));
            return share;
        }
        self.or_host("share", self.ve.share, "defaults.share", self.host.defaults.share)
    }

    pub(super) fn guest(&mut self) -> Guest {
        let guest = &self.ve.guest;
        self.own("guest.password_hash", guest.password_hash.as_ref());
        self.own("guest.ssh_keys", guest.ssh_keys.first());
        self.own("guest.timezone", guest.timezone.as_ref());
        guest.clone()
    }

    pub(super) fn interfaces(&mut self, networks: &[Network]) -> Result<Vec<Interface>, ResolveError> {
        let mut interfaces = Vec::new();
        for (i, keys) in self.ve.interfaces.iter().enumerate() {
            let network = networks.iter().find(|n| n.name == keys.network).ok_or_else(|| {
                let known = networks.iter().map(|n| n.name.as_str());
                unknown(self.ve, format!("network.{i}.network"), keys.network.as_str(), known)
            })?;
            self.note(format!("network.{i}.network"), self.definition());
            let addresses = self.own(&format!("network.{i}.addresses"), keys.addresses.clone());
            let routes = Some(keys.routes.clone()).filter(|r| !r.is_empty());
            let routes = self.own(&format!("network.{i}.routes"), routes).unwrap_or_default();
            let mac = self.own(&format!("network.{i}.mac"), keys.mac);
            for (key, _) in keys.allowed.by_key() {
                self.own(&format!("network.{i}.{key}"), keys.said.contains(&key).then_some(()));
            }
            let rate_in = self.own(&format!("network.{i}.rate_in"), keys.rate_in);
            let rate_out = self.own(&format!("network.{i}.rate_out"), keys.rate_out);
            let burst = self.own(&format!("network.{i}.burst"), keys.burst);
            interfaces.push(Interface {
                burst,
                rate_in: rate_in.and_then(Max::limit),
                rate_out: rate_out.and_then(Max::limit),
                network: network.clone(),
                addresses: addresses.unwrap_or(Addresses::Auto),
                routes,
                mac,
                allowed: keys.allowed,
            });
        }
        Ok(interfaces)
    }

    pub(super) fn forwards(&mut self) -> Vec<ForwardKeys> {
        for (i, forward) in self.ve.forwards.iter().enumerate() {
            for name in ForwardKeys::NAMES {
                let source = match (name, &forward.network) {
                    ("network", None) => Source::Default,
                    _ => self.definition(),
                };
                self.note(format!("forward.{i}.{name}"), source);
            }
        }
        self.ve.forwards.clone()
    }

    /// The definition's own list, or the first one that its networks have.
    pub(super) fn networks_list<T: Clone>(
        &mut self,
        key: &str,
        own: &Option<Vec<T>>,
        interfaces: &[Interface],
        list: fn(&Network) -> &Vec<T>,
    ) -> Vec<T> {
        let network = interfaces.iter().map(|i| &i.network).find(|n| !list(n).is_empty());
        let (value, source) = match (own, network) {
            (Some(own), _) => (own.clone(), self.definition()),
            (None, Some(network)) => (list(network).clone(), Source::Network(network.name.clone())),
            (None, None) => (Vec::new(), Source::Default),
        };
        self.note(key, source);
        value
    }
}
