//! For programs, a figure a line. Fields are only ever added, at the end.

use hostel_model::stat::{Figure, Kind, Resource, Row};

use super::form::{Block, View};

/// A table between its header and its footer.
pub fn lines(block: &Block, view: View, rows: &[Row]) -> String {
    let (report, n) = (block.report.name(), block.intervals);
    let mut out = line(&[
        "header".into(),
        report.into(),
        n.to_string(),
        block.time.as_second().to_string(),
        block.ns.to_string(),
    ]);
    for row in rows {
        for figure in view.figures() {
            out.push_str(&figure_line(report, n, row, figure));
        }
    }
    out.push_str(&line(&[
        "footer".into(),
        report.into(),
        n.to_string(),
        rows.len().to_string(),
    ]));
    out
}

fn figure_line(report: &str, n: u64, row: &Row, figure: Figure) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let text = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let id = match row.kind {
        Kind::Ve(id) => id.to_string(),
        Kind::Total | Kind::System | Kind::Tenant => "-".to_owned(),
    };
    let weight = match figure.resource() {
        Resource::Cpu => row.cpu_weight,
        Resource::Io => row.io_weight,
        _ => None,
    };
    let cell = row.cells[figure];
    line(&[
        "row".into(),
        report.into(),
        n.to_string(),
        row.kind.word().into(),
        row.name.clone(),
        id,
        text(&row.tenant),
        text(&row.state),
        figure.name().into(),
        number(cell.used),
        number(cell.host),
        number(cell.cap),
        number(weight.map(u64::from)),
        number(row.entitled[figure]),
    ])
}

/// Fields with ":" between them. What is one in a field has "\" before it, as has that itself.
fn line(fields: &[String]) -> String {
    let escaped: Vec<String> = fields
        .iter()
        .map(|f| f.replace('\\', "\\\\").replace(':', "\\:").replace('\n', "\\n"))
        .collect();
    format!("{}\n", escaped.join(":"))
}
