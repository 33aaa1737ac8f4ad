//! Where a key stands.

use super::splice::Text;

/// The line on which the value of a dotted key (`network.0.addresses`) begins in a definition's text, from 1; nothing if it
/// isn't there, or the text is none.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let before = Text::parse("", text).ok()?.start_of(key)?;
    Some(text.get(..before)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_tables_lists_and_braces() {
        let text = "name = \"a\"\nplan = \"small\"\n\n[memory]\nlimit = \"1GiB\"\n\n[[network]]\nnetwork = \"lan\"\n\
            [[network]]\nnetwork = \"wan\"\naddresses = [\n  \"192.0.2.1\",\n]\n";
        for (key, line) in [
            ("plan", 2),
            ("memory.limit", 5),
            ("network.0.network", 8),
            ("network.1.addresses", 11),
        ] {
            assert_eq!(line_of(text, key), Some(line), "{key}");
        }
        for key in ["tenant", "network.2.network", "network.x", "memory.limit.more", ""] {
            assert_eq!(line_of(text, key), None, "{key}");
        }
        assert_eq!(
            line_of("network = [{ network = \"lan\" }]\n", "network.0.network"),
            Some(1)
        );
        assert_eq!(line_of("name = ", "name"), None);
    }
}
