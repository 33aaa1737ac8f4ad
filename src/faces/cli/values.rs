//! Values of options, parsed once.

use std::time::Duration;

use hostel_model::units::Span;

/// A time: `90s`, `2m`, `1m30s`, `1h`, `7d`, or a bare number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("\"{text}\" is not a length of time; write \"90s\", \"2m\" or a number of seconds");
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| bad());
    }
    // Days are of hostel.toml's lengths of time, parts of a second of the other.
    if let Ok(span) = text.parse::<Span>() {
        return Ok(span.duration());
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    Duration::try_from(parsed).map_err(|_| bad())
}

/// A pair `KEY=VALUE`; the value may be empty and may hold further `=`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not of the form KEY=VALUE")),
    }
}
