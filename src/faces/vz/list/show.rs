//! How vzlist's answer looks.

use hostel_engine::facade::VeLook;
use serde_json::{Map, Value as Json};

use super::field::{Column, Note};
use super::value::Value;
use super::{FIELDS, Query};

/// Columns of the widths that clients know, a blank between two. What is too long is cut, but for that of the last column.
pub fn columns(ves: &[VeLook], query: &Query) -> String {
    let mut out = String::new();
    let (columns, whole) = (&query.columns, query.whole);
    if !query.headless && !ves.is_empty() {
        let header = |column: &Column| Value::Text(column.header());
        out.push_str(&line(columns, whole, header));
    }
    for ve in ves {
        out.push_str(&line(columns, whole, |column| column.value(ve)));
    }
    out
}

fn line(columns: &[Column], whole: bool, cell: impl Fn(&Column) -> Value) -> String {
    let mut line = String::new();
    for (n, column) in columns.iter().enumerate() {
        let (value, width) = (cell(column), usize::from(column.field.width.unsigned_abs()));
        let last = n + 1 == columns.len();
        let text = match whole || last {
            true => value.shown(),
            false => value.fitted(width),
        };
        match column.field.width < 0 {
            true => line.push_str(&format!("{text:<width$}")),
            false => line.push_str(&format!("{text:>width$}")),
        }
        if !last {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end_matches(' ').len());
    line.push('\n');
    line
}

/// An array of objects.
pub fn json(ves: &[VeLook], columns: &[Column]) -> String {
    let object = |ve: &VeLook| {
        let pairs = columns.iter().map(|column| (column.name.to_owned(), column.json(ve)));
        Json::Object(pairs.collect::<Map<_, _>>())
    };
    let array = Json::Array(ves.iter().map(object).collect());
    format!("{array:#}\n")
}

/// All fields: name, heading, and what is to be known of it.
pub fn fields() -> String {
    let mut out = String::new();
    for field in FIELDS {
        for name in field.names {
            for part in 0..field.parts().len().max(1) {
                let column = Column { field, name, part };
                let line = format!(
                    "{:<18} {:<14} {}",
                    column.full_name(),
                    column.header(),
                    about(field.note)
                );
                out.push_str(&format!("{}\n", line.trim_end()));
            }
        }
    }
    out
}

fn about(note: Note) -> &'static str {
    match note {
        Note::Same => "",
        Note::Differs(how) => how,
        Note::Nothing(why) => why,
        Note::New(what) => what,
    }
}
