//! `tenants/*.toml`: whose VEs they are, and their budgets.

use serde::Serialize;

use super::access::{self, Access};
use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, fields};
use super::name_of_file;
use super::value::Count;
use super::ve::Share;
use crate::id::{PlanName, TenantName};
use crate::units::Bytes;

/// A tenant. A budget that is missing is none: nothing but the plans and the host holds the tenant then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tenant {
    /// Its name, that of its file.
    pub name: TenantName,
    /// For people.
    pub description: Option<String>,
    /// How its VEs share template trees, where they don't say.
    pub share: Option<Share>,
    /// The only plans its VEs may have; `None`: all.
    pub plans: Option<Vec<PlanName>>,
    /// The most VEs.
    pub max_ves: Option<Count>,
    /// The most memory, summed over the limits of its VEs.
    pub memory: Option<Bytes>,
    /// The most disk, summed over the disks of its VEs.
    pub disk: Option<Bytes>,
    /// `[firewall]`: for all its VEs.
    pub access: Access,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    description: Option<String>,
    share: Option<Share>,
    plans: Option<Vec<PlanName>>,
    max_ves: Option<Count>,
    memory: Option<Bytes>,
    disk: Option<Bytes>,
    access: access::Draft,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "description": String => description, "who the tenant is, for people", "\"Acme Ltd., customer 4711\"";
        "share": Share => share, "how its VEs share template trees, where they don't say", "\"tenant\"";
        "plans": Vec<PlanName> => plans, "the only plans its VEs may have; all if not set", "[\"small\", \"medium\"]";
        "max_ves": Count => max_ves, "most VEs; no budget if not set", "10";
        "memory": Bytes => memory, "most memory, summed over its VEs' limits; no budget if not set", "\"16GiB\"";
        "disk": Bytes => disk, "most disk, summed over its VEs' disks; no budget if not set", "\"200GiB\"";
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
        let Draft {
            description,
            share,
            plans,
            max_ves,
            memory,
            disk,
            access,
        } = draft;
        access.check(&mut reading);
        match name_of_file(&mut reading) {
            Some(name) if reading.reports.is_empty() => Ok(Self {
                name,
                description,
                share,
                plans,
                max_ves,
                memory,
                disk,
                access: access.finish(),
            }),
            _ => Err(reading.reports.finish()),
        }
    }
}
