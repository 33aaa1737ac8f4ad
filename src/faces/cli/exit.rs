//! What the command's exit code says.

use std::process::ExitCode;

use hostel_engine::{Class, Error};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing had to be done.
    Ok,
    /// It was tried and failed.
    Failed,
    /// The command line or a definition makes no sense.
    Usage,
    /// No such VE, plan, template, network or tenant.
    NotFound,
    /// The state it is in forbids it.
    Refused,
    /// Another operation holds it.
    Busy,
    /// A limit, quota or budget would be passed.
    Limit,
    /// Hostel failed before the command inside could run.
    Inside,
    /// Ctrl-C.
    Interrupted,
    /// The code of the command that ran inside.
    Command(u8),
}

/// Code and meaning, for help, manual and tests.
pub const CODES: &[(Exit, &str)] = &[
    (Exit::Ok, "done, or nothing had to be done"),
    (Exit::Failed, "tried and failed"),
    (Exit::Usage, "the command line or a definition makes no sense"),
    (Exit::NotFound, "no VE, plan, template, network or tenant by that name"),
    (Exit::Refused, "refused: its state forbids it"),
    (Exit::Busy, "another operation holds it"),
    (Exit::Limit, "a limit, quota or budget would be passed"),
    (
        Exit::Inside,
        "exec, enter, runscript: Hostel failed, the command did not run",
    ),
    (
        Exit::Command(126),
        "exec, enter, runscript: the command is not executable",
    ),
    (
        Exit::Command(127),
        "exec, enter, runscript: the command is not in the VE",
    ),
    (Exit::Interrupted, "interrupted; the error says what became of it"),
];

/// What `hostel help exit-codes` says below the table.
pub const NOTES: &str = "\
exec, enter and runscript end with the code of the command they ran;
128+N says that signal N ended it.

For several VEs the worst counts: 130, then 1, 2, 3, 6, 5, 4, 0.
audit ends with 1 if it leaves something that it found.
";

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Busy => 5,
            Self::Limit => 6,
            Self::Inside => 125,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }

    /// For an error of the engine.
    pub fn of(error: &Error) -> Self {
        match error.class {
            Class::Failed | Class::Script => Self::Failed,
            Class::Usage => Self::Usage,
            Class::NotFound => Self::NotFound,
            Class::Refused => Self::Refused,
            Class::Busy => Self::Busy,
            Class::Limit => Self::Limit,
            Class::Interrupted => Self::Interrupted,
        }
    }

    /// For an error of the engine while a command was to run inside: not to be confused with that command's codes.
    pub fn of_inside(error: &Error) -> Self {
        if error.class == Class::Interrupted {
            Self::Interrupted
        } else {
            Self::Inside
        }
    }

    /// The worse of two ends: what tells most about what a person must do comes first.
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Busy => 2,
            Self::Limit => 3,
            Self::NotFound => 4,
            Self::Usage => 5,
            Self::Failed | Self::Inside | Self::Command(_) => 6,
            Self::Interrupted => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table of codes, a line each.
pub fn table() -> String {
    let lines: String = CODES
        .iter()
        .map(|(exit, meaning)| format!("{:>3}  {meaning}\n", exit.code()))
        .collect();
    format!("{lines}\n{NOTES}")
}
