//! `tenants/*.toml`: whose VEs they are, what they may have, and their budgets.

use serde::Serialize;

use super::access::{self, Access};
use super::count::Count;
use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, fields};
use super::name_of_file;
use super::ve::Share;
use crate::budget::Budget;
use crate::id::{NetworkName, PlanName, Tag, TemplateRef, TenantName};
use crate::limits::Cap;
use crate::monthly;
use crate::units::Bytes;

/// A tenant. A budget that is missing is none: nothing but the plans and the host holds the tenant then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tenant {
    /// Its name, that of its file.
    pub name: TenantName,
    /// For people.
    pub description: Option<String>,
    /// Whom to tell.
    pub contact: Option<String>,
    /// Words to sort tenants by.
    pub tags: Vec<Tag>,
    /// Why its VEs may not run; `None`: they may.
    pub suspended: Option<String>,
    /// How its VEs share template trees, where they don't say.
    pub share: Option<Share>,
    /// The only plans its VEs may have; `None`: all.
    pub plans: Option<Vec<PlanName>>,
    /// The only templates its VEs may be made from; `None`: all.
    pub templates: Option<Vec<TemplateRef>>,
    /// The only networks its VEs may be on; `None`: all.
    pub networks: Option<Vec<NetworkName>>,
    /// The most VEs.
    pub max_ves: Option<Count>,
    /// The most processor time, summed over the caps of its VEs.
    pub cpu: Option<Cap>,
    /// The most memory, summed over the limits of its VEs.
    pub memory: Option<Bytes>,
    /// The most disk, summed over the disks of its VEs.
    pub disk: Option<Bytes>,
    /// The most IPv4 addresses of its VEs.
    pub ipv4: Option<u32>,
    /// The most IPv6 addresses of its VEs.
    pub ipv6: Option<u32>,
    /// The most bytes in a month of UTC to and from all its VEs, but for classes of traffic that hostel.toml names.
    pub traffic: Option<Bytes>,
    /// `[firewall]`: for all its VEs.
    pub access: Access,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    description: Option<String>,
    contact: Option<String>,
    tags: Option<Vec<Tag>>,
    suspended: Option<String>,
    share: Option<Share>,
    plans: Option<Vec<PlanName>>,
    templates: Option<Vec<TemplateRef>>,
    networks: Option<Vec<NetworkName>>,
    max_ves: Option<Count>,
    cpu: Option<Cap>,
    memory: Option<Bytes>,
    disk: Option<Bytes>,
    ipv4: Option<u32>,
    ipv6: Option<u32>,
    traffic: Option<Bytes>,
    access: access::Draft,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "description": String => description, "who the tenant is, for people", "\"Acme Ltd., customer 4711\"";
        "contact": String => contact, "whom to tell of its VEs, for people", "\"Ann <ann@acme.example>\"";
        "tags": Vec<Tag> => tags, "words to sort tenants by", "[\"hosting\", \"vip\"]";
        "suspended": String => suspended, "why its VEs may not run; written by hostel tenant suspend", "\"unpaid\"";
        "share": Share => share, "how its VEs share template trees, where they don't say", "\"tenant\"";
        "plans": Vec<PlanName> => plans, "the only plans its VEs may have; all if not set", "[\"small\", \"medium\"]";
        "templates": Vec<TemplateRef> => templates,
            "the only templates its VEs may be made from; all if not set", "[\"debian-12\"]";
        "networks": Vec<NetworkName> => networks, "the only networks its VEs may be on; all if not set", "[\"public\"]";
        "max_ves": Count => max_ves, "most VEs; no budget if not set", "10";
        "cpu": Cap => cpu, "most processors, summed over its VEs' caps; no budget if not set", "8";
        "memory": Bytes => memory, "most memory, summed over its VEs' limits; no budget if not set", "\"16GiB\"";
        "disk": Bytes => disk, "most disk, summed over its VEs' disks; no budget if not set", "\"200GiB\"";
        "addresses.ipv4": u32 => ipv4, "most IPv4 addresses of its VEs; no budget if not set", "4";
        "addresses.ipv6": u32 => ipv6, "most IPv6 addresses of its VEs; no budget if not set", "16";
        "traffic.month": Bytes => traffic,
            "most bytes to and from its VEs in a month of UTC; no budget if not set", "\"10TiB\"";
        "firewall.in": access::Verdict => access.input,
            "connections to its VEs that no rule is about; allow if not set", "\"deny\"";
        "firewall.out": access::Verdict => access.output, "connections from its VEs that no rule is about; allow if not set", "\"allow\"";
        "firewall.rule": Vec<access::RuleDraft> => access.rules,
            "an access rule of all its VEs, before their own", "\"in\"";
    };
}

impl Tenant {
    /// Reads `tenants/<name>.toml`. `file` gives the name, and is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        draft.access.check(&mut reading);
        match name_of_file(&mut reading) {
            Some(name) if reading.reports.is_empty() => Ok(Self {
                name,
                description: draft.description,
                contact: draft.contact,
                tags: draft.tags.unwrap_or_default(),
                suspended: draft.suspended,
                share: draft.share,
                plans: draft.plans,
                templates: draft.templates,
                networks: draft.networks,
                max_ves: draft.max_ves,
                cpu: draft.cpu,
                memory: draft.memory,
                disk: draft.disk,
                ipv4: draft.ipv4,
                ipv6: draft.ipv6,
                traffic: draft.traffic,
                access: draft.access.finish(),
            }),
            _ => Err(reading.reports.finish()),
        }
    }

    /// Its keys with their values as a person reads them, but for its access rules; in the order of the documentation.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        fn list<T: ToString>(all: &[T]) -> String {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            }
        }
        fn only<T: ToString>(these: Option<&Vec<T>>) -> String {
            these.map_or_else(|| "all".to_owned(), |these| list(these))
        }
        fn or<T: ToString>(value: Option<&T>, otherwise: &str) -> String {
            value.map_or_else(|| otherwise.to_owned(), ToString::to_string)
        }
        let mut values = vec![
            ("description", or(self.description.as_ref(), "none")),
            ("contact", or(self.contact.as_ref(), "none")),
            ("tags", list(&self.tags)),
            ("suspended", or(self.suspended.as_ref(), "no")),
            ("share", or(self.share.as_ref(), "as hostel.toml says")),
            ("plans", only(self.plans.as_ref())),
            ("templates", only(self.templates.as_ref())),
            ("networks", only(self.networks.as_ref())),
        ];
        let budget = |budget: &Budget| {
            let most = budget.of(self).map(|most| budget.text(most));
            (budget.key(), most.unwrap_or_else(|| "unlimited".to_owned()))
        };
        values.extend(Budget::ALL.iter().map(budget));
        values.push((monthly::KEY, or(self.traffic.as_ref(), "unlimited")));
        let verdict = |v: Option<&super::Verdict>| v.map_or("allow", |v| v.as_str()).to_owned();
        values.push(("firewall.in", verdict(self.access.input.as_ref())));
        values.push(("firewall.out", verdict(self.access.output.as_ref())));
        values
    }

    /// Has it a budget, so that its VEs have to be looked at together?
    pub fn has_budgets(&self) -> bool {
        Budget::ALL.iter().any(|budget| budget.of(self).is_some())
    }
}
