//! `vzubc`: the beancounters for a person, with how near they are to their barriers and limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hostel_model::beancounters::{PAGE, UNLIMITED, text};

use super::super::word::{Stop, Tool, print};
use crate::cli::human::bytes;

const VZUBC: Tool = Tool("vzubc");

const USAGE: &str = "Usage: vzubc [-q [-qh PART] [-qm PART]] [-r | -i] [-c] [-d DIR] [-f FILE] [-w [SECONDS]] [CTID...]\n\
    Prints the resources of running containers, or of those named.\n\
    -q  only those with failures, or of which more than a part of the limit is held (-qh, 0.5) or was (-qm, 0.8)\n\
    -v  all of them, which is usual\n\
    -r  failures since the last time with -r; -i  what is held as change since the last time with -i\n\
    -c  forget the last time; -d  remember it in DIR, /run/vzubc unless said; -f  read FILE instead of asking\n\
    -w  again and again, each 10 SECONDS unless said\n";

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
struct Ask {
    quiet: bool,
    part_held: f64,
    part_most: f64,
    since: Option<Since>,
    forget: bool,
    dir: PathBuf,
    file: Option<String>,
    again: Option<Duration>,
    ves: Vec<String>,
}

/// What is shown as change since the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Failures,
    Held,
}

/// A row: held, the most, barrier, limit, failures.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    resource: String,
    numbers: [u64; 5],
}

/// Rows by VE, in order.
type Tables = Vec<(String, Vec<Row>)>;

/// The tool.
pub fn main() -> ExitCode {
    VZUBC.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    if words.iter().any(|word| word == "-h" || word == "--help") {
        print(USAGE)?;
        return Ok(0);
    }
    let ask = parse(words).map_err(|line| Stop::Said(format!("{line}\n{USAGE}"), 1))?;
    if ask.forget {
        for since in [Since::Failures, Since::Held] {
            forget(&ask.dir, since)?;
        }
    }
    loop {
        let now = chosen(&ask, tables(&look(&ask)?))?;
        let last = match ask.since {
            Some(since) => tables(&std::fs::read_to_string(since.file(&ask.dir)).unwrap_or_default()),
            None => Vec::new(),
        };
        print(&show(&ask, &now, &last))?;
        if let Some(since) = ask.since {
            remember(&ask.dir, since, &now)?;
        }
        match ask.again {
            Some(pause) => std::thread::sleep(pause),
            None => return Ok(0),
        }
    }
}

/// Of a file, those that were named; the engine has been asked for no others.
fn chosen(ask: &Ask, mut tables: Tables) -> Result<Tables, Stop> {
    let Some(file) = ask.file.as_ref().filter(|_| !ask.ves.is_empty()) else {
        return Ok(tables);
    };
    if let Some(missing) = ask.ves.iter().find(|ve| !tables.iter().any(|(uid, _)| uid == *ve)) {
        return Err(Stop::Said(format!("Container {missing} is not in {file}"), 1));
    }
    tables.retain(|(uid, _)| ask.ves.contains(uid));
    Ok(tables)
}

impl Since {
    /// Where the last time is kept, each with its own option.
    fn file(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Failures => "last",
            Self::Held => "last.held",
        })
    }
}

fn forget(dir: &Path, since: Since) -> Result<(), Stop> {
    match std::fs::remove_file(since.file(dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            let text = format!("cannot forget the last time in {}: {e}", dir.display());
            Err(Stop::Said(text, 1))
        }
        _ => Ok(()),
    }
}

/// The text of the file.
fn look(ask: &Ask) -> Result<String, Stop> {
    if let Some(file) = &ask.file {
        return std::fs::read_to_string(file).map_err(|e| Stop::Said(format!("cannot read {file}: {e}"), 1));
    }
    let engine = Tool::engine()?;
    let ves = ask.ves.iter().map(|word| Tool::one(&engine, word));
    let rows = engine.beancounters(&ves.collect::<Result<Vec<_>, _>>()?)?;
    Ok(text(
        &rows.into_iter().map(|ve| (ve.id, ve.resources)).collect::<Vec<_>>(),
    ))
}

fn parse(words: &[String]) -> Result<Ask, String> {
    let mut ask = Ask {
        quiet: false,
        part_held: 0.5,
        part_most: 0.8,
        since: None,
        forget: false,
        dir: PathBuf::from("/run/vzubc"),
        file: None,
        again: None,
        ves: Vec::new(),
    };
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| format!("{word} needs a value"));
        let part = |text: String| match text.parse::<f64>() {
            Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
            _ => Err(format!("{text} is no part of 1; write 0.5, for example")),
        };
        match word.as_str() {
            "-q" | "--quiet" => ask.quiet = true,
            "-v" | "--verbose" => ask.quiet = false,
            "-qh" => (ask.quiet, ask.part_held) = (true, part(value()?)?),
            "-qm" => (ask.quiet, ask.part_most) = (true, part(value()?)?),
            "-r" | "--relative" => ask.since = Some(Since::Failures),
            "-i" | "--incremental" => ask.since = Some(Since::Held),
            "-c" | "--clear" => ask.forget = true,
            "-d" => ask.dir = PathBuf::from(value()?),
            "-f" | "--file" => ask.file = Some(value()?),
            "-w" | "--watch" => {
                // Numbers of VEs begin at 101.
                let seconds = words
                    .peek()
                    .and_then(|word| word.parse::<u8>().ok())
                    .filter(|n| *n < 101);
                if seconds.is_some() {
                    words.next();
                }
                ask.again = Some(Duration::from_secs(seconds.unwrap_or(10).into()));
            }
            word if word.starts_with('-') => return Err(format!("unrecognized option '{word}'")),
            word => ask.ves.push(word.to_owned()),
        }
    }
    Ok(ask)
}

/// Reads the file's lines; those that make no sense are passed over, as are those that stand for nothing.
fn tables(text: &str) -> Tables {
    let mut tables: Tables = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        if let Some(uid) = words.peek().and_then(|word| word.strip_suffix(':')) {
            if uid.parse::<u32>().is_err() {
                continue;
            }
            tables.push((uid.to_owned(), Vec::new()));
            words.next();
        }
        let (Some(resource), Some((_, rows))) = (words.next(), tables.last_mut()) else {
            continue;
        };
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        if let (Ok(numbers), false) = (numbers.try_into(), resource == "dummy") {
            rows.push(Row {
                resource: resource.to_owned(),
                numbers,
            });
        }
    }
    tables
}

/// For the next time.
fn remember(dir: &Path, since: Since, tables: &Tables) -> Result<(), Stop> {
    let mut text = String::new();
    for (uid, rows) in tables {
        for (n, row) in rows.iter().enumerate() {
            let uid = if n == 0 { format!("{uid}: ") } else { String::new() };
            let numbers = row.numbers.map(|n| n.to_string()).join(" ");
            text.push_str(&format!("{uid}{} {numbers}\n", row.resource));
        }
    }
    let kept = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(since.file(dir), text));
    kept.map_err(|e| Stop::Said(format!("cannot remember this time in {}: {e}", dir.display()), 1))
}

fn show(ask: &Ask, now: &Tables, last: &Tables) -> String {
    let before: BTreeMap<(&str, &str), [u64; 5]> = last
        .iter()
        .flat_map(|(uid, rows)| {
            rows.iter()
                .map(move |row| ((uid.as_str(), row.resource.as_str()), row.numbers))
        })
        .collect();
    let mut out = String::new();
    for (uid, rows) in now {
        let mut lines = String::new();
        for row in rows {
            let old = before.get(&(uid.as_str(), row.resource.as_str())).copied();
            if !ask.quiet || is_near(ask, row, old) {
                lines.push_str(&line(ask, row, old));
            }
        }
        if !lines.is_empty() {
            let rule = "-------------+-----------------+-----------------+-----+-----+------\n";
            out.push_str(&format!("{}\n", "-".repeat(rule.len() - 1)));
            out.push_str(&format!(
                "CT {uid:<10}|  HELD Bar% Lim% |  MAXH Bar% Lim% | BAR | LIM | FAIL\n{rule}{lines}"
            ));
        }
    }
    out
}

fn failures(ask: &Ask, row: &Row, old: Option<[u64; 5]>) -> u64 {
    match (ask.since, old) {
        // Counted anew since a start.
        (Some(Since::Failures), Some(old)) => row.numbers[4].checked_sub(old[4]).unwrap_or(row.numbers[4]),
        _ => row.numbers[4],
    }
}

#[allow(clippy::cast_precision_loss)] // a part of 1, to two digits
fn is_near(ask: &Ask, row: &Row, old: Option<[u64; 5]>) -> bool {
    let [held, most, _, limit, _] = row.numbers;
    let passes = |n: u64, part: f64| limit < UNLIMITED && n > 0 && n as f64 > limit as f64 * part;
    failures(ask, row, old) > 0 || passes(held, ask.part_held) || passes(most, ask.part_most)
}

fn line(ask: &Ask, row: &Row, old: Option<[u64; 5]>) -> String {
    let [held, most, barrier, limit, _] = row.numbers;
    let of = |n: u64, whole: u64| match whole {
        0 | UNLIMITED.. => "-".to_owned(),
        whole => format!("{}%", n.saturating_mul(100) / whole),
    };
    let held_shown = match (ask.since, old) {
        (Some(Since::Held), Some(old)) if held < old[0] => format!("-{}", amount(&row.resource, old[0] - held)),
        (Some(Since::Held), Some(old)) => format!("+{}", amount(&row.resource, held - old[0])),
        _ => amount(&row.resource, held),
    };
    let failed = match failures(ask, row, old) {
        0 => "-".to_owned(),
        n => n.to_string(),
    };
    let most_shown = amount(&row.resource, most);
    format!(
        "{:>13}|{held_shown:>6} {:>4} {:>4} |{most_shown:>6} {:>4} {:>4} |{:>5}|{:>5}|{failed:>5}\n",
        row.resource,
        of(held, barrier),
        of(held, limit),
        of(most, barrier),
        of(most, limit),
        amount(&row.resource, barrier),
        amount(&row.resource, limit),
    )
}

/// Pages as bytes; what is nothing, or has no limit, as a dash.
fn amount(resource: &str, n: u64) -> String {
    match n {
        0 | UNLIMITED.. => "-".to_owned(),
        n if resource.ends_with("pages") => bytes(n.saturating_mul(PAGE)),
        n if resource.ends_with("size") || resource.ends_with("buf") => bytes(n),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::tests::golden;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn ask(line: &str) -> Ask {
        parse(&words(line)).unwrap()
    }

    const FILE: &str = "Version: 2.5
       uid  resource                     held              maxheld              barrier                limit              failcnt
      101:  kmemsize                  1048576              2097152  9223372036854775807  9223372036854775807                    0
            numproc                        60                   90                  100                  100                    3
            dummy                           0                    0                    0                    0                    0
            physpages                    1000                16000                    0                16384                    7
      102:  kmemsize                        0                    0  9223372036854775807  9223372036854775807                    0
            numproc                         3                    5                  100                  100                    0
";

    #[test]
    fn as_a_person_reads_it() {
        let (now, none) = (tables(FILE), Vec::new());
        let mut text = show(&ask(""), &now, &none);
        text.push_str(&format!("\n-q\n{}", show(&ask("-q"), &now, &none)));
        let last = tables("101: numproc 70 90 100 100 1\nphyspages 500 16000 0 16384 7\n");
        text.push_str(&format!("\n-q -r\n{}", show(&ask("-q -r"), &now, &last)));
        text.push_str(&format!("\n-i\n{}", show(&ask("-i"), &now, &last)));
        golden("tests/golden/vz/vzubc.txt", &text);
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let read = |since: Since| tables(&std::fs::read_to_string(since.file(dir.path())).unwrap_or_default());
        remember(dir.path(), Since::Failures, &tables(FILE)).unwrap();
        assert_eq!(read(Since::Failures), tables(FILE));
        // Each option has a last time of its own.
        assert_eq!(read(Since::Held), Vec::new());
        for since in [Since::Held, Since::Failures, Since::Held] {
            forget(dir.path(), since).unwrap();
            assert_eq!(read(since), Vec::new());
        }
    }

    #[test]
    fn of_a_file_those_that_are_named() {
        let named = |line: &str| chosen(&ask(line), tables(FILE));
        assert_eq!(named("-f x").unwrap().len(), 2);
        let one = named("-f x 102").unwrap();
        assert!(one.len() == 1 && one[0].0 == "102", "{one:?}");
        assert!(matches!(named("-f x 102 7"), Err(Stop::Said(line, 1)) if line.contains("7 is not in x")));
    }

    #[test]
    fn its_words() {
        assert_eq!(ask("-w 101").ves, ["101"]);
        assert_eq!(ask("-w 3 101").again, Some(Duration::from_secs(3)));
        assert_eq!((ask("-qh .3").part_held, ask("-qh .3").quiet), (0.3, true));
        for line in ["-qh", "-qh 2", "-x", "-f"] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_is_too_odd(text in "([0-9]{1,4}:|[a-z]{0,6}|[0-9]{1,22}|\\PC|[ \n]){0,40}") {
            let now = tables(&text);
            show(&ask("-q -r"), &now, &now);
        }
    }
}
