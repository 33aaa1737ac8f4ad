//! `hostel network list`

use anstyle::{AnsiColor, Style};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use hostel_engine::facade::NetworkStatus;
use hostel_model::ipam::Census;

use super::{Done, Json, count, kind};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Column, Narrow, Table};

/// Print a table of networks and their pools
///
/// A line for each pool. USED are the addresses that VEs have, ASIDE those that VEs gave back a short while ago, LEFT
/// what "auto" can give besides. On a terminal, columns of less importance are left out where there is no room. With
/// --json, an array of the objects that show gives, without addresses.
#[derive(Debug, Default, Args)]
#[command(
    visible_alias = "ls",
    after_long_help = "Examples:\n  hostel network list\n  hostel network list -H -o name,pool,left"
)]
pub struct List {
    /// Show these FIELDs, in this order
    #[arg(short, long, value_name = "FIELD,...", value_delimiter = ',', value_parser = Field::parser())]
    output: Vec<&'static Field>,

    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

/// A pool, if the network can tell of one, and its network.
type Row<'a> = (&'a NetworkStatus, Option<&'a Census>);

/// What can be said of a pool.
struct Field {
    name: &'static str,
    header: &'static str,
    right: bool,
    narrow: Narrow,
    /// In the default table: left out when there is no room, higher numbers first. `None`: not in it at all.
    default: Option<u8>,
    cell: fn(Row<'_>) -> Cell,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn field(name: &'static str, header: &'static str, default: Option<u8>, cell: fn(Row<'_>) -> Cell) -> Field {
    Field {
        name,
        header,
        right: false,
        narrow: Narrow::Keep,
        default,
        cell,
    }
}

impl Field {
    const fn cut(self, least: usize) -> Self {
        Self {
            narrow: Narrow::Cut(least),
            ..self
        }
    }

    const fn right(self) -> Self {
        Self { right: true, ..self }
    }

    fn parser() -> impl TypedValueParser<Value = &'static Self> {
        PossibleValuesParser::new(FIELDS.iter().map(|f| f.name)).try_map(|name| {
            let found = FIELDS.iter().find(|f| f.name == name);
            found.ok_or_else(|| format!("\"{name}\" is not a field"))
        })
    }
}

/// All of them, in the order of columns.
const FIELDS: &[Field] = &[
    field("name", "NAME", Some(0), |(n, _)| n.name.as_str().into()).cut(12),
    field("kind", "KIND", Some(2), |(n, _)| match n.problem {
        Some(_) => Cell::new(kind(n)).styled(Style::new().fg_color(Some(AnsiColor::Red.into()))),
        None => kind(n).into(),
    }),
    field("pool", "POOL", Some(0), |(_, p)| {
        p.map(|p| p.pool.to_string()).unwrap_or_default().into()
    }),
    field("used", "USED", Some(0), |(_, p)| number(p.map(|p| p.used))).right(),
    field("aside", "ASIDE", Some(1), |(_, p)| number(p.map(|p| p.aside))).right(),
    field("left", "LEFT", Some(0), |(_, p)| number(p.map(|p| p.left))).right(),
    field("ves", "VES", Some(3), |(n, _)| n.ves.to_string().into()).right(),
    field("dns", "DNS", Some(4), |(n, _)| {
        let all: Vec<String> = n.dns.iter().map(ToString::to_string).collect();
        all.join(" ").into()
    })
    .cut(12),
    field("description", "DESCRIPTION", Some(5), |(n, _)| {
        n.description.clone().unwrap_or_default().into()
    })
    .cut(12),
    field("problem", "PROBLEM", None, |(n, _)| {
        n.problem.clone().unwrap_or_default().into()
    })
    .cut(20),
];

fn number(n: Option<u64>) -> Cell {
    n.map(count).unwrap_or_default().into()
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let networks = context.engine()?.networks()?;
        if self.json.json {
            context.print_json(&networks)?;
        } else {
            context.print_table(&self.table(&networks))?;
        }
        Ok(Exit::Ok)
    }

    /// For a person.
    pub fn table(&self, networks: &[NetworkStatus]) -> Table {
        let fields: Vec<&Field> = if self.output.is_empty() {
            FIELDS.iter().filter(|f| f.default.is_some()).collect()
        } else {
            self.output.clone()
        };
        let column = |f: &&Field| Column {
            header: f.header.to_owned(),
            right: f.right,
            narrow: f.narrow,
            drop: if self.output.is_empty() {
                f.default.unwrap_or(0)
            } else {
                0
            },
        };
        let mut table = Table::new(fields.iter().map(column).collect()).headless(self.no_header);
        for network in networks {
            let mut pools: Vec<Option<&Census>> = network.pools.iter().map(Some).collect();
            if pools.is_empty() {
                pools.push(None);
            }
            for pool in pools {
                table.row(fields.iter().map(|f| (f.cell)((network, pool))).collect());
            }
        }
        table
    }
}
