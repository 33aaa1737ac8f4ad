//! What every subcommand gets: the host to talk to, and the two streams.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use hostel_engine::facade::{CommandEnd, Progress};
use hostel_engine::{Engine, Error};
use serde::Serialize;

use super::args::Global;
use super::exit::Exit;
use super::failure::{self, Failure};
use super::paint::Paint;
use super::parallel::Show;
use super::table::Table;

/// The global options, resolved.
#[derive(Debug)]
pub struct Context {
    /// hostel.toml.
    pub config: PathBuf,
    wait_lock: Duration,
    no_color: bool,
    /// How much progress to show, and where.
    pub show: Show,
}

impl Context {
    /// Looks at the options and at what the streams are.
    pub fn new(global: &Global) -> Self {
        let stderr = io::stderr();
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        let show = Show {
            live: stderr.is_terminal() && !dumb,
            quiet: global.quiet,
            verbose: global.verbose,
            paint: Paint::on(&stderr, global.no_color),
        };
        Self {
            config: global.config.clone(),
            wait_lock: global.wait_lock,
            no_color: global.no_color,
            show,
        }
    }

    /// Opens the host.
    pub fn engine(&self) -> Result<Engine, Error> {
        Engine::open(&self.config, self.wait_lock)
    }

    /// Opens the host for work that Ctrl-C is to undo, not to cut short.
    pub fn careful_engine(&self) -> Result<Engine, Error> {
        hostel_engine::interrupt::watch()?;
        self.engine()
    }

    /// Prints an error to standard error.
    pub fn error(&self, error: &Error) {
        self.error_of(error, None);
    }

    /// Prints an error about `subject`.
    pub fn error_of(&self, error: &Error, subject: Option<&str>) {
        // Nothing can be done about an unwritable standard error.
        let _ = io::stderr().write_all(failure::text(error, subject, self.show.paint).as_bytes());
    }

    /// A command inside has ended; what it could not say itself goes where it would have gone.
    pub fn command_ended(&self, end: CommandEnd) -> Exit {
        if let Some(said) = end.said {
            let _ = writeln!(io::stderr(), "{}", failure::without_numbers(&said));
        }
        Exit::Command(end.code)
    }

    /// A line on standard error, unless `--quiet`.
    pub fn say(&self, line: &str) {
        if !self.show.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Colours of standard output.
    pub fn paint(&self) -> Paint {
        Paint::on(&io::stdout(), self.no_color)
    }

    /// Writes a result to standard output.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Writes a result as it is.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Prints a table in the terminal's width; in full where it is none.
    pub fn print_table(&self, table: &Table) -> Result<(), Failure> {
        self.print(&table.render(stdout_width(), self.paint()))
    }

    /// Prints one JSON document, indented.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(&format!(
            "{}\n",
            serde_json::to_string_pretty(value).map_err(io::Error::from)?
        ))
    }

    /// Prints one JSON document on a line of its own.
    pub fn print_json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.print(&format!("{}\n", serde_json::to_string(value).map_err(io::Error::from)?))
    }
}

/// Outside of a verb's own lines: what is passed over is said also to those who want errors only.
impl Progress for Context {
    fn step(&self, _: &str) {}
    fn note(&self, what: &str) {
        let _ = writeln!(io::stderr(), "warning: {}", failure::visible(what));
    }
}

/// The width of the terminal that standard output is; `None` if it is none.
fn stdout_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(&stdout)
        .map(|(width, _)| usize::from(width.0))
        .filter(|w| *w > 0)
}

/// Are both ends of a session here terminals?
pub fn interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
