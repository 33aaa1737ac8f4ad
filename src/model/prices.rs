//! Prices, and what usage comes to by them: exact up to the one rounding of each line.

use serde::Serialize;

use crate::definition::{Price, Prices, Rated};
use crate::usage::Sums;

const SECOND: u128 = 1_000_000_000;
const HOUR: u128 = 3600 * SECOND;
const GIB: u128 = 1 << 30;

impl Rated {
    /// What its price is for.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Running | Self::Kept => "hour",
            Self::Cpu => "CPU-hour",
            Self::Memory | Self::Swap | Self::Disk => "GiB-hour",
            Self::Read | Self::Written | Self::TrafficIn | Self::TrafficOut => "GiB",
        }
    }

    /// How much of what the ledger counts in makes one unit.
    const fn size(self) -> u128 {
        match self {
            Self::Running | Self::Kept | Self::Cpu => HOUR,
            Self::Memory | Self::Swap | Self::Disk => GIB * HOUR,
            Self::Read | Self::Written | Self::TrafficIn | Self::TrafficOut => GIB,
        }
    }

    /// How much of it was used, in what the ledger counts in.
    pub fn amount(self, sums: &Sums) -> u128 {
        let all = |names: &[&str]| {
            names
                .iter()
                .fold(0_u128, |sum, name| sum.saturating_add(sums.get(name)))
        };
        match self {
            Self::Running => all(&["running_ns", "paused_ns"]),
            Self::Kept => all(&["running_ns", "paused_ns", "suspended_ns", "stopped_ns", "unknown_ns"]),
            Self::Cpu => sums.get("cpu_ns"),
            Self::Memory => sums.get("memory"),
            Self::Swap => sums.get("swap"),
            Self::Disk => sums.get("disk"),
            Self::Read => sums.get("disk_read_bytes"),
            Self::Written => sums.get("disk_write_bytes"),
            Self::TrafficIn => all(&["traffic.external.in.ipv4.bytes", "traffic.external.in.ipv6.bytes"]),
            Self::TrafficOut => all(&["traffic.external.out.ipv4.bytes", "traffic.external.out.ipv6.bytes"]),
        }
    }
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillLine {
    /// What it is, for people.
    pub text: String,
    /// What was used, in what the ledger counts in; what that is: docs/METERING.md.
    #[serde(serialize_with = "text")]
    pub amount: u128,
    /// The same in units, to a thousandth.
    pub units: String,
    /// What the price is for.
    pub unit: &'static str,
    /// The price of one.
    pub price: String,
    /// What it comes to, in the smallest coin.
    #[serde(skip)]
    pub coins: u128,
    /// The same in the currency.
    pub sum: String,
}

/// What somebody has to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// Whose it is; `None`: all together.
    pub group: Option<String>,
    /// A line for each price.
    pub lines: Vec<BillLine>,
    /// The sum of the lines.
    pub total: String,
    /// What it is in.
    pub currency: String,
    /// The same in the smallest coin.
    #[serde(skip)]
    pub coins: u128,
}

/// Numbers that JSON's readers would round are texts.
fn text<S: serde::Serializer>(n: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(n)
}

/// A number with its last digits behind a point.
fn decimal(n: u128, digits: u32) -> String {
    let scale = 10_u128.pow(digits);
    match digits {
        0 => n.to_string(),
        _ => format!("{}.{:0width$}", n / scale, n % scale, width = digits as usize),
    }
}

/// `a ÷ b`, a half upwards.
const fn rounded(a: u128, b: u128) -> u128 {
    a / b + if a % b >= b - a % b { 1 } else { 0 }
}

impl Prices {
    /// What a group has to pay.
    pub fn bill(&self, group: Option<String>, sums: &Sums) -> Bill {
        let lines: Vec<BillLine> = self
            .prices
            .iter()
            .map(|price| self.line(price, price.usage.amount(sums)))
            .collect();
        self.total(group, lines)
    }

    /// All together: each line is the sum of those of the bills, which are rounded already.
    pub fn together(&self, bills: &[Bill]) -> Bill {
        let lines = self.prices.iter().enumerate().map(|(n, price)| {
            let of = || bills.iter().filter_map(|bill| bill.lines.get(n));
            let amount = of().fold(0_u128, |sum, line| sum.saturating_add(line.amount));
            let coins = of().fold(0_u128, |sum, line| sum.saturating_add(line.coins));
            BillLine {
                coins,
                sum: decimal(coins, self.digits),
                ..self.line(price, amount)
            }
        });
        let lines = lines.collect();
        self.total(None, lines)
    }

    fn total(&self, group: Option<String>, lines: Vec<BillLine>) -> Bill {
        let coins = lines.iter().fold(0_u128, |sum, line| sum.saturating_add(line.coins));
        Bill {
            group,
            total: decimal(coins, self.digits),
            currency: self.currency.clone(),
            lines,
            coins,
        }
    }

    fn line(&self, price: &Price, amount: u128) -> BillLine {
        let size = price.usage.size();
        let (whole, rest) = (amount / size, amount % size);
        // Coins for a unit are `each ÷ scale`; of whole units first, so that nothing is too large on the way.
        let each = u128::from(price.each.digits) * 10_u128.pow(self.digits);
        let scale = 10_u128.pow(price.each.behind);
        let units = whole.saturating_mul(each);
        // Of the rest by whole coins and by parts of one, each for itself.
        let (coin, share) = (each / scale, each % scale);
        let part = (units % scale) * size + (rest * coin % size) * scale + rest * share;
        let coins = (units / scale)
            .saturating_add(rest * coin / size)
            .saturating_add(rounded(part, size * scale));
        BillLine {
            text: price.text.clone(),
            amount,
            units: decimal(whole.saturating_mul(1000).saturating_add(rounded(rest * 1000, size)), 3),
            unit: price.usage.unit(),
            price: price.each.to_string(),
            coins,
            sum: decimal(coins, self.digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(text: &str) -> Prices {
        Prices::parse("prices.toml", text).unwrap()
    }

    fn sums(all: &[(&str, u128)]) -> Sums {
        Sums(all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect())
    }

    const TEXT: &str = "currency = \"EUR\"\n[[price]]\nname = \"Memory\"\nusage = \"memory\"\nprice = \"0.0125\"\n\
        [[price]]\nname = \"Traffic\"\nusage = \"traffic_out\"\nprice = \"0.001\"\n";

    #[test]
    fn a_line_is_rounded_once() {
        let prices = prices(TEXT);
        // 1 GiB for 30 days is 720 GiB-hours, 9 EUR; and a coin is rounded at its half.
        let bill = |memory, out| {
            prices.bill(
                Some("acme".into()),
                &sums(&[("memory", memory), ("traffic.external.out.ipv6.bytes", out)]),
            )
        };
        let said = |bill: &Bill| -> Vec<(String, String)> {
            bill.lines.iter().map(|l| (l.units.clone(), l.sum.clone())).collect()
        };
        let one = bill(GIB * HOUR * 720, 5 * GIB);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(said(&one), [pair("720.000", "9.00"), pair("5.000", "0.01")]);
        assert_eq!((one.total.as_str(), one.currency.as_str()), ("9.01", "EUR"));
        let less = bill(0, 5 * GIB - 1);
        assert_eq!(said(&less), [pair("0.000", "0.00"), pair("5.000", "0.00")]);
        // Two that are rounded come to what is written under them, not to what their usage would.
        let both = prices.together(&[bill(0, 5 * GIB), bill(0, 5 * GIB)]);
        assert_eq!(
            (said(&both)[1].clone(), both.total.as_str()),
            (pair("10.000", "0.02"), "0.02")
        );
        assert_eq!(prices.together(&[]).total, "0.00");
    }

    #[test]
    fn nothing_is_too_large() {
        let prices = prices(
            &TEXT
                .replace("0.0125", "999999999.999999999")
                .replace("\"EUR\"", "\"EUR\"\ndigits = 4"),
        );
        // 1 EiB of memory for ten years.
        let bill = prices.bill(None, &sums(&[("memory", (1 << 60) * HOUR * 87_600)]));
        // The same by another way: whole units times the price in its last digit.
        let last = GIB * 87_600 * 999_999_999_999_999_999;
        assert_eq!(bill.coins, (last + 50_000) / 100_000);
        // All but the last of a unit: less than one by next to nothing.
        let bill = prices.bill(None, &sums(&[("memory", GIB * HOUR - 1)]));
        let (each, size) = (999_999_999_999_999_999_u128, GIB * HOUR);
        // each ÷ 100000 · (1 - 1 ÷ size), where the latter takes away less than one coin of the last digit.
        assert_eq!(bill.coins, (each - each.div_ceil(size) + 50_000) / 100_000);
    }
}
