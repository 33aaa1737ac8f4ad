//! What the tools share: where the configuration is, and how they say that something is wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use hostel_engine::{Engine, Error};
use hostel_model::request::VeRef;

use super::lookup::{Meant, lookup};
use super::options::{Opt, Typed, read};
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

    /// Reads what was typed. `None`: that was the option `help`, and `usage` is told.
    pub fn read<T: Copy + PartialEq>(
        known: &[Opt<T>],
        help: T,
        usage: &str,
        words: &[String],
    ) -> Result<Option<Typed<T>>, Stop> {
        let typed = read(known, words).map_err(|line| Stop::Said(line, 1))?;
        if typed.has(help) {
            print(usage)?;
            return Ok(None);
        }
        Ok(Some(typed))
    }

    /// For a tool that takes nothing but options.
    pub fn no_operand<T>(typed: &Typed<T>, usage: &str) -> Result<(), Stop> {
        match typed.operands.first() {
            None => Ok(()),
            Some(word) => Err(Stop::Said(format!("{word} has no meaning here\n{usage}"), 1)),
        }
    }

    /// Opens the host.
    pub fn engine() -> Result<Engine, Stop> {
        Ok(Engine::open(&super::config(), PATIENCE)?)
    }

    /// The VE that a word means: by its number, by its name, or by one that only the dialect knows it by. `None`: there is
    /// none of that name, or can't be one of that number.
    pub fn refer(engine: &Engine, word: &str) -> Result<Option<VeRef>, Stop> {
        Ok(match lookup(engine, word)? {
            Meant::Ve(ve) => Some(VeRef::Id(ve.id)),
            Meant::Free(id) => Some(VeRef::Id(id)),
            Meant::Number(_) | Meant::Unknown => None,
        })
    }

    /// The same where there must be one.
    pub fn one(engine: &Engine, word: &str) -> Result<VeRef, Stop> {
        Self::refer(engine, word)?.ok_or_else(|| Stop::Said(format!("Container {word} not found"), 1))
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
