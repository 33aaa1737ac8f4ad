//! What a script said and how it ended, for a person.

use std::path::Path;

use hostel_system::scripts::{How, Ran};

use crate::error::{Class, Error, Result};
use crate::ve::outline::Outline;

/// The most lines of what a script says that a person is told.
pub(super) const LINES: usize = 20;

pub(super) fn file_name(script: &Path) -> String {
    script.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a script said, a line each with its name. It may have run programs of a tenant's, so nothing in it may reach a
/// terminal but letters.
pub(super) fn lines(script: &Path, ran: &Ran) -> Vec<String> {
    let name = file_name(script);
    let text = String::from_utf8_lossy(&ran.said);
    let clean = |line: &str| {
        line.chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect::<String>()
    };
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut told: Vec<String> = all
        .iter()
        .take(LINES)
        .map(|line| format!("{name}: {}", clean(line)))
        .collect();
    if all.len() > LINES {
        told.push(format!("{name}: and {} lines more", all.len() - LINES));
    }
    told
}

/// An error, if it didn't end well.
pub(super) fn outcome(ve: &Outline, script: &Path, ran: &Ran) -> Result<()> {
    let class = match ran.how {
        How::Code(0) => return Ok(()),
        How::Interrupted => Class::Interrupted,
        _ => Class::Script,
    };
    let message = format!("script {} failed for {}", script.display(), ve.name);
    let error = Error::new(class, message).because(ran.how.to_string());
    Err(match ran.how {
        How::TimedOut => error.hint("it may take longer with hooks.timeout in hostel.toml"),
        _ => error,
    })
}
