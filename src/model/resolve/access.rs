//! Access rules: those of the tenant, which bind all its VEs, before those of the VE.

use serde::Serialize;

use super::Source;
use super::merge::Merge;
use crate::definition::{Access, AccessRule, Direction, Tenant, Verdict};

/// The access rules of a VE, all told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessRules {
    /// Its tenant's, in order.
    pub tenant: Vec<AccessRule>,
    /// Its own, in order, which come after.
    pub own: Vec<AccessRule>,
    /// What becomes of connections to it that no rule is about.
    #[serde(rename = "in")]
    pub input: Verdict,
    /// The same for connections from it.
    #[serde(rename = "out")]
    pub output: Verdict,
}

impl AccessRules {
    /// Nothing passes: for a VE of which nobody can tell what its rules are.
    pub const fn closed() -> Self {
        Self {
            tenant: Vec::new(),
            own: Vec::new(),
            input: Verdict::Deny,
            output: Verdict::Deny,
        }
    }

    /// A VE's own and its tenant's. Its own default wins over the tenant's; a tenant's rules come before all of its VEs'.
    pub fn of_both(own: &Access, tenant: &Access) -> Self {
        let rest = |own: Option<Verdict>, tenant: Option<Verdict>| own.or(tenant).unwrap_or(Verdict::Allow);
        Self {
            tenant: tenant.rules.clone(),
            own: own.rules.clone(),
            input: rest(own.input, tenant.input),
            output: rest(own.output, tenant.output),
        }
    }

    /// Is there nothing that could be denied?
    pub fn is_open(&self) -> bool {
        let all = self.tenant.iter().chain(&self.own);
        self.input == Verdict::Allow && self.output == Verdict::Allow && all.count() == 0
    }

    /// The rules of one direction, in the order in which they are looked at.
    pub fn of(&self, direction: Direction) -> impl Iterator<Item = &AccessRule> {
        let all = self.tenant.iter().chain(&self.own);
        all.filter(move |rule| rule.direction == direction)
    }

    /// What becomes of what no rule is about.
    pub fn rest(&self, direction: Direction) -> Verdict {
        match direction {
            Direction::In => self.input,
            Direction::Out => self.output,
        }
    }
}

impl Merge<'_> {
    /// The rules, and where each part of them comes from.
    pub(super) fn access(&mut self, tenant: &Tenant) -> AccessRules {
        let (own, shared): (&Access, &Access) = (&self.ve.access, &tenant.access);
        let mut rest = |key: &str, own: Option<Verdict>, shared: Option<Verdict>| {
            let source = match (own, shared) {
                (Some(_), _) => self.definition(),
                (None, Some(_)) => Source::Tenant(tenant.name.clone()),
                (None, None) => Source::Default,
            };
            self.note(key, source);
        };
        rest("firewall.in", own.input, shared.input);
        rest("firewall.out", own.output, shared.output);
        self.own("firewall.rule", own.rules.first());
        AccessRules::of_both(own, shared)
    }
}
