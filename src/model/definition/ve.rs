//! `ve/<name>.toml`: what one VE is to be.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::access::{self, Access};
use super::addresses::Addresses;
use super::diagnostic::Diagnostics;
use super::field::{Field, KeyDoc, Reading, Record, Shape, When, fields};
use super::forward::{self, ForwardKeys};
use super::guest::{CryptHash, Guest, SshKey, Timezone};
use super::interface::{InterfaceDraft, InterfaceKeys};
use super::network::overlap;
use super::resources::Resources;
use super::stem;
use super::value::{Read, words};
use crate::id::{Domain, Hostname, PlanName, TemplateRef, TenantName, VeId, VeName};
use crate::openvz::Remembered;
use crate::units::Span;

/// The most interfaces of one VE. Interface names leave room for two digits.
pub const MAX_INTERFACES: usize = 32;

words! {
    /// Who shares a template's tree, and so its page cache, with whom.
    Share, "\"tenant\", \"host\" or \"none\"",
    /// The VEs of the same tenant: the usual.
    Tenant = "tenant",
    /// All VEs of the host: the densest, for VEs one trusts alike.
    Host = "host",
    /// Nobody: a copy of its own.
    None = "none",
}

words! {
    /// What becomes of a VE when the host goes down.
    StopMode, "\"stop\" or \"suspend\"",
    /// It is shut down.
    Stop = "stop",
    /// It is suspended to disk, and goes on when the host has booted.
    Suspend = "suspend",
}

/// A VE's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VeDefinition {
    /// The file it was read from, as the caller named it.
    pub file: String,
    /// Its number.
    pub id: VeId,
    /// Its name, that of its file.
    pub name: VeName,
    /// Whose it is.
    pub tenant: TenantName,
    /// What it is made from.
    pub template: TemplateRef,
    /// Its plan.
    pub plan: PlanName,
    /// Start it with the host?
    pub onboot: Option<bool>,
    /// Higher starts first and stops last.
    pub priority: Option<u16>,
    /// Is it not to be started?
    pub disabled: Option<bool>,
    /// Its host name.
    pub hostname: Option<Hostname>,
    /// Who shares the template's tree with it.
    pub share: Option<Share>,
    /// For people.
    pub description: Option<String>,
    /// What it has other than its plan.
    pub overrides: Resources,
    /// `[[network]]`
    pub interfaces: Vec<InterfaceKeys>,
    /// `[[forward]]`
    pub forwards: Vec<ForwardKeys>,
    /// Its name servers; `None`: its networks'.
    pub dns: Option<Vec<IpAddr>>,
    /// Its search domains; `None`: its networks'.
    pub search: Option<Vec<Domain>>,
    /// `[guest]`
    pub guest: Guest,
    /// `[firewall]`
    pub access: Access,
    /// How long a shutdown may take.
    pub stop_timeout: Option<Span>,
    /// What becomes of it when the host goes down.
    pub stop_mode: Option<StopMode>,
    /// How long a boot may take.
    pub start_timeout: Option<Span>,
    /// `[openvz]`
    pub openvz: Remembered,
}

#[derive(Debug, Default)]
struct Draft {
    id: Option<VeId>,
    name: Option<VeName>,
    tenant: Option<TenantName>,
    template: Option<TemplateRef>,
    plan: Option<PlanName>,
    onboot: Option<bool>,
    priority: Option<u16>,
    disabled: Option<bool>,
    hostname: Option<Hostname>,
    share: Option<Share>,
    description: Option<String>,
    resources: Resources,
    interfaces: Option<Vec<InterfaceDraft>>,
    access: access::Draft,
    forwards: Option<Vec<forward::Draft>>,
    dns: Option<Vec<IpAddr>>,
    search: Option<Vec<Domain>>,
    password_hash: Option<CryptHash>,
    ssh_keys: Option<Vec<SshKey>>,
    timezone: Option<Timezone>,
    stop_timeout: Option<Span>,
    stop_mode: Option<StopMode>,
    start_timeout: Option<Span>,
    openvz: Option<Remembered>,
}

const NEVER_ID: When = When::Never("the id names its disk and everything the kernel knows of it");
const NEVER_NAME: When = When::Never("the name is that of its file and of its history");
const NEVER_TEMPLATE: When = When::Never("its disk holds what differs from this very template; create it anew");
const NEVER_SHARE: When = When::Never("its disk belongs to the template tree it was made with; create it anew");

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "id": VeId => id, "its number, 101 to 999999, for life", "101", NEVER_ID;
        "name": VeName => name, "its name, that of its file", "\"web1\"", NEVER_NAME;
        "tenant": TenantName => tenant, "whose it is; changes only while it is stopped", "\"acme\"";
        "template": TemplateRef => template,
            "what it is made from, the newest version or a certain one", "\"debian-12\"", NEVER_TEMPLATE;
        "plan": PlanName => plan, "its plan of resources", "\"small\"";
        "onboot": bool => onboot, "start it with the host", "true";
        "priority": u16 => priority, "order at the host's boot: higher starts first and stops last", "100";
        "disabled": bool => disabled, "nobody starts it, nor does the host's boot, until this is false again", "false";
        "hostname": Hostname => hostname,
            "its host name; its name if not set", "\"web1.acme.example\"", When::Restart;
        "share": Share => share,
            "who shares the template's page cache with it: tenant, host or none", "\"tenant\"", NEVER_SHARE;
        "description": String => description, "what it is for, for people", "\"shop front\"";
        "dns": Vec<IpAddr> => dns, "its name servers; if not set, its networks', or else the host's own", "[\"9.9.9.9\"]", When::Restart;
        "search": Vec<Domain> => search,
            "domains to search short names in; its networks' if not set", "[\"acme.example\"]", When::Restart;
        "guest.password_hash": CryptHash => password_hash,
            "root's password, hashed: from \"openssl passwd -6\"", "\"$6$…\"", When::Restart, secret;
        "guest.ssh_keys": Vec<SshKey> => ssh_keys,
            "root's SSH keys", "[\"ssh-ed25519 AAAA… ann@desk\"]", When::Restart;
        "guest.timezone": Timezone => timezone,
            "its time zone; the template's if not set", "\"Europe/Berlin\"", When::Restart;
        "start.timeout": Span => start_timeout, "how long a boot may take", "\"2m\"";
        "stop.timeout": Span => stop_timeout, "how long a shutdown may take before it is killed", "\"1m\"";
        "stop.mode": StopMode => stop_mode, "what becomes of it when the host goes down: stop or suspend", "\"stop\"";
        "network": Vec<InterfaceDraft> => interfaces,
            "an interface on a network, a [[network]] each", "\"private\"", When::Restart;
        "firewall.in": access::Verdict => access.input,
            "connections to it that no rule is about; its tenant's word if not set", "\"deny\"";
        "firewall.out": access::Verdict => access.output,
            "connections from it that no rule is about; its tenant's word if not set", "\"allow\"";
        "firewall.rule": Vec<access::RuleDraft> => access.rules,
            "an access rule; the first that fits decides", "\"in\"";
        "forward": Vec<forward::Draft> => forwards,
            "ports of the host that lead to it, a [[forward]] each", "\":8080\"", When::Restart;
        "openvz": Remembered => openvz,
            "a parameter of the OpenVZ tools that has no effect here, remembered for them", "\"no\"";
    };
    const REQUIRED: &'static [&'static str] = &["id", "name", "tenant", "template", "plan"];
    const HAS_RESOURCES: bool = true;
    fn resources(&mut self) -> Option<&mut Resources> {
        Some(&mut self.resources)
    }
}

/// All keys, with those of `[[network]]` as `network.N.…`, and those of rules alike; `openvz.KEY` stands for every
/// parameter of the OpenVZ tools.
pub(super) fn keys() -> Vec<KeyDoc> {
    let (tables, mut all): (Vec<_>, Vec<_>) = KeyDoc::of_record::<Draft>("")
        .into_iter()
        .partition(|k| k.shape == Shape::Tables);
    let remembered = all.iter().position(|k| k.key == "openvz").map(|at| all.remove(at));
    all.extend(tables);
    all.extend(KeyDoc::of_record::<InterfaceDraft>("network.N."));
    all.extend(KeyDoc::of_record::<access::RuleDraft>("firewall.rule.N."));
    all.extend(KeyDoc::of_record::<forward::Draft>("forward.N."));
    all.extend(remembered.map(|doc| KeyDoc {
        key: "openvz.KEY".to_owned(),
        expected: String::EXPECTED,
        ..doc
    }));
    all
}

impl VeDefinition {
    /// Reads `ve/<name>.toml`. `file` must agree with the name inside, and is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        let forwards = draft.check(file, &mut reading);
        let interfaces: Vec<InterfaceKeys> = draft
            .interfaces
            .into_iter()
            .flatten()
            .filter_map(|i| {
                Some(InterfaceKeys {
                    allowed: i.allowed(),
                    said: i.said(),
                    network: i.network?,
                    addresses: i.addresses,
                    routes: i.routes.unwrap_or_default(),
                    mac: i.mac,
                    rate_in: i.rate_in,
                    rate_out: i.rate_out,
                    burst: i.burst,
                })
            })
            .collect();
        let (true, Some(id), Some(name), Some(tenant), Some(template), Some(plan)) = (
            reading.reports.is_empty(),
            draft.id,
            draft.name,
            draft.tenant,
            draft.template,
            draft.plan,
        ) else {
            return Err(reading.reports.finish());
        };
        let ssh_keys = draft.ssh_keys.unwrap_or_default();
        Ok(Self {
            file: file.to_owned(),
            id,
            name,
            tenant,
            template,
            plan,
            onboot: draft.onboot,
            priority: draft.priority,
            disabled: draft.disabled,
            hostname: draft.hostname,
            share: draft.share,
            description: draft.description,
            overrides: draft.resources,
            interfaces,
            forwards,
            dns: draft.dns,
            search: draft.search,
            guest: Guest {
                password_hash: draft.password_hash,
                ssh_keys,
                timezone: draft.timezone,
            },
            access: draft.access.finish(),
            stop_timeout: draft.stop_timeout,
            stop_mode: draft.stop_mode,
            start_timeout: draft.start_timeout,
            openvz: draft.openvz.unwrap_or_default(),
        })
    }
}

impl Draft {
    /// What the values must be together. Gives the forwards.
    fn check(&self, file: &str, reading: &mut Reading<'_>) -> Vec<ForwardKeys> {
        if let Some(name) = &self.name
            && name.as_str() != stem(file)
        {
            reading.wrong("name", format!("\"{}\", as the file is named", stem(file)));
        }
        self.access.check(reading);
        let interfaces = self.interfaces.as_deref().unwrap_or_default();
        if interfaces.len() > MAX_INTERFACES {
            reading.wrong("network", format!("at most {MAX_INTERFACES} of them"));
        }
        let mut networks = BTreeSet::new();
        let (mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new());
        for (i, interface) in interfaces.iter().enumerate() {
            if let Some(network) = &interface.network
                && !networks.insert(network)
            {
                reading.wrong(
                    &format!("network.{i}.network"),
                    "each network once; an interface can have many addresses",
                );
            }
            if let Some(mac) = interface.mac {
                let key = format!("network.{i}.mac");
                if !mac.is_unicast() {
                    reading.wrong(
                        &key,
                        "the address of one interface, and of no group: its first byte is even",
                    );
                } else if mac.is_of_host() {
                    reading.wrong(
                        &key,
                        "an address that no host's end of a VE's link has: those begin with 02:68:1",
                    );
                } else if !macs.insert(mac) {
                    reading.wrong(&key, "a hardware address that no other interface of it has");
                }
            }
            if let Some(Addresses::Fixed(list)) = &interface.addresses
                && let Some(twice) = list.iter().find(|a| !addresses.insert(**a))
            {
                reading.wrong(
                    &format!("network.{i}.addresses"),
                    format!("each address once, not {twice} twice"),
                );
            }
        }
        let routes = |i: &InterfaceDraft| i.routes.clone().unwrap_or_default();
        let all: Vec<IpNetwork> = interfaces.iter().flat_map(routes).collect();
        for (i, prefix) in all.iter().enumerate() {
            if let Some(other) = all[..i].iter().find(|other| overlap(prefix, other)) {
                reading.wrong(
                    "network",
                    format!("routes that don't overlap, unlike {other} and {prefix}"),
                );
            }
        }
        let mut blobs = BTreeSet::new();
        if self.ssh_keys.iter().flatten().any(|k| !blobs.insert(k.blob())) {
            reading.wrong("guest.ssh_keys", "each key once");
        }
        forward::check(self.forwards.as_deref().unwrap_or_default(), &networks, reading)
    }
}
