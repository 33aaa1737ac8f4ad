//! CTID.conf and its kin: `KEY="value"` lines, comments, and whatever else stands there. What isn't changed stays as it is.

use std::fmt;

use super::table::parameter;

/// A file, line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// A parameter, and the line as it was written.
    Entry(Entry, String),
    /// A comment, an empty line, or what can't be read.
    Other(String),
}

/// A parameter as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line, from 1; 0 for one that was added.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, without quotes.
    pub value: String,
}

/// A line that isn't understood. It stays in the file all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Conf {
    /// Reads a file. Nothing is an error; what isn't understood, or stands for nothing, is told.
    pub fn parse(text: &str) -> (Self, Vec<Problem>) {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        for (at, raw) in text.lines().enumerate() {
            let line = at + 1;
            let plain = raw.trim();
            if plain.is_empty() || plain.starts_with('#') {
                lines.push(Line::Other(raw.to_owned()));
                continue;
            }
            match assignment(plain) {
                Ok((name, value)) => {
                    if parameter(name).is_none() {
                        let why = format!("there is no parameter {name}");
                        problems.push(Problem { line, why });
                    }
                    let name = name.to_owned();
                    lines.push(Line::Entry(Entry { line, name, value }, raw.to_owned()));
                }
                Err(why) => {
                    problems.push(Problem { line, why });
                    lines.push(Line::Other(raw.to_owned()));
                }
            }
        }
        (Self { lines }, problems)
    }

    /// All parameters, in order. One that stands twice is there twice; the last counts.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(|line| match line {
            Line::Entry(entry, _) => Some(entry),
            Line::Other(_) => None,
        })
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let last = self.entries().filter(|entry| entry.name == name).last();
        last.map(|entry| entry.value.as_str())
    }

    /// Sets a parameter: in its line if it has one, else in a new one at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        let text = format!("{name}={}", quoted(value));
        let entry = |line| Entry {
            line,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let has = |line: &&mut Line| matches!(line, Line::Entry(entry, _) if entry.name == name);
        match self.lines.iter_mut().rfind(has) {
            Some(line) => {
                let number = match line {
                    Line::Entry(entry, _) => entry.line,
                    Line::Other(_) => 0,
                };
                *line = Line::Entry(entry(number), text);
            }
            None => self.lines.push(Line::Entry(entry(0), text)),
        }
    }

    /// Adds a comment, or an empty line.
    pub fn comment(&mut self, text: &str) {
        let line = match text {
            "" => String::new(),
            text => format!("# {text}"),
        };
        self.lines.push(Line::Other(line));
    }

    /// The text of a comment that begins so: libvirt keeps `#UUID: …`.
    pub fn after(&self, mark: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| match line {
            Line::Other(text) => text.trim().strip_prefix(mark).map(str::trim),
            Line::Entry(..) => None,
        })
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let (Line::Entry(_, text) | Line::Other(text)) = line;
            writeln!(f, "{text}")?;
        }
        Ok(())
    }
}

/// Puts a container's number where a value says `$VEID`.
pub fn with_id(value: &str, id: &str) -> String {
    value.replace("${VEID}", id).replace("$VEID", id)
}

/// `KEY="value"`, as a shell would read it; no blanks around `=`.
fn assignment(text: &str) -> Result<(&str, String), String> {
    let shape = || "it is not of the form KEY=\"value\"".to_owned();
    let (name, rest) = text.split_once('=').ok_or_else(shape)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(fits) || name.as_bytes()[0].is_ascii_digit() {
        return Err(shape());
    }
    let (value, behind) = match rest.chars().next() {
        Some('"') => unquoted(&rest[1..]).ok_or("the closing quote is missing")?,
        Some('\'') => {
            let (value, behind) = rest[1..].split_once('\'').ok_or("the closing quote is missing")?;
            (value.to_owned(), behind)
        }
        _ => {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let behind = behind.trim();
    match behind.is_empty() || behind.starts_with('#') {
        true => Ok((name, value)),
        false => Err(format!("\"{behind}\" behind the value: put the whole of it in quotes")),
    }
}

/// What stands before the closing quote, and what behind it. A backslash keeps the next character from meaning anything;
/// `\n` is the end of a line of a description.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

/// A value in quotes, which a shell that reads it takes for no more than text.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' | '`' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "# Copyright\n#UUID: 0a1b\n\nONBOOT=\"yes\"\nPHYSPAGES=0:65536 # RAM\nVE_ROOT='/vz/root/$VEID'\n\
        COLOUR=\"red\"\nKMEMSIZE = 5\nHOSTNAME=\"a b\nDESCRIPTION=\"one\\ntwo \\\"x\\\"\"\n";

    #[test]
    fn a_file_is_read_and_kept() {
        let (mut conf, problems) = Conf::parse(OLD);
        assert_eq!(conf.to_string(), OLD);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 7: there is no parameter COLOUR",
                "line 8: it is not of the form KEY=\"value\"",
                "line 9: the closing quote is missing",
            ]
        );
        assert_eq!(conf.get("PHYSPAGES"), Some("0:65536"));
        assert_eq!(conf.get("DESCRIPTION"), Some("one\ntwo \"x\""));
        assert_eq!(with_id(conf.get("VE_ROOT").unwrap(), "101"), "/vz/root/101");
        assert_eq!(conf.after("#UUID:"), Some("0a1b"));
        assert_eq!(conf.entries().next().map(|e| e.line), Some(4));
        conf.set("ONBOOT", "no");
        conf.set("NAME", "$(reboot) `x`");
        assert!(conf.to_string().contains("ONBOOT=\"no\"\n") && conf.to_string().contains("COLOUR=\"red\""));
        assert!(conf.to_string().ends_with("NAME=\"\\$(reboot) \\`x\\`\"\n"), "{conf}");
    }

    #[test]
    fn the_last_of_two_counts() {
        let (conf, _) = Conf::parse("CPUS=1\nCPUS=\"2\"\n");
        assert_eq!((conf.get("CPUS"), conf.entries().count()), (Some("2"), 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_file_panics_and_each_stays_as_it_is(text in "([A-Z_]{0,6}[ =\"'#\\\\$a-z0-9:,]{0,12}\n){0,6}", other in "(?s).{0,60}") {
            let (conf, _) = Conf::parse(&text);
            prop_assert_eq!(conf.to_string(), text);
            let _ = Conf::parse(&other);
        }

        #[test]
        fn what_is_set_is_read_back(value in "[^\\p{Cc}]{0,40}") {
            let mut conf = Conf::default();
            conf.set("DESCRIPTION", &value);
            let (again, problems) = Conf::parse(&conf.to_string());
            prop_assert!(problems.is_empty());
            prop_assert_eq!(again.get("DESCRIPTION"), Some(value.as_str()));
        }
    }
}
