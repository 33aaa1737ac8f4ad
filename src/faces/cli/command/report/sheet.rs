//! `hostel report --format csv`: all that any row has, a column each.

use hostel_engine::facade::Row;
use hostel_model::usage::{Level, availability};

use super::budget::{Budget, left};
use super::span::{HEADS, Span};
use super::{average, peak};
use crate::cli::csv;

/// What is worked out, of each row; nothing where nothing is known.
type Worked = (String, Box<dyn Fn(&Row) -> Option<String>>);

fn worked_out() -> Vec<Worked> {
    let p95 = |way: usize| move |row: &Row| row.p95.map(|p95| p95[way].to_string());
    let mut all: Vec<Worked> = vec![
        ("bandwidth.in.p95".to_owned(), Box::new(p95(0))),
        ("bandwidth.out.p95".to_owned(), Box::new(p95(1))),
        (
            "availability".to_owned(),
            Box::new(|row| availability(&row.sums).map(super::percent)),
        ),
    ];
    for level in Level::ALL.map(Level::name) {
        let of = move |n: Option<u64>| n.map(|n| n.to_string());
        // Of what is 1 or 0 there is no average in whole numbers.
        if level != Level::DiskFull.name() {
            all.push((format!("{level}.average"), Box::new(move |row| of(average(row, level)))));
        }
        all.push((format!("{level}.peak"), Box::new(move |row| of(peak(row, level)))));
    }
    all
}

/// All of it.
pub fn text(rows: &[Row], budgets: &[Budget], span: &Span) -> String {
    let mut names: Vec<&String> = rows.iter().flat_map(|row| row.sums.0.keys()).collect();
    names.sort();
    names.dedup();
    let worked = worked_out();
    let with_budgets = budgets.iter().any(Option::is_some);
    let of_budgets = ["budget.traffic.used", "budget.traffic.limit", "budget.traffic.left"];
    let heads: Vec<&str> = ["group", "ves"]
        .into_iter()
        .chain(worked.iter().map(|(name, _)| name.as_str()))
        .chain(of_budgets.into_iter().filter(|_| with_budgets))
        .chain(names.iter().map(|name| name.as_str()))
        .chain(HEADS)
        .collect();
    let mut text = csv::line(&heads);
    for (row, budget) in rows.iter().zip(budgets) {
        let mut cells = vec![
            row.group.clone().unwrap_or_else(|| "total".to_owned()),
            row.ves.to_string(),
        ];
        cells.extend(worked.iter().map(|(_, of)| of(row).unwrap_or_default()));
        if with_budgets {
            let parts = budget.as_ref().map(|b| [b.used, b.limit, left(b)]).unwrap_or_default();
            cells.extend(parts.map(|n| n.map(|n| n.to_string()).unwrap_or_default()));
        }
        cells.extend(names.iter().map(|name| row.sums.get(name).to_string()));
        cells.extend(span.cells());
        text.push_str(&csv::line(&cells));
    }
    text
}
