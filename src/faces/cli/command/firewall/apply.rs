//! `hostel firewall apply`

use clap::{ArgAction, Args};
use hostel_engine::facade::Applied;
use hostel_model::id::VeName;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::table::{Column, Table};

/// Have the access rules of all definitions in force
///
/// For rules of a tenant, which are edited by hand; those of a VE are in force when set and edit have changed them. A
/// VE's rules change in one transaction, and what doesn't change keeps its counters. Connections that are there go on.
/// With --json, an object with dry_run, rules (each with from, number, rule, the VEs whose rule it is, and those that its
/// peers are) and ves (each with name, state: right, changed or failed, and problem).
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel firewall apply --dry-run\n  hostel firewall apply")]
pub struct Apply {
    /// Only tell what would change, and which VEs each rule touches
    #[arg(short = 'n', long, action = ArgAction::SetTrue)]
    dry_run: bool,

    #[command(flatten)]
    json: Json,
}

impl Apply {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let applied = context.engine()?.apply_access(self.dry_run)?;
        if self.json.json {
            context.print_json(&applied)?;
        } else {
            self.print(context, &applied)?;
        }
        match applied.failure() {
            Some(error) => Err(error.into()),
            None => Ok(Exit::Ok),
        }
    }

    fn print(&self, context: &Context, applied: &Applied) -> Result<(), Failure> {
        if self.dry_run && !applied.rules.is_empty() {
            context.print_table(&rules(applied))?;
            if !applied.ves.is_empty() {
                context.print("\n")?;
            }
        }
        for ve in &applied.ves {
            let line = match (&ve.problem, ve.state) {
                (Some(problem), _) => format!("{}: {problem}", ve.name),
                (None, "changed") if self.dry_run => format!("{}: would be changed", ve.name),
                (None, state) => format!("{}: {state}", ve.name),
            };
            context.say(&line);
        }
        Ok(())
    }
}

/// Whom each rule touches, for a person.
pub fn rules(applied: &Applied) -> Table {
    let mut table = Table::new(vec![
        Column::text("RULE").wrap(20),
        Column::text("FROM").cut(12),
        Column::text("VES").wrap(12),
        Column::text("PEERS").wrap(12),
    ]);
    for touch in &applied.rules {
        let list = |names: &[VeName]| {
            let all: Vec<&str> = names.iter().map(VeName::as_str).collect();
            all.join(" ")
        };
        table.row(vec![
            touch.rule.as_str().into(),
            format!("{} #{}", touch.from, touch.number).into(),
            list(&touch.ves).into(),
            list(&touch.peers).into(),
        ]);
    }
    table
}
