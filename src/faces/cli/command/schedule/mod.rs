//! `hostel schedule`: a file for each of its subcommands.

pub mod list;
pub mod run;
pub mod show;

use std::ffi::OsString;

use clap::{Args, Subcommand};
use hostel_engine::facade::{Engine, Progress, ScheduleStatus};

use super::{Done, Json};
use crate::cli::args;
use crate::cli::context::Context;

/// Show what the manager does at certain times, and run it by hand
///
/// A schedule is a file in schedules/ beside hostel.toml: when it is due, as in crontab(5), and what Hostel is to do then:
/// the words after "hostel". The manager looks at them all the time; a file that is new or changed needs no word to it. See
/// docs/SCHEDULES.md.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Schedule {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Show(show::Show),
    Run(run::Run),
}

impl Schedule {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::List(c) => c.run(context),
            What::Show(c) => c.run(context),
            What::Run(c) => c.run(context),
        }
    }
}

/// What is wrong with the words that it runs, if anything is.
fn misspelt(run: &[String]) -> Option<String> {
    let typed: Vec<OsString> = std::iter::once("hostel")
        .chain(run.iter().map(String::as_str))
        .map(OsString::from)
        .collect();
    let error = args::parse(&typed).err().filter(clap::Error::use_stderr)?;
    let text = error.to_string();
    let why = text.lines().next().unwrap_or_default();
    let why = why.strip_prefix("error: ").unwrap_or(why);
    Some(format!("what it runs makes no sense: hostel {}: {why}", run.join(" ")))
}

/// A schedule whose words make no sense is as broken as one whose file doesn't.
fn judged(mut schedule: ScheduleStatus) -> ScheduleStatus {
    if schedule.problem.is_none()
        && let Some(problem) = misspelt(&schedule.run)
    {
        schedule.state = "broken";
        schedule.problem = Some(problem);
    }
    schedule
}

/// Says so where some of these wait for their time in vain.
fn warn_without_manager(context: &Context, engine: &Engine, schedules: &[ScheduleStatus]) {
    if schedules.iter().any(|schedule| schedule.state == "waiting") && !engine.manager_runs() {
        context.note("no manager runs, so nothing is begun at its time; what to do about it says: hostel info");
    }
}
