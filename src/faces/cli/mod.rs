//! The `hostel` command: arguments to requests, answers to text and JSON.
//!
//! - `args` says what can be typed; `command/` holds a file for each subcommand.
//! - Standard output carries results, standard error progress and errors; nothing ever asks a question.
//! - `field` is the one table behind columns, JSON keys, sort keys and their documentation.

mod args;
mod board;
mod books;
mod command;
mod context;
mod csv;
mod editor;
mod exit;
pub(crate) mod failure;
mod field;
pub(crate) mod glob;
pub(crate) mod human;
pub(crate) mod paint;
mod parallel;
mod reference;
pub(crate) mod secret;
mod selection;
mod synonym;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod window;

use std::ffi::OsString;
use std::process::ExitCode;

pub(crate) use context::interactive;
#[cfg(test)]
pub(crate) use tests::golden;

use context::Context;
use exit::Exit;
use failure::Failure;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    match args::parse(&typed) {
        Ok(cli) => run(&cli).into(),
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; a reader that has gone is no failure.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            }
        }
    }
}

fn run(cli: &args::Cli) -> Exit {
    let context = Context::new(&cli.global);
    match command::run(&cli.command, &context) {
        Ok(exit) => exit,
        Err(Failure::BrokenPipe) => Exit::Ok,
        Err(Failure::Engine(error)) => {
            context.error(&error);
            cli.command.exit_of(&error)
        }
    }
}
