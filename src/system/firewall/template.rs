//! The texts of tables, from the templates that are built in.

use std::sync::OnceLock;

use tera::{Context, Tera};

use crate::error::{Error, Result};

/// Its name, for errors of tera's.
const NAME: &str = "table";

/// A file under `templates/nftables/`, which is read once, however often it is filled in.
pub(super) struct Template {
    text: &'static str,
    read: OnceLock<tera::TeraResult<Tera>>,
}

impl Template {
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            read: OnceLock::new(),
        }
    }

    /// The text for a table: what we were doing (`act`) is for the error.
    pub(super) fn fill(&self, context: &Context, act: &'static str, table: &str) -> Result<String> {
        let read = self.read.get_or_init(|| {
            let mut tera = Tera::default();
            tera.add_raw_template(NAME, self.text)?;
            Ok(tera)
        });
        let tera = read.as_ref().map_err(|e| Error::new(act, table, e.to_string()))?;
        tera.render(NAME, context).map_err(|e| Error::new(act, table, e))
    }
}
