//! Times that reports are of, all in UTC, in nanoseconds since 1970.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

fn ns(moment: Timestamp) -> Option<i64> {
    i64::try_from(moment.as_nanosecond()).ok()
}

fn begins(date: Date) -> Option<i64> {
    ns(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A date, which begins at midnight of UTC, or a moment with its offset: `2026-10-01`, `2026-10-01T12:00:00+02:00`.
pub fn moment(text: &str) -> Result<i64, String> {
    let date = text
        .parse::<Date>()
        .ok()
        .filter(|_| !text.contains('T'))
        .and_then(begins);
    let moment = || text.parse::<Timestamp>().ok().and_then(ns);
    date.or_else(moment)
        .ok_or_else(|| format!("\"{text}\" is no date and no time; write \"2026-10-01\" or \"2026-10-01T12:00:00Z\""))
}

/// A month: `2026-10`. Its first moment, and that of the next.
pub fn month(text: &str) -> Result<(i64, i64), String> {
    let bad = || format!("\"{text}\" is no month; write \"2026-10\"");
    let first: Date = format!("{text}-01").parse().map_err(|_| bad())?;
    let next = first.checked_add(1.month()).map_err(|_| bad())?;
    begins(first)
        .zip(begins(next))
        .filter(|_| text.len() == 7)
        .ok_or_else(bad)
}

/// The month that this moment is in.
pub fn month_of(now: Timestamp) -> Result<(i64, i64), String> {
    let date = now.to_zoned(TimeZone::UTC).date();
    month(&format!("{:04}-{:02}", date.year(), date.month()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000_000_000));
        assert_eq!(moment("1970-01-01T02:00:00+02:00"), Ok(0));
        assert!(moment("yesterday").is_err() && moment("2026-13-01").is_err());
        let day = 86_400_000_000_000;
        assert_eq!(month("1970-02"), Ok((31 * day, 59 * day)));
        assert_eq!(month("1970-12").unwrap().1, 365 * day);
        // Leap years, and months in which clocks change somewhere, which a moment's offset tells.
        let days = |text: &str| month(text).map(|(from, to)| (to - from) / day);
        assert_eq!(["2028-02", "2027-02", "2100-02"].map(days), [Ok(29), Ok(28), Ok(28)]);
        assert_eq!(["2026-03", "2026-10"].map(days), [Ok(31), Ok(31)]);
        let night = ["2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"].map(|at| moment(at).unwrap());
        assert_eq!(night[1] - night[0], day + day / 24);
        assert_eq!(moment("2016-12-31T23:59:60Z"), moment("2016-12-31T23:59:59Z"));
        assert!(month("1970-2").is_err() && month("1970-02-01").is_err());
        assert_eq!(month_of(Timestamp::UNIX_EPOCH), Ok((0, 31 * day)));
    }
}
