//! `plans/*.toml`: named sets of limits and guarantees.

use serde::Serialize;

use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, fields};
use super::name_of_file;
use super::resources::Resources;
use crate::id::PlanName;

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its name, that of its file.
    pub name: PlanName,
    /// For people.
    pub description: Option<String>,
    /// What it grants. The keys that [`Plan::parse`] requires are there.
    #[serde(flatten)]
    pub resources: Resources,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    description: Option<String>,
    resources: Resources,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "description": String => description, "what the plan is for, for people", "\"a small web site\"";
    };
    // What one tenant could starve all others of must be said, if only as "unlimited".
    const REQUIRED: &'static [&'static str] = &["memory.limit", "processes", "disk.size"];
    const HAS_RESOURCES: bool = true;
    fn resources(&mut self) -> Option<&mut Resources> {
        Some(&mut self.resources)
    }
}

impl Plan {
    /// Reads `plans/<name>.toml`. `file` gives the name, and is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        match name_of_file(&mut reading) {
            Some(name) if reading.reports.is_empty() => Ok(Self {
                name,
                description: draft.description,
                resources: draft.resources,
            }),
            _ => Err(reading.reports.finish()),
        }
    }
}
