//! Of which time a report is, and up to when it is complete: what settles no argument without.

use hostel_engine::facade::Window;
use serde_json::Value;

/// Moments in UTC, as texts.
pub struct Span {
    /// The beginning.
    pub from: String,
    /// The end; it isn't in it.
    pub to: String,
    /// All is in it that was used up to here.
    pub complete: String,
}

/// The columns of a CSV.
pub const HEADS: [&str; 3] = ["from", "to", "complete_until"];

fn text(ns: i64) -> String {
    let at = jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).unwrap_or_default();
    at.to_string()
}

impl Span {
    /// That of a report.
    pub fn of(window: Window, complete_ns: i64) -> Self {
        Self {
            from: text(window.from_ns),
            to: text(window.to_ns),
            complete: text(complete_ns),
        }
    }

    /// For a person.
    pub fn line(&self) -> String {
        format!(
            "\nFrom {} to {}, complete up to {}.\n",
            self.from, self.to, self.complete
        )
    }

    /// The cells of a CSV.
    pub fn cells(&self) -> [String; 3] {
        [self.from.clone(), self.to.clone(), self.complete.clone()]
    }

    /// For programs: the same in an object.
    pub fn put_into(&self, mut object: Value) -> Value {
        if let Value::Object(object) = &mut object {
            for (head, cell) in HEADS.into_iter().zip(self.cells()) {
                object.insert(head.to_owned(), cell.into());
            }
        }
        object
    }
}
