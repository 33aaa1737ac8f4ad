//! What stands in tables and lines.

use clap::Parser;
use hostel_model::stat::{Cell, Figure, Figures, Kind, Report, Resource, Row};

use super::form::{Block, View};
use super::{Stat, json, lines, table};
use crate::cli::paint::Paint;

#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    stat: Stat,
}

fn typed(words: &str) -> Stat {
    let words = ["stat"].into_iter().chain(words.split_whitespace());
    Typed::try_parse_from(words).unwrap().stat
}

fn row(kind: Kind, name: &str, cpu: Option<u64>) -> Row {
    let running = matches!(kind, Kind::Ve(_));
    Row {
        kind,
        name: name.into(),
        tenant: if running { "acme" } else { "" }.into(),
        plan: String::new(),
        state: if running { "running" } else { "" }.into(),
        ran: true,
        ves: usize::from(running),
        cells: Figures::each(|f| match f {
            Figure::Cpu => Cell {
                used: cpu,
                host: Some(2_000_000),
                cap: running.then_some(500_000),
            },
            Figure::Memory => Cell {
                used: Some(150 << 20),
                host: Some(8 << 30),
                cap: None,
            },
            _ => Cell::default(),
        }),
        cpu_weight: running.then_some(100),
        io_weight: None,
        entitled: Figures::each(|f| (running && f == Figure::Cpu).then_some(1_000_000)),
    }
}

fn ve(id: u32, name: &str, cpu: Option<u64>) -> Row {
    row(Kind::Ve(id.try_into().unwrap()), name, cpu)
}

fn rows() -> Vec<Row> {
    vec![
        row(Kind::Total, "[total]", Some(1_500_000)),
        row(Kind::System, "[system]", Some(1_000_000)),
        ve(101, "web1", Some(250_000)),
        ve(102, "web:2", None),
        ve(103, "db1", Some(490_000)),
    ]
}

fn names(stat: &Stat, rows: Vec<Row>) -> Vec<String> {
    stat.pick(rows).into_iter().map(|r| r.name).collect()
}

fn block() -> Block {
    Block {
        report: Report::Interval,
        intervals: 3,
        ns: 1_000_000_123,
        time: "2026-11-27T21:00:00Z".parse().unwrap(),
        first: true,
    }
}

#[test]
fn the_host_is_first_and_what_is_unknown_last() {
    assert_eq!(
        names(&typed(""), rows()),
        ["[total]", "[system]", "db1", "web1", "web:2"]
    );
    assert_eq!(names(&typed("--sort name"), rows())[2..], ["db1", "web1", "web:2"]);
    assert_eq!(
        names(&typed("--name web*"), rows()),
        ["[total]", "[system]", "web1", "web:2"]
    );
    let mut down = rows();
    down[2].ran = false;
    assert_eq!(names(&typed("--sort cap"), down.clone())[2..], ["db1", "web:2"]);
    assert_eq!(names(&typed("--all --tenant acme"), down.clone()).len(), 5);
    assert_eq!(names(&typed("--by tenant --tenant other"), down.clone()).len(), 2);
    let tenants = typed("--by tenant").pick(down);
    assert_eq!((tenants[2].name.as_str(), tenants[2].ves), ("acme", 3));
}

#[test]
fn the_summary_fits_a_small_terminal() {
    let tables = table::tables(View::Summary, &rows(), table::LEAST);
    let text = tables[0].1.render(Some(80), Paint::OFF);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let web1 = text.lines().find(|l| l.starts_with("web1")).unwrap();
    let words: Vec<&str> = web1.split_whitespace().collect();
    assert_eq!(words[..2], ["web1", "0.25"], "{text}");
    assert!(
        words.contains(&"50") && words.contains(&"25") && words.contains(&"150M"),
        "{text}"
    );
    let unknown = text.lines().find(|l| l.starts_with("web:2")).unwrap();
    assert_eq!(unknown.split_whitespace().nth(1), Some("-"), "{text}");
    let all = table::tables(View::All, &rows(), table::LEAST);
    assert_eq!(all.len(), Resource::ALL.len());
    for (_, table) in all {
        let text = table.render(Some(80), Paint::OFF);
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    }
    let heading = table::heading(&block(), &Figures::each(|f| (f == Figure::Cpu).then_some(2_000_000)));
    assert_eq!(
        heading,
        "Interval 3, 1.0 s up to 2026-11-27 21:00:00 UTC  processors 2\n"
    );
}

#[test]
fn lines_for_programs() {
    let text = lines::lines(&block(), View::One(Resource::Cpu), &rows()[2..4]);
    let want = "header:interval:3:1795813200:1000000123\n\
        row:interval:3:ve:web1:101:acme:running:cpu:250000:2000000:500000:100:1000000\n\
        row:interval:3:ve:web\\:2:102:acme:running:cpu:-:2000000:500000:100:1000000\n\
        footer:interval:3:2\n";
    assert_eq!(text, want);
}

#[test]
fn json_has_null_for_what_is_unknown() {
    let object = json::object(&block(), &typed("").pick(rows()));
    assert_eq!(object["ns"], 1_000_000_123_u64);
    let rows = object["rows"].as_array().unwrap();
    let of = |name: &str| rows.iter().find(|r| r["name"] == name).unwrap();
    assert_eq!(of("web1")["cpu"]["used"], 0.25);
    assert_eq!(of("web1")["cpu"]["percent_of_limit"], 50.0);
    assert!(of("web:2")["cpu"]["used"].is_null() && of("[total]")["tenant"].is_null());
    assert_eq!(of("web1")["percent_of_entitlement"], 25.0);
}

#[test]
fn intervals_have_a_least() {
    for bad in ["0", "1ms", "x"] {
        assert!(Typed::try_parse_from(["stat", bad]).is_err(), "{bad}");
    }
    assert!(typed("500ms 3 -R total,high").count == Some(3));
}
