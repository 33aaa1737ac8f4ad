//! `hostel list`

use clap::{ArgAction, Args};
use hostel_engine::facade::VeStatus;
use hostel_model::id::{PlanName, TenantName};

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::field::{self, FIELDS, Field, SortKey};
use crate::cli::glob;
use crate::cli::table::Table;

/// Print a table of VEs
///
/// On a terminal, the table fits its width: columns of less importance are left out where there is no room. Columns
/// named with --output always stand. Sizes are in powers of 1024. With --json, an array of objects with every field,
/// or with those of --output; amounts are whole numbers of bytes, seconds or nanoseconds, and what is unknown is
/// null. See `hostel help fields`.
#[derive(Debug, Default, Args)]
#[command(
    visible_alias = "ls",
    after_long_help = "\
Examples:
  hostel list --state running --sort -memory
  hostel list --tenant acme -o name,addresses,memory,memory_limit
  hostel list -H -o name --plan small"
)]
pub struct List {
    /// Show these FIELDs, in this order
    #[arg(short, long, value_name = "FIELD,...", value_delimiter = ',', value_parser = Field::parser(), hide_possible_values = true)]
    output: Vec<&'static Field>,

    /// Sort by these FIELDs; -FIELD for the largest first
    #[arg(short, long, value_name = "FIELD,...", value_delimiter = ',', value_parser = SortKey::parse, allow_hyphen_values = true)]
    sort: Vec<SortKey>,

    /// Show only VEs in STATE
    #[arg(long, value_name = "STATE", value_delimiter = ',',
          value_parser = ["running", "stopped", "paused", "suspended", "mounted", "broken"])]
    state: Vec<String>,

    /// Show only VEs of TENANT
    #[arg(long, value_name = "TENANT", value_delimiter = ',')]
    tenant: Vec<TenantName>,

    /// Show only VEs on PLAN
    #[arg(long, value_name = "PLAN", value_delimiter = ',')]
    plan: Vec<PlanName>,

    /// Show only VEs made from TEMPLATE, or TEMPLATE/VERSION
    #[arg(long, value_name = "TEMPLATE", value_delimiter = ',')]
    template: Vec<String>,

    /// Show only VEs whose name matches PATTERN, of * and ?
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    name: Vec<String>,

    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let ves = self.pick(context.engine()?.list()?);
        if self.json.json {
            context.print_json(&self.json(&ves))?;
        } else {
            context.print_table(&self.table(&ves))?;
        }
        Ok(Exit::Ok)
    }

    /// Those asked for, in order.
    pub fn pick(&self, mut ves: Vec<VeStatus>) -> Vec<VeStatus> {
        ves.retain(|ve| self.wants(ve));
        field::sort(&mut ves, &self.sort);
        ves
    }

    fn wants(&self, ve: &VeStatus) -> bool {
        fn any<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(is)
        }
        any(&self.state, |s| *s == ve.state)
            && any(&self.tenant, |t| t.as_str() == ve.tenant)
            && any(&self.plan, |p| p.as_str() == ve.plan)
            && any(&self.template, |t| {
                *t == ve.template || ve.template.split('/').next() == Some(t)
            })
            && any(&self.name, |pattern| glob::matches(pattern, ve.name.as_str()))
    }

    /// For a person.
    pub fn table(&self, ves: &[VeStatus]) -> Table {
        let asked = !self.output.is_empty();
        let fields: Vec<&Field> = if asked {
            self.output.clone()
        } else {
            FIELDS.iter().filter(|f| f.default.is_some()).collect()
        };
        let mut table = Table::new(fields.iter().map(|f| f.column(asked)).collect()).headless(self.no_header);
        for ve in ves {
            table.row(fields.iter().map(|f| (f.cell)(ve)).collect());
        }
        table
    }

    /// For a program.
    pub fn json(&self, ves: &[VeStatus]) -> Vec<serde_json::Value> {
        let fields: Vec<&Field> = if self.output.is_empty() {
            FIELDS.iter().collect()
        } else {
            self.output.clone()
        };
        ves.iter().map(|ve| field::object(ve, &fields)).collect()
    }
}
