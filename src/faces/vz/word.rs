//! What the tools share: where the configuration is, and how they say that something is wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use hostel_engine::{Engine, Error};

use crate::cli::failure::{visible, with_causes, without_numbers};

/// How long a tool waits for another operation on the same VE; those here only ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of them, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Tool(pub &'static str);

/// Why one ended early.
#[derive(Debug)]
pub enum Stop {
    /// With a line on standard error, and this exit code.
    Said(String, u8),
    /// Nobody reads standard output any more.
    Unread,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let hints = error.hints.iter().map(|hint| format!("; {hint}"));
        Self::Said(format!("{}{}", with_causes(&error), hints.collect::<String>()), 1)
    }
}

impl From<io::Error> for Stop {
    /// For writes to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Said(format!("cannot write to standard output: {error}"), 1),
        }
    }
}

impl Tool {
    /// What was typed behind its name.
    pub fn typed() -> Vec<String> {
        let words = std::env::args_os().skip(1);
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// Opens the host.
    pub fn engine() -> Result<Engine, Stop> {
        Ok(Engine::open(&super::config(), PATIENCE)?)
    }

    /// Ends as this says.
    pub fn end(self, outcome: Result<u8, Stop>) -> ExitCode {
        match outcome {
            Ok(code) => code.into(),
            Err(Stop::Unread) => ExitCode::SUCCESS,
            Err(Stop::Said(line, code)) => {
                self.say(&line);
                code.into()
            }
        }
    }

    /// A line on standard error, and what else belongs to it in further lines.
    pub fn say(self, text: &str) {
        let lines = text.lines().map(|line| visible(&without_numbers(line)));
        let text = lines.collect::<Vec<_>>().join("\n");
        // Nothing can be done about an unwritable standard error.
        let _ = writeln!(io::stderr(), "{}: {text}", self.0);
    }
}

/// Writes a result to standard output.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
