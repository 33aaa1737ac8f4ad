//! The grammar of values: `2.2G`, `65536:69632`, `unlimited`, `yes`, `0,2-4`.

use crate::limits::CpuSet;

/// Bytes of a page, whatever the host's are: the tools and their files have always counted in these.
pub const PAGE: u64 = 4096;

/// What "no limit" is as a number: the largest `long`. Files and tables of the dialect are full of it.
pub const UNLIMITED: u64 = i64::MAX as u64;

/// The same on the 32-bit hosts whose files are still around.
const UNLIMITED_OF_OLD: u64 = i32::MAX as u64;

/// In what a number without a suffix counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: processes, files. A suffix multiplies, but for `P` and `B`, which are amounts of memory.
    Count,
    /// Bytes.
    Bytes,
    /// Pages of 4096 bytes.
    Pages,
    /// 1024 bytes.
    Kib,
    /// 1024 · 1024 bytes.
    Mib,
}

impl Unit {
    /// How many of what [`Amount::At`] counts in make one of these.
    const fn scale(self) -> u64 {
        match self {
            Self::Count | Self::Bytes => 1,
            Self::Pages => PAGE,
            Self::Kib => 1 << 10,
            Self::Mib => 1 << 20,
        }
    }

    /// For a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "a number",
            Self::Bytes => "bytes",
            Self::Pages => "pages of 4096 bytes",
            Self::Kib => "KB",
            Self::Mib => "MB",
        }
    }
}

/// A value that is not of its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct BadValue {
    /// What was written.
    pub text: String,
    /// What it should have been.
    pub expected: String,
}

impl BadValue {
    /// `text` is not `expected`.
    pub fn new(text: &str, expected: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            expected: expected.into(),
        }
    }
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes, or things.
    At(u64),
    /// None.
    Unlimited,
}

impl Amount {
    /// The number, unless there is no limit.
    pub const fn limit(self) -> Option<u64> {
        match self {
            Self::At(n) => Some(n),
            Self::Unlimited => None,
        }
    }

    /// As a definition of Hostel's writes it.
    pub fn setting(self) -> String {
        self.limit().map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
    }
}

/// `barrier:limit`, or `soft:hard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The first.
    pub barrier: Amount,
    /// The second; the first again where there is but one.
    pub limit: Amount,
}

/// One number with its suffix, or `unlimited`.
pub fn amount(text: &str, unit: Unit) -> Result<Amount, BadValue> {
    let bad = || {
        let suffixes = match unit {
            Unit::Count => "K, M, G or T behind it",
            _ => "B, K, M, G, T or P (pages) behind it",
        };
        BadValue::new(
            text,
            format!(
                "\"unlimited\", or {} with {suffixes}",
                match unit {
                    Unit::Count => "a number".to_owned(),
                    unit => format!("a number of {}, or one", unit.as_str()),
                }
            ),
        )
    };
    let plain = text.trim();
    if plain.eq_ignore_ascii_case("unlimited") {
        return Ok(Amount::Unlimited);
    }
    let digits = plain
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(plain.len());
    let (number, suffix) = plain.split_at(digits);
    let scale = match suffix.to_ascii_uppercase().as_str() {
        "" => unit.scale(),
        "B" if unit != Unit::Count => 1,
        "P" if unit != Unit::Count => PAGE,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        "T" | "TB" => 1 << 40,
        _ => return Err(bad()),
    };
    if suffix.is_empty() && number.parse().is_ok_and(is_unlimited) {
        return Ok(Amount::Unlimited);
    }
    decimal(number, scale).map(Amount::At).ok_or_else(bad)
}

/// Do the tools take this number for "no limit"?
const fn is_unlimited(n: u64) -> bool {
    n >= UNLIMITED || n == UNLIMITED_OF_OLD
}

/// A decimal number times `scale`, rounded down; nothing if it is none, or too large.
fn decimal(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Nine digits tell bytes apart in anything that a disk can hold.
    let fraction = &fraction[..fraction.len().min(9)];
    let ten = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / ten;
    let total = u128::from(whole.parse::<u64>().ok()?).checked_mul(u128::from(scale))?;
    u64::try_from(total.checked_add(part)?).ok().filter(|n| *n < UNLIMITED)
}

/// `barrier:limit`; one number is both.
pub fn pair(text: &str, unit: Unit) -> Result<Pair, BadValue> {
    let (barrier, limit) = text.split_once(':').unwrap_or((text, text));
    Ok(Pair {
        barrier: amount(barrier, unit)?,
        limit: amount(limit, unit)?,
    })
}

/// A whole number.
pub fn whole(text: &str, least: u64, most: u64) -> Result<u64, BadValue> {
    let number = text.trim().parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| BadValue::new(text, format!("a whole number from {least} to {most}")))
}

/// `yes` or `no`; the newer tools write `on` and `off`.
pub fn truth(text: &str) -> Result<bool, BadValue> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "on" => Ok(true),
        "no" | "off" => Ok(false),
        _ => Err(BadValue::new(text, "yes or no")),
    }
}

/// `0,2-4`, or `all`, and for processors also `auto`: all of them, `None`.
pub fn processors(text: &str) -> Result<Option<CpuSet>, BadValue> {
    let plain = text.trim();
    if ["all", "auto"].iter().any(|word| plain.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let set = plain
        .parse()
        .map_err(|_| BadValue::new(text, "a list such as 0,2-4, or all, or auto"))?;
    Ok(Some(set))
}

/// `--cpulimit`: percent of one processor (200 is two of them); with `%` behind a number up to 100, percent of all that
/// the host has. Gives thousandths of a processor; `None`: no limit (0).
pub fn processor_time(text: &str, host: u32) -> Result<Option<u64>, BadValue> {
    let bad = || {
        BadValue::new(
            text,
            "percent of one processor, such as 150, or of the host, such as 25%; 0 is no limit",
        )
    };
    let plain = text.trim();
    if plain.eq_ignore_ascii_case("unlimited") {
        return Ok(None);
    }
    let (number, of_host) = plain.strip_suffix('%').map_or((plain, false), |number| (number, true));
    let thousandths = decimal(number, 10).ok_or_else(bad)?;
    match thousandths {
        0 => Ok(None),
        n if of_host && n <= 1000 => Ok(Some((n * u64::from(host.max(1))).max(1))),
        n => Ok(Some(n)),
    }
}

/// The elements of a list, between blanks or commas.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',')
        .filter(|part| !part.is_empty())
}

/// `NAME:on,NAME:off`: each with what it is to be. Between commas or blanks.
pub fn switches(text: &str) -> Result<Vec<(String, bool)>, BadValue> {
    let one = |part: &str| {
        let (name, state) = part
            .split_once(':')
            .ok_or_else(|| BadValue::new(part, "NAME:on or NAME:off"))?;
        match state.to_ascii_lowercase().as_str() {
            "on" => Ok((name.to_ascii_lowercase(), true)),
            "off" => Ok((name.to_ascii_lowercase(), false)),
            _ => Err(BadValue::new(part, "NAME:on or NAME:off")),
        }
    };
    list(text).map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_as_the_book_has_them() {
        for (text, unit, expected) in [
            ("0", Unit::Pages, Some(0)),
            ("256", Unit::Pages, Some(256 * 4096)),
            ("1G", Unit::Pages, Some(1 << 30)),
            ("2.2G", Unit::Kib, Some(2_362_232_012)),
            ("2097152", Unit::Kib, Some(2 << 30)),
            ("512m", Unit::Bytes, Some(512 << 20)),
            ("10p", Unit::Bytes, Some(40960)),
            ("7B", Unit::Mib, Some(7)),
            ("10", Unit::Mib, Some(10 << 20)),
            ("240", Unit::Count, Some(240)),
            ("1k", Unit::Count, Some(1024)),
            ("1T", Unit::Bytes, Some(1 << 40)),
            ("unlimited", Unit::Count, None),
            ("UNLIMITED", Unit::Pages, None),
            ("9223372036854775807", Unit::Pages, None),
            ("2147483647", Unit::Pages, None),
        ] {
            assert_eq!(amount(text, unit).map(Amount::limit), Ok(expected), "{text}");
        }
        for text in [
            "",
            "G",
            ".5G",
            "1.",
            "-1",
            "+1",
            "1e3",
            "1 G",
            "0x10",
            "1KK",
            "99999999T",
            "½",
        ] {
            assert!(amount(text, Unit::Bytes).is_err(), "{text}");
        }
        assert!(amount("10p", Unit::Count).is_err());
    }

    #[test]
    fn pairs() {
        let both = |text| pair(text, Unit::Pages).map(|p| (p.barrier.limit(), p.limit.limit()));
        assert_eq!(both("65536:69632"), Ok((Some(65536 * 4096), Some(69632 * 4096))));
        assert_eq!(both("0:unlimited"), Ok((Some(0), None)));
        assert_eq!(both("256M"), Ok((Some(256 << 20), Some(256 << 20))));
        assert!(both("1:2:3").is_err() && both(":").is_err() && both("1:").is_err());
    }

    #[test]
    fn processor_time_is_of_one_processor_or_of_all() {
        for (text, milli) in [
            ("100", Some(1000)),
            ("150", Some(1500)),
            ("12.5", Some(125)),
            ("25%", Some(1000)),
            ("100%", Some(4000)),
            ("150%", Some(1500)),
            ("0", None),
            ("0%", None),
        ] {
            assert_eq!(processor_time(text, 4), Ok(milli), "{text}");
        }
        for text in ["", "%", "-1", "1000m", "50%%"] {
            assert!(processor_time(text, 4).is_err(), "{text}");
        }
    }

    #[test]
    fn words_and_lists() {
        assert_eq!(
            (truth("yes"), truth("No"), truth("on")),
            (Ok(true), Ok(false), Ok(true))
        );
        assert!(truth("1").is_err());
        assert_eq!(processors("0,2-4").unwrap().unwrap().to_string(), "0,2-4");
        assert!(processors("all").unwrap().is_none() && processors("4-2").is_err());
        assert_eq!(list(" a  b,c ").collect::<Vec<_>>(), ["a", "b", "c"]);
        let features = switches("nfs:on,SIT:off").unwrap();
        assert_eq!(features, [("nfs".to_owned(), true), ("sit".to_owned(), false)]);
        assert!(switches("nfs").is_err() && switches("nfs:maybe").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_panics(text in ".{0,24}", unit in prop::sample::select(vec![Unit::Count, Unit::Bytes, Unit::Pages, Unit::Kib, Unit::Mib])) {
            let _ = (amount(&text, unit), pair(&text, unit), truth(&text), processors(&text), processor_time(&text, 4));
            let _ = (whole(&text, 0, 7), switches(&text), list(&text).count());
        }

        #[test]
        fn numbers_come_through(n in 0_u64..1 << 40, unit in prop::sample::select(vec![Unit::Bytes, Unit::Pages, Unit::Kib])) {
            let expected = if n == UNLIMITED_OF_OLD { None } else { Some(n * unit.scale()) };
            prop_assert_eq!(amount(&n.to_string(), unit).map(Amount::limit), Ok(expected));
        }

        #[test]
        fn a_larger_number_is_never_a_smaller_limit(a in 0.0..1e6_f64, b in 0.0..1e6_f64, suffix in "[bkmgtp]") {
            let get = |x: f64| amount(&format!("{x:.6}{suffix}"), Unit::Bytes).unwrap().limit().unwrap();
            prop_assert_eq!(get(a.max(b)), get(a).max(get(b)));
        }
    }
}
