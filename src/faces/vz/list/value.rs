//! What a field of vzlist says: as a cell, in JSON, and in which order.

use std::cmp::Ordering;
use std::net::IpAddr;

use hostel_model::openvz::UNLIMITED;
use serde_json::{Value as Json, json};

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

    /// As it stands in a column of this width. A number with digits missing would be another, and so would an address: of a
    /// list there are as many as there is room for, and always the first.
    pub fn fitted(&self, width: usize) -> String {
        let text = self.shown();
        match self {
            Self::Text(_) | Self::Switches(_) => text.chars().take(width).collect(),
            Self::List(_) => {
                let mut ends = text.match_indices(' ').map(|(at, _)| at).chain([text.len()]);
                let fits = ends.clone().rfind(|end| *end <= width);
                let end = fits.or_else(|| ends.next()).unwrap_or(text.len());
                text[..end].to_owned()
            }
            _ => text,
        }
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
