//! A sheet's text.

use std::fmt::Write as _;

use crate::spec::{Cell, Sheet, Source, Sum};

/// The kernel's largest numbers stand for "no limit" in files of version 1.
const ENDLESS: u64 = 1 << 62;

/// As it is now.
pub fn text(sheet: &Sheet) -> String {
    let mut out = sheet.head.clone();
    for line in &sheet.lines {
        out.push_str(&line.name);
        for cell in &line.cells {
            // Writing to a text doesn't fail.
            let _ = write!(out, " {:>20}", value(cell));
        }
        out.push('\n');
    }
    out
}

fn value(cell: &Cell) -> u64 {
    let most = cell.any.iter().filter_map(sum).max();
    let divide = cell.divide.max(1);
    match most {
        Some(n) if cell.round_up => n.div_ceil(divide),
        Some(n) => n / divide,
        None => cell.otherwise,
    }
}

fn sum(sum: &Sum) -> Option<u64> {
    let all = |sources: &[Source]| {
        let mut numbers = sources.iter().map(number);
        numbers.try_fold(0_u64, |sum, n| sum.checked_add(n?))
    };
    // Two files aren't read at the same moment.
    Some(all(&sum.plus)?.saturating_sub(all(&sum.minus)?))
}

fn number(source: &Source) -> Option<u64> {
    let text = std::fs::read_to_string(&source.file).ok()?;
    let number = match &source.key {
        None => text.trim_end(),
        Some(key) => text
            .lines()
            .find_map(|line| line.strip_prefix(key.as_str())?.strip_prefix(' '))?,
    };
    number.parse().ok().filter(|n| *n < ENDLESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Line;

    #[test]
    fn cells_say_what_files_say() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let plain = |file| Source { file, key: None };
        let (current, max) = (of("current", "8193\n"), of("max", "max\n"));
        let events = Source {
            file: of("events", "low 1\nmax 7\n"),
            key: Some("max".into()),
        };
        let one = |source: &Source| Sum {
            plus: vec![source.clone()],
            minus: Vec::new(),
        };
        let cell = |any: Vec<Sum>| Cell {
            any,
            divide: 1,
            round_up: false,
            otherwise: 99,
        };
        let (current, max) = (plain(current), plain(max));
        let pages = Cell {
            divide: 4096,
            round_up: true,
            ..cell(vec![one(&current)])
        };
        let less = Sum {
            plus: vec![current.clone()],
            minus: vec![events.clone()],
        };
        for (cell, expected) in [
            (pages, 3),
            (cell(vec![one(&current)]), 8193),
            (cell(vec![one(&max)]), 99),
            (cell(vec![one(&max), one(&events)]), 7),
            (cell(vec![less]), 8186),
            (cell(Vec::new()), 99),
            (cell(vec![one(&plain(of("endless", "9223372036854771712\n")))]), 99),
            (cell(vec![one(&plain(dir.path().join("none")))]), 99),
        ] {
            assert_eq!(value(&cell), expected, "{cell:?}");
        }
        let sheet = Sheet {
            path: String::new(),
            head: "head\n".into(),
            lines: vec![Line {
                name: "a".into(),
                cells: vec![cell(Vec::new())],
            }],
        };
        assert_eq!(text(&sheet), format!("head\na {:>20}\n", 99));
    }
}
