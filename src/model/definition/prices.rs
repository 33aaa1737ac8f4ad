//! `prices.toml`: what usage costs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, Shape, fields};
use super::value::{Cell, Read, read_text, words};

words! {
    /// What of usage a price is for; its units: [`crate::prices`].
    Rated, "running, kept, cpu, memory, swap, disk, read, written, traffic_in or traffic_out",
    /// The time for which it had processes.
    Running = "running",
    /// The time for which it was there at all.
    Kept = "kept",
    /// Processor time.
    Cpu = "cpu",
    /// Memory in use over time.
    Memory = "memory",
    /// Swap in use over time.
    Swap = "swap",
    /// Disk in use over time.
    Disk = "disk",
    /// Bytes read from its disk.
    Read = "read",
    /// Bytes written to it.
    Written = "written",
    /// Bytes to it, but for classes that hostel.toml names.
    TrafficIn = "traffic_in",
    /// The same from it.
    TrafficOut = "traffic_out",
}

/// The most digits of a price behind its point, and before it.
const MOST: usize = 9;

/// A price, exact: so many of its last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Decimal {
    /// All its digits.
    pub digits: u64,
    /// How many of them stand behind the point.
    pub behind: u32,
}

impl FromStr for Decimal {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let plain = |t: &str| t.len() <= MOST && t.bytes().all(|b| b.is_ascii_digit());
        let good = !whole.is_empty() && plain(whole) && plain(part) && text.ends_with(|c: char| c.is_ascii_digit());
        let digits = format!("{whole}{part}").parse().map_err(drop)?;
        let behind = u32::try_from(part.len()).map_err(drop)?;
        good.then_some(Self { digits, behind }).ok_or(())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.pow(self.behind);
        match self.behind {
            0 => f.pad(&self.digits.to_string()),
            width => f.pad(&format!(
                "{}.{:0width$}",
                self.digits / scale,
                self.digits % scale,
                width = width as usize
            )),
        }
    }
}

read_text! {
    Decimal, "a price as a text, such as \"0.0125\": at most nine digits before the point and behind it";
}

/// One price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// What stands on the invoice.
    pub text: String,
    /// What it is for.
    pub usage: Rated,
    /// For one unit of that.
    pub each: Decimal,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prices {
    /// What they are in: `EUR`.
    pub currency: String,
    /// How many digits behind the point its smallest coin has.
    pub digits: u32,
    /// A line of the invoice each.
    pub prices: Vec<Price>,
}

#[derive(Debug, Default)]
struct Draft {
    currency: Option<String>,
    digits: Option<u32>,
    prices: Option<Vec<PriceDraft>>,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "currency": String => currency, "what prices are in", "\"EUR\"";
        "digits": u32 => digits, "digits behind the point of its smallest coin, 0 to 4; 2 if not set", "2";
        "price": Vec<PriceDraft> => prices, "a line of the invoice, a [[price]] each", "\"Memory\"";
    };
    const REQUIRED: &'static [&'static str] = &["currency", "price"];
}

#[derive(Debug, Default)]
struct PriceDraft {
    name: Option<String>,
    usage: Option<Rated>,
    price: Option<Decimal>,
}

impl Record for PriceDraft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "name": String => name, "what stands on the invoice", "\"Memory\"";
        "usage": Rated => usage, "what is paid for", "\"memory\"";
        "price": Decimal => price, "of one unit", "\"0.0125\"";
    };
    const REQUIRED: &'static [&'static str] = &["name", "usage", "price"];
}

impl Read for Vec<PriceDraft> {
    const SHAPE: Shape = Shape::Tables;
    const EXPECTED: &'static str = "tables that each begin with [[price]]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        Some(cell.records())
    }
}

impl Prices {
    /// Reads `prices.toml`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        let drafts = draft.prices.unwrap_or_default();
        if draft.digits.is_some_and(|digits| digits > 4) {
            reading.wrong("digits", "0 to 4");
        }
        let mut names = BTreeSet::new();
        for (n, name) in drafts
            .iter()
            .enumerate()
            .filter_map(|(n, d)| Some((n, d.name.as_ref()?)))
        {
            if !names.insert(name) {
                reading.wrong(&format!("price.{n}.name"), "another name for each price");
            }
        }
        if !reading.reports.is_empty() {
            return Err(reading.reports.finish());
        }
        let price = |draft: PriceDraft| {
            Some(Price {
                text: draft.name?,
                usage: draft.usage?,
                each: draft.price?,
            })
        };
        Ok(Self {
            currency: draft.currency.unwrap_or_default(),
            digits: draft.digits.unwrap_or(2),
            prices: drafts.into_iter().filter_map(price).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact() {
        for (text, digits, behind) in [("0.0125", 125, 4), ("3", 3, 0), ("10.50", 1050, 2), ("0", 0, 0)] {
            let price: Decimal = text.parse().unwrap();
            assert_eq!((price.digits, price.behind), (digits, behind));
            assert_eq!(price.to_string(), text);
        }
        for bad in ["", ".5", "1.", "-1", "1e3", "1,5", "0.0123456789", "1234567890"] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let text = "currency = \"EUR\"\ndigits = 5\n[[price]]\nname = \"a\"\nusage = \"gas\"\nprice = 0.1\n\
            [[price]]\nname = \"a\"\nusage = \"cpu\"\n";
        let told = Prices::parse("prices.toml", text).unwrap_err().to_string();
        for key in [
            "digits",
            "price.0.usage",
            "price.0.price",
            "price.1.name",
            "price.1.price",
        ] {
            assert!(told.contains(key), "{key}\n{told}");
        }
        assert!(Prices::parse("prices.toml", "").is_err());
    }
}
