//! Reading one TOML value into one type, or reporting what it should have been.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use toml::de::DeValue;

use super::count::Count;
use super::field::{Reading, Record, Shape, Value};
use crate::bandwidth::{Bandwidth, Burst};
use crate::id::{Domain, Hostname, NetworkName, PlanName, ScheduleName, Tag, TemplateRef, TenantName, VeId, VeName};
use crate::limits::{Cap, CpuSet, Max, Weight};
use crate::mac::Mac;
use crate::units::{Bytes, Rate, Span};

/// A type that a key's value can have.
pub(crate) trait Read: Sized {
    /// How it is written.
    const SHAPE: Shape;
    /// What to say when it is something else: "expected …".
    const EXPECTED: &'static str;
    /// Reads it; reports and gives `None` if it can't be.
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self>;
}

/// One value under the reader's eye.
pub(crate) struct Cell<'c, 'a> {
    reading: &'c mut Reading<'a>,
    value: &'c Value<'c>,
    key: String,
    expected: &'static str,
    secret: bool,
}

impl<'c, 'a> Cell<'c, 'a> {
    pub(crate) fn new(
        reading: &'c mut Reading<'a>,
        value: &'c Value<'c>,
        key: String,
        expected: &'static str,
        secret: bool,
    ) -> Self {
        Self {
            reading,
            value,
            key,
            expected,
            secret,
        }
    }

    pub(crate) fn read<V: Read>(&mut self) -> Option<V> {
        V::read(self)
    }

    /// Reports this value as wrong.
    pub(crate) fn wrong(&mut self, expected: impl Into<String>) {
        self.reading
            .reports
            .wrong(self.value.span(), self.key.clone(), expected.into(), self.secret);
    }

    /// The same, of a value that is not to be shown.
    pub(crate) fn wrong_but_secret(&mut self, expected: impl Into<String>) {
        self.secret = true;
        self.wrong(expected);
    }

    fn fail<T>(&mut self) -> Option<T> {
        self.wrong(self.expected);
        None
    }

    /// The string, if it is one and fit to be shown on a terminal and written to files inside a guest.
    pub(crate) fn text(&mut self) -> Option<&'c str> {
        match self.value.get_ref() {
            DeValue::String(text) if text.chars().any(is_unfit) => {
                self.wrong(format!("{}, without control characters", self.expected));
                None
            }
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.fail(),
        }
    }

    pub(crate) fn parse<T: FromStr>(&mut self) -> Option<T> {
        let parsed = self.text()?.parse().ok();
        if parsed.is_some() { parsed } else { self.fail() }
    }

    /// A number of either kind as it would be written in decimal, or a string.
    pub(crate) fn number_or_text(&mut self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Some(n.to_string()),
                Err(_) => self.fail(),
            },
            DeValue::Float(x) => Some(x.as_str().to_owned()),
            _ => self.text().map(str::to_owned),
        }
    }

    pub(crate) fn parse_number_or_text<T: FromStr>(&mut self) -> Option<T> {
        let parsed = self.number_or_text()?.parse().ok();
        if parsed.is_some() { parsed } else { self.fail() }
    }

    fn integer<T: TryFrom<i128>>(&mut self) -> Option<T> {
        let number = match self.value.get_ref() {
            DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        let number = number.and_then(|n| T::try_from(n).ok());
        if number.is_some() { number } else { self.fail() }
    }

    /// Is it this very string?
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.value.get_ref().as_str() == Some(word)
    }

    pub(crate) fn is_empty_list(&self) -> bool {
        self.value.get_ref().as_array().is_some_and(|a| a.is_empty())
    }

    /// Every element of an array, each reported for itself. `None` if it is no array.
    pub(crate) fn elements<V: Read>(&mut self) -> Option<Vec<V>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return self.fail();
        };
        let mut all = Vec::new();
        for (i, value) in array.iter().enumerate() {
            let key = format!("{}.{i}", self.key);
            self.reading.note(&key, value.span());
            let mut cell = Cell::new(self.reading, value, key, V::EXPECTED, self.secret);
            all.extend(V::read(&mut cell));
        }
        Some(all)
    }

    /// A table of texts under names that are `known`. Each that is wrong is reported for itself.
    pub(crate) fn texts(&mut self, known: impl Fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return self.fail();
        };
        let mut all = BTreeMap::new();
        for (name, value) in table {
            let key = format!("{}.{}", self.key, name.get_ref());
            self.reading.note(&key, name.span());
            match known(name.get_ref()) {
                false => self.reading.reports.unknown(name.span(), key, self.expected.to_owned()),
                true => {
                    let text = Cell::new(self.reading, value, key, String::EXPECTED, self.secret).read::<String>();
                    all.extend(text.map(|text| (name.get_ref().to_string(), text)));
                }
            }
        }
        Some(all)
    }

    /// An array of tables, each read as a record of its own.
    pub(crate) fn records<R: Record>(&mut self) -> Vec<R> {
        let DeValue::Array(array) = self.value.get_ref() else {
            self.wrong(format!("a list of tables: write [[{}]]", self.key));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (i, value) in array.iter().enumerate() {
            let key = format!("{}.{i}", self.key);
            match value.get_ref() {
                DeValue::Table(table) => all.push(self.reading.record(table, &format!("{key}."), value.span())),
                _ => self
                    .reading
                    .reports
                    .wrong(value.span(), key, format!("a table: write [[{}]]", self.key), false),
            }
        }
        all
    }
}

/// Control characters would let a definition's text write into a guest's files or drive a terminal; the Unicode
/// direction marks and line separators do the same to a reader's eye.
pub(crate) fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Types written as a string.
macro_rules! read_text {
    ($($type:ty, $expected:literal;)+) => { $(
        impl $crate::definition::value::Read for $type {
            const SHAPE: $crate::definition::Shape = $crate::definition::Shape::Text;
            const EXPECTED: &'static str = $expected;
            fn read(cell: &mut $crate::definition::value::Cell<'_, '_>) -> Option<Self> {
                cell.parse()
            }
        }
    )+ };
}
pub(crate) use read_text;

read_text! {
    VeName, "a VE name: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last, not only digits";
    TenantName, "a tenant name: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last";
    Tag, "a tag: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last";
    PlanName, "a plan name: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last";
    ScheduleName, "a schedule name: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last";
    NetworkName, "a network name: 1 to 63 of a-z 0-9 - . _, a letter or digit first and last";
    TemplateRef, "a template name such as \"debian-12\", or with a version \"debian-12/20260115\"";
    Hostname, "a host name (RFC 1123): letters, digits and hyphens with dots between, at most 64 characters";
    Domain, "a domain name: letters, digits and hyphens with dots between";
    Mac, "a hardware address of six bytes, such as \"02:68:00:00:65:00\"";
    String, "a string";
}

/// Types written as a number or a string.
macro_rules! read_number {
    ($($type:ty, $expected:literal;)+) => { $(
        impl Read for $type {
            const SHAPE: Shape = Shape::Number;
            const EXPECTED: &'static str = $expected;
            fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
                cell.parse_number_or_text()
            }
        }
    )+ };
}

read_number! {
    Bytes, "an amount such as \"512MiB\" or \"2GiB\"";
    Count, "a whole number from 1 on";
    Cap, "processors such as 1.5 (at least 0.01), or percent of one such as \"150%\"";
    Span, "a length of time such as \"90s\", \"2m\" or \"1h30m\"";
    Burst, "an amount from \"4KiB\" to \"64MiB\"";
}

/// Limits: the word `unlimited`, or as above.
macro_rules! read_max {
    ($($type:ty, $expected:literal;)+) => { $(
        impl Read for Max<$type> {
            const SHAPE: Shape = Shape::Number;
            const EXPECTED: &'static str = concat!($expected, ", or \"unlimited\"");
            fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
                if cell.is_word("unlimited") { Some(Self::Unlimited) } else { cell.parse_number_or_text().map(Self::At) }
            }
        }
    )+ };
}

read_max! {
    Bytes, "an amount such as \"512MiB\" or \"2GiB\"";
    Rate, "bytes per second such as \"50MiB\"";
    Bandwidth, "bits per second such as \"100Mbit\", from 64kbit to 1000Gbit";
    Cap, "processors such as 1.5 (at least 0.01), or percent of one such as \"150%\"";
    Count, "a whole number from 1 on";
}

impl Read for Max<CpuSet> {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "processor numbers and ranges such as \"0-3,8\", or \"unlimited\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        if cell.is_word("unlimited") {
            Some(Self::Unlimited)
        } else {
            cell.parse().map(Self::At)
        }
    }
}

/// Whole numbers.
macro_rules! read_integer {
    ($($type:ty, $expected:literal, $try:expr;)+) => { $(
        impl Read for $type {
            const SHAPE: Shape = Shape::Number;
            const EXPECTED: &'static str = $expected;
            fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
                let number = cell.integer()?;
                let checked: Option<Self> = $try(number);
                if checked.is_some() { checked } else { cell.fail() }
            }
        }
    )+ };
}

read_integer! {
    u16, "a whole number from 0 to 65535", |n: u16| Some(n);
    u32, "a whole number from 0 to 4294967295", |n: u32| Some(n);
    VeId, "a VE id: a number from 101 to 999999", |n: u32| VeId::try_from(n).ok();
    Weight, "a weight: a whole number from 1 to 10000, 100 being the usual", |n: u16| n.to_string().parse().ok();
}

impl Read for bool {
    const SHAPE: Shape = Shape::Bool;
    const EXPECTED: &'static str = "true or false";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let value = cell.value.get_ref().as_bool();
        if value.is_some() { value } else { cell.fail() }
    }
}

impl Read for IpAddr {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "an IP address such as \"10.77.0.10\" or \"2001:db8::10\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let text = cell.text()?;
        match text.parse::<Self>() {
            Ok(address) => Some(address),
            Err(_) if text.parse::<IpNetwork>().is_ok() => {
                let bare = text.split('/').next().unwrap_or_default().to_owned();
                cell.wrong(format!("an address without a prefix length: \"{bare}\""));
                None
            }
            Err(_) => cell.fail(),
        }
    }
}

/// Lists: `(type, shape, expected)`. An empty list is a value of its own: "none".
macro_rules! read_list {
    ($($type:ty, $shape:ident, $expected:literal;)+) => { $(
        impl $crate::definition::value::Read for Vec<$type> {
            const SHAPE: $crate::definition::Shape = $crate::definition::Shape::$shape;
            const EXPECTED: &'static str = $expected;
            fn read(cell: &mut $crate::definition::value::Cell<'_, '_>) -> Option<Self> {
                cell.elements()
            }
        }
    )+ };
}
pub(crate) use read_list;

read_list! {
    IpAddr, List, "a list of IP addresses such as [\"10.77.0.10\", \"2001:db8::10\"]";
    Domain, List, "a list of domains such as [\"acme.example\"]";
    PlanName, List, "a list of plan names such as [\"small\", \"medium\"]";
    NetworkName, List, "a list of network names such as [\"public\"]";
    TemplateRef, List, "a list of templates such as [\"debian-12\", \"alpine/20260115\"]";
    Tag, List, "a list of tags such as [\"hosting\", \"vip\"]";
}

/// An enum whose values are words.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $expected:literal, $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $type {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("\"{text}\" is not {}", $expected)),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        $crate::definition::value::read_text! { $type, $expected; }
    };
}
pub(crate) use words;
