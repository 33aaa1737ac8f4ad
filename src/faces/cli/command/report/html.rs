//! `hostel report --format html`: one page that needs nothing else.

use hostel_engine::facade::{Row, TrafficStatus, Window};
use hostel_engine::{Class, Error};
use hostel_model::prices::Bill;
use hostel_model::usage::{DAY, HOUR, availability};
use serde::Serialize;
use tera::{Context, Tera};

use super::budget::left;
use super::{bits, gib_hours, passed, peak, percent, small};
use crate::cli::human::{bytes, seconds};

const PAGE: &str = include_str!("../../../../../templates/report.html.tera");

/// The most columns of a chart.
const MOST: i64 = 1000;

/// What a page shows.
pub struct Page<'a> {
    /// Whose usage it is.
    pub title: String,
    /// Of which time.
    pub window: Window,
    /// Up to when all is in it.
    pub complete_ns: i64,
    /// Now, in nanoseconds since 1970.
    pub now_ns: i64,
    /// The length of a column in nanoseconds: an hour or a day.
    pub step: i64,
    /// A row for each of these.
    pub course: &'a [Row],
    /// What the rows of the table are of.
    pub of: &'static str,
    /// The rows; the first is the total.
    pub rows: &'a [Row],
    /// What the tenant that it is of may have of traffic.
    pub budget: Option<&'a TrafficStatus>,
    /// What it costs.
    pub bills: Option<&'a [Bill]>,
}

#[derive(Debug, Serialize)]
struct Tile {
    what: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
struct Bar {
    class: &'static str,
    x: String,
    y: String,
    width: String,
    height: String,
    title: String,
}

#[derive(Debug, Serialize)]
struct Chart {
    what: &'static str,
    names: Option<[&'static str; 2]>,
    most: String,
    bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
struct Line {
    all: bool,
    cells: Vec<String>,
}

/// How long a step is, so that a chart has neither few columns nor very many.
pub fn step(window: Window) -> i64 {
    let length = window.to_ns.saturating_sub(window.from_ns);
    if length <= 4 * DAY { HOUR } else { DAY }
}

impl Page<'_> {
    /// The page.
    pub fn render(&self) -> Result<String, Error> {
        let mut context = Context::new();
        let to = self.window.to_ns.min(self.now_ns).max(self.window.from_ns);
        context.insert("title", &self.title);
        context.insert("from", &minute(self.window.from_ns));
        context.insert("to", &minute(to));
        context.insert("complete", &minute(self.complete_ns.max(self.window.from_ns)));
        context.insert("made", &minute(self.now_ns));
        let step = if self.step == HOUR { "hour" } else { "day" };
        context.insert("step", &step);
        context.insert("tiles", &self.tiles());
        let columns = self.columns();
        let label = |column: Option<&(i64, Option<&Row>)>| column.map(|c| self.label(c.0)).unwrap_or_default();
        context.insert("first", &label(columns.first()));
        context.insert("last", &label(columns.last()));
        context.insert("charts", &self.charts(&columns));
        let heads = [
            self.of,
            "VEs",
            "Ran",
            "Available",
            "CPU",
            "Memory, GiB·h",
            "Most of one",
            "Disk, GiB·h",
            "Read",
            "Written",
            "In",
            "Out",
            "95th perc.",
        ];
        context.insert("heads", &heads);
        context.insert("rows", &self.rows.iter().map(line).collect::<Vec<_>>());
        let heads = [
            self.of,
            "Waited for its cap",
            "Memory at its limit, times",
            "Killed for memory",
            "Processes refused",
            "Disk full, times",
            "Disk full, for",
        ];
        context.insert("hit_heads", &heads);
        context.insert("hits", &self.rows.iter().filter_map(hits).collect::<Vec<_>>());
        let bills = self.bills.unwrap_or_default();
        context.insert("bill", &lines(bills));
        let currency = bills.first().map(|bill| bill.currency.clone());
        context.insert("currency", &currency.unwrap_or_default());
        Tera::one_off(PAGE, &context, true).map_err(|e| Error::new(Class::Failed, "cannot make the page").because(e))
    }

    fn tiles(&self) -> Vec<Tile> {
        let mut all = self.rows.first().map(tiles).unwrap_or_default();
        if let Some((budget, left)) = self.budget.and_then(|b| Some((b, left(b)?))) {
            all.push(Tile {
                what: "traffic left this month",
                value: format!("{} of {}", bytes(left), budget.limit.map(bytes).unwrap_or_default()),
            });
        }
        all
    }

    /// The beginning of a column.
    fn label(&self, begins: i64) -> String {
        let text = minute(begins);
        match text.split_once(' ') {
            Some((day, _)) if self.step == DAY => day.to_owned(),
            _ => text,
        }
    }

    /// The columns of the charts, each with its beginning, over all the time that the page is of; those too in which
    /// nothing was.
    fn columns(&self) -> Vec<(i64, Option<&Row>)> {
        let begins = |row: &Row| {
            let at: jiff::Timestamp = row.group.as_ref()?.parse().ok()?;
            i64::try_from(at.as_nanosecond()).ok()
        };
        let known: Vec<(i64, &Row)> = self.course.iter().filter_map(|row| Some((begins(row)?, row))).collect();
        let (Some((first, _)), Some((last, _))) = (known.first(), known.last()) else {
            return Vec::new();
        };
        let step = |ns: i64| ns.div_euclid(self.step) * self.step;
        let end = step(self.window.to_ns.min(self.now_ns).saturating_sub(1)).max(*last);
        // Of a very long time, its end.
        let begin = step(self.window.from_ns).min(*first);
        let first = begin.max(end - (MOST - 1) * self.step);
        let count = (end - first) / self.step + 1;
        let column = |n: i64| {
            let at = first + n * self.step;
            (at, known.iter().find(|(begins, _)| *begins == at).map(|(_, row)| *row))
        };
        (0..count).map(column).collect()
    }
}

/// To the minute, as people write it.
fn minute(ns: i64) -> String {
    let at = jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

fn span(row: &Row, name: &str) -> String {
    seconds(small(row.sums.get(name) / 1_000_000_000))
}

fn level(n: Option<u64>) -> String {
    n.map_or_else(|| "–".to_owned(), bytes)
}

fn p95(row: &Row) -> String {
    row.p95.map_or_else(|| "–".to_owned(), |[a, b]| bits(a.max(b)))
}

fn available(row: &Row) -> String {
    availability(&row.sums).map_or_else(|| "–".to_owned(), |milli| format!("{} %", percent(milli)))
}

fn tiles(row: &Row) -> Vec<Tile> {
    let tile = |what, value| Tile { what, value };
    let p95 = p95(row);
    vec![
        tile("virtual environments", row.ves.to_string()),
        tile("processor time", span(row, "cpu_ns")),
        tile("GiB-hours of memory", gib_hours(row, "memory")),
        tile("GiB-hours of disk", gib_hours(row, "disk")),
        tile("traffic in", bytes(small(passed(row, "in")))),
        tile("traffic out", bytes(small(passed(row, "out")))),
        tile("95th percentile", p95),
        tile("available", available(row)),
    ]
}

fn line(row: &Row) -> Line {
    let sum = |name: &str| bytes(small(row.sums.get(name)));
    Line {
        all: row.group.is_none(),
        cells: vec![
            row.group.clone().unwrap_or_else(|| "Total".to_owned()),
            row.ves.to_string(),
            span(row, "running_ns"),
            available(row),
            span(row, "cpu_ns"),
            gib_hours(row, "memory"),
            level(peak(row, "memory")),
            gib_hours(row, "disk"),
            sum("disk_read_bytes"),
            sum("disk_write_bytes"),
            bytes(small(passed(row, "in"))),
            bytes(small(passed(row, "out"))),
            p95(row),
        ],
    }
}

/// How its limits stood in its way; `None`: they never did.
fn hits(row: &Row) -> Option<Line> {
    let counted = ["memory_limit_hits", "oom_kills", "forks_refused", "disk_full_hits"].map(|name| row.sums.get(name));
    let timed = ["throttled_ns", "disk_full"];
    let none = counted.iter().all(|n| *n == 0) && timed.iter().all(|name| row.sums.get(name) == 0);
    let [cap, full] = timed.map(|name| span(row, name));
    let [memory, killed, refused, times] = counted.map(|n| n.to_string());
    (!none).then(|| Line {
        all: row.group.is_none(),
        cells: vec![
            row.group.clone().unwrap_or_else(|| "Total".to_owned()),
            cap,
            memory,
            killed,
            refused,
            times,
            full,
        ],
    })
}

fn lines(bills: &[Bill]) -> Vec<Line> {
    let mut all = Vec::new();
    for bill in bills {
        let whose = bill.group.clone().unwrap_or_else(|| "Total".to_owned());
        for line in &bill.lines {
            let cells = [
                whose.clone(),
                line.text.clone(),
                format!("{} {}", line.units, line.unit),
                line.price.clone(),
                line.sum.clone(),
            ];
            all.push(Line {
                all: false,
                cells: cells.to_vec(),
            });
        }
        all.push(Line {
            all: true,
            cells: vec![whose, String::new(), String::new(), String::new(), bill.total.clone()],
        });
    }
    all
}

/// A value for each of the series, of a row in so much time.
type Value = fn(&Row, u128) -> u64;

/// What a chart shows, in which words, the names of its series if they are several, and the series.
struct Course<'a> {
    what: &'static str,
    text: fn(u64) -> String,
    names: Option<[&'static str; 2]>,
    series: &'a [(&'static str, Value)],
}

impl Page<'_> {
    fn charts(&self, columns: &[(i64, Option<&Row>)]) -> Vec<Chart> {
        let cpu: Value = |row, _| small(row.sums.get("cpu_ns") / 1_000_000_000);
        let memory: Value = |row, time| small(row.sums.get("memory") / time);
        let disk: Value = |row, time| small(row.sums.get("disk") / time);
        let inward: Value = |row, _| small(passed(row, "in"));
        let outward: Value = |row, _| small(passed(row, "out"));
        let read: Value = |row, _| small(row.sums.get("disk_read_bytes"));
        let written: Value = |row, _| small(row.sums.get("disk_write_bytes"));
        let throttled: Value = |row, _| small(row.sums.get("throttled_ns") / 1_000_000_000);
        let course = |what, text, names, series| {
            self.chart(
                columns,
                &Course {
                    what,
                    text,
                    names,
                    series,
                },
            )
        };
        vec![
            course("Processor time", seconds, None, &[("one", cpu)]),
            course("Waiting for the cap on it", seconds, None, &[("one", throttled)]),
            course("Memory, average of all together", bytes, None, &[("one", memory)]),
            course("Disk, average of all together", bytes, None, &[("one", disk)]),
            course(
                "Traffic",
                bytes,
                Some(["in", "out"]),
                &[("one", inward), ("two", outward)],
            ),
            course(
                "Disk traffic",
                bytes,
                Some(["read", "written"]),
                &[("one", read), ("two", written)],
            ),
        ]
    }

    /// How much of a column's time has passed, in nanoseconds; not nothing.
    fn passed_of(&self, begins: i64) -> u128 {
        let end = begins.saturating_add(self.step).min(self.window.to_ns).min(self.now_ns);
        u128::try_from(end.saturating_sub(begins.max(self.window.from_ns)))
            .unwrap_or(0)
            .max(1)
    }

    /// Columns of one series, or of several beside each other, as high as a chart is at the most of them.
    #[allow(clippy::cast_precision_loss)] // places on a page of a thousand units
    fn chart(&self, columns: &[(i64, Option<&Row>)], course: &Course<'_>) -> Chart {
        let Course {
            what,
            text,
            names,
            series,
        } = *course;
        let value = |at: i64, row: &Option<&Row>, of: Value| row.map_or(0, |row| of(row, self.passed_of(at)));
        let all = columns
            .iter()
            .flat_map(|(at, row)| series.iter().map(move |(_, of)| value(*at, row, *of)));
        let most = all.max().unwrap_or(0);
        let column = 1000.0 / columns.len().max(1) as f64;
        let width = column * 0.8 / series.len() as f64;
        let mut bars = Vec::new();
        for (n, (at, row)) in columns.iter().enumerate() {
            for (m, (class, of)) in series.iter().enumerate() {
                let value = value(*at, row, *of);
                if value == 0 {
                    continue;
                }
                let height = 198.0 * value as f64 / most as f64;
                bars.push(Bar {
                    class,
                    x: format!("{:.2}", column * (n as f64 + 0.1) + width * m as f64),
                    y: format!("{:.2}", 199.0 - height),
                    width: format!("{width:.2}"),
                    height: format!("{height:.2}"),
                    title: format!("{}: {}", minute(*at), text(value)),
                });
            }
        }
        Chart {
            what,
            names,
            most: text(most),
            bars,
        }
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::definition::Prices;
    use hostel_model::usage::Sums;

    use super::*;

    fn row(group: Option<&str>, cpu_ns: u128, out: u128) -> Row {
        let sums = [
            ("cpu_ns", cpu_ns),
            ("memory", (3 << 30) * 43_200_000_000_000),
            ("memory.time", 43_200_000_000_000),
            ("traffic.external.out.ipv4.bytes", out),
        ];
        Row {
            group: group.map(str::to_owned),
            ves: 1,
            sums: Sums(sums.into_iter().map(|(k, n)| (k.to_owned(), n)).collect()),
            peaks: vec![("memory", Some(2 << 30))],
            p95: Some([0, 1_500_000]),
        }
    }

    #[test]
    fn a_page_stands_alone_and_shows_what_nothing_was_in() {
        let hour = 3_600_000_000_000;
        let course = [
            row(Some("2026-10-01T00:00:00Z"), hour, 1 << 20),
            row(Some("2026-10-03T00:00:00Z"), hour / 2, 0),
        ];
        let rows = [row(None, 2 * hour, 5), row(Some("<b>web1</b> (101)"), 2 * hour, 5)];
        let prices = Prices::parse(
            "prices.toml",
            "currency = \"EUR\"\n[[price]]\nname = \"Processor time\"\nusage = \"cpu\"\nprice = \"0.02\"\n",
        )
        .unwrap();
        let bills = [prices.bill(Some("web1".into()), &rows[1].sums)];
        let begins: jiff::Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
        let from_ns = i64::try_from(begins.as_nanosecond()).unwrap();
        let window = Window {
            from_ns,
            to_ns: from_ns + 31 * DAY,
        };
        let page = Page {
            title: "Usage of acme".into(),
            window,
            complete_ns: from_ns + 10 * DAY - 60_000_000_000,
            now_ns: from_ns + 10 * DAY,
            step: step(window),
            course: &course,
            of: "VE",
            rows: &rows,
            budget: None,
            bills: Some(&bills),
        };
        let text = page.render().unwrap();
        for one in [
            "<h1>Usage of acme</h1>",
            "2026-10-01 00:00 to 2026-10-11 00:00, in UTC; complete up to 2026-10-10 23:59",
            "By the day",
            "<span>2026-10-01</span><span>2026-10-10</span>",
            "1.5 Mbit",
            "&lt;b&gt;web1",
            "2.000 CPU-hour",
            "0.04",
            // A column for each of ten days, most of them empty; the third is half as high as the first.
            "<rect class=\"one\" x=\"10.00\" y=\"1.00\" width=\"80.00\" height=\"198.00\"><title>2026-10-01 00:00: 1h00m</title>",
            // 3 GiB for half of a day that has passed.
            "<title>2026-10-01 00:00: 1.5G</title>",
            "<rect class=\"one\" x=\"210.00\" y=\"100.00\" width=\"80.00\" height=\"99.00\"><title>2026-10-03 00:00: 30m00s</title>",
        ] {
            assert!(text.contains(one), "{one}\n{text}");
        }
        for other in ["http", "src=", "<script", "<b>web1"] {
            assert!(!text.contains(other), "{other}");
        }
    }

    #[test]
    fn a_time_of_which_nothing_is_known_makes_a_page_too() {
        let window = Window { from_ns: 0, to_ns: DAY };
        let page = Page {
            title: "Usage of all".into(),
            window,
            complete_ns: DAY,
            now_ns: DAY,
            step: step(window),
            course: &[],
            of: "Tenant",
            rows: &[],
            budget: None,
            bills: None,
        };
        assert!(page.render().unwrap().contains("By the hour"));
    }
}
