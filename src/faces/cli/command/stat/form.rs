//! What is shown, and as what.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hostel_model::stat::{FIGURES, Figure, Report, Resource};
use jiff::Timestamp;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Table,
    Json,
    Lines,
}

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A few of each.
    Summary,
    One(Resource),
    All,
}

impl View {
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        let names = Resource::ALL.map(Resource::name);
        PossibleValuesParser::new(["summary"].into_iter().chain(names).chain(["all"])).map(|name| {
            let one = Resource::ALL.into_iter().find(|r| r.name() == name);
            match (one, name.as_str()) {
                (Some(one), _) => Self::One(one),
                (None, "all") => Self::All,
                (None, _) => Self::Summary,
            }
        })
    }

    /// Without all at once.
    pub fn parser_of_one() -> impl TypedValueParser<Value = Self> {
        let names = Resource::ALL.map(Resource::name);
        PossibleValuesParser::new(["summary"].into_iter().chain(names)).map(|name| {
            let one = Resource::ALL.into_iter().find(|r| r.name() == name);
            one.map_or(Self::Summary, Self::One)
        })
    }

    /// The figures that programs get.
    pub fn figures(self) -> Vec<Figure> {
        match self {
            Self::One(resource) => resource.figures().collect(),
            Self::Summary | Self::All => FIGURES.to_vec(),
        }
    }

    /// What "used" means where lines are put in order.
    pub fn first(self) -> Figure {
        match self {
            Self::One(resource) => resource.figures().next().unwrap_or(Figure::Cpu),
            Self::Summary | Self::All => Figure::Cpu,
        }
    }
}

pub fn report_parser() -> impl TypedValueParser<Value = Report> {
    PossibleValuesParser::new(Report::ALL.map(Report::name)).map(|name| {
        let known = Report::ALL.into_iter().find(|r| r.name() == name);
        known.unwrap_or(Report::Interval)
    })
}

/// What a table is of.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    pub report: Report,
    /// Which interval it is, or how many.
    pub intervals: u64,
    /// How long.
    pub ns: u64,
    /// When it ended.
    pub time: Timestamp,
    /// Is it the first that is printed?
    pub first: bool,
}
