//! When something is due again and again: the five fields of crontab(5).

use std::fmt;
use std::str::FromStr;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::definition::Shape;
use crate::definition::value::{Cell, Read};

/// Minute, hour, day of the month, month and day of the week, as crontab(5) has them: `30 3 * * Sun`.
///
/// A time of day that the clocks skip when they go forward is due as much later as they skip, and one that comes twice
/// when they go back is due at the first time. Where the hour is `*`, or begins so, it goes by the time that passes
/// instead: each hour is an hour then, also the one that comes twice.
#[derive(Debug, Clone)]
pub struct Calendar {
    text: String,
    /// Judges times of UTC; which zone's they are is said when it is asked.
    fields: Crontab,
    of_each_hour: bool,
}

/// A text that is no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}: {why}", expected = Calendar::EXPECTED)]
pub struct CalendarError {
    text: String,
    why: String,
}

/// The clocks go forward by no more than this, in all zones of today.
const MOST_SKIPPED: SignedDuration = SignedDuration::from_hours(3);

impl Calendar {
    /// What to say when it is something else.
    const EXPECTED: &'static str =
        "minute, hour, day of the month, month and day of the week, such as \"30 3 * * Sun\"";

    /// The first moment after this one at which it is due by the clocks of `zone`; `None`: beyond all calendars.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.of_each_hour {
            self.next_as_time_passes(after, zone)
        } else {
            self.next_by_the_clock(after, zone)
        }
    }

    /// The last moment up to `now` at which it was due, of those after `after`.
    pub fn last(&self, after: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let due = |after| self.next(after, zone).filter(|due| *due <= now);
        let mut last = due(after)?;
        while let Some(later) = due(last) {
            last = later;
        }
        Some(last)
    }

    /// What a clock shows is looked for, and then when it shows that for the first time.
    fn next_by_the_clock(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // What was skipped is due after the clocks have gone forward, when they show more already.
        let mut shown = zone.to_datetime(after.checked_sub(MOST_SKIPPED).ok()?);
        loop {
            let as_utc = Offset::UTC.to_timestamp(shown).ok()?;
            shown = Offset::UTC.to_datetime(self.next_of_utc(as_utc)?);
            let due = zone.to_timestamp(shown).ok()?;
            if due > after {
                return Some(due);
            }
        }
    }

    /// As long as the clocks neither go forward nor back they are as much ahead of UTC as they were.
    fn next_as_time_passes(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut ahead = zone.to_offset(after);
        let (mut from, mut seen) = (after, after);
        loop {
            let shown = Offset::UTC.to_timestamp(ahead.to_datetime(from)).ok()?;
            let next = Offset::UTC.to_datetime(self.next_of_utc(shown)?);
            let due = ahead.to_timestamp(next).ok()?;
            match zone.following(seen).next() {
                Some(change) if change.timestamp() <= due => {
                    (seen, ahead) = (change.timestamp(), change.offset());
                    // The moment of the change may be due itself.
                    from = seen.checked_sub(SignedDuration::from_secs(1)).ok()?;
                }
                _ => return Some(due),
            }
        }
    }

    fn next_of_utc(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.fields.find_next(MakeTimestamp(after)).ok()?;
        Some(next.timestamp())
    }
}

impl FromStr for Calendar {
    type Err = CalendarError;
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let bad = |why: &str| CalendarError {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [_, hour, ..] = words[..] else {
            return Err(bad("it has not five fields"));
        };
        if words.len() != 5 {
            return Err(bad("it has not five fields"));
        }
        // What the library knows beyond crontab(5) are single letters and other signs.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | ',' | '-' | '/');
        let mut names = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|n| !n.is_empty());
        if !words.concat().chars().all(plain) || names.any(|n| n.len() != 3) {
            return Err(bad(
                "only numbers, names of three letters, '*', ',', '-' and '/' may stand in it",
            ));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let text = words.join(" ");
        // The last line of what the library says is why; those before show the text.
        let why = |e: cronexpr::Error| {
            e.to_string()
                .lines()
                .last()
                .map(|l| l.trim_start_matches([' ', '^']).to_owned())
        };
        let fields = cronexpr::parse_crontab_with(&text, options).map_err(|e| bad(&why(e).unwrap_or_default()))?;
        let calendar = Self {
            of_each_hour: hour.starts_with('*'),
            fields,
            text,
        };
        // In four years each day of a calendar comes.
        if calendar.next_of_utc(Timestamp::UNIX_EPOCH).is_none() {
            return Err(bad("such a day never comes"));
        }
        Ok(calendar)
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Calendar {}

impl serde::Serialize for Calendar {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl Read for Calendar {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = Self::EXPECTED;
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        match cell.text()?.parse::<Self>() {
            Ok(calendar) => Some(calendar),
            Err(CalendarError { why, .. }) => {
                cell.wrong(format!("{}; {why}", Self::EXPECTED));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn berlin() -> TimeZone {
        // As it is since 1996, in POSIX's words: no database is needed.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// The moments after `from` at which it is due, as Berlin's clocks show them.
    fn due(at: &str, from: &str, count: usize) -> Vec<String> {
        let (calendar, zone) = (at.parse::<Calendar>().unwrap(), berlin());
        let mut last: Timestamp = from.parse().unwrap();
        let mut next = || {
            last = calendar.next(last, &zone).unwrap();
            last.to_zoned(zone.clone()).strftime("%m-%d %H:%M %z").to_string()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn days_and_hours() {
        assert_eq!(
            due("30 3 * * Sun", "2026-11-28T12:00:00Z", 3),
            ["11-29 03:30 +0100", "12-06 03:30 +0100", "12-13 03:30 +0100"]
        );
        assert_eq!(due("0 0 29 2 *", "2026-11-28T12:00:00Z", 1), ["02-29 00:00 +0100"]);
        assert_eq!(
            due("*/20 8-9 1 jan,Jul *", "2026-11-28T12:00:00Z", 4),
            [
                "01-01 08:00 +0100",
                "01-01 08:20 +0100",
                "01-01 08:40 +0100",
                "01-01 09:00 +0100"
            ]
        );
        // Either of two days, if both are said.
        assert_eq!(
            due("0 0 13 * 5", "2026-11-10T12:00:00Z", 3),
            ["11-13 00:00 +0100", "11-20 00:00 +0100", "11-27 00:00 +0100"]
        );
    }

    /// 02:00 to 03:00 isn't there on 29 March 2026.
    #[test]
    fn an_hour_that_is_skipped() {
        assert_eq!(
            due("30 2 * * *", "2026-03-28T00:00:00Z", 3),
            ["03-28 02:30 +0100", "03-29 03:30 +0200", "03-30 02:30 +0200"]
        );
        // Asked when the clocks have gone forward, and the time hasn't come.
        assert_eq!(due("30 2 * * *", "2026-03-29T01:10:00Z", 1), ["03-29 03:30 +0200"]);
        assert_eq!(
            due("30 * * * *", "2026-03-29T00:00:00Z", 3),
            ["03-29 01:30 +0100", "03-29 03:30 +0200", "03-29 04:30 +0200"]
        );
        // Both at one moment are one.
        assert_eq!(
            due("0 2,3 * * *", "2026-03-29T00:00:00Z", 2),
            ["03-29 03:00 +0200", "03-30 02:00 +0200"]
        );
    }

    /// 02:00 to 03:00 comes twice on 25 October 2026.
    #[test]
    fn an_hour_that_comes_twice() {
        assert_eq!(
            due("30 2 * * *", "2026-10-24T12:00:00Z", 2),
            ["10-25 02:30 +0200", "10-26 02:30 +0100"]
        );
        assert_eq!(due("30 2 * * *", "2026-10-25T01:10:00Z", 1), ["10-26 02:30 +0100"]);
        assert_eq!(
            due("0 */1 * * *", "2026-10-24T23:30:00Z", 4),
            [
                "10-25 02:00 +0200",
                "10-25 02:00 +0100",
                "10-25 03:00 +0100",
                "10-25 04:00 +0100"
            ]
        );
    }

    #[test]
    fn the_last_of_several_that_were_missed() {
        let calendar: Calendar = "0 * * * *".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let last = |from, now| calendar.last(at(from), at(now), &TimeZone::UTC);
        let three = Some(at("2026-11-28T03:00:00Z"));
        assert_eq!(last("2026-11-27T12:30:00Z", "2026-11-28T03:59:59Z"), three);
        assert_eq!(last("2026-11-28T02:59:59Z", "2026-11-28T03:00:00Z"), three);
        assert_eq!(last("2026-11-28T03:00:00Z", "2026-11-28T03:59:59Z"), None);
        // The clock was set back.
        assert_eq!(last("2026-11-28T03:00:00Z", "2026-11-28T02:00:00Z"), None);
    }

    #[test]
    fn what_is_none() {
        for (text, why) in [
            ("", "five fields"),
            ("30", "five fields"),
            ("30 3 * *", "five fields"),
            ("30 3 * * Sun Europe/Berlin", "five fields"),
            ("60 3 * * *", "0..=59"),
            ("30 24 * * *", "0..=23"),
            ("30 3 0 * *", "1..=31"),
            ("30 3 * 13 *", "1..=12"),
            ("30 3 5-1 * *", "ascending"),
            ("30 3 * * Sunday", "names of three letters"),
            ("30 3 L * *", "names of three letters"),
            ("30 3 * * 5#2", "may stand in it"),
            ("H 3 * * *", "names of three letters"),
            ("@daily * * * *", "may stand in it"),
            ("0 0 31 2 *", "never comes"),
            ("0 0 30 feb,FEB *", "never comes"),
            ("*/0 * * * *", ""),
            ("a b c d e", "names of three letters"),
        ] {
            let error = text.parse::<Calendar>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{text}: {error}");
        }
        assert_eq!(
            " 30\t3  * * sun ".parse::<Calendar>().unwrap().to_string(),
            "30 3 * * sun"
        );
    }

    proptest! {
        /// It goes on, never stands, and is due at a whole minute.
        #[test]
        fn it_goes_on(
            at in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * 0", "15 */6 1 * *", "0 2-3 * 3,10 *"]),
            from in 1_577_836_800_i64..1_893_456_000,
        ) {
            let calendar: Calendar = at.parse().unwrap();
            let mut last = Timestamp::from_second(from).unwrap();
            for _ in 0..20 {
                let next = calendar.next(last, &berlin()).unwrap();
                prop_assert!(next > last && next.as_second() % 60 == 0);
                last = next;
            }
        }

        /// No text makes it fall over.
        #[test]
        fn any_text(text in "[0-9A-Za-z*,/ #?@-]{0,24}") {
            let _ = text.parse::<Calendar>();
        }
    }
}
