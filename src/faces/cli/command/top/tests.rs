//! Keys and what they make of the screen, without a terminal and without VEs.

use std::time::{Duration, Instant};

use clap::Parser;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hostel_engine::facade::VeProcess;
use hostel_model::request::Action;
use hostel_model::stat::{Cell, Figure, Figures, Kind, Row};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::app::{App, Deed, Mode};
use super::draw::draw;
use super::processes::Run;
use super::reader::{Ask, Look, Told};
use super::{Choice, View};

#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    choice: Choice,
}

fn row(kind: Kind, name: &str, tenant: &str, state: &str, cpu: u64, memory: u64) -> Row {
    Row {
        kind,
        name: name.into(),
        tenant: tenant.into(),
        plan: String::new(),
        state: state.into(),
        ran: state != "stopped",
        ves: 1,
        cells: Figures::each(|f| Cell {
            used: match f {
                Figure::Cpu => Some(cpu),
                Figure::Memory => Some(memory << 20),
                _ => None,
            },
            host: None,
            cap: None,
        }),
        cpu_weight: None,
        io_weight: None,
        entitled: Figures::default(),
    }
}

fn look(ves: &[(u32, &str, &str, &str, u64, u64)]) -> Told {
    let host = |kind, name| row(kind, name, "", "", 1_000_000, 2000);
    let own = ves.iter().map(|(id, name, tenant, state, cpu, memory)| {
        row(Kind::Ve((*id).try_into().unwrap()), name, tenant, state, *cpu, *memory)
    });
    Told::Look(Box::new(Look {
        time: "2026-10-01T12:00:00Z".parse().unwrap(),
        sizes: Figures::each(|f| (f == Figure::Memory).then_some(8 << 30)),
        rows: [host(Kind::Total, "[total]"), host(Kind::System, "[system]")]
            .into_iter()
            .chain(own)
            .collect(),
        processes: None,
    }))
}

fn app() -> App {
    let choice = Typed::parse_from(["top"]).choice;
    let mut app = App::new(choice, View::Summary, Duration::from_secs(2));
    let ves = [
        (101, "web1", "acme", "running", 250_000, 100),
        (102, "db1", "globex", "paused", 10, 300),
        (103, "old", "acme", "stopped", 0, 0),
    ];
    app.hear(look(&ves), Instant::now());
    app
}

fn screen(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, Instant::now())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn hit(app: &mut App, keys: &str) -> Option<Deed> {
    let mut deed = None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            c => KeyCode::Char(c),
        };
        deed = app.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    deed
}

fn names(app: &App) -> Vec<String> {
    app.rows().into_iter().skip(2).map(|row| row.name).collect()
}

#[test]
fn what_is_on_the_screen() {
    let app = app();
    let lines = screen(&app, 80, 10);
    assert_eq!(lines[0], "hostel top 12:00:00Z every 2s  memory 8.0G");
    assert_eq!(
        lines[1],
        "2 VEs run; figures: summary, by VE, sorted by used, tenants: all"
    );
    assert!(
        lines[2].starts_with("NAME") && lines[2].contains("%LIMIT"),
        "{lines:#?}"
    );
    assert!(lines[3].starts_with("[total]") && lines[4].starts_with("[system]"));
    assert!(
        lines[5].starts_with("web1 ") && lines[6].starts_with("db1 (paused)"),
        "{lines:#?}"
    );
    assert!(lines[9].starts_with("q leave"), "{lines:#?}");
    // However small and large it is, nothing falls over, and the line at the bottom is at the bottom.
    for (width, height) in [(1, 1), (5, 2), (20, 3), (40, 4), (200, 60)] {
        let lines = screen(&app, width, height);
        assert!(
            height < 4 || lines[usize::from(height) - 1].starts_with("q leave"),
            "{lines:#?}"
        );
    }
}

#[test]
fn keys_sort_filter_and_choose() {
    let mut app = app();
    assert_eq!(names(&app), ["web1", "db1"]);
    hit(&mut app, "M");
    assert_eq!(names(&app), ["db1", "web1"]);
    hit(&mut app, "Na");
    assert_eq!(names(&app), ["db1", "old", "web1"]);
    hit(&mut app, "tacme");
    assert!(screen(&app, 80, 9)[8].starts_with("Tenant: acme_"));
    hit(&mut app, "\n");
    assert_eq!(names(&app), ["old", "web1"]);
    // What is typed there is text, not keys; and can be taken back.
    assert_eq!(hit(&mut app, "tq"), None);
    hit(&mut app, "\x08\n");
    assert_eq!(names(&app), ["db1", "old", "web1"]);
    hit(&mut app, "t!\n");
    assert!(app.message.contains("no name of a tenant"), "{}", app.message);
    hit(&mut app, "\x1b");
    hit(&mut app, "b");
    assert_eq!(names(&app), ["acme", "globex"]);
    assert_eq!((hit(&mut app, "p"), app.message.contains("of a tenant")), (None, true));
    hit(&mut app, "b\t");
    assert!(screen(&app, 80, 9)[1].contains("figures: cpu"));
    assert_eq!(hit(&mut app, "+"), Some(Deed::Ask(Ask::Every(Duration::from_secs(1)))));
    assert_eq!(hit(&mut app, "q"), Some(Deed::Quit));
}

#[test]
fn the_line_that_is_chosen_stays_with_its_ve() {
    let mut app = app();
    hit(&mut app, "v");
    let chosen = |app: &App| app.chosen(&app.rows()).map(|at| app.rows()[at].name.clone());
    assert_eq!(chosen(&app).as_deref(), Some("db1"));
    hit(&mut app, "M");
    assert_eq!(chosen(&app).as_deref(), Some("db1"));
    // At the ends it stays, and when it is gone it is the first.
    hit(&mut app, "vvvv");
    assert_eq!(chosen(&app).as_deref(), Some("web1"));
    app.hear(look(&[(104, "new", "acme", "running", 1, 1)]), Instant::now());
    assert_eq!(chosen(&app).as_deref(), Some("new"));
    app.hear(look(&[]), Instant::now());
    assert_eq!((chosen(&app), hit(&mut app, "x")), (None, None));
    assert_eq!(app.mode, Mode::List);
    // Of many, those are shown that it is among.
    let many: Vec<String> = (0..50).map(|n| format!("ve{n:02}")).collect();
    let ves: Vec<_> = (0..50_u32)
        .map(|n| (200 + n, many[n as usize].as_str(), "acme", "running", 0, 0))
        .collect();
    app.hear(look(&ves), Instant::now());
    hit(&mut app, &"v".repeat(30));
    let lines = screen(&app, 80, 12);
    assert!(
        lines[3].starts_with("[total]") && lines.iter().any(|l| l.starts_with("ve30 ")),
        "{lines:#?}"
    );
}

#[test]
fn a_ve_is_stopped_only_after_a_yes() {
    let mut app = app();
    let id = 101.try_into().unwrap();
    assert_eq!(hit(&mut app, "x"), None);
    assert!(screen(&app, 80, 9)[8].starts_with("Stop web1?"));
    assert_eq!(hit(&mut app, "n"), None);
    assert_eq!((&app.mode, app.message.as_str()), (&Mode::List, "web1 runs on"));
    assert_eq!(hit(&mut app, "x\n"), None, "Enter is no yes");
    let stop = Action::Stop { timeout: None };
    assert_eq!(hit(&mut app, "xy"), Some(Deed::Act(id, "web1".into(), stop)));
    assert_eq!(hit(&mut app, "p"), Some(Deed::Act(id, "web1".into(), Action::Pause)));
    let db1 = 102.try_into().unwrap();
    assert_eq!(hit(&mut app, "vp"), Some(Deed::Act(db1, "db1".into(), Action::Unpause)));
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(control), Some(Deed::Quit));
    assert_eq!(hit(&mut app, "\n"), Some(Deed::Ask(Ask::Open(Some(db1)))));
    assert_eq!(hit(&mut app, "\x1b"), Some(Deed::Ask(Ask::Open(None))));
}

#[test]
fn what_hangs_is_told() {
    let mut app = app();
    app.came = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
    assert!(screen(&app, 80, 9)[0].contains("NO ANSWER for 30 s"));
    app.hear(Told::Failed("no more\x1b[31m".into()), Instant::now());
    assert_eq!(screen(&app, 80, 9)[8], "no more\\u{1b}[31m");
    hit(&mut app, "?");
    assert!(screen(&app, 80, 20).iter().any(|l| l.starts_with("x   ")));
}

#[test]
fn use_of_processes_is_of_the_time_between_two_looks() {
    let process = |pid: u32, began: u64, cpu_ns: u64| VeProcess {
        seen: hostel_engine::facade::Listed {
            pid,
            inside: 1,
            uid: 0,
            state: 'R',
            name: "sh".into(),
            cpu_ns,
            memory: pid.into(),
            threads: 1,
            began,
        },
        user: Some(0),
    };
    let (mut run, begin) = (Run::default(), Instant::now());
    let first = run.next(vec![process(5, 1, 1000), process(7, 1, 0), process(9, 1, 500)], begin);
    assert!(first.iter().all(|u| u.percent.is_none()));
    assert_eq!(first[0].process.seen.pid, 9, "by memory");
    let later = begin + Duration::from_secs(1);
    // 9 is another process by now.
    let next = run.next(
        vec![process(5, 1, 500_001_000), process(7, 1, 1000), process(9, 2, 900)],
        later,
    );
    let percents: Vec<_> = next.iter().map(|u| (u.process.seen.pid, u.percent)).collect();
    assert_eq!(percents[0], (5, Some(50.0)));
    assert!(percents.contains(&(9, None)), "{percents:?}");
}
