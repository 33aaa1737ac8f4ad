//! Why a subcommand ended early, and how errors are printed.

use std::io;

use anstyle::{AnsiColor, Style};
use hostel_engine::{Class, Error};
use serde_json::json;

use super::paint::Paint;

/// Why a subcommand ended early.
#[derive(Debug)]
pub enum Failure {
    /// The engine said no.
    Engine(Error),
    /// Nobody reads standard output any more: `hostel list | head -1`. Counts as success.
    BrokenPipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<io::Error> for Failure {
    /// For writes to standard output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Engine(Error::new(Class::Failed, "cannot write to standard output").because(error))
    }
}

/// The causes of an error, outermost first. A cause that its predecessor quotes already is left out.
pub fn causes(error: &Error) -> Vec<String> {
    let mut said = vec![error.message.clone()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !text.is_empty() && !said.iter().any(|s| s.ends_with(&text)) {
            said.push(text);
        }
        source = cause.source();
    }
    said.remove(0);
    said
}

/// An error with its causes, in one line.
pub fn with_causes(error: &Error) -> String {
    let causes = causes(error);
    std::iter::once(&error.message)
        .chain(&causes)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(": ")
}

/// An error as lines for a person; `subject` is put before a message that doesn't name it.
pub fn text(error: &Error, subject: Option<&str>, paint: Paint) -> String {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let cyan = Style::new().fg_color(Some(AnsiColor::Cyan.into()));
    let message = match subject {
        Some(subject) if !names(&error.message, subject) => format!("{subject}: {}", error.message),
        _ => error.message.clone(),
    };
    let mut out = entry("", "error:", red, &message, paint);
    for cause in causes(error) {
        out.push_str(&entry("  ", "because:", Style::new().dimmed(), &cause, paint));
    }
    for also in &error.also {
        out.push_str(&entry("  ", "also:", yellow, also, paint));
    }
    for hint in &error.hints {
        out.push_str(&entry("  ", "hint:", cyan, hint, paint));
    }
    out
}

/// Does the sentence name `subject` as a word of its own?
fn names(sentence: &str, subject: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    sentence.match_indices(subject).any(|(at, _)| {
        let before = sentence[..at].chars().next_back();
        let after = sentence[at + subject.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// One labelled line; further lines of the text stand below its first.
fn entry(indent: &str, label: &str, style: Style, text: &str, paint: Paint) -> String {
    let margin = " ".repeat(indent.len() + 2);
    let mut out = String::new();
    for (n, line) in text.trim_end().lines().enumerate() {
        let line = visible(&without_numbers(line));
        if n == 0 {
            out.push_str(&format!("{indent}{} {line}\n", paint.with(style, label)));
        } else if line.is_empty() {
            out.push('\n');
        } else {
            out.push_str(&format!("{margin}{line}\n"));
        }
    }
    out
}

/// The kernel's words without the number that the library puts behind them: "Permission denied (os error 13)".
pub fn without_numbers(line: &str) -> String {
    let mut parts = line.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => out.push_str(rest),
            _ => {
                out.push_str(" (os error ");
                out.push_str(part);
            }
        }
    }
    out
}

/// Makes control characters visible: a file name or a guest's text must not steer the terminal.
pub fn visible(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// An error as JSON.
pub fn json(error: &Error) -> serde_json::Value {
    json!({
        "class": class_name(error.class),
        "message": error.message,
        "because": causes(error),
        "also": error.also,
        "hints": error.hints,
    })
}

/// The class in JSON; stable.
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Failed => "failed",
        Class::Usage => "usage",
        Class::NotFound => "not_found",
        Class::Refused => "refused",
        Class::Busy => "busy",
        Class::Limit => "limit",
        Class::Script => "script",
        Class::Interrupted => "interrupted",
    }
}
