//! `[metering]` of hostel.toml: how often is measured, and how long in what detail it is kept.

use serde::Serialize;

use super::field::Reading;
use crate::units::Span;

/// How usage is measured and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metering {
    /// How often the manager measures each VE that runs.
    pub interval: Span,
    /// How long each measurement is kept before those of an hour become one record.
    pub samples: Span,
    /// How long those are kept before those of a day become one.
    pub hours: Span,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub interval: Option<Span>,
    pub samples: Option<Span>,
    pub hours: Option<Span>,
}

impl Draft {
    pub fn fill(self) -> Metering {
        Metering {
            interval: self.interval.unwrap_or(Span::seconds(60)),
            samples: self.samples.unwrap_or(Span::seconds(2 * 86_400)),
            hours: self.hours.unwrap_or(Span::seconds(62 * 86_400)),
        }
    }

    /// Reports what makes no sense.
    pub fn check(&self, reading: &mut Reading<'_>) {
        let interval = self.interval.map(Span::duration);
        if interval.is_some_and(|i| !(1..=3600).contains(&i.as_secs())) {
            reading.wrong("metering.interval", "1s to 1h");
        }
    }
}
