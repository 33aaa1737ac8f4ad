//! `hostel report --invoice`: what usage costs.

use hostel_model::prices::{Bill, BillLine};
use serde_json::Value;

use super::span::{HEADS, Span};
use crate::cli::csv;
use crate::cli::table::{Column, Table};

fn whose(bill: &Bill) -> String {
    bill.group.clone().unwrap_or_else(|| "total".to_owned())
}

/// For a person: the lines of each bill, and under them what they come to.
pub fn table(bills: &[Bill]) -> Table {
    let mut table = Table::new(vec![
        Column::text("FOR").cut(12),
        Column::text("WHAT").cut(12),
        Column::number("AMOUNT"),
        Column::text("UNIT"),
        Column::number("PRICE"),
        Column::number("SUM"),
        Column::text("CURRENCY"),
    ]);
    for bill in bills {
        for line in &bill.lines {
            table.row(cells(bill, line).map(Into::into).to_vec());
        }
        let sum = [
            whose(bill),
            "all".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            bill.total.clone(),
            bill.currency.clone(),
        ];
        table.row(sum.map(Into::into).to_vec());
    }
    table
}

fn cells(bill: &Bill, line: &BillLine) -> [String; 7] {
    [
        whose(bill),
        line.text.clone(),
        line.units.clone(),
        line.unit.to_owned(),
        line.price.clone(),
        line.sum.clone(),
        bill.currency.clone(),
    ]
}

/// For another program: the lines alone.
pub fn sheet(bills: &[Bill], span: &Span) -> String {
    let heads = ["group", "what", "units", "unit", "price", "sum", "currency"].into_iter();
    let heads: Vec<&str> = heads.chain(HEADS).collect();
    let all = bills
        .iter()
        .flat_map(|bill| bill.lines.iter().map(|line| cells(bill, line)));
    let lines = all.map(|cells| csv::line(&[&cells[..], &span.cells()].concat()));
    csv::line(&heads) + &lines.collect::<String>()
}

/// The same with sums, as JSON.
pub fn objects(bills: &[Bill], span: &Span) -> Vec<Value> {
    let object = |bill| serde_json::to_value(bill).unwrap_or_default();
    bills.iter().map(|bill| span.put_into(object(bill))).collect()
}

#[cfg(test)]
mod tests {
    use hostel_model::definition::Prices;
    use hostel_model::usage::Sums;

    use super::*;
    use crate::cli::paint::Paint;
    use crate::cli::tests::golden;

    #[test]
    fn an_invoice() {
        let text = "currency = \"EUR\"\n[[price]]\nname = \"Memory\"\nusage = \"memory\"\nprice = \"0.0125\"\n\
            [[price]]\nname = \"Traffic, out\"\nusage = \"traffic_out\"\nprice = \"0.001\"\n";
        let prices = Prices::parse("prices.toml", text).unwrap();
        let used = |hours: u128, bytes: u128| {
            let memory = ("memory".to_owned(), hours * (3_600_000_000_000 << 30));
            Sums([memory, ("traffic.external.out.ipv4.bytes".to_owned(), bytes)].into())
        };
        let bills = [
            prices.bill(Some("acme".into()), &used(744, 1_000_000_000_000)),
            prices.bill(Some("globex".into()), &used(1, 0)),
        ];
        let all: Vec<Bill> = [prices.together(&bills)].into_iter().chain(bills).collect();
        let span = Span {
            from: "2026-10-01T00:00:00Z".into(),
            to: "2026-11-01T00:00:00Z".into(),
            complete: "2026-10-31T23:59:00Z".into(),
        };
        let text =
            table(&all).render(Some(80), Paint::OFF) + &span.line() + "\n" + &sheet(&all, &span).replace('\r', "");
        let object = &objects(&all, &span)[1];
        assert_eq!(
            (&object["group"], &object["complete_until"]),
            (&"acme".into(), &span.complete.as_str().into())
        );
        golden("tests/golden/cli/invoice.txt", &text);
    }
}
