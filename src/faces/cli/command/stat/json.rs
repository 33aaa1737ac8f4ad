//! For programs, a table an object.

use hostel_model::quantity::Unit;
use hostel_model::stat::{FIGURES, Figure, Kind, Row};
use serde_json::{Map, Value, json};

use super::form::Block;

/// A table. What is unknown is null, and a limit that isn't there too.
pub fn object(block: &Block, rows: &[Row]) -> Value {
    json!({
        "report": block.report.name(),
        "intervals": block.intervals,
        "time": block.time.to_string(),
        "ns": block.ns,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

const fn unit(figure: Figure) -> Unit {
    match figure {
        Figure::Cpu => Unit::Micros,
        Figure::Memory | Figure::Swap | Figure::Disk => Unit::Bytes,
        Figure::Read | Figure::Write | Figure::In | Figure::Out => Unit::Rate,
        Figure::ReadOps | Figure::WriteOps => Unit::Operations,
        Figure::Processes => Unit::Processes,
    }
}

fn row(row: &Row) -> Value {
    let id = match row.kind {
        Kind::Ve(id) => Some(id),
        Kind::Total | Kind::System | Kind::Tenant => None,
    };
    let mut object = Map::new();
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    let text = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    add("kind", json!(row.kind.word()));
    add("name", json!(row.name));
    add("id", json!(id));
    add("tenant", json!(text(&row.tenant)));
    add("plan", json!(text(&row.plan)));
    add("state", json!(text(&row.state)));
    add("ves", json!(row.ves));
    for figure in FIGURES {
        let cell = row.cells[figure];
        let amount = |n: Option<u64>| n.map(|n| unit(figure).of(n));
        add(
            figure.name(),
            json!({
                "used": amount(cell.used),
                "host": amount(cell.host),
                "limit": amount(cell.cap),
                "percent_of_host": cell.of_host(),
                "percent_of_limit": cell.of_cap(),
                "entitled": amount(row.entitled[figure]),
                "percent_of_entitlement": row.of_entitlement(figure),
            }),
        );
    }
    add("cpu_weight", json!(row.cpu_weight));
    add(
        "cpu_entitled",
        json!(row.entitled[Figure::Cpu].map(|n| Unit::Micros.of(n))),
    );
    add("percent_of_entitlement", json!(row.of_entitlement(Figure::Cpu)));
    add("io_weight", json!(row.io_weight));
    Value::Object(object)
}
