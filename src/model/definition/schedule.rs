//! `schedules/*.toml`: what the manager has Hostel do at certain times.

use serde::Serialize;

use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, fields};
use super::guest::Timezone;
use super::name_of_file;
use super::value::read_list;
use crate::calendar::Calendar;
use crate::id::ScheduleName;
use crate::units::Span;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// Its name, that of its file.
    pub name: ScheduleName,
    /// For people.
    pub description: Option<String>,
    /// When it is due.
    pub at: Calendar,
    /// By the clocks of which time zone; `None`: the host's.
    pub time_zone: Option<Timezone>,
    /// What is done: the words after `hostel`.
    pub run: Vec<String>,
    /// How much later than it is due it may begin.
    pub late: Span,
    /// How long it may take.
    pub timeout: Span,
    /// Is it not to be run for now?
    pub disabled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    description: Option<String>,
    at: Option<Calendar>,
    time_zone: Option<Timezone>,
    run: Option<Vec<String>>,
    late: Option<Span>,
    timeout: Option<Span>,
    disabled: Option<bool>,
}

/// More would have to be looked through after a long sleep of the host.
const MOST_LATE: Span = Span::seconds(31 * 86_400);

read_list! {
    String, Lines, "a list of words such as [\"restart\", \"web1\"]";
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "description": String => description, "what it is for, for people", "\"weekly restart\"";
        "at": Calendar => at, "when it is due, as in crontab(5)", "\"30 3 * * Sun\"";
        "time_zone": Timezone => time_zone, "by whose clocks; the host's if not set", "\"Europe/Berlin\"";
        "run": Vec<String> => run, "what is done: the words after hostel", "[\"restart\", \"--tenant\", \"acme\"]";
        "late": Span => late, "how much later it may begin, if nobody ran it in time; 1h if not set", "\"6h\"";
        "timeout": Span => timeout, "how long it may take; 12h if not set", "\"30m\"";
        "disabled": bool => disabled, "true: it is not run", "true";
    };
    const REQUIRED: &'static [&'static str] = &["at", "run"];
}

impl Schedule {
    /// Reads `schedules/<name>.toml`. `file` gives the name, and is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        if draft.run.as_ref().is_some_and(Vec::is_empty) {
            reading.wrong("run", "at least one word: the subcommand");
        }
        if draft.late.is_some_and(|late| late > MOST_LATE) {
            reading.wrong("late", format!("at most {MOST_LATE}"));
        }
        if draft.timeout == Some(Span::seconds(0)) {
            reading.wrong("timeout", "more than no time at all");
        }
        match (name_of_file(&mut reading), draft.at, draft.run) {
            (Some(name), Some(at), Some(run)) if reading.reports.is_empty() => Ok(Self {
                name,
                description: draft.description,
                at,
                time_zone: draft.time_zone,
                run,
                late: draft.late.unwrap_or(Span::seconds(3_600)),
                timeout: draft.timeout.unwrap_or(Span::seconds(12 * 3_600)),
                disabled: draft.disabled.unwrap_or_default(),
            }),
            _ => Err(reading.reports.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let all = Schedule::parse("schedules/night.toml", "at = \"30 3 * * *\"\nrun = [\"audit\"]\n").unwrap();
        assert_eq!(
            (all.name.as_str(), all.at.to_string().as_str()),
            ("night", "30 3 * * *")
        );
        assert_eq!(
            (all.late, all.timeout, all.disabled),
            (Span::seconds(3_600), Span::seconds(43_200), false)
        );
    }

    /// Each mistake of a file is told, with its place.
    #[test]
    fn mistakes_are_told_together() {
        let text = "at = \"30 25 * * *\"\nrun = []\nlate = \"60d\"\ntimeout = 0\ntime_zone = \"../etc\"\nwhen = 1\n";
        let told = Schedule::parse("schedules/night.toml", text).unwrap_err().to_string();
        for (place, what) in [
            ("night.toml:1:6", "day of the week"),
            ("night.toml:2:7", "at least one word"),
            ("night.toml:3:8", "at most 31d"),
            ("night.toml:4:11", "more than no time"),
            ("night.toml:5:13", "time zone"),
            ("night.toml:6:1", "description, at"),
        ] {
            let line = told.lines().find(|l| l.contains(place));
            assert!(line.is_some() && told.contains(what), "{place} {what}: {told}");
        }
        let told = Schedule::parse("schedules/Night.toml", "").unwrap_err().to_string();
        assert!(
            told.contains("at") && told.contains("run") && told.contains("schedule name"),
            "{told}"
        );
    }
}
