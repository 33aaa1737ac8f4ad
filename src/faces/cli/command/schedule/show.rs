//! `hostel schedule show`

use clap::Args;
use hostel_engine::facade::ScheduleStatus;
use hostel_model::id::ScheduleName;
use hostel_model::units::Span;

use super::{Done, Json, judged, warn_without_manager};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::visible;
use crate::cli::table::{Cell, Column, Table};

/// Show a schedule: what it does, when it is due next, what is wrong with it, and what its last run said
///
/// With --json, an object with name, state (waiting, running, disabled, broken), problem, description, at, time_zone (null:
/// the host's), run (the words after "hostel"), late and timeout in seconds, upcoming (the next times), and last: null, or
/// an object with due (null: run by hand), began, ended, result, code and said.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel schedule show nightly\n  hostel schedule show nightly --json")]
pub struct Show {
    /// Name of the schedule
    #[arg(value_name = "SCHEDULE")]
    name: ScheduleName,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let schedule = judged(engine.schedule(&self.name)?);
        warn_without_manager(context, &engine, std::slice::from_ref(&schedule));
        if self.json.json {
            context.print_json(&schedule)?;
            return Ok(Exit::Ok);
        }
        context.print_table(&block(&schedule))?;
        let said = schedule.last.map(|run| run.said);
        for text in [schedule.problem, said].into_iter().flatten() {
            if !text.trim().is_empty() {
                let lines: String = text.lines().map(|line| format!("{}\n", visible(line))).collect();
                context.print(&format!("\n{lines}"))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// What it is, and how it stands.
pub fn block(schedule: &ScheduleStatus) -> Table {
    let span = |seconds: Option<u64>| seconds.map(|n| Span::seconds(n).to_string()).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("VALUE").wrap(20)]).headless(true);
    let mut lines = vec![
        ("name", schedule.name.clone()),
        ("state", schedule.state.to_owned()),
        ("description", text(&schedule.description)),
        ("at", text(&schedule.at)),
        ("time zone", text(&schedule.time_zone)),
        ("runs", schedule.run.join(" ")),
        ("late", span(schedule.late)),
        ("timeout", span(schedule.timeout)),
        ("next", schedule.upcoming.join(" ")),
    ];
    if let Some(last) = &schedule.last {
        let due = last.due.map_or_else(|| "run by hand".to_owned(), |due| due.to_string());
        lines.extend([
            ("last due", due),
            ("began", last.began.to_string()),
            ("ended", last.ended.map(|ended| ended.to_string()).unwrap_or_default()),
            ("result", last.result.clone()),
        ]);
    }
    for (what, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row(vec![
            Cell::new(what).styled(anstyle::Style::new().dimmed()),
            value.into(),
        ]);
    }
    table
}
