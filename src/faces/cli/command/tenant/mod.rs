//! `hostel tenant`: a file for each of its subcommands.

pub mod create;
pub mod list;
pub mod remove;
pub mod set;
pub mod show;
pub mod suspend;
pub mod unsuspend;

use clap::{Args, Subcommand};
use hostel_engine::facade::BudgetStatus;
use hostel_model::budget::Budget;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::human;

/// Show tenants, change what they may have, and suspend them
///
/// A tenant is whose VEs they are, what these may use, and the budgets that hold for all of them together: a file in
/// tenants/ beside hostel.toml. See docs/TENANTS.md.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Tenant {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Show(show::Show),
    Create(create::Create),
    Set(set::Set),
    Remove(remove::Remove),
    Suspend(suspend::Suspend),
    Unsuspend(unsuspend::Unsuspend),
}

impl Tenant {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::List(c) => c.run(context),
            What::Show(c) => c.run(context),
            What::Create(c) => c.run(context),
            What::Set(c) => c.run(context),
            What::Remove(c) => c.run(context),
            What::Suspend(c) => c.run(context),
            What::Unsuspend(c) => c.run(context),
        }
    }
}

/// An amount of a budget for a table.
fn amount(budget: Budget, amount: Option<u64>) -> String {
    match (budget, amount) {
        (_, None) => "unlimited".to_owned(),
        (Budget::Memory | Budget::Disk, Some(bytes)) => human::bytes(bytes),
        (_, Some(amount)) => budget.text(amount),
    }
}

/// `3 of 10`, or what is in use where there is no limit.
fn used_of(status: &BudgetStatus) -> String {
    let used = amount(status.budget, status.used);
    match status.limit {
        Some(_) => format!("{used} of {}", amount(status.budget, status.limit)),
        None => used,
    }
}
