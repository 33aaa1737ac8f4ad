//! `hostel tenant list`

use anstyle::{AnsiColor, Style};
use clap::{ArgAction, Args};
use hostel_engine::facade::TenantStatus;
use hostel_model::budget::Budget;
use hostel_model::id::Tag;

use super::{Done, Json, used_of};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Column, Table};

/// Print a table of tenants: what is in use of their budgets
///
/// What all VEs of a tenant have counts, whether they run or not; where there is a budget, it stands behind "of". NOTE
/// says why a tenant is suspended, or what it is. On a terminal, columns of less importance are left out where there is
/// no room. With --json, an array of the objects that show gives, without its VEs.
#[derive(Debug, Default, Args)]
#[command(
    visible_alias = "ls",
    after_long_help = "Examples:\n  hostel tenant list\n  hostel tenant list --tag vip --json"
)]
pub struct List {
    /// Show only tenants with TAG
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,

    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let mut tenants = context.engine()?.tenants()?;
        tenants.retain(|t| {
            self.tag
                .as_ref()
                .is_none_or(|tag| t.tags.iter().any(|has| has == tag.as_str()))
        });
        if self.json.json {
            context.print_json(&tenants)?;
        } else {
            context.print_table(&self.table(&tenants))?;
        }
        Ok(Exit::Ok)
    }

    /// For a person.
    pub fn table(&self, tenants: &[TenantStatus]) -> Table {
        let later = |column: Column, drop: u8| Column { drop, ..column };
        let mut table = Table::new(vec![
            Column::text("NAME").cut(12),
            Column::text("STATE"),
            Column::text("VES"),
            later(Column::number("RUNNING"), 3),
            Column::text("CPU"),
            Column::text("MEMORY"),
            Column::text("DISK"),
            later(Column::text("IPV4"), 1),
            later(Column::text("IPV6"), 2),
            later(Column::text("NOTE").cut(12), 4),
        ])
        .headless(self.no_header);
        for tenant in tenants {
            let budget = |budget: Budget| -> Cell {
                let found = tenant.budgets.iter().find(|b| b.budget == budget);
                found.map(used_of).unwrap_or_default().into()
            };
            let mut row: Vec<Cell> = vec![tenant.name.as_str().into(), state(tenant), budget(Budget::Ves)];
            row.push(tenant.running.to_string().into());
            row.extend([Budget::Cpu, Budget::Memory, Budget::Disk, Budget::Ipv4, Budget::Ipv6].map(budget));
            let note = tenant.suspended.as_ref().or(tenant.problem.as_ref());
            row.push(note.or(tenant.description.as_ref()).cloned().unwrap_or_default().into());
            table.row(row);
        }
        table
    }
}

/// Its state, in the colour of something to look at unless it is active.
fn state(tenant: &TenantStatus) -> Cell {
    let color = match tenant.state {
        "active" => None,
        "suspended" => Some(AnsiColor::Yellow.into()),
        _ => Some(AnsiColor::Red.into()),
    };
    Cell::new(tenant.state).styled(Style::new().fg_color(color))
}
