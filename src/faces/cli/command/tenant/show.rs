//! `hostel tenant show`

use clap::Args;
use hostel_engine::facade::{TenantStatus, TenantVe};
use hostel_model::budget::Budget;
use hostel_model::id::TenantName;
use hostel_model::monthly;
use serde_json::{Value, json};

use super::{Done, Json, amount};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human;
use crate::cli::table::{Cell, Column, Table};

/// Show a tenant: what it is, what is in use of its budgets, and which VE has what of it
///
/// USED is what all its VEs have, RUNNING what those have that run, OF the budget; of traffic.month, USED is what has
/// passed this month, of VEs too that are no more or another's. With --json, an object with name, state (active,
/// suspended, broken), problem, suspended, description, contact, tags, share, plans, templates, networks (null: all),
/// ves, running; budgets: an array of objects with budget, unit, used (null: a VE has no limit), running and limit
/// (null: none); traffic: an object with month, used and limit in bytes, and ves, an array with ve, id and bytes of each;
/// and shares: an array with id, name, state, cpu, memory, disk, ipv4 and ipv6 of each VE.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel tenant show acme\n  hostel tenant show acme --json")]
pub struct Show {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let (tenant, ves) = context.engine()?.tenant(&self.name)?;
        if self.json.json {
            context.print_json(&object(&tenant, &ves))?;
            return Ok(Exit::Ok);
        }
        context.print_table(&block(&tenant))?;
        if !tenant.budgets.is_empty() {
            context.print("\n")?;
            context.print_table(&budgets(&tenant))?;
        }
        if !ves.is_empty() {
            context.print("\n")?;
            context.print_table(&shares(&ves))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a program.
pub fn object(tenant: &TenantStatus, ves: &[TenantVe]) -> Value {
    let mut object = json!(tenant);
    object["shares"] = json!(ves);
    object
}

/// What it is.
pub fn block(tenant: &TenantStatus) -> Table {
    let list = |all: Option<&Vec<String>>| match all {
        None => "all".to_owned(),
        Some(all) if all.is_empty() => "none".to_owned(),
        Some(all) => all.join(" "),
    };
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("VALUE").wrap(20)]).headless(true);
    let lines = [
        ("name", tenant.name.clone()),
        ("state", tenant.state.to_owned()),
        ("reason", text(tenant.suspended.as_ref())),
        ("problem", text(tenant.problem.as_ref())),
        ("description", text(tenant.description.as_ref())),
        ("contact", text(tenant.contact.as_ref())),
        ("tags", tenant.tags.join(" ")),
        ("share", text(tenant.share.as_ref())),
        ("plans", list(tenant.plans.as_ref())),
        ("templates", list(tenant.templates.as_ref())),
        ("networks", list(tenant.networks.as_ref())),
        ("ves", tenant.ves.to_string()),
        ("running", tenant.running.to_string()),
    ];
    for (what, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row(vec![
            Cell::new(what).styled(anstyle::Style::new().dimmed()),
            value.into(),
        ]);
    }
    table
}

/// How its budgets stand.
pub fn budgets(tenant: &TenantStatus) -> Table {
    let mut table = Table::new(vec![
        Column::text("BUDGET"),
        Column::number("USED"),
        Column::number("RUNNING"),
        Column::number("OF"),
        Column::number("%"),
    ]);
    for status in &tenant.budgets {
        let amount = |n: Option<u64>| amount(status.budget, n);
        table.row(vec![
            status.budget.key().into(),
            amount(status.used).into(),
            amount(status.running).into(),
            amount(status.limit).into(),
            share(status.used, status.limit).into(),
        ]);
    }
    if let Some(traffic) = &tenant.traffic {
        let bytes = |n: Option<u64>, none: &str| n.map_or_else(|| none.to_owned(), human::bytes);
        table.row(vec![
            monthly::KEY.into(),
            bytes(traffic.used, "unknown").into(),
            "".into(),
            bytes(traffic.limit, "unlimited").into(),
            share(traffic.used, traffic.limit).into(),
        ]);
    }
    table
}

/// In percent.
fn share(used: Option<u64>, limit: Option<u64>) -> String {
    match (used, limit) {
        (Some(used), Some(limit @ 1..)) => (u128::from(used) * 100 / u128::from(limit)).to_string(),
        _ => String::new(),
    }
}

/// Which VE has what of them.
pub fn shares(ves: &[TenantVe]) -> Table {
    let mut table = Table::new(vec![
        Column::number("ID"),
        Column::text("VE").cut(12),
        Column::text("STATE"),
        Column::number("CPU"),
        Column::number("MEMORY"),
        Column::number("DISK"),
        Column::number("IPV4"),
        Column::number("IPV6"),
    ]);
    for ve in ves {
        table.row(vec![
            ve.id.to_string().into(),
            ve.name.as_str().into(),
            ve.state.as_str().into(),
            amount(Budget::Cpu, Some(ve.cpu)).into(),
            amount(Budget::Memory, ve.memory).into(),
            amount(Budget::Disk, Some(ve.disk)).into(),
            ve.ipv4.to_string().into(),
            ve.ipv6.to_string().into(),
        ]);
    }
    table
}
