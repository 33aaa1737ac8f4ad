//! `hostel schedule list`

use anstyle::{AnsiColor, Style};
use clap::{ArgAction, Args};
use hostel_engine::facade::ScheduleStatus;

use super::{Done, Json, judged, warn_without_manager};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Column, Table};

/// Print a table of schedules: when each is due next, and how it went last
///
/// NEXT is by the schedule's own clocks, or the host's. LAST is when it began last, and RESULT how that went: done,
/// running, or what went wrong; of a broken schedule, the first of what is wrong with it. With --json, an array of the
/// objects that show gives.
#[derive(Debug, Default, Args)]
#[command(
    visible_alias = "ls",
    after_long_help = "Examples:\n  hostel schedule list\n  hostel schedule list --json"
)]
pub struct List {
    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let all: Vec<ScheduleStatus> = engine.schedules().into_iter().map(judged).collect();
        warn_without_manager(context, &engine, &all);
        if self.json.json {
            context.print_json(&all)?;
        } else {
            context.print_table(&self.table(&all))?;
        }
        Ok(Exit::Ok)
    }

    /// For a person.
    pub fn table(&self, all: &[ScheduleStatus]) -> Table {
        let later = |column: Column, drop: u8| Column { drop, ..column };
        let mut table = Table::new(vec![
            Column::text("NAME").cut(12),
            Column::text("STATE"),
            later(Column::text("AT"), 2),
            Column::text("NEXT"),
            later(Column::text("LAST"), 1),
            Column::text("RESULT").cut(12),
            later(Column::text("RUNS").cut(16), 3),
        ])
        .headless(self.no_header);
        for schedule in all {
            let last = schedule.last.as_ref();
            let result = schedule.problem.as_deref().map(in_short);
            let result = result.or_else(|| last.map(|run| run.result.as_str()));
            table.row(vec![
                schedule.name.as_str().into(),
                state(schedule),
                schedule.at.clone().unwrap_or_default().into(),
                schedule.upcoming.first().cloned().unwrap_or_default().into(),
                last.map(|run| run.began.to_string()).unwrap_or_default().into(),
                result.unwrap_or_default().into(),
                schedule.run.join(" ").into(),
            ]);
        }
        table
    }
}

/// The first of its mistakes, without the lines that show it.
fn in_short(problem: &str) -> &str {
    let first = problem.lines().next().unwrap_or_default();
    first
        .split_once(" has mistakes: ")
        .map_or(first, |(_, mistake)| mistake)
}

/// Its state, in the colour of something to look at if it is broken, or has failed.
fn state(schedule: &ScheduleStatus) -> Cell {
    let failed = schedule
        .last
        .as_ref()
        .is_some_and(|run| !run.goes_on() && !run.is_done());
    let color = match schedule.state {
        "broken" => Some(AnsiColor::Red.into()),
        "disabled" => Some(AnsiColor::Yellow.into()),
        _ if failed => Some(AnsiColor::Red.into()),
        _ => None,
    };
    Cell::new(schedule.state).styled(Style::new().fg_color(color))
}
