//! What one field of vzlist is: its names, its column, its form in JSON, and how it is known.

use std::cmp::Ordering;
use std::net::IpAddr;

use hostel_engine::facade::{Aspects, VeLook};
use hostel_model::beancounters::UNLIMITED;
use serde_json::{Map, Value as Json, json};

use crate::cli::failure::visible;

/// What a field says of a VE.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// It can't be told: "-", null.
    Unknown,
    /// There is no limit: the number that stood for that, null.
    Unlimited,
    /// There is no limit, where the dialect has its own word for that: 0, null.
    Free,
    /// A whole number.
    Number(u64),
    /// One with two digits behind the point.
    Real(f64),
    /// Seconds: days, hours, minutes and seconds; a number.
    Time(u64),
    /// Words.
    Text(String),
    /// yes, no; true, false.
    Switch(bool),
    /// Several words; an array.
    List(Vec<String>),
    /// What is on or off: name:on name:off; an object.
    Switches(Vec<(String, bool)>),
}

impl Value {
    /// A number that may be unknown.
    pub fn number(n: Option<impl Into<u64>>) -> Self {
        n.map_or(Self::Unknown, |n| Self::Number(n.into()))
    }

    /// A limit that there may not be.
    pub fn limit(n: Option<impl Into<u64>>) -> Self {
        n.map_or(Self::Unlimited, |n| Self::Number(n.into()))
    }

    /// One for which 0 stands for none.
    pub fn limit_or_zero(n: Option<impl Into<u64>>) -> Self {
        n.map_or(Self::Free, |n| Self::Number(n.into()))
    }

    /// May it be cut to the width of its column? A number with digits missing would be another.
    pub const fn can_be_cut(&self) -> bool {
        matches!(self, Self::Text(_) | Self::List(_) | Self::Switches(_))
    }

    /// Words that there may not be.
    pub fn text(text: Option<impl Into<String>>) -> Self {
        match text.map(Into::into) {
            Some(text) if !text.is_empty() => Self::Text(text),
            _ => Self::Unknown,
        }
    }

    /// As it stands in a column.
    pub fn shown(&self) -> String {
        let words = |words: &[String]| match words {
            [] => "-".to_owned(),
            words => visible(&words.join(" ")),
        };
        match self {
            Self::Unknown => "-".to_owned(),
            Self::Unlimited => UNLIMITED.to_string(),
            Self::Free => "0".to_owned(),
            Self::Number(n) => n.to_string(),
            Self::Real(x) => format!("{x:.2}"),
            Self::Time(s) => {
                let (days, hours) = (s / 86_400, s % 86_400 / 3600);
                format!("{days:03}d{hours:02}h:{:02}m:{:02}s", s % 3600 / 60, s % 60)
            }
            Self::Text(text) => visible(text),
            Self::Switch(on) => if *on { "yes" } else { "no" }.to_owned(),
            Self::List(list) => words(list),
            Self::Switches(list) => {
                let each = list.iter().map(|(name, on)| format!("{name}:{}", on_off(*on)));
                words(&each.collect::<Vec<_>>())
            }
        }
    }

    /// As it stands in JSON.
    pub fn json(&self) -> Json {
        match self {
            Self::Unknown | Self::Unlimited | Self::Free => Json::Null,
            Self::Number(n) | Self::Time(n) => json!(n),
            Self::Real(x) => json!((x * 100.0).round() / 100.0),
            Self::Text(text) => json!(text),
            Self::Switch(on) => json!(on),
            Self::List(list) => json!(list),
            Self::Switches(list) => Json::Object(list.iter().map(|(name, on)| (name.clone(), json!(on))).collect()),
        }
    }

    /// In which order it stands: numbers as numbers, addresses as such, "unlimited" above every number, and what isn't
    /// known last (for which see [`Value::is_unknown`]).
    pub fn compare(&self, other: &Self) -> Ordering {
        let number = |value: &Self| match value {
            Self::Number(n) | Self::Time(n) => Some((0, *n)),
            Self::Unlimited | Self::Free => Some((1, 0)),
            Self::Switch(on) => Some((0, u64::from(*on))),
            _ => None,
        };
        match (number(self), number(other)) {
            (Some(a), Some(b)) => return a.cmp(&b),
            (None, None) => {}
            (a, b) => return a.is_none().cmp(&b.is_none()),
        }
        match (self, other) {
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::List(a), Self::List(b)) => addresses(a).cmp(&addresses(b)).then_with(|| a.cmp(b)),
            _ => self.shown().cmp(&other.shown()),
        }
    }

    /// Is there nothing to compare?
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown) || matches!(self, Self::List(list) if list.is_empty())
    }
}

fn addresses(list: &[String]) -> Vec<IpAddr> {
    list.iter().filter_map(|text| text.parse().ok()).collect()
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// A part of a field that has several figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Behind the point of its name: "m".
    pub letter: &'static str,
    /// In JSON.
    pub key: &'static str,
}

/// The parts of a beancounter.
pub const COUNTER: [Part; 5] = [
    Part {
        letter: "",
        key: "held",
    },
    Part {
        letter: "m",
        key: "maxheld",
    },
    Part {
        letter: "b",
        key: "barrier",
    },
    Part {
        letter: "l",
        key: "limit",
    },
    Part {
        letter: "f",
        key: "failcnt",
    },
];

/// The parts of what a disk holds.
pub const DISK: [Part; 3] = [
    Part {
        letter: "",
        key: "usage",
    },
    Part {
        letter: "s",
        key: "softlimit",
    },
    Part {
        letter: "h",
        key: "hardlimit",
    },
];

/// How a field is known.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// From a look.
    Seen(fn(&VeLook) -> Value),
    /// It is the beancounter of its name.
    Counter,
    /// Usage and limits of the disk.
    Disk(fn(&VeLook) -> [Value; 3]),
    /// It can't be.
    Never,
}

/// How a field differs from what OpenVZ's vzlist has under that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// It doesn't.
    Same,
    /// In this.
    Differs(&'static str),
    /// It is always unknown, for this reason.
    Nothing(&'static str),
    /// OpenVZ has none of that name; what it is.
    New(&'static str),
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its names; the first is the one in JSON where none was asked for.
    pub names: &'static [&'static str],
    /// The heading of its column.
    pub header: &'static str,
    /// The width of its column; below zero: it stands on the left.
    pub width: i8,
    /// What has to be looked at for it.
    pub needs: Aspects,
    /// How it is known.
    pub how: How,
    /// How it differs.
    pub note: Note,
    /// In JSON also where no fields were asked for.
    pub always: bool,
}

impl Field {
    /// One that is read from a look.
    pub const fn seen(
        names: &'static [&'static str],
        header: &'static str,
        width: i8,
        needs: Aspects,
        seen: fn(&VeLook) -> Value,
    ) -> Self {
        Self {
            names,
            header,
            width,
            needs,
            how: How::Seen(seen),
            note: Note::Same,
            always: true,
        }
    }

    /// A beancounter.
    pub const fn counter(names: &'static [&'static str], header: &'static str) -> Self {
        Self {
            names,
            header,
            width: 10,
            needs: Aspects::BEANCOUNTERS,
            how: How::Counter,
            note: Note::Same,
            always: true,
        }
    }

    /// What a disk holds.
    pub const fn disk(names: &'static [&'static str], header: &'static str, seen: fn(&VeLook) -> [Value; 3]) -> Self {
        Self {
            names,
            header,
            width: 10,
            needs: Aspects::DISK,
            how: How::Disk(seen),
            note: Note::Same,
            always: true,
        }
    }

    /// One that can't be known, and why.
    pub const fn never(names: &'static [&'static str], header: &'static str, width: i8, why: &'static str) -> Self {
        Self {
            names,
            header,
            width,
            needs: Aspects::NONE,
            how: How::Never,
            note: Note::Nothing(why),
            always: true,
        }
    }

    /// But for this it is as OpenVZ's.
    pub const fn differs(self, how: &'static str) -> Self {
        Self {
            note: Note::Differs(how),
            ..self
        }
    }

    /// OpenVZ has no such field.
    pub const fn new(self, what: &'static str) -> Self {
        Self {
            note: Note::New(what),
            ..self
        }
    }

    /// In JSON only if it was asked for.
    pub const fn if_asked(self) -> Self {
        Self { always: false, ..self }
    }

    /// Its parts; none if it is one figure.
    pub fn parts(&self) -> &'static [Part] {
        match self.how {
            How::Counter => &COUNTER,
            How::Disk(_) => &DISK,
            How::Seen(_) | How::Never => &[],
        }
    }

    fn values(&self, ve: &VeLook) -> Vec<Value> {
        match self.how {
            How::Seen(seen) => vec![seen(ve)],
            How::Never => vec![Value::Unknown],
            How::Disk(seen) => seen(ve).into(),
            How::Counter => {
                let row = ve.beancounters().and_then(|rows| {
                    let own = rows.into_iter().find(|row| row.resource == self.names[0]);
                    own.map(|row| {
                        vec![
                            Value::number(row.held),
                            Value::number(row.maxheld),
                            Value::limit(row.barrier),
                            Value::limit(row.limit),
                            Value::number(row.failcnt),
                        ]
                    })
                });
                row.unwrap_or_else(|| vec![Value::Unknown; COUNTER.len()])
            }
        }
    }
}

/// A field, or a part of one, as it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The field.
    pub field: &'static Field,
    /// The name that was used.
    pub name: &'static str,
    /// Which of its parts: the first is what the field itself shows.
    pub part: usize,
}

impl Column {
    /// The heading.
    pub fn header(&self) -> String {
        match self.field.parts().get(self.part) {
            Some(part) if self.part > 0 => format!("{}.{}", self.field.header, part.letter.to_uppercase()),
            _ => self.field.header.to_owned(),
        }
    }

    /// As it was asked for.
    pub fn full_name(&self) -> String {
        match self.field.parts().get(self.part) {
            Some(part) if self.part > 0 => format!("{}.{}", self.name, part.letter),
            _ => self.name.to_owned(),
        }
    }

    /// What it says of a VE.
    pub fn value(&self, ve: &VeLook) -> Value {
        let mut values = self.field.values(ve);
        match self.part < values.len() {
            true => values.swap_remove(self.part),
            false => Value::Unknown,
        }
    }

    /// The same for JSON: a field of several figures with all of them.
    pub fn json(&self, ve: &VeLook) -> Json {
        let parts = self.field.parts();
        if parts.is_empty() {
            return self.value(ve).json();
        }
        let values = self.field.values(ve);
        let object = parts
            .iter()
            .zip(&values)
            .map(|(part, value)| (part.key.to_owned(), value.json()));
        Json::Object(object.collect::<Map<_, _>>())
    }
}
