//! How a tenant stands: its definition beside what its VEs take.

use hostel_model::budget::{Budget, Take, sum};
use hostel_model::definition::Tenant;
use hostel_model::id::TenantName;

use super::tenant::{BudgetStatus, TenantStatus};
use crate::error::{Result, chain};

/// All but its traffic.
pub(super) fn status(name: &TenantName, tenant: Result<Tenant>, takes: &[Take], running: &[Take]) -> TenantStatus {
    let bare = TenantStatus {
        name: name.to_string(),
        state: "broken",
        problem: None,
        suspended: None,
        description: None,
        contact: None,
        tags: Vec::new(),
        share: None,
        plans: None,
        templates: None,
        networks: None,
        ves: takes.len(),
        running: running.len(),
        budgets: Vec::new(),
        traffic: None,
    };
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(e) => {
            return TenantStatus {
                problem: Some(chain(&e)),
                ..bare
            };
        }
    };
    let budget = |budget: Budget| BudgetStatus {
        budget,
        unit: budget.unit(),
        used: finite(sum(budget, takes)),
        running: finite(sum(budget, running)),
        limit: budget.of(&tenant),
    };
    TenantStatus {
        state: if tenant.suspended.is_some() {
            "suspended"
        } else {
            "active"
        },
        budgets: Budget::ALL.into_iter().map(budget).collect(),
        share: tenant.share.map(|share| share.to_string()),
        plans: tenant.plans.as_deref().map(texts),
        templates: tenant.templates.as_deref().map(texts),
        networks: tenant.networks.as_deref().map(texts),
        tags: texts(&tenant.tags),
        suspended: tenant.suspended,
        description: tenant.description,
        contact: tenant.contact,
        ..bare
    }
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// An amount, unless it is that of a VE without limit.
pub(super) fn finite(amount: u64) -> Option<u64> {
    (amount != u64::MAX).then_some(amount)
}
