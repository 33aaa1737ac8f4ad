//! Progress lines, and work side by side.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hostel_engine::facade::Outcome;
use hostel_engine::{Class, Error};

use crate::cli::board::{Board, Size};
use crate::cli::command::verb;
use crate::cli::paint::Paint;
use crate::cli::parallel::{self, Load, Show};

const PLAIN: Show = Show {
    live: false,
    quiet: false,
    verbose: false,
    paint: Paint::OFF,
};

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Two VEs of three at work, one done and one with a note; what was written.
fn play(show: Show, width: usize) -> String {
    let size = Size { width, height: 24 };
    let mut out = Vec::new();
    let mut board = Board::new(&mut out, show, labels(&["web1", "db1", "mail1"]));
    let t = Instant::now();
    let later = t + Duration::from_secs(65);
    board.begin(0, t);
    board.begin(1, t);
    board.step(0, "formatting the disk", size, t);
    board.note(1, "no /dev/fuse on this host", size, t);
    board.step(1, "booting", size, later);
    board.end(0, &verb::done("web1", "started", true, Paint::OFF), size, later);
    board.begin(2, later);
    board.tick(size, later);
    board.end(1, "", size, later);
    board.end(2, "mail1: started\n", size, later);
    String::from_utf8(out).unwrap()
}

/// What a terminal shows after `text`: understands what the board writes, and no more.
fn screen(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b[") {
            let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            match &after[end..=end] {
                "A" => {
                    let up: usize = after[..end].parse().unwrap();
                    lines.truncate(lines.len() - up);
                    lines.last_mut().unwrap().clear();
                }
                "J" => {}
                other => panic!("unknown sequence {other}"),
            }
            rest = &after[end + 1..];
            continue;
        }
        match c {
            '\n' => lines.push(String::new()),
            '\r' => {}
            c => lines.last_mut().unwrap().push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    lines
}

#[test]
fn plain_lines_elsewhere() {
    assert_eq!(
        play(PLAIN, 80),
        "db1: note: no /dev/fuse on this host\nweb1: started\nmail1: started\n"
    );
}

#[test]
fn every_step_with_verbose() {
    let text = play(Show { verbose: true, ..PLAIN }, 80);
    assert!(text.starts_with("web1: formatting the disk\ndb1: note: "), "{text}");
    assert!(text.contains("db1: booting\n"));
}

#[test]
fn quiet_is_quiet() {
    assert_eq!(
        play(
            Show {
                quiet: true,
                live: true,
                ..PLAIN
            },
            80
        ),
        "web1: started\nmail1: started\n"
    );
    let outcome = Ok(Outcome {
        done: "started".into(),
        changed: true,
        path: None,
    });
    assert_eq!(verb::line("web1", &outcome, Show { quiet: true, ..PLAIN }), "");
    let failed = Err(Error::new(Class::Busy, "locked"));
    assert_eq!(
        verb::line("web1", &failed, Show { quiet: true, ..PLAIN }),
        "error: web1: locked\n"
    );
}

#[test]
fn live_lines_on_a_terminal() {
    let text = play(Show { live: true, ..PLAIN }, 80);
    let shown = [
        "db1: note: no /dev/fuse on this host",
        "web1: started",
        "mail1: started",
        "",
    ];
    assert_eq!(screen(&text), shown);
    let middle = &text[..text.find("web1: started").unwrap()];
    let shown = ["db1: note: no /dev/fuse on this host", ""];
    assert_eq!(screen(middle), shown, "the block makes room for a line that stays");
    let before = &middle[..middle.rfind("\x1b[3A").unwrap()];
    assert_eq!(
        screen(before),
        [
            "db1: note: no /dev/fuse on this host",
            "web1: formatting the disk (1m05s)",
            "db1: booting (1m05s)",
            "1 more to come",
            ""
        ]
    );
}

#[test]
fn live_lines_never_wrap() {
    for line in play(Show { live: true, ..PLAIN }, 20)
        .split(['\n', '\r'])
        .filter(|l| l.starts_with("web1: form"))
    {
        assert!(line.chars().count() < 20, "{line}");
    }
}

#[test]
fn the_live_block_stays_below_the_terminals_height() {
    let names: Vec<String> = (0..50).map(|n| format!("ve{n}")).collect();
    let mut out = Vec::new();
    let mut board = Board::new(&mut out, Show { live: true, ..PLAIN }, names);
    let t = Instant::now();
    (0..30).for_each(|n| board.begin(n, t));
    board.tick(Size { width: 80, height: 10 }, t);
    let shown = screen(&String::from_utf8(out).unwrap());
    assert_eq!(shown.len(), 10, "{shown:?}");
    assert_eq!(shown[7..], ["ve7: …", "42 more to come", ""]);
}

#[test]
fn one_failure_stops_no_other() {
    let labels: Vec<String> = (0..20).map(|n| format!("ve{n}")).collect();
    let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = Mutex::new(BTreeSet::new());
    let mut ends = BTreeSet::new();
    let quiet = Show { quiet: true, ..PLAIN };
    parallel::run(
        quiet,
        &labels,
        Load::Light,
        &|n, progress| {
            most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            workers
                .lock()
                .unwrap()
                .insert(format!("{:?}", std::thread::current().id()));
            progress.step("working");
            std::thread::yield_now();
            busy.fetch_sub(1, Ordering::SeqCst);
            if n % 3 == 0 {
                Err(Error::new(Class::Failed, "no"))
            } else {
                Ok(n)
            }
        },
        &mut |n, result| {
            assert_eq!(result.is_err(), n % 3 == 0);
            ends.insert(n);
            String::new()
        },
    );
    assert_eq!(ends.len(), 20);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(most.into_inner() <= 2 * cores && workers.into_inner().unwrap().len() <= 2 * cores);
}

#[test]
fn one_gives_its_answer() {
    let quiet = Show { quiet: true, ..PLAIN };
    assert_eq!(parallel::one(quiet, "web1", |_| Ok(7)).unwrap(), 7);
    let error = parallel::one::<()>(quiet, "web1", |_| Err(Error::new(Class::Limit, "full"))).unwrap_err();
    assert_eq!(error.class, Class::Limit);
}
