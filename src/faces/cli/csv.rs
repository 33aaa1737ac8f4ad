//! Tables for other programs: RFC 4180.

/// A line of these cells.
pub fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let quoted: Vec<String> = cells.iter().map(|cell| quoted(cell.as_ref())).collect();
    quoted.join(",") + "\r\n"
}

fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_would_be_read_wrong_is_quoted() {
        assert_eq!(super::line(&["a", "b,c", "d\"e", ""]), "a,\"b,c\",\"d\"\"e\",\r\n");
    }
}
