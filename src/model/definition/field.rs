//! The tables of keys that drive reading, help and editing: to add a key is to add a line to one table.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, Reports, one_of};
use super::resources::{RESOURCE_FIELDS, Resources};
use super::value::Cell;

/// How the value of a key is written, so that `hostel set` knows how to write what a person typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A string.
    Text,
    /// true or false.
    Bool,
    /// A number, or a string such as `"2GiB"`.
    Number,
    /// A list of strings without commas in them.
    List,
    /// A list of strings that may hold commas: SSH keys.
    Lines,
    /// One word, or a list.
    WordOrList,
    /// A list of tables: `[[network]]`.
    Tables,
}

/// When a changed value takes effect on a running VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// At once.
    Live,
    /// At its next start.
    Restart,
    /// It can't be changed; why, and what to do instead.
    Never(&'static str),
}

/// One key of a kind of file: its name, its words for a person, and how to read it into a `T`.
pub(crate) struct Field<T: 'static> {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) example: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) shape: Shape,
    pub(crate) when: When,
    pub(crate) secret: bool,
    pub(crate) read: fn(&mut T, &mut Cell<'_, '_>),
}

/// A table of keys: `"memory.limit": Max<Bytes> => memory.limit, "what it is", "\"2GiB\"";` is a key read into a place of
/// type `Option`. Behind that may stand when a change takes effect ([`When::Live`] otherwise), and that it is a secret.
macro_rules! fields {
    ($($key:literal: $type:ty => $($slot:ident).+, $doc:expr, $example:literal $(, $when:expr $(, $secret:ident)?)?;)+) => {
        &[$($crate::definition::field::Field {
            key: $key,
            doc: $doc,
            example: $example,
            expected: <$type as $crate::definition::value::Read>::EXPECTED,
            shape: <$type as $crate::definition::value::Read>::SHAPE,
            when: $crate::definition::field::fields!(@when $($when)?),
            secret: $crate::definition::field::fields!(@secret $($($secret)?)?),
            read: |t, cell| t.$($slot).+ = cell.read::<$type>(),
        },)+]
    };
    (@when) => { $crate::definition::When::Live };
    (@when $when:expr) => { $when };
    (@secret) => { false };
    (@secret secret) => { true };
}
pub(crate) use fields;

/// What a kind of file, or a table of one, is read into.
pub(crate) trait Record: Default + 'static {
    /// Its keys.
    const FIELDS: &'static [Field<Self>];
    /// The keys that must be there.
    const REQUIRED: &'static [&'static str] = &[];
    /// Has it the keys of [`Resources`] too?
    const HAS_RESOURCES: bool = false;
    /// Where those go.
    fn resources(&mut self) -> Option<&mut Resources> {
        None
    }
}

/// A kind of definition file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// `hostel.toml`.
    Host,
    /// `plans/*.toml`.
    Plan,
    /// `networks/*.toml`.
    Network,
    /// `tenants/*.toml`.
    Tenant,
    /// `schedules/*.toml`.
    Schedule,
    /// `ve/*.toml`.
    Ve,
}

/// A key as help and documentation show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyDoc {
    /// Dotted: `memory.limit`. `network.N.addresses` stands for every N from 0.
    pub key: String,
    /// One line.
    pub doc: &'static str,
    /// A value in TOML.
    pub example: &'static str,
    /// What its value must be.
    pub expected: &'static str,
    /// How its value is written.
    pub shape: Shape,
    /// When a change takes effect.
    pub when: When,
    /// Must it be there?
    pub required: bool,
    /// Is its value not to be shown?
    pub secret: bool,
}

impl KeyDoc {
    /// All keys of a record, with `prefix` before each.
    pub(crate) fn of_record<T: Record>(prefix: &str) -> Vec<Self> {
        let mut docs: Vec<Self> = T::FIELDS.iter().map(|f| Self::of(f, prefix, T::REQUIRED)).collect();
        if T::HAS_RESOURCES {
            docs.extend(RESOURCE_FIELDS.iter().map(|f| Self::of(*f, prefix, T::REQUIRED)));
        }
        docs
    }

    fn of<T>(f: &Field<T>, prefix: &str, required: &[&str]) -> Self {
        Self {
            key: format!("{prefix}{}", f.key),
            doc: f.doc,
            example: f.example,
            expected: f.expected,
            shape: f.shape,
            when: f.when,
            required: required.contains(&f.key),
            secret: f.secret,
        }
    }
}

/// A file being read: its mistakes so far, and where each key stands.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) reports: Reports<'a>,
    places: BTreeMap<String, Range<usize>>,
}

impl<'a> Reading<'a> {
    /// Reads a whole file. If it is no TOML, the mistakes of syntax are all there is to say.
    pub(crate) fn file<T: Record>(file: &'a str, text: &'a str) -> Result<(T, Self), Diagnostics> {
        let mut reading = Self {
            reports: Reports::new(file, text),
            places: BTreeMap::new(),
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            reading.reports.syntax(error.span().unwrap_or(0..0), error.message());
        }
        if !errors.is_empty() {
            return Err(reading.reports.finish());
        }
        let record = reading.record(document.get_ref(), "", 0..0);
        Ok((record, reading))
    }

    /// Reads one table (of the file, or of an array) as a whole record.
    pub(crate) fn record<T: Record>(&mut self, table: &DeTable<'_>, prefix: &str, place: Range<usize>) -> T {
        let mut record = T::default();
        self.walk(&mut record, table, prefix, "");
        for key in T::REQUIRED {
            let full = format!("{prefix}{key}");
            if self.places.contains_key(&full) {
                continue;
            }
            let parent = full
                .rsplit_once('.')
                .and_then(|(parent, _)| self.places.get(parent).cloned());
            let expected = KeyDoc::of_record::<T>("")
                .into_iter()
                .find(|d| d.key == *key)
                .map_or("", |d| d.expected);
            self.reports
                .missing(parent.unwrap_or_else(|| place.clone()), full, expected.to_owned());
        }
        record
    }

    /// Where a key that was read stands; the file's beginning if it wasn't.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        self.places.get(key).cloned().unwrap_or(0..0)
    }

    /// Notes where an element of a list stands.
    pub(crate) fn note(&mut self, key: &str, place: Range<usize>) {
        self.places.insert(key.to_owned(), place);
    }

    /// Was the key there?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The keys that were there.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Reports a value that is wrong only together with others.
    pub(crate) fn wrong(&mut self, key: &str, expected: impl Into<String>) {
        let place = self.place(key);
        self.reports.wrong(place, key.to_owned(), expected.into(), false);
    }

    fn walk<T: Record>(&mut self, record: &mut T, table: &DeTable<'_>, prefix: &str, path: &str) {
        for (name, value) in table {
            let key = format!("{path}{}", name.get_ref());
            let full = format!("{prefix}{key}");
            if let Some(field) = T::FIELDS.iter().find(|f| f.key == key) {
                self.places.insert(full.clone(), value.span());
                (field.read)(record, &mut Cell::new(self, value, full, field.expected, field.secret));
            } else if let Some(field) = resource_field::<T>(&key) {
                self.places.insert(full.clone(), value.span());
                if let Some(resources) = record.resources() {
                    (field.read)(
                        resources,
                        &mut Cell::new(self, value, full, field.expected, field.secret),
                    );
                }
            } else if known_keys::<T>().any(|k| is_below(k, &key)) {
                self.places.insert(full.clone(), name.span());
                match value.get_ref() {
                    DeValue::Table(inner) => self.walk(record, inner, prefix, &format!("{key}.")),
                    _ => self
                        .reports
                        .wrong(value.span(), full, format!("a table: write [{key}]"), false),
                }
            } else {
                let expected = one_of(name.get_ref(), siblings::<T>(path));
                self.reports.unknown(name.span(), full, expected);
            }
        }
    }
}

fn resource_field<T: Record>(key: &str) -> Option<&'static Field<Resources>> {
    RESOURCE_FIELDS
        .iter()
        .copied()
        .find(|f| T::HAS_RESOURCES && f.key == key)
}

fn known_keys<T: Record>() -> impl Iterator<Item = &'static str> {
    let resources = RESOURCE_FIELDS.iter().filter(|_| T::HAS_RESOURCES).map(|f| f.key);
    T::FIELDS.iter().map(|f| f.key).chain(resources)
}

fn is_below(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// The names that may stand in the table `path` ("" or "memory."), each once, in the tables' order.
fn siblings<T: Record>(path: &str) -> impl Iterator<Item = &'static str> {
    let mut seen = Vec::new();
    for key in known_keys::<T>() {
        if let Some(name) = key.strip_prefix(path).and_then(|rest| rest.split('.').next())
            && !seen.contains(&name)
        {
            seen.push(name);
        }
    }
    seen.into_iter()
}

/// A value with its place, as the walk hands it out.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;
