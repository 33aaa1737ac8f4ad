//! `[openvz]` of a definition: what has no effect here and is told again, by the names of CTID.conf.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::parameter;
use crate::definition::Shape;
use crate::definition::value::{Cell, Read};

/// Parameters with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Remembered(BTreeMap<String, String>);

impl Remembered {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Remembered {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }
}

impl Read for Remembered {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a table of parameters of the OpenVZ tools, such as CPUUNITS = \"1000\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.texts(|name| parameter(name).is_some()).map(Self)
    }
}
