//! What is wrong with a definition file: each mistake with its place, what was found and what was expected.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// What sort of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The text is no TOML.
    Syntax,
    /// There is no such key.
    Unknown,
    /// A key that must be there isn't.
    Missing,
    /// A value that can't be.
    Wrong,
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The sort of mistake.
    pub fault: Fault,
    /// The dotted key, `memory.limit`, `network.0.addresses`; empty for a mistake of syntax.
    pub key: String,
    /// The offending text; "(hidden)" for secrets; for syntax, what the parser says.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// The line of the file, for the reader's eye.
    pub excerpt: String,
    /// How many characters from `column` on are meant, at least 1.
    pub width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            key,
            found,
            expected,
            ..
        } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        match self.fault {
            Fault::Syntax => write!(f, "not TOML: {found}")?,
            Fault::Unknown => write!(f, "unknown key \"{found}\"")?,
            Fault::Missing => write!(f, "\"{key}\" is missing")?,
            Fault::Wrong => write!(f, "{key} is {found}")?,
        }
        if !expected.is_empty() {
            write!(f, "; expected {expected}")?;
        }
        if self.excerpt.trim().is_empty() {
            return Ok(());
        }
        let gutter = " ".repeat(line.to_string().len());
        // Tabs stay tabs, so that the caret stands below its text on any terminal.
        let pad: String = self
            .excerpt
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let caret = "^".repeat(self.width);
        write!(f, "\n{gutter} |\n{line} | {}\n{gutter} | {pad}{caret}", self.excerpt)
    }
}

/// Every mistake of a file, in order of place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The mistakes, in order of place.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// One mistake of syntax.
    pub(crate) fn of_syntax(file: &str, text: &str, span: Range<usize>, message: &str) -> Self {
        let mut reports = Reports::new(file, text);
        reports.syntax(span, message);
        reports.finish()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects the mistakes of one file while it is read.
#[derive(Debug)]
pub(crate) struct Reports<'a> {
    file: &'a str,
    text: &'a str,
    list: Vec<Diagnostic>,
}

/// Lines longer than this are cut in the excerpt: an SSH key needn't fill the screen.
const EXCERPT: usize = 160;

impl<'a> Reports<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            list: Vec::new(),
        }
    }

    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn finish(mut self) -> Diagnostics {
        self.list.sort_by_key(|d| (d.line, d.column));
        Diagnostics(self.list)
    }

    pub(crate) fn syntax(&mut self, span: Range<usize>, message: &str) {
        let message = message.trim().replace('\n', ", ");
        self.push(Fault::Syntax, span, String::new(), message, String::new(), false);
        // A mistake of syntax may stand in the line of a password.
        if let Some(d) = self.list.last_mut()
            && d.excerpt.contains("password")
        {
            d.excerpt = String::new();
        }
    }

    pub(crate) fn unknown(&mut self, span: Range<usize>, key: String, expected: String) {
        let found = key.escape_debug().to_string();
        self.push(Fault::Unknown, span, key, found, expected, false);
    }

    pub(crate) fn missing(&mut self, span: Range<usize>, key: String, expected: String) {
        let whole_file = span.is_empty();
        self.push(Fault::Missing, span, key, String::new(), expected, false);
        if let Some(d) = self.list.last_mut().filter(|_| whole_file) {
            d.excerpt = String::new();
        }
    }

    pub(crate) fn wrong(&mut self, span: Range<usize>, key: String, expected: String, secret: bool) {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let found = if secret { "(hidden)".to_owned() } else { shorten(raw) };
        self.push(Fault::Wrong, span, key, found, expected, secret);
    }

    /// A mistake in the file's own name.
    pub(crate) fn file_name(&mut self, found: &str, expected: String) {
        let found = format!("\"{}\"", found.escape_debug());
        self.push(Fault::Wrong, 0..0, "the file's name".into(), found, expected, false);
        if let Some(d) = self.list.last_mut() {
            d.excerpt = String::new();
        }
    }

    fn push(&mut self, fault: Fault, span: Range<usize>, key: String, found: String, expected: String, secret: bool) {
        let start = floor_char(self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |i| start + i);
        let line_text = self.text[line_start..line_end].trim_end_matches('\r');
        let end = floor_char(self.text, span.end).clamp(start, line_start + line_text.len().max(start - line_start));
        let column = self.text[line_start..start].chars().count() + 1;
        let mut width = self.text[start..end].chars().count();
        let mut excerpt: String = line_text.chars().take(EXCERPT.max(column)).collect();
        if secret {
            excerpt = self.text[line_start..start].to_owned() + "(hidden)";
            width = "(hidden)".len();
        }
        width = width.min(excerpt.chars().count().saturating_sub(column - 1)).max(1);
        let excerpt = excerpt
            .chars()
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .collect();
        let line = self.text[..start].matches('\n').count() + 1;
        let file = self.file.to_owned();
        self.list.push(Diagnostic {
            file,
            line,
            column,
            fault,
            key,
            found,
            expected,
            excerpt,
            width,
        });
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The text of a value on one line, not too long for a sentence.
fn shorten(raw: &str) -> String {
    let line: String = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if line.chars().count() <= 60 {
        line
    } else {
        line.chars().take(57).chain("...".chars()).collect()
    }
}

/// "one of a, b, c", with the likeliest meant one in front of it.
pub(crate) fn one_of<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    let list = match known.as_slice() {
        [] => "nothing here".to_owned(),
        [one] => format!("\"{one}\""),
        many => format!("one of {}", many.join(", ")),
    };
    match nearest(found, known.iter().copied()) {
        Some(meant) if known.len() > 1 => format!("{list} (did you mean \"{meant}\"?)"),
        _ => list,
    }
}

/// The known word that `found` is likely a misspelling of.
pub(crate) fn nearest<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let found = found.to_lowercase();
    let budget = (found.chars().count() / 3).max(1) + 1;
    known
        .map(|k| (distance(&found, k), k))
        .filter(|(d, k)| *d <= budget && *d < k.len())
        .min()
        .map(|(_, k)| k)
}

/// Edit distance where swapping two neighbours counts as one edit (Damerau, restricted).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likely_word() {
        let known = ["memory", "cpu", "io", "disk", "network"];
        assert_eq!(nearest("memroy", known.into_iter()), Some("memory"));
        assert_eq!(nearest("Disk", known.into_iter()), Some("disk"));
        assert_eq!(nearest("ram", known.into_iter()), None);
        assert_eq!(
            one_of("netwrk", known.into_iter()),
            "one of memory, cpu, io, disk, network (did you mean \"network\"?)"
        );
        assert_eq!(
            (distance("", "abc"), distance("ab", "ba"), distance("kitten", "sitting")),
            (3, 1, 3)
        );
    }

    #[test]
    fn a_block_points_at_the_text() {
        let text = "# ä\n\tx = 'ö' # why\n";
        let mut reports = Reports::new("a.toml", text);
        let at = text.find("'ö'").unwrap();
        reports.wrong(at..at + "'ö'".len(), "x".into(), "an o".into(), false);
        let shown = reports.finish().to_string();
        assert_eq!(
            shown,
            "a.toml:2:6: x is 'ö'; expected an o\n  |\n2 | \tx = 'ö' # why\n  | \t    ^^^"
        );
    }

    #[test]
    fn no_place_panics() {
        for text in ["", "\n", "ä", "a\r\nb", "a\n\nb"] {
            for start in 0..text.len() + 3 {
                for end in 0..text.len() + 3 {
                    let mut reports = Reports::new("f", text);
                    reports.wrong(start..end, "k".into(), "e".into(), start % 2 == 0);
                    assert!(
                        reports
                            .finish()
                            .iter()
                            .all(|d| d.line >= 1 && d.column >= 1 && d.width >= 1)
                    );
                }
            }
        }
    }

    #[test]
    fn secrets_stay_hidden() {
        let text = "password_hash = \"hunter2\"\npassword = hunter2\n";
        let mut reports = Reports::new("f", text);
        reports.wrong(16..25, "password_hash".into(), "a hash".into(), true);
        reports.syntax(37..38, "string values must be quoted");
        let shown = reports.finish().to_string();
        assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
    }
}
