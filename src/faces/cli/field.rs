//! The one table of what can be said of a VE: columns, JSON keys, sort keys, and their documentation.

use std::cmp::Ordering;

use anstyle::{AnsiColor, Style};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use hostel_engine::facade::VeStatus;
use serde_json::{Map, Value, json};

use super::human;
use super::table::{Cell, Column, Narrow};

/// One thing that can be said of a VE.
pub struct Field {
    /// Its name: for `-o` and `-s`, and the key in JSON.
    pub name: &'static str,
    /// A shorter name that `-o` and `-s` take too.
    pub alias: Option<&'static str>,
    /// The heading of its column.
    pub header: &'static str,
    /// What it is, with its unit in JSON.
    pub about: &'static str,
    /// Numbers stand on the right.
    right: bool,
    narrow: Narrow,
    /// In the default table: left out when there is no room, higher numbers first. `None`: not in it at all.
    pub default: Option<u8>,
    /// For JSON and for sorting: the raw value, null if unknown.
    pub value: fn(&VeStatus) -> Value,
    /// For a person.
    pub cell: fn(&VeStatus) -> Cell,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The attributes that most fields leave alone.
const PLAIN: Field = Field {
    name: "",
    alias: None,
    header: "",
    about: "",
    right: false,
    narrow: Narrow::Keep,
    default: None,
    value: |_| Value::Null,
    cell: |_| Cell::new(""),
};

/// All fields, in the order of columns.
pub const FIELDS: &[Field] = &[
    Field {
        name: "id",
        header: "ID",
        about: "its number",
        right: true,
        default: Some(0),
        value: |v| json!(v.id),
        cell: |v| v.id.to_string().into(),
        ..PLAIN
    },
    Field {
        name: "name",
        header: "NAME",
        about: "its name",
        narrow: Narrow::Cut(14),
        default: Some(0),
        value: |v| json!(v.name),
        cell: |v| v.name.as_str().into(),
        ..PLAIN
    },
    Field {
        name: "tenant",
        header: "TENANT",
        about: "whose it is",
        narrow: Narrow::Cut(8),
        default: Some(5),
        value: |v| json!(v.tenant),
        cell: |v| v.tenant.as_str().into(),
        ..PLAIN
    },
    Field {
        name: "state",
        header: "STATE",
        about: "running, stopped, paused, suspended, mounted or broken",
        default: Some(0),
        value: |v| json!(v.state),
        cell: |v| Cell::new(&*v.state).styled(state_style(&v.state)),
        ..PLAIN
    },
    Field {
        name: "problem",
        header: "PROBLEM",
        about: "why it is broken, or what was left half done",
        narrow: Narrow::Cut(20),
        value: |v| json!(v.problem),
        cell: |v| v.problem.clone().unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "plan",
        header: "PLAN",
        about: "its plan",
        narrow: Narrow::Cut(8),
        default: Some(6),
        value: |v| json!(v.plan),
        cell: |v| v.plan.as_str().into(),
        ..PLAIN
    },
    Field {
        name: "template",
        header: "TEMPLATE",
        about: "template and version that it is made from",
        narrow: Narrow::Cut(12),
        default: Some(10),
        value: |v| json!(v.template),
        cell: |v| v.template.as_str().into(),
        ..PLAIN
    },
    Field {
        name: "hostname",
        header: "HOSTNAME",
        about: "hostname inside",
        narrow: Narrow::Cut(16),
        default: Some(9),
        value: |v| json!(v.hostname),
        cell: |v| v.hostname.as_str().into(),
        ..PLAIN
    },
    Field {
        name: "addresses",
        alias: Some("address"),
        header: "ADDRESSES",
        about: "addresses; a list in JSON",
        narrow: Narrow::Cut(15),
        default: Some(1),
        value: |v| json!(v.addresses),
        cell: addresses,
        ..PLAIN
    },
    Field {
        name: "memory",
        header: "MEMORY",
        about: "memory in use, bytes",
        right: true,
        default: Some(2),
        value: |v| json!(v.memory),
        cell: |v| v.memory.map(human::bytes).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "memory_limit",
        header: "MEM LIMIT",
        about: "most memory, bytes",
        right: true,
        value: |v| json!(v.memory_limit),
        cell: |v| v.memory_limit.map(human::bytes).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "cpu_ns",
        alias: Some("cpu"),
        header: "CPU",
        about: "processor time since start, nanoseconds",
        right: true,
        default: Some(7),
        value: |v| json!(v.cpu_ns),
        cell: |v| {
            v.cpu_ns
                .map(|ns| human::seconds(ns / 1_000_000_000))
                .unwrap_or_default()
                .into()
        },
        ..PLAIN
    },
    Field {
        name: "cpu_cap_milli",
        alias: Some("cpu_cap"),
        header: "CPU CAP",
        about: "most processors, thousandths",
        right: true,
        value: |v| json!(v.cpu_cap_milli),
        cell: |v| v.cpu_cap_milli.map(human::milli).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "processes",
        header: "PROCS",
        about: "processes and threads",
        right: true,
        default: Some(8),
        value: |v| json!(v.processes),
        cell: |v| number(v.processes),
        ..PLAIN
    },
    Field {
        name: "process_limit",
        header: "PROC LIMIT",
        about: "most processes and threads",
        right: true,
        value: |v| json!(v.process_limit),
        cell: |v| number(v.process_limit),
        ..PLAIN
    },
    Field {
        name: "disk",
        header: "DISK",
        about: "disk in use, bytes",
        right: true,
        default: Some(3),
        value: |v| json!(v.disk),
        cell: |v| v.disk.map(human::bytes).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "disk_limit",
        header: "DISK LIMIT",
        about: "size of the disk, bytes",
        right: true,
        value: |v| json!(v.disk_limit),
        cell: |v| v.disk_limit.map(human::bytes).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "uptime",
        header: "UPTIME",
        about: "time since start, seconds",
        right: true,
        default: Some(4),
        value: |v| json!(v.uptime),
        cell: |v| v.uptime.map(human::seconds).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "booted",
        header: "BOOTED",
        about: "the guest has said that it has booted",
        value: |v| json!(v.booted),
        cell: |v| v.booted.map(yes_no).unwrap_or_default().into(),
        ..PLAIN
    },
    Field {
        name: "pid",
        header: "PID",
        about: "init's process id on the host",
        right: true,
        value: |v| json!(v.pid),
        cell: |v| number(v.pid.map(u64::from)),
        ..PLAIN
    },
    Field {
        name: "onboot",
        header: "ONBOOT",
        about: "starts with the host",
        value: |v| json!(v.onboot),
        cell: |v| yes_no(v.onboot).into(),
        ..PLAIN
    },
];

fn number(n: Option<u64>) -> Cell {
    n.map(|n| n.to_string()).unwrap_or_default().into()
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// All addresses; where room is short the first and how many more.
fn addresses(ve: &VeStatus) -> Cell {
    let all: Vec<String> = ve.addresses.iter().map(ToString::to_string).collect();
    let short = match &all[..] {
        [first, rest @ ..] if !rest.is_empty() => Some(format!("{first} +{}", rest.len())),
        _ => None,
    };
    Cell {
        short,
        ..Cell::new(all.join(" "))
    }
}

fn state_style(state: &str) -> Style {
    let colour = match state {
        "running" => AnsiColor::Green,
        "paused" | "suspended" | "mounted" => AnsiColor::Yellow,
        "broken" => AnsiColor::Red,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into()))
}

impl Field {
    /// Reads a name or alias on the command line; completions and suggestions know them all.
    pub fn parser() -> impl TypedValueParser<Value = &'static Self> {
        let names = FIELDS.iter().map(|f| PossibleValue::new(f.name).aliases(f.alias));
        PossibleValuesParser::new(names).try_map(|name| Self::parse(&name))
    }

    /// The field of a name or alias.
    pub fn parse(text: &str) -> Result<&'static Self, String> {
        let text = text.to_ascii_lowercase().replace('-', "_");
        FIELDS
            .iter()
            .find(|f| f.name == text || f.alias == Some(text.as_str()))
            .ok_or_else(|| {
                let names: Vec<&str> = FIELDS.iter().map(|f| f.name).collect();
                format!("\"{text}\" is not a field; the fields are {}", names.join(", "))
            })
    }

    /// Its column. One that was asked for by name is never left out.
    pub fn column(&self, asked: bool) -> Column {
        let drop = if asked { 0 } else { self.default.unwrap_or(0) };
        Column {
            header: self.header.to_owned(),
            right: self.right,
            narrow: self.narrow,
            drop,
        }
    }

    /// Order of two VEs by this field; what is unknown comes first here.
    fn compare(&self, a: &VeStatus, b: &VeStatus) -> Ordering {
        match ((self.value)(a), (self.value)(b)) {
            (Value::Number(a), Value::Number(b)) => a.as_u64().cmp(&b.as_u64()),
            (Value::String(a), Value::String(b)) => a.cmp(&b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(&b),
            (Value::Array(_), Value::Array(_)) => a.addresses.cmp(&b.addresses),
            _ => Ordering::Equal,
        }
    }
}

/// A key to sort by.
#[derive(Debug, Clone, Copy)]
pub struct SortKey {
    field: &'static Field,
    reverse: bool,
}

impl SortKey {
    /// `FIELD`, or `-FIELD` for the largest first.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, reverse) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        Field::parse(name).map(|field| Self { field, reverse })
    }
}

/// Sorts by the keys, then by id. What is unknown comes last, whichever way round.
pub fn sort(ves: &mut [VeStatus], keys: &[SortKey]) {
    ves.sort_by(|a, b| {
        let by_keys = keys.iter().map(|key| {
            let unknown = |v: &VeStatus| (key.field.value)(v).is_null();
            let order = key.field.compare(a, b);
            unknown(a)
                .cmp(&unknown(b))
                .then(if key.reverse { order.reverse() } else { order })
        });
        by_keys.fold(Ordering::Equal, Ordering::then).then(a.id.cmp(&b.id))
    });
}

/// A VE as a JSON object of these fields.
pub fn object(ve: &VeStatus, fields: &[&Field]) -> Value {
    Value::Object(
        fields
            .iter()
            .map(|f| (f.name.to_owned(), (f.value)(ve)))
            .collect::<Map<_, _>>(),
    )
}
