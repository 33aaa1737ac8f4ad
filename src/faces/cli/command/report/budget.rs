//! What is left of tenants' budgets for traffic, of this month: beside what they have used.

use hostel_engine::Engine;
use hostel_engine::facade::{Row, TrafficStatus};
use hostel_model::id::TenantName;
use serde_json::{Value, json};

use crate::cli::human::bytes;

/// That of a row; `None`: it is of no tenant, or of one that has none.
pub type Budget = Option<TrafficStatus>;

/// Those of each row: of a report of one tenant its total's; of one by tenant those of all that there still are.
pub fn of(engine: &Engine, rows: &[Row], whose: Option<&TenantName>, by_tenant: bool) -> Vec<Budget> {
    let one = |name: &TenantName| {
        let (tenant, _) = engine.tenant(name).ok()?;
        tenant.traffic.filter(|traffic| traffic.limit.is_some())
    };
    rows.iter()
        .map(|row| match (&row.group, whose) {
            (None, Some(tenant)) => one(tenant),
            (Some(group), _) if by_tenant => group.parse().ok().as_ref().and_then(one),
            _ => None,
        })
        .collect()
}

/// How much may still pass.
pub fn left(traffic: &TrafficStatus) -> Option<u64> {
    Some(traffic.limit?.saturating_sub(traffic.used?))
}

/// For programs: bytes.
pub fn object(budget: &Budget) -> Value {
    match budget {
        None => Value::Null,
        Some(traffic) => json!({
            "month": traffic.month,
            "used": traffic.used,
            "limit": traffic.limit,
            "left": left(traffic),
        }),
    }
}

/// For a person, a line for each that there is.
pub fn lines(rows: &[Row], budgets: &[Budget], whose: Option<&TenantName>) -> String {
    let mut text = String::new();
    for (row, traffic) in rows.iter().zip(budgets) {
        let Some(traffic) = traffic else { continue };
        let name = match (&row.group, whose) {
            (Some(name), _) => name.clone(),
            (None, Some(tenant)) => tenant.to_string(),
            (None, None) => continue,
        };
        let amount = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), bytes);
        text.push_str(&format!(
            "\nTraffic of {name} in {}: {} used of {}, {} left.",
            traffic.month,
            amount(traffic.used),
            amount(traffic.limit),
            amount(left(traffic)),
        ));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
