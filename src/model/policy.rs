//! The one place that says whether a VE may be as its merged, fully defaulted definition has it. Every verb and every
//! face asks here, at the point of commit.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::budget::{self, Take};
use crate::definition::{Addresses, Tenant};
use crate::id::{TemplateRef, VeName};
use crate::resolve::{Effective, Interface};
use crate::units::Bytes;

/// The least memory that a VE can live in.
pub const MIN_MEMORY: Bytes = Bytes::mib(16);
/// The least disk: a file system and its journal must fit.
pub const MIN_DISK: Bytes = Bytes::mib(32);
/// The fewest processes that an init and a shell can do with.
pub const MIN_PROCESSES: u64 = 8;
/// The least disk bandwidth in bytes per second: below it a boot takes hours.
pub const MIN_RATE: Bytes = Bytes::kib(64);

/// Something that may not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What sort of no it is.
    pub sort: Sort,
    /// The setting it is about.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub instead: String,
}

/// What sort of no a violation is; the first ones matter more to whoever mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The definition makes no sense, whatever else there is.
    Sense,
    /// Another VE has it.
    Taken,
    /// More than is granted: by the plan, or by the tenant's budgets.
    Grant,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.problem, self.instead)
    }
}

/// What is there besides the VE under judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// What the VE itself takes of its tenant's budgets.
    own: Option<Take>,
    /// What it has had of them until now; `None`: it is new to this tenant.
    had: Option<Take>,
    /// What the other VEs of its tenant take.
    others: Vec<Take>,
    /// Whose each address is, of every tenant.
    addresses: BTreeMap<IpAddr, VeName>,
    /// Another VE with the same id or name, if there is one.
    clash: Option<VeName>,
}

impl Existing {
    /// Looks at all VEs of a host of so many processors but `ve` itself.
    pub fn besides<'a>(ve: &Effective, all: impl IntoIterator<Item = &'a Effective>, processors: u32) -> Self {
        let mut existing = Self {
            own: Some(Take::of(ve, processors)),
            ..Self::default()
        };
        for other in all {
            if (other.id, &other.name) == (ve.id, &ve.name) {
                continue;
            }
            if other.id == ve.id || other.name == ve.name {
                existing.clash = Some(other.name.clone());
            }
            existing
                .addresses
                .extend(other.fixed_addresses().map(|a| (a, other.name.clone())));
            if other.tenant == ve.tenant {
                existing.others.push(Take::of(other, processors));
            }
        }
        existing
    }

    /// What it has had of its tenant's budgets until now.
    #[must_use]
    pub fn having(mut self, had: Option<Take>) -> Self {
        self.had = had;
        self
    }

    /// One more VE of its tenant, whose definition can't be read.
    pub fn add(&mut self, take: Take) {
        self.others.push(take);
    }

    /// Adds an address that was handed out automatically to another VE.
    pub fn reserve(&mut self, address: IpAddr, ve: &VeName) {
        self.addresses.insert(address, ve.clone());
    }

    /// Whose each address is.
    pub fn addresses(&self) -> &BTreeMap<IpAddr, VeName> {
        &self.addresses
    }
}

/// Everything that is wrong with a VE's effective definition; nothing if it may be so.
pub fn check(ve: &Effective, tenant: &Tenant, existing: &Existing) -> Vec<Violation> {
    let mut found = Findings::default();
    found.identity(ve, existing);
    found.features(ve);
    found.minima(ve);
    found.tenant(ve, tenant, existing);
    for (i, interface) in ve.interfaces.iter().enumerate() {
        found.addresses(i, interface, existing);
        found.allowances(i, interface);
    }
    found.0
}

/// What to do where only these may be used.
fn allowed<T: fmt::Display>(what: &str, list: &[T]) -> String {
    match list {
        [] => format!("allow the tenant {what} first"),
        some => {
            let all: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("use one of {}, or change {what} of the tenant", all.join(", "))
        }
    }
}

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, sort: Sort, key: impl Into<String>, problem: impl Into<String>, instead: impl Into<String>) {
        self.0.push(Violation {
            sort,
            key: key.into(),
            problem: problem.into(),
            instead: instead.into(),
        });
    }

    fn identity(&mut self, ve: &Effective, existing: &Existing) {
        if let Some(other) = &existing.clash {
            let key = if *other == ve.name { "name" } else { "id" };
            self.add(
                Sort::Taken,
                key,
                format!("VE \"{other}\" has the same"),
                "choose another one",
            );
        }
    }

    /// What the plan doesn't grant isn't allowed, however it came to be asked for.
    fn features(&mut self, ve: &Effective) {
        for ((key, open), (_, granted)) in ve.features.iter().zip(ve.granted.iter()) {
            if open && !granted {
                let instead = format!("remove it, or use a plan with {key} = true");
                self.add(
                    Sort::Grant,
                    key,
                    format!("plan \"{}\" doesn't grant it", ve.plan),
                    instead,
                );
            }
        }
    }

    fn minima(&mut self, ve: &Effective) {
        let memory = &ve.limits.memory;
        if let Some(limit) = memory.limit.filter(|l| *l < MIN_MEMORY) {
            self.add(
                Sort::Sense,
                "memory.limit",
                format!("{limit} is too little to live in"),
                format!("give at least {MIN_MEMORY}"),
            );
        }
        if let (Some(guarantee), Some(limit)) = (memory.guarantee, memory.limit)
            && guarantee > limit
        {
            let problem = format!("{guarantee} is guaranteed, but memory.limit is {limit}");
            self.add(Sort::Sense, "memory.guarantee", problem, "guarantee at most the limit");
        }
        if ve.disk.size < MIN_DISK {
            let problem = format!("{} is too small for a file system", ve.disk.size);
            self.add(Sort::Sense, "disk.size", problem, format!("give at least {MIN_DISK}"));
        }
        if let Some(processes) = ve.limits.processes.filter(|p| *p < MIN_PROCESSES) {
            let problem = format!("{processes} are too few for an init and a shell");
            self.add(
                Sort::Sense,
                "processes",
                problem,
                format!("give at least {MIN_PROCESSES}"),
            );
        }
        for (key, rate) in [
            ("io.read", ve.limits.io.read_bytes),
            ("io.write", ve.limits.io.write_bytes),
        ] {
            if let Some(rate) = rate.filter(|r| *r < MIN_RATE) {
                self.add(
                    Sort::Sense,
                    key,
                    format!("{rate}/s is too slow to boot with"),
                    format!("give at least {MIN_RATE}/s"),
                );
            }
        }
    }

    fn tenant(&mut self, ve: &Effective, tenant: &Tenant, existing: &Existing) {
        if ve.tenant != tenant.name {
            let problem = format!(
                "it is \"{}\", but was to be judged as one of \"{}\"",
                ve.tenant, tenant.name
            );
            return self.add(Sort::Grant, "tenant", problem, "judge it by its own tenant");
        }
        let whose = format!("tenant \"{}\"", tenant.name);
        let may_not = |what: &str, name: &dyn fmt::Display| format!("{whose} may not use {what} \"{name}\"");
        if let Some(plans) = &tenant.plans
            && !plans.contains(&ve.plan)
        {
            self.add(Sort::Grant, "plan", may_not("plan", &ve.plan), allowed("plans", plans));
        }
        if let Some(networks) = &tenant.networks {
            let strange = |i: &&Interface| !networks.contains(&i.network.name);
            if let Some((n, interface)) = ve.interfaces.iter().enumerate().find(|(_, i)| strange(i)) {
                let problem = may_not("network", &interface.network.name);
                let instead = allowed("networks", networks);
                self.add(Sort::Grant, format!("network.{n}.network"), problem, instead);
            }
        }
        // What it is made from can't be changed, so only a VE that is new to the tenant is asked.
        if let (Some(templates), None) = (&tenant.templates, &existing.had) {
            let is = |one: &TemplateRef| *one == ve.template || one.version.is_none() && one.name == ve.template.name;
            if !templates.iter().any(is) {
                let problem = may_not("template", &ve.template);
                self.add(Sort::Grant, "template", problem, allowed("templates", templates));
            }
        }
        if let Some(own) = &existing.own {
            self.0
                .extend(budget::check(tenant, own, existing.had.as_ref(), &existing.others));
        }
    }

    /// A routed VE has nobody beside it whom it could deceive, so there is nothing to allow. On a bridge it isn't the host
    /// that routes.
    fn allowances(&mut self, index: usize, interface: &Interface) {
        if interface.network.bridge.is_some() {
            if !interface.routes.is_empty() {
                let problem = format!("network \"{}\" is not of kind \"routed\"", interface.network.name);
                let instead = "remove that key, or put the VE on a routed network as well";
                self.add(Sort::Sense, format!("network.{index}.routes"), problem, instead);
            }
            return;
        }
        for (key, _) in interface.allowed.by_key().into_iter().filter(|(_, allowed)| *allowed) {
            let (key, name) = (format!("network.{index}.{key}"), &interface.network.name);
            let problem = format!("network \"{name}\" is not of kind \"bridge\"");
            self.add(Sort::Sense, key, problem, "remove that key");
        }
    }

    fn addresses(&mut self, index: usize, interface: &Interface, existing: &Existing) {
        let Addresses::Fixed(addresses) = &interface.addresses else {
            return;
        };
        let network = &interface.network;
        for address in addresses {
            let key = format!("network.{index}.addresses");
            if !network.contains(*address) {
                let pools: Vec<String> = network.pools.iter().map(ToString::to_string).collect();
                let problem = format!("{address} is not in network \"{}\"", network.name);
                self.add(Sort::Sense, key, problem, format!("take one of {}", pools.join(", ")));
            } else if network.excludes(*address) {
                let problem = format!(
                    "{address} belongs to somebody else (network \"{}\" excludes it)",
                    network.name
                );
                self.add(Sort::Sense, key, problem, "take another one, or \"auto\"");
            } else if let Some(other) = existing.addresses.get(address) {
                self.add(
                    Sort::Taken,
                    key,
                    format!("{address} is VE \"{other}\"'s"),
                    "take another one, or \"auto\"",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tests::{effective, tenant};

    fn keys(ve: &Effective, tenant: &Tenant, existing: &Existing) -> Vec<String> {
        check(ve, tenant, existing).into_iter().map(|v| v.key).collect()
    }

    #[test]
    fn what_is_fine_has_no_violations() {
        assert_eq!(check(&effective("", ""), &tenant(""), &Existing::default()), []);
    }

    #[test]
    fn a_feature_is_closed_unless_the_plan_opens_it() {
        for (key, _) in effective("", "").features.iter() {
            let name = key.trim_start_matches("features.");
            let ve_asks = format!("[features]\n{name} = true");
            // Plan silent, plan says no: refused. Plan says yes: the VE has it, asked for or not.
            assert_eq!(keys(&effective("", &ve_asks), &tenant(""), &Existing::default()), [key]);
            let no = effective(&format!("[features]\n{name} = false"), &ve_asks);
            assert_eq!(keys(&no, &tenant(""), &Existing::default()), [key]);
            let yes = effective(&ve_asks, "");
            assert_eq!(check(&yes, &tenant(""), &Existing::default()), []);
            assert_eq!(
                yes.features
                    .iter()
                    .filter(|(_, open)| *open)
                    .map(|(k, _)| k)
                    .collect::<Vec<_>>(),
                [key]
            );
            let closed = effective(&ve_asks, &format!("[features]\n{name} = false"));
            assert!(closed.features.iter().all(|(_, open)| !open));
        }
    }

    #[test]
    fn minima() {
        for (ve, key) in [
            ("[memory]\nlimit = \"15MiB\"", "memory.limit"),
            ("[memory]\nguarantee = \"1025MiB\"", "memory.guarantee"),
            ("[disk]\nsize = \"31MiB\"", "disk.size"),
            ("processes = 7", "processes"),
            ("[io]\nread = 1000", "io.read"),
            ("[io]\nwrite = 0", "io.write"),
        ] {
            assert_eq!(
                keys(&effective("", ve), &tenant(""), &Existing::default()),
                [key],
                "{ve}"
            );
        }
    }

    #[test]
    fn budgets() {
        let none = Existing::default();
        let other = effective("", "id = 102\nname = \"web2\"");
        let ve = effective("", "");
        let one = Existing::besides(&ve, [&ve, &other], 4);
        assert_eq!(keys(&ve, &tenant("plans = [\"large\"]"), &none), ["plan"]);
        assert_eq!(keys(&ve, &tenant("plans = []"), &none), ["plan"]);
        assert_eq!(keys(&ve, &tenant("max_ves = 1"), &none), [""; 0]);
        assert_eq!(keys(&ve, &tenant("max_ves = 1"), &one), ["tenant"]);
        assert_eq!(keys(&ve, &tenant("memory = \"2GiB\""), &one), [""; 0]);
        assert_eq!(keys(&ve, &tenant("memory = \"2047MiB\""), &one), ["memory.limit"]);
        assert_eq!(keys(&ve, &tenant("disk = \"19GiB\""), &one), ["disk.size"]);
        assert_eq!(keys(&ve, &tenant("disk = \"20GiB\""), &one), [""; 0]);
        let unlimited = effective("", "[memory]\nlimit = \"unlimited\"");
        let alone = Existing::besides(&unlimited, [], 4);
        assert_eq!(keys(&unlimited, &tenant("memory = \"8GiB\""), &alone), ["memory.limit"]);
        assert_eq!(keys(&unlimited, &tenant(""), &alone), [""; 0]);
        // What it has already it may keep.
        let had = |ve: &Effective| one.clone().having(Some(Take::of(ve, 4)));
        assert_eq!(keys(&ve, &tenant("memory = \"1MiB\"\nmax_ves = 1"), &had(&ve)), [""; 0]);
        let less = effective("", "[memory]\nlimit = \"512MiB\"");
        assert_eq!(
            keys(&ve, &tenant("memory = \"1536MiB\""), &had(&less)),
            ["memory.limit"]
        );
        let text = check(&ve, &tenant("memory = \"1536MiB\""), &one)[0].to_string();
        assert_eq!(
            text,
            "memory.limit: it takes 1GiB of memory, and tenant \"acme\" has 512MiB left of 1536MiB (memory): \
             web2 has 1GiB; take less, or raise memory of the tenant"
        );
    }

    #[test]
    fn what_a_tenant_may_use() {
        let on = effective("", "[[network]]\nnetwork = \"public\"\naddresses = \"auto\"");
        let had = |ve: &Effective| Existing::default().having(Some(Take::of(ve, 4)));
        let none = Existing::default();
        assert_eq!(keys(&on, &tenant("networks = [\"public\"]"), &none), [""; 0]);
        assert_eq!(
            keys(&on, &tenant("networks = [\"private\"]"), &had(&on)),
            ["network.0.network"]
        );
        assert_eq!(
            keys(&on, &tenant("templates = [\"alpine\", \"debian-12\"]"), &none),
            [""; 0]
        );
        assert_eq!(
            keys(&on, &tenant("templates = [\"debian-12/2026\"]"), &none),
            ["template"]
        );
        assert_eq!(
            keys(&on, &tenant("templates = [\"debian-12/2026\"]"), &had(&on)),
            [""; 0]
        );
        let exact = effective("", "template = \"debian-12/2026\"");
        for fits in ["debian-12", "debian-12/2026"] {
            assert_eq!(
                keys(&exact, &tenant(&format!("templates = [\"{fits}\"]")), &none),
                [""; 0]
            );
        }
        let text = check(&on, &tenant("networks = [\"a\", \"b\"]"), &none)[0].to_string();
        assert_eq!(
            text,
            "network.0.network: tenant \"acme\" may not use network \"public\"; use one of a, b, or change networks of \
             the tenant"
        );
    }

    #[test]
    fn addresses() {
        let fixed = |a: &str| effective("", &format!("[[network]]\nnetwork = \"public\"\naddresses = [\"{a}\"]"));
        let ve = fixed("203.0.113.10");
        assert_eq!(check(&ve, &tenant(""), &Existing::default()), []);
        assert_eq!(
            keys(&fixed("192.0.2.1"), &tenant(""), &Existing::default()),
            ["network.0.addresses"]
        );
        assert_eq!(
            keys(&fixed("203.0.113.1"), &tenant(""), &Existing::default()),
            ["network.0.addresses"]
        );
        let mut existing = Existing::default();
        existing.reserve("203.0.113.10".parse().unwrap(), &"db".parse().unwrap());
        assert!(check(&ve, &tenant(""), &existing)[0].problem.contains("VE \"db\""));
    }

    #[test]
    fn one_id_and_one_name_each() {
        let ve = effective("", "");
        let same_id = effective("", "name = \"web2\"");
        let same_name = effective("", "id = 102");
        assert_eq!(keys(&ve, &tenant(""), &Existing::besides(&ve, [&same_id], 4)), ["id"]);
        assert_eq!(
            keys(&ve, &tenant(""), &Existing::besides(&ve, [&same_name], 4)),
            ["name"]
        );
        assert_eq!(keys(&ve, &tenant(""), &Existing::besides(&ve, [&ve], 4)), [""; 0]);
    }
}
