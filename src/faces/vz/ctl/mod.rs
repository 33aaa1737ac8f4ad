//! `vzctl`: its commands, translated to requests; a file for those that belong together.
//!
//! The command line is read by a parser of its own (`args`), from the tables that the documentation is made from: options
//! repeat and their order counts, some stand in the one table of parameters, and abbreviations and single dashes are in use.

mod args;
mod create;
mod exit;
mod help;
mod hint;
mod inside;
mod life;
pub(super) mod options;
mod other;
mod set;
mod status;
#[cfg(test)]
mod tests;
pub(super) mod verbs;

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::Duration;

use hostel_engine::facade::VeStatus;
use hostel_engine::{Class, Engine, Error};
use hostel_model::openvz::code::{self, Code};
use hostel_model::openvz::{Given, Key};
use hostel_model::request::VeRef;

use super::fate::Fate;
use super::house::House;
use super::lookup::{Meant, lookup};
use super::voice::Voice;
use verbs::Verb;

/// How a command ends: with a code of vzctl's, or that of a command inside.
pub type Done = Result<u8, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// By itself, with what is to be said.
    Said(Code, String),
    /// The engine said no; the code, if it is known here.
    Engine(Error, Option<Code>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error, None)
    }
}

fn said<T>(code: Code, text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Said(code, text.into()))
}

/// A parameter of the table, as it was given.
pub struct Parameter {
    key: &'static Key,
    named: String,
    value: String,
}

/// A command as it was given.
pub struct Call<'a> {
    house: &'a dyn House,
    voice: &'a Voice,
    verb: &'static Verb,
    /// The name by which it was called: `chkpnt`.
    called: &'a str,
    /// Which container.
    ve: &'a str,
    /// Its own options, with their values.
    options: Vec<(&'static str, String)>,
    /// Parameters, in order.
    parameters: Vec<Parameter>,
    /// What stands behind.
    rest: Vec<String>,
}

impl Call<'_> {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    fn value(&self, option: &str) -> Option<&str> {
        let last = self.options.iter().rev().find(|(name, _)| *name == option);
        last.map(|(_, value)| value.as_str())
    }

    /// The parameters, for translation.
    fn given(&self) -> Vec<Given<'_>> {
        let all = self.parameters.iter();
        all.map(|p| Given {
            key: p.key,
            named: &p.named,
            value: &p.value,
        })
        .collect()
    }

    fn line(&self, text: &str) {
        self.voice.line(text);
    }

    /// The container, which must be there.
    fn ve(&self) -> Result<VeStatus, Failure> {
        match lookup(self.house, self.ve)? {
            Meant::Ve(status) => Ok(*status),
            Meant::Free(id) => said(code::NOT_FOUND, format!("There is no container {id}")),
            Meant::Number(0) => said(
                code::VALUE,
                "CTID 0 is the host, which is no container; its own limits are not Hostel's to set",
            ),
            Meant::Number(n) => said(code::NOT_FOUND, format!("There is no container {n}")),
            Meant::Unknown => said(code::VALUE, format!("There is no container named \"{}\"", self.ve)),
        }
    }

    /// What its options say that have no effect here, or can't be.
    fn judge_options(&self) -> Result<(), Failure> {
        for (name, _) in &self.options {
            let option = self.verb.options.iter().find(|o| o.name == *name);
            match option.map(|o| o.fate) {
                Some(Fate::NoEffect(why)) => self.line(&format!("--{name} has no effect here: {why}")),
                // Snapshots are refused by their commands, with codes of their own.
                Some(Fate::Refused(why)) if !matches!(self.verb.fate, Fate::Refused(_)) => {
                    return said(code::VALUE, format!("--{name}: {why}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How an engine's answers name a VE.
fn by_id(status: &VeStatus) -> VeRef {
    VeRef::Id(status.id)
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut words = Vec::new();
    for word in typed {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                Voice::default().wrong(&format!("{} is no text", word.display()));
                return ExitCode::from(code::VALUE.number);
            }
        }
    }
    ExitCode::from(run(&words, Voice::default(), &open))
}

/// The Hostel of this host. Nobody is waited for: callers have always tried again. `undoing`: Ctrl-C is to undo what is
/// under way; what runs inside gets it itself.
fn open(undoing: bool) -> Result<Box<dyn House>, Failure> {
    let of_config = |e: Error| {
        let code = match e.class {
            Class::NotFound | Class::Usage => code::NO_HOST_CONFIG,
            _ if !is_root() => code::PERMISSION,
            class => exit::of_class(class),
        };
        Failure::Engine(e, Some(code))
    };
    if undoing {
        hostel_engine::interrupt::watch()?;
    }
    Ok(Box::new(
        Engine::open(&super::config(), Duration::ZERO).map_err(of_config)?,
    ))
}

/// Whose process this is says its own entry in /proc.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Does what the words say; the code to end with.
fn run(words: &[String], mut voice: Voice, open: &dyn Fn(bool) -> Result<Box<dyn House>, Failure>) -> u8 {
    let line = match args::parse(words) {
        Ok(line) => line,
        Err(wrong) => {
            voice.wrong(&wrong.text);
            return wrong.code.number;
        }
    };
    voice.quiet |= line.quiet;
    voice.verbose |= line.verbose && !line.quiet;
    let Some(asked) = line.asked else {
        voice.result(&help::text(line.version));
        return told(&voice, code::OK.number);
    };
    let done = open(!asked.verb.rest).and_then(|house| {
        let call = Call {
            house: &*house,
            voice: &voice,
            verb: asked.verb,
            called: &asked.called,
            ve: &asked.ve,
            options: asked.options,
            parameters: asked.parameters,
            rest: asked.rest,
        };
        call.judge_options()?;
        (call.verb.run)(&call).map_err(|failure| exit::judged(&call, failure))
    });
    match done {
        Ok(code) => told(&voice, code),
        Err(Failure::Said(code, text)) => {
            voice.wrong(&text);
            code.number
        }
        Err(Failure::Engine(error, code)) => {
            let code = code.unwrap_or_else(|| exit::of_class(error.class));
            voice.error(&hint::in_vzctls_words(error));
            code.number
        }
    }
}

/// An answer that could not be written is none.
fn told(voice: &Voice, code: u8) -> u8 {
    match voice.all_told() || code != code::OK.number {
        true => code,
        false => code::SYSTEM.number,
    }
}
