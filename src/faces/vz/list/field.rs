//! What one field of vzlist is: its names, its column, its form in JSON, and how it is known.

use hostel_engine::facade::{Aspects, VeLook};
use hostel_model::openvz::{Facts, parameters};
use serde_json::{Map, Value as Json};

use super::value::Value;

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
    /// It is this parameter of CTID.conf, a number.
    Parameter(&'static str),
    /// It is this one, in words, also where they look like a number.
    Words(&'static str),
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

    /// A parameter of CTID.conf: what is in force, or what is remembered of it.
    pub const fn parameter(names: &'static [&'static str], header: &'static str, width: i8, key: &'static str) -> Self {
        Self {
            names,
            header,
            width,
            needs: Aspects::DEFINITION,
            how: How::Parameter(key),
            note: Note::Same,
            always: true,
        }
    }

    /// One that is words.
    pub const fn words(self) -> Self {
        match self.how {
            How::Parameter(key) => Self {
                how: How::Words(key),
                ..self
            },
            _ => self,
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
    pub const fn extra(self, what: &'static str) -> Self {
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
            How::Seen(_) | How::Parameter(_) | How::Words(_) | How::Never => &[],
        }
    }

    fn values(&self, ve: &VeLook) -> Vec<Value> {
        match self.how {
            How::Seen(seen) => vec![seen(ve)],
            How::Never => vec![Value::Unknown],
            How::Parameter(key) => vec![parameter(ve, key)],
            How::Words(key) => vec![Value::text(told(ve, key))],
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

/// A value of CTID.conf.
fn told(ve: &VeLook, key: &str) -> Option<String> {
    let all = parameters(ve.definition.as_ref()?, &Facts::default());
    all.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// The same, a number where it is one.
pub fn parameter(ve: &VeLook, key: &str) -> Value {
    let value = told(ve, key);
    let number = value.as_deref().unwrap_or_default();
    match (number.parse::<u64>(), number.parse::<f64>()) {
        (Ok(n), _) => Value::Number(n),
        (_, Ok(x)) if x.is_finite() => Value::Real(x),
        _ => Value::text(value),
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
