//! From what the files say to what is in force: one VE's definition over its plan, its tenant and the host's defaults,
//! with the source of every setting.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::definition::{
    Addresses, Features, Guest, HostConfig, Network, Plan, Share, StopMode, Tenant, VeDefinition, one_of,
};
use crate::id::{Domain, Hostname, NetworkName, PlanName, TemplateRef, TenantName, VeId, VeName};
use crate::limits::{CpuLimits, IoLimits, Limits, Max, MemoryLimits};
use crate::units::{Bytes, Rate, Span};

/// A VE as it is to be: everything merged and defaulted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Whose it is.
    pub tenant: TenantName,
    /// What it is made from.
    pub template: TemplateRef,
    /// Its plan.
    pub plan: PlanName,
    /// Who shares the template's tree with it.
    pub share: Share,
    /// Its host name.
    pub hostname: Hostname,
    /// For people.
    pub description: Option<String>,
    /// What the kernel is to enforce.
    pub limits: Limits,
    /// Its disk.
    pub disk: DiskLimits,
    /// The switches as they are to be.
    pub features: Features,
    /// The switches that its plan grants: no others may be open.
    pub granted: Features,
    /// Its interfaces, in order: interface 0 is eth0 inside.
    pub interfaces: Vec<Interface>,
    /// Its name servers.
    pub dns: Vec<IpAddr>,
    /// Its search domains.
    pub search: Vec<Domain>,
    /// What is set up inside.
    pub guest: Guest,
    /// How long a shutdown may take.
    pub stop_timeout: Span,
    /// What becomes of it when the host goes down.
    pub stop_mode: StopMode,
    /// How long a boot may take.
    pub start_timeout: Span,
    /// Start it with the host?
    pub onboot: bool,
    /// Higher starts first and stops last.
    pub priority: u16,
    /// Where each setting comes from, by key.
    pub sources: BTreeMap<String, Source>,
}

/// The disk of a VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskLimits {
    /// Its size.
    pub size: Bytes,
    /// The most files; `None`: as many as the disk driver gives for the size.
    pub inodes: Option<u64>,
}

/// An interface of a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// The network it is on.
    pub network: Network,
    /// Its addresses there.
    pub addresses: Addresses,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from", content = "which")]
pub enum Source {
    /// The VE's definition: the file.
    Definition(String),
    /// The VE's definition, against its plan: the file.
    Override(String),
    /// Its plan.
    Plan(PlanName),
    /// Its tenant.
    Tenant(TenantName),
    /// Its networks: the first that says something.
    Network(NetworkName),
    /// hostel.toml
    Host,
    /// Nothing says otherwise.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition(file) => f.pad(file),
            Self::Override(file) => f.pad(&format!("override in {file}")),
            Self::Plan(name) => f.pad(&format!("plan \"{name}\"")),
            Self::Tenant(name) => f.pad(&format!("tenant \"{name}\"")),
            Self::Network(name) => f.pad(&format!("network \"{name}\"")),
            Self::Host => f.pad("hostel.toml"),
            Self::Default => f.pad("default"),
        }
    }
}

/// A definition that names what isn't there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No plan, network or tenant by that name.
    #[error("{file}: {key} is \"{name}\", which doesn't exist; expected {expected}")]
    Unknown {
        /// The definition's file.
        file: String,
        /// The key.
        key: String,
        /// What it names.
        name: String,
        /// What there is.
        expected: String,
    },
    /// Neither plan nor definition says how large the disk is.
    #[error("{file}: neither it nor plan \"{plan}\" sets disk.size; set it, such as \"10GiB\"")]
    NoDisk {
        /// The definition's file.
        file: String,
        /// Its plan.
        plan: PlanName,
    },
}

/// Everything a VE's definition can refer to.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// `hostel.toml`.
    pub host: HostConfig,
    /// `plans/`.
    pub plans: Vec<Plan>,
    /// `networks/`.
    pub networks: Vec<Network>,
    /// `tenants/`.
    pub tenants: Vec<Tenant>,
}

impl Catalog {
    /// What a definition comes to; the error names the first thing that doesn't exist, and what does.
    pub fn resolve(&self, ve: &VeDefinition) -> Result<Effective, ResolveError> {
        let plan = self.plans.iter().find(|p| p.name == ve.plan).ok_or_else(|| {
            unknown(
                ve,
                "plan".into(),
                ve.plan.as_str(),
                self.plans.iter().map(|p| p.name.as_str()),
            )
        })?;
        resolve(ve, plan, &self.networks, &self.host, self.tenant(ve)?)
    }

    /// The tenant of a definition.
    pub fn tenant(&self, ve: &VeDefinition) -> Result<&Tenant, ResolveError> {
        self.tenants.iter().find(|t| t.name == ve.tenant).ok_or_else(|| {
            unknown(
                ve,
                "tenant".into(),
                ve.tenant.as_str(),
                self.tenants.iter().map(|t| t.name.as_str()),
            )
        })
    }
}

fn unknown<'k>(ve: &VeDefinition, key: String, name: &str, known: impl Iterator<Item = &'k str>) -> ResolveError {
    ResolveError::Unknown {
        file: ve.file.clone(),
        key,
        name: name.to_owned(),
        expected: one_of(name, known),
    }
}

/// Merges a VE's definition with the plan, the networks and the tenant that it names. An override wins over the plan,
/// a definition over its tenant, a tenant over hostel.toml.
pub fn resolve(
    ve: &VeDefinition,
    plan: &Plan,
    networks: &[Network],
    host: &HostConfig,
    tenant: &Tenant,
) -> Result<Effective, ResolveError> {
    if ve.plan != plan.name {
        return Err(unknown(
            ve,
            "plan".into(),
            ve.plan.as_str(),
            [plan.name.as_str()].into_iter(),
        ));
    }
    if ve.tenant != tenant.name {
        return Err(unknown(
            ve,
            "tenant".into(),
            ve.tenant.as_str(),
            [tenant.name.as_str()].into_iter(),
        ));
    }
    let mut merge = Merge {
        ve,
        plan,
        host,
        sources: BTreeMap::new(),
    };
    for key in ["id", "name", "tenant", "template", "plan"] {
        merge.note(key, merge.definition());
    }
    let granted = plan.resources.features.granted();
    let interfaces = merge.interfaces(networks)?;
    let dns = merge.from_networks("dns", &ve.dns, &interfaces, |n| &n.dns);
    let search = merge.from_networks("search", &ve.search, &interfaces, |n| &n.search);
    let share = merge.share(tenant);
    Ok(Effective {
        id: ve.id,
        name: ve.name.clone(),
        tenant: ve.tenant.clone(),
        template: ve.template.clone(),
        plan: ve.plan.clone(),
        share,
        hostname: merge
            .own("hostname", ve.hostname.clone())
            .unwrap_or_else(|| Hostname::from(&ve.name)),
        description: merge.own("description", ve.description.clone()),
        limits: merge.limits(),
        disk: merge.disk()?,
        features: merge.features(granted),
        granted,
        interfaces,
        dns,
        search,
        guest: merge.guest(),
        stop_timeout: merge.or_host(
            "stop.timeout",
            ve.stop_timeout,
            "defaults.stop_timeout",
            host.defaults.stop_timeout,
        ),
        stop_mode: merge.own("stop.mode", ve.stop_mode).unwrap_or(StopMode::Stop),
        start_timeout: merge.or_host(
            "start.timeout",
            ve.start_timeout,
            "defaults.start_timeout",
            host.defaults.start_timeout,
        ),
        onboot: merge.own("onboot", ve.onboot).unwrap_or(false),
        priority: merge.own("priority", ve.priority).unwrap_or(0),
        sources: merge.sources,
    })
}

/// A merge under way: notes where each value comes from.
struct Merge<'a> {
    ve: &'a VeDefinition,
    plan: &'a Plan,
    host: &'a HostConfig,
    sources: BTreeMap<String, Source>,
}

impl Merge<'_> {
    fn note(&mut self, key: impl Into<String>, source: Source) {
        self.sources.insert(key.into(), source);
    }

    fn definition(&self) -> Source {
        Source::Definition(self.ve.file.clone())
    }

    /// A key that only the definition has.
    fn own<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        let source = if value.is_some() {
            self.definition()
        } else {
            Source::Default
        };
        self.note(key, source);
        value
    }

    /// A key that hostel.toml has too, under another name.
    fn or_host<T>(&mut self, key: &str, value: Option<T>, host_key: &str, host_value: T) -> T {
        let source = match value {
            Some(_) => self.definition(),
            None if self.host.says(host_key) => Source::Host,
            None => Source::Default,
        };
        self.note(key, source);
        value.unwrap_or(host_value)
    }

    /// A key that the plan has too.
    fn pick<T: Clone>(&mut self, key: &str, over: &Option<T>, plan: &Option<T>) -> Option<T> {
        let source = match (over, plan) {
            (Some(_), _) => Source::Override(self.ve.file.clone()),
            (None, Some(_)) => Source::Plan(self.plan.name.clone()),
            (None, None) => Source::Default,
        };
        self.note(key, source);
        over.as_ref().or(plan.as_ref()).cloned()
    }

    /// The same for a limit: `None` for "unlimited".
    fn max<T: Clone>(&mut self, key: &str, over: &Option<Max<T>>, plan: &Option<Max<T>>) -> Option<T> {
        self.pick(key, over, plan).and_then(Max::limit)
    }

    fn limits(&mut self) -> Limits {
        let (ve, plan) = (&self.ve.overrides, &self.plan.resources);
        let bytes = |rate: Rate| Bytes(rate.0);
        Limits {
            cpu: CpuLimits {
                cap_milli: self.max("cpu.cap", &ve.cpu.cap, &plan.cpu.cap).map(|c| c.milli()),
                weight: self
                    .pick("cpu.weight", &ve.cpu.weight, &plan.cpu.weight)
                    .map(|w| w.get()),
                pin: self.max("cpu.pin", &ve.cpu.pin, &plan.cpu.pin),
            },
            memory: MemoryLimits {
                limit: self.max("memory.limit", &ve.memory.limit, &plan.memory.limit),
                // Swap that nobody granted is none.
                swap: match self.pick("memory.swap", &ve.memory.swap, &plan.memory.swap) {
                    Some(max) => max.limit(),
                    None => Some(Bytes(0)),
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

    fn disk(&mut self) -> Result<DiskLimits, ResolveError> {
        let (ve, plan) = (&self.ve.overrides.disk, &self.plan.resources.disk);
        let size = self.pick("disk.size", &ve.size, &plan.size);
        let inodes = self.max("disk.inodes", &ve.inodes, &plan.inodes).map(|c| c.get());
        match size {
            Some(size) => Ok(DiskLimits { size, inodes }),
            None => Err(ResolveError::NoDisk {
                file: self.ve.file.clone(),
                plan: self.plan.name.clone(),
            }),
        }
    }

    fn features(&mut self, granted: Features) -> Features {
        let (ve, plan) = (&self.ve.overrides.features, &self.plan.resources.features);
        for ((key, over), (_, plan)) in ve.iter().zip(plan.iter()) {
            self.pick(key, &over, &plan);
        }
        granted.overridden_by(ve)
    }

    fn share(&mut self, tenant: &Tenant) -> Share {
        if let (None, Some(share)) = (self.ve.share, tenant.share) {
            self.note("share", Source::Tenant(tenant.name.clone()));
            return share;
        }
        self.or_host("share", self.ve.share, "defaults.share", self.host.defaults.share)
    }

    fn guest(&mut self) -> Guest {
        let guest = &self.ve.guest;
        self.own("guest.password_hash", guest.password_hash.as_ref());
        self.own("guest.ssh_keys", guest.ssh_keys.first());
        self.own("guest.timezone", guest.timezone.as_ref());
        guest.clone()
    }

    fn interfaces(&mut self, networks: &[Network]) -> Result<Vec<Interface>, ResolveError> {
        let mut interfaces = Vec::new();
        for (i, keys) in self.ve.interfaces.iter().enumerate() {
            let network = networks.iter().find(|n| n.name == keys.network).ok_or_else(|| {
                let known = networks.iter().map(|n| n.name.as_str());
                unknown(self.ve, format!("network.{i}.network"), keys.network.as_str(), known)
            })?;
            self.note(format!("network.{i}.network"), self.definition());
            let addresses = self.own(&format!("network.{i}.addresses"), keys.addresses.clone());
            interfaces.push(Interface {
                network: network.clone(),
                addresses: addresses.unwrap_or(Addresses::Auto),
            });
        }
        Ok(interfaces)
    }

    /// The definition's own list, or the first one that its networks have.
    fn from_networks<T: Clone>(
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

impl Effective {
    /// Every setting as (key, value, source), in the order of the documentation. Values are as a person writes them:
    /// "unlimited" where there is no limit, "none" where there is nothing; secrets are only said to be there.
    pub fn settings(&self) -> Vec<(String, String, String)> {
        let values = self.values();
        let keys = crate::definition::keys().iter().map(|k| k.key.as_str());
        let known = keys.filter_map(|key| values.get(key).map(|value| (key.to_owned(), value.clone())));
        let networks = (0..self.interfaces.len()).flat_map(|i| {
            let key = |name| format!("network.{i}.{name}");
            [key("network"), key("addresses")].map(|k| (k.clone(), values.get(&k).cloned().unwrap_or_default()))
        });
        known
            .chain(networks)
            .map(|(key, value)| {
                let source = self.sources.get(&key).unwrap_or(&Source::Default).to_string();
                (key, value, source)
            })
            .collect()
    }

    /// Every setting's value by its key.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let Limits {
            cpu,
            memory,
            processes,
            io,
        } = &self.limits;
        let rate = |bytes: Option<Bytes>| max(bytes.map(|b| Rate(b.get())));
        let weight = |weight: Option<u16>| weight.unwrap_or(100).to_string();
        let cap = cpu
            .cap_milli
            .map(|milli| format!("{}.{:03}", milli / 1000, milli % 1000));
        let mut values: BTreeMap<String, String> = [
            ("id", self.id.to_string()),
            ("name", self.name.to_string()),
            ("tenant", self.tenant.to_string()),
            ("template", self.template.to_string()),
            ("plan", self.plan.to_string()),
            ("onboot", self.onboot.to_string()),
            ("priority", self.priority.to_string()),
            ("hostname", self.hostname.to_string()),
            ("share", self.share.to_string()),
            ("description", some(self.description.as_ref())),
            ("dns", list(&self.dns)),
            ("search", list(&self.search)),
            (
                "guest.password_hash",
                some(self.guest.password_hash.as_ref().map(|_| "(set)")),
            ),
            ("guest.ssh_keys", list(&self.guest.ssh_keys)),
            ("guest.timezone", some(self.guest.timezone.as_ref())),
            ("start.timeout", self.start_timeout.to_string()),
            ("stop.timeout", self.stop_timeout.to_string()),
            ("stop.mode", self.stop_mode.to_string()),
            (
                "cpu.cap",
                max(cap.map(|c| c.trim_end_matches('0').trim_end_matches('.').to_owned())),
            ),
            ("cpu.weight", weight(cpu.weight)),
            ("cpu.pin", max(cpu.pin.as_ref())),
            ("memory.limit", max(memory.limit)),
            ("memory.swap", max(memory.swap)),
            ("memory.guarantee", some(memory.guarantee)),
            ("processes", max(*processes)),
            ("disk.size", self.disk.size.to_string()),
            ("disk.inodes", max(self.disk.inodes)),
            ("io.read", rate(io.read_bytes)),
            ("io.write", rate(io.write_bytes)),
            ("io.read_ops", max(io.read_ops)),
            ("io.write_ops", max(io.write_ops)),
            ("io.weight", weight(io.weight)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        values.extend(
            self.features
                .iter()
                .map(|(key, open)| (key.to_owned(), open.to_string())),
        );
        for (i, interface) in self.interfaces.iter().enumerate() {
            values.insert(format!("network.{i}.network"), interface.network.name.to_string());
            values.insert(format!("network.{i}.addresses"), interface.addresses.to_string());
        }
        values
    }

    /// The addresses that are fixed in the definition, of all interfaces.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.interfaces.iter().flat_map(|i| match &i.addresses {
            Addresses::Auto => [].iter().copied(),
            Addresses::Fixed(list) => list.iter().copied(),
        })
    }
}

fn max(limit: Option<impl fmt::Display>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |l| l.to_string())
}

fn some(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |v| v.to_string())
}

fn list(values: &[impl fmt::Display]) -> String {
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(crate) mod tests;
