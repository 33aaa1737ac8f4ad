//! The screen as text. Without colours: bold, reversed and dim are on every terminal.

use std::time::{Duration, Instant};

use hostel_model::stat::{Kind, Row};
use ratatui::Frame;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};

use super::app::{App, Mode};
use super::help::KEYS;
use super::processes;
use super::reader::Look;
use crate::cli::command::stat::{Group, View, table};
use crate::cli::failure::visible;
use crate::cli::paint::Paint;

/// Without news for so long beyond the interval, something hangs, and that is said.
const LATE: Duration = Duration::from_secs(3);

const KEY_LINE: &str = "q leave  ? keys  s sort  t tenant  Tab figures  Enter processes  p pause  x stop";

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, app: &App, now: Instant) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let mut lines = vec![title(app, now), below_title(app)];
    // The title's two lines, and the one at the bottom.
    let room = height.saturating_sub(3);
    match &app.mode {
        Mode::Help => lines.extend(KEYS.lines().map(Line::from)),
        Mode::Processes(id, _) => {
            let listed = app.look.as_ref().and_then(|look| look.processes.as_ref());
            if let Some((_, all)) = listed.filter(|(of, _)| of == id) {
                let text = processes::table(all).render(Some(width), Paint::OFF);
                let mut rows = text.lines();
                lines.extend(rows.next().map(head));
                let skipped = app.skipped.min(all.len().saturating_sub(1));
                lines.extend(rows.skip(skipped).map(|row| Line::from(row.to_owned())));
            }
        }
        _ => lines.extend(list(app, width, room)),
    }
    lines.truncate(room + 2);
    lines.resize_with((room + 2).min(height.saturating_sub(1)), Line::default);
    lines.push(bottom(app));
    frame.render_widget(Text::from(lines), area);
}

fn head(line: &str) -> Line<'static> {
    Line::styled(line.to_owned(), Modifier::BOLD)
}

fn title(app: &App, now: Instant) -> Line<'static> {
    let Some(look) = &app.look else {
        return Line::from("hostel top: reading …");
    };
    let Look { time, sizes, .. } = look;
    let seconds = app.every.as_secs_f64();
    let time = time.strftime("%H:%M:%SZ");
    // What is late by itself isn't worth a word; what hangs is.
    let silent = now.saturating_duration_since(app.came);
    match silent > app.every + LATE {
        true => Line::styled(
            format!(
                "hostel top {time}: NO ANSWER for {} s; figures are as old",
                silent.as_secs()
            ),
            Modifier::REVERSED,
        ),
        false => Line::styled(
            format!("hostel top {time} every {seconds}s{}", table::sizes(sizes)),
            Modifier::BOLD,
        ),
    }
}

fn below_title(app: &App) -> Line<'static> {
    if let Mode::Processes(id, name) = &app.mode {
        return Line::from(format!("Processes of {} ({id}); Esc goes back", visible(name)));
    }
    let rows = app.look.as_ref().map(|look| look.rows.as_slice()).unwrap_or_default();
    let run = rows
        .iter()
        .filter(|row| matches!(row.kind, Kind::Ve(_)) && ["running", "paused"].contains(&row.state.as_str()))
        .count();
    let tenants: Vec<&str> = app.choice.tenant.iter().map(|t| t.as_str()).collect();
    let whose = match tenants.is_empty() {
        true => "all".to_owned(),
        false => tenants.join(","),
    };
    let by = match app.choice.by {
        Group::Ve => "VE",
        Group::Tenant => "tenant",
    };
    let view = match app.view {
        View::One(resource) => resource.name(),
        View::Summary | View::All => "summary",
    };
    Line::from(format!(
        "{run} VEs run; figures: {view}, by {by}, sorted by {}, tenants: {whose}",
        app.choice.sort.name()
    ))
}

/// The table, with the host's own lines always there, and as much of the rest as has the chosen line in it.
fn list(app: &App, width: usize, room: usize) -> Vec<Line<'static>> {
    let rows = app.rows();
    let shown: Vec<Row> = rows.iter().map(named).collect();
    // A state behind a name is to be read; of what is longer the end is less worth than the figures.
    let marked = rows.iter().zip(&shown).filter(|(row, shown)| row.name != shown.name);
    let least = marked.map(|(_, shown)| shown.name.chars().count()).max().unwrap_or(0);
    let text = match table::tables(app.view, &shown, least.clamp(table::LEAST, 20))
        .into_iter()
        .next()
    {
        Some((_, table)) => table.render(Some(width), Paint::OFF),
        None => String::new(),
    };
    let chosen = app.chosen(&rows);
    let pinned = rows
        .iter()
        .take_while(|row| matches!(row.kind, Kind::Total | Kind::System))
        .count();
    let style = |at: usize| match () {
        () if chosen == Some(at) => Style::new().add_modifier(Modifier::REVERSED),
        () if rows.get(at).is_some_and(|row| row.state == "paused") => Style::new().add_modifier(Modifier::DIM),
        () => Style::new(),
    };
    let mut lines = text.lines();
    let mut out: Vec<Line<'static>> = lines.next().map(head).into_iter().collect();
    let mut own: Vec<Line<'static>> = lines
        .enumerate()
        .map(|(at, line)| Line::styled(line.to_owned(), style(at)))
        .collect();
    let rest = own.split_off(pinned.min(own.len()));
    out.append(&mut own);
    let space = room.saturating_sub(1 + pinned).max(1);
    let before = chosen.map_or(0, |at| (at.saturating_sub(pinned) + 1).saturating_sub(space));
    out.extend(rest.into_iter().skip(before).take(space));
    out
}

/// A VE that doesn't simply run says so.
fn named(row: &Row) -> Row {
    let plain = row.state.is_empty() || row.state == "running";
    Row {
        name: if plain {
            row.name.clone()
        } else {
            format!("{} ({})", row.name, row.state)
        },
        ..row.clone()
    }
}

fn bottom(app: &App) -> Line<'static> {
    match &app.mode {
        Mode::Stop(_, name) => Line::styled(
            format!("Stop {}? y stops it, any other key does not", visible(name)),
            Modifier::REVERSED,
        ),
        Mode::Tenant(typed) => Line::styled(
            format!(
                "Tenant: {}_  (Enter shows its VEs, an empty name all; Esc leaves it)",
                visible(typed)
            ),
            Modifier::REVERSED,
        ),
        Mode::Help => Line::styled("any key goes back, q leaves", Modifier::DIM),
        _ if !app.message.is_empty() => Line::styled(visible(&app.message), Modifier::BOLD),
        _ => Line::styled(KEY_LINE, Modifier::DIM),
    }
}
