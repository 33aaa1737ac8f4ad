//! What all verbs on VEs share: whom they are for, running side by side, and their answers.

use anstyle::{AnsiColor, Style};
use hostel_engine::facade::{Outcome, Progress, VeHandle};
use hostel_engine::{Engine, Error};
use hostel_model::request::Action;
use serde_json::{Value, json};

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{self, Failure};
use crate::cli::paint::Paint;
use crate::cli::parallel::{self, Load, Show};
use crate::cli::selection::Selected;

/// Does `action` to every selected VE.
pub fn run(context: &Context, selected: &Selected, json: Json, load: Load, action: &Action) -> Done {
    each_of(context, selected, json, load, &|engine, ve, progress| {
        engine.act(ve.id, action, progress)
    })
}

/// What is done for one VE.
pub type Work<'a> = dyn Fn(&Engine, &VeHandle, &dyn Progress) -> Result<Outcome, Error> + Sync + 'a;

/// Does `work` for every selected VE. A name that doesn't exist stops all before anything is touched; a failure on one VE
/// stops no other.
pub fn each_of(context: &Context, selected: &Selected, json: Json, load: Load, work: &Work<'_>) -> Done {
    let engine = context.careful_engine()?;
    let mut ves = engine.select(&selected.selection(), context)?;
    ves.sort_by_key(|ve| ve.id);
    ves.dedup_by_key(|ve| ve.id);
    if ves.is_empty() {
        context.say("there is no VE to do this to");
        return Ok(Exit::Ok);
    }
    each(context, &ves, json, load, &|n, progress| {
        work(&engine, &ves[n], progress)
    })
}

/// Does `work` for each of these, told by their place in the list.
pub fn each(
    context: &Context,
    ves: &[VeHandle],
    json: Json,
    load: Load,
    work: &(dyn Fn(usize, &dyn Progress) -> Result<Outcome, Error> + Sync),
) -> Done {
    let labels: Vec<String> = ves.iter().map(|ve| ve.name.to_string()).collect();
    // Objects on standard output and a live block on standard error would mix on a terminal.
    let show = Show {
        live: context.show.live && !json.json,
        ..context.show
    };
    let mut ends = Ends {
        exit: Exit::Ok,
        broken: None,
        paths: Vec::new(),
    };
    parallel::run(show, &labels, load, work, &mut |n, result| {
        ends.exit = ends.exit.worse(result.as_ref().map_or_else(Exit::of, |_| Exit::Ok));
        if json.json {
            ends.keep(context.print_json_line(&object(&ves[n], &result)));
        } else if let Ok(Outcome { path: Some(path), .. }) = &result {
            ends.paths.push((n, path.display().to_string()));
        }
        line(&labels[n], &result, show)
    });
    ends.paths.sort();
    for (_, path) in std::mem::take(&mut ends.paths) {
        ends.keep(context.print(&format!("{path}\n")));
    }
    match ends.broken {
        Some(failure) => Err(failure),
        None => Ok(ends.exit),
    }
}

/// What has come of all.
struct Ends {
    exit: Exit,
    broken: Option<Failure>,
    /// Results for standard output, to be printed below the live block.
    paths: Vec<(usize, String)>,
}

impl Ends {
    /// Standard output may break while VEs are at work; they are seen through, and the first failure is kept. If
    /// its reader has gone, what became of the VEs still decides the exit code.
    fn keep(&mut self, result: Result<(), Failure>) {
        if let Err(failure @ Failure::Engine(_)) = result {
            self.broken.get_or_insert(failure);
        }
    }
}

/// The lines that stay on standard error.
pub fn line(label: &str, result: &Result<Outcome, Error>, show: Show) -> String {
    match result {
        Ok(_) if show.quiet => String::new(),
        Ok(outcome) => done(label, &outcome.done, outcome.changed, show.paint),
        Err(error) => failure::text(error, Some(label), show.paint),
    }
}

/// `web1: started`
pub fn done(label: &str, what: &str, changed: bool, paint: Paint) -> String {
    let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
    let style = if changed { green } else { Style::new().dimmed() };
    format!("{label}: {}\n", paint.with(style, &failure::visible(what)))
}

/// One VE's outcome in JSON.
pub fn object(ve: &VeHandle, result: &Result<Outcome, Error>) -> Value {
    match result {
        Ok(outcome) => json!({
            "id": ve.id, "name": ve.name, "ok": true,
            "done": outcome.done, "changed": outcome.changed, "path": outcome.path,
        }),
        Err(error) => json!({ "id": ve.id, "name": ve.name, "ok": false, "error": failure::json(error) }),
    }
}
