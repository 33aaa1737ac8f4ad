//! Which lines are shown, and in which order.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use hostel_model::id::TenantName;
use hostel_model::stat::{FIGURES, Figure, Kind, Row, by_tenant};

use super::form::View;
use crate::cli::glob;

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Ve,
    Tenant,
}

impl Group {
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        PossibleValuesParser::new(["ve", "tenant"]).map(|name| match name.as_str() {
            "tenant" => Self::Tenant,
            _ => Self::Ve,
        })
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By the first figure of the view.
    Used,
    Name,
    /// By the share of the limit.
    Cap,
    /// By the share of the entitlement, to the view's first figure or else to processors.
    Share,
    By(Figure),
}

impl Order {
    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Name => "name",
            Self::Cap => "cap",
            Self::Share => "share",
            Self::By(figure) => figure.name(),
        }
    }

    pub fn parser() -> impl TypedValueParser<Value = Self> {
        let figures = FIGURES.map(Figure::name);
        PossibleValuesParser::new(["used", "name", "cap", "share"].into_iter().chain(figures)).map(|name| {
            let figure = FIGURES.into_iter().find(|f| f.name() == name);
            match (figure, name.as_str()) {
                (Some(figure), _) => Self::By(figure),
                (None, "name") => Self::Name,
                (None, "cap") => Self::Cap,
                (None, "share") => Self::Share,
                (None, _) => Self::Used,
            }
        })
    }
}

/// Which lines are wanted, and in which order.
#[derive(Debug, Clone, Args)]
pub struct Choice {
    /// A line for each VE or tenant
    #[arg(long, value_name = "WHAT", default_value = "ve", value_parser = Group::parser())]
    pub by: Group,

    /// Largest first, by a figure, by the share of the limit (cap) or of the entitlement (share); or by name
    #[arg(short, long, value_name = "KEY", default_value = "used", value_parser = Order::parser())]
    pub sort: Order,

    /// Show only VEs of TENANT
    #[arg(long, value_name = "TENANT", value_delimiter = ',')]
    pub tenant: Vec<TenantName>,

    /// Show only VEs whose name matches PATTERN, of * and ?
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub name: Vec<String>,

    /// Show VEs that don't run too
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub all: bool,
}

impl Choice {
    /// Those asked for, in order. The host's own lines are always there, and first.
    pub fn pick(&self, mut rows: Vec<Row>, view: View) -> Vec<Row> {
        rows.retain(|row| self.wants(row));
        if self.by == Group::Tenant {
            rows = by_tenant(rows);
        }
        rows.sort_by(|a, b| {
            let place = |row: &Row| match row.kind {
                Kind::Total => 0,
                Kind::System => 1,
                Kind::Ve(_) | Kind::Tenant => 2,
            };
            let key = |row: &Row| if place(row) == 2 { self.key(row, view) } else { None };
            let largest = key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal);
            place(a).cmp(&place(b)).then(largest).then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    fn wants(&self, row: &Row) -> bool {
        if !matches!(row.kind, Kind::Ve(_)) {
            return true;
        }
        let named = self.name.iter().any(|pattern| glob::matches(pattern, &row.name));
        (row.ran || self.all || named || self.by == Group::Tenant)
            && (self.name.is_empty() || named)
            && (self.tenant.is_empty() || self.tenant.iter().any(|t| t.as_str() == row.tenant))
    }

    /// What is larger comes first; what is unknown last.
    fn key(&self, row: &Row, view: View) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // for comparing only
        let used = |figure: Figure| row.cells[figure].used.map(|n| n as f64);
        match self.sort {
            Order::Name => None,
            Order::Used => used(view.first()),
            Order::By(figure) => used(figure),
            Order::Cap => row.cells[view.first()].of_cap(),
            // What has no weight is sorted by processors.
            Order::Share => row
                .of_entitlement(view.first())
                .or_else(|| row.of_entitlement(Figure::Cpu)),
        }
    }
}
