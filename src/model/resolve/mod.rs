//! From what the files say to what is in force: one VE's definition over its plan, its tenant and the host's defaults,
//! with the source of every setting.

mod access;
mod merge;
mod show;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::definition::{
    Addresses, Allowances, DriverName, Features, ForwardKeys, Guest, HostConfig, Network, Plan, Share, StopMode,
    Tenant, VeDefinition, one_of,
};

use crate::bandwidth::{Bandwidth, Burst};
use crate::id::{Domain, Hostname, NetworkName, PlanName, TemplateRef, TenantName, VeId, VeName};
use crate::limits::Limits;
use crate::mac::Mac;
use crate::openvz::Remembered;
use crate::units::{Bytes, Span};
pub use access::AccessRules;
use merge::Merge;
pub(crate) use show::BURST_UNSAID;

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
    /// What its network is to carry at most.
    pub traffic: Traffic,
    /// Its disk.
    pub disk: DiskLimits,
    /// The switches as they are to be.
    pub features: Features,
    /// The switches that its plan grants: no others may be open.
    pub granted: Features,
    /// Its interfaces, in order: interface 0 is eth0 inside.
    pub interfaces: Vec<Interface>,
    /// Who may reach it, and whom it may reach.
    pub access: AccessRules,
    /// Ports of the host that lead to it.
    pub forwards: Vec<ForwardKeys>,
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
    /// Is it not to be started?
    pub disabled: bool,
    /// What the OpenVZ tools are to be told again.
    pub openvz: Remembered,
    /// Where each setting comes from, by key.
    pub sources: BTreeMap<String, Source>,
}

impl Effective {
    /// Neither it nor a network of its says anything of name servers: then it has its host's.
    pub fn has_hosts_name_servers(&self) -> bool {
        !self.interfaces.is_empty() && self.sources.get("dns") == Some(&Source::Default)
    }
}

/// What the network of a VE is to carry at most. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// To it, all interfaces together.
    pub inward: Option<Bandwidth>,
    /// From it, all interfaces together.
    pub outward: Option<Bandwidth>,
    /// What may pass these at once after a pause; `None`: what belongs to the rate.
    pub burst: Option<Burst>,
}

/// The disk of a VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskLimits {
    /// Its size.
    pub size: Bytes,
    /// The most files; `None`: as many as the disk driver gives for the size.
    pub inodes: Option<u64>,
    /// What it is to be made of; `None`: what hostel.toml says for a new VE, what it is made of for others.
    pub driver: Option<DriverName>,
}

/// An interface of a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// The network it is on.
    pub network: Network,
    /// Its addresses there.
    pub addresses: Addresses,
    /// Prefixes that the host routes to it.
    pub routes: Vec<IpNetwork>,
    /// Its hardware address; `None`: made from the VE's id.
    pub mac: Option<Mac>,
    /// What it may do there that others may not.
    pub allowed: Allowances,
    /// The most to the VE by this interface; `None`: no limit of its own.
    pub rate_in: Option<Bandwidth>,
    /// The most from it.
    pub rate_out: Option<Bandwidth>,
    /// What may pass these at once after a pause; `None`: so much as 10 ms of the rate.
    pub burst: Option<Burst>,
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

/// Are these the plan and the tenant that a definition names?
fn check_names(ve: &VeDefinition, plan: &Plan, tenant: &Tenant) -> Result<(), ResolveError> {
    for (key, name, given) in [
        ("plan", ve.plan.as_str(), plan.name.as_str()),
        ("tenant", ve.tenant.as_str(), tenant.name.as_str()),
    ] {
        if name != given {
            return Err(unknown(ve, key.into(), name, [given].into_iter()));
        }
    }
    Ok(())
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
    check_names(ve, plan, tenant)?;
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
    let dns = merge.networks_list("dns", &ve.dns, &interfaces, Network::name_servers);
    let search = merge.networks_list("search", &ve.search, &interfaces, |n| &n.search);
    let share = merge.share(tenant);
    let access = merge.access(tenant);
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
        traffic: merge.traffic(),
        disk: merge.disk()?,
        features: merge.features(granted),
        granted,
        interfaces,
        access,
        forwards: merge.forwards(),
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
        disabled: merge.own("disabled", ve.disabled).unwrap_or(false),
        openvz: merge.openvz(),
        sources: merge.sources,
    })
}
