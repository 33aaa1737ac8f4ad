//! `hostel top`: the figures of `hostel stat`, full screen. One thread reads (and may hang with what it reads), others act
//! on VEs, this one draws and hears keys and never waits for any of them.

mod app;
mod draw;
mod help;
mod processes;
mod reader;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::{self, Event, KeyEventKind};
use hostel_engine::facade::Silent;
use hostel_engine::{Class, Engine, Error, interrupt};
use hostel_model::id::VeId;
use hostel_model::request::Action;

use super::Done;
use super::stat::{Choice, View, interval};
use crate::cli::context::{Context, interactive};
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, with_causes};
use app::{App, Deed};
use reader::{Ask, Told};

/// How long a key, a signal or a reading may wait to be heard.
const HEED: Duration = Duration::from_millis(50);

/// How often the screen is drawn anew though nothing has come: it tells how old its figures are.
const BREATH: Duration = Duration::from_secs(1);

/// Show who uses how much of the host, full screen
///
/// What "hostel stat" shows, read anew every INTERVAL, with keys to sort, to filter by tenant, to see a VE's processes, and
/// to pause or stop it: "?" shows them all. It needs a terminal.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel top\n  hostel top 5s --tenant acme --resource memory")]
pub struct Top {
    /// Time between readings, such as 5s
    #[arg(value_name = "INTERVAL", value_parser = interval, default_value = "2s")]
    interval: Duration,

    /// What of it
    #[arg(short, long, value_name = "RESOURCE", default_value = "summary", value_parser = View::parser_of_one())]
    resource: View,

    #[command(flatten)]
    choice: Choice,
}

/// What an action on a VE came to: a line for the screen.
type Outcome = String;

impl Top {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        if !interactive() {
            let error = Error::new(Class::Usage, "hostel top needs a terminal");
            return Err(error.hint("for files and programs there is: hostel stat").into());
        }
        let engine = Arc::new(context.engine()?);
        interrupt::watch_terminal()?;
        let mut app = App::new(self.choice.clone(), self.resource, self.interval);
        let (asks, told) = reader::begin(&engine, self.interval)?;
        let mut acts = Acts::new(&engine);
        // It also sees to it that a panic leaves the terminal as it was.
        let mut terminal = ratatui::try_init().map_err(no_terminal)?;
        let shown = show(&mut terminal, &mut app, &asks, &told, &mut acts);
        ratatui::restore();
        acts.finish(context);
        shown?;
        Ok(Exit::Ok)
    }
}

fn no_terminal(e: io::Error) -> Failure {
    Error::new(Class::Failed, "cannot use this terminal").because(e).into()
}

/// Until somebody wants to leave.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    app: &mut App,
    asks: &Sender<Ask>,
    told: &Receiver<Told>,
    acts: &mut Acts,
) -> Result<(), Failure> {
    let (mut stale, mut drawn) = (true, Instant::now());
    while !interrupt::raised() {
        if stale || drawn.elapsed() >= BREATH {
            terminal
                .draw(|frame| draw::draw(frame, app, Instant::now()))
                .map_err(no_terminal)?;
            (stale, drawn) = (false, Instant::now());
        }
        for news in told.try_iter() {
            app.hear(news, Instant::now());
            stale = true;
        }
        for outcome in acts.outcomes.try_iter() {
            app.say(outcome);
            // What it has changed is seen at once.
            let _ = asks.send(Ask::Now);
            stale = true;
        }
        // A terminal that has gone can't be read, and nothing more is to be done for whoever sat at it.
        if !event::poll(HEED).map_err(no_terminal)? {
            continue;
        }
        stale = true;
        let deed = match event::read().map_err(no_terminal)? {
            Event::Key(key) if key.kind != KeyEventKind::Release => app.key(key),
            _ => None,
        };
        match deed {
            None => {}
            Some(Deed::Quit) => return Ok(()),
            Some(Deed::Act(id, name, action)) => acts.begin(id, &name, action),
            // A reader that has ended has said why.
            Some(Deed::Ask(ask)) => drop(asks.send(ask)),
        }
    }
    Ok(())
}

/// What is being done to VEs.
struct Acts {
    engine: Arc<Engine>,
    say: Sender<Outcome>,
    outcomes: Receiver<Outcome>,
    running: Vec<(String, JoinHandle<()>)>,
}

impl Acts {
    fn new(engine: &Arc<Engine>) -> Self {
        let (say, outcomes) = channel();
        Self {
            engine: Arc::clone(engine),
            say,
            outcomes,
            running: Vec::new(),
        }
    }

    fn begin(&mut self, id: VeId, name: &str, action: Action) {
        self.running.retain(|(_, thread)| !thread.is_finished());
        let (engine, say, ve) = (Arc::clone(&self.engine), self.say.clone(), name.to_owned());
        let body = move || {
            let outcome = match engine.act(id, &action, &Silent) {
                Ok(outcome) => format!("{ve}: {}", outcome.done),
                Err(e) => format!("{ve}: {}", with_causes(&e)),
            };
            // Whoever has left sees it on the VE.
            let _ = say.send(outcome);
        };
        match std::thread::Builder::new().spawn(body) {
            Ok(thread) => self.running.push((name.to_owned(), thread)),
            Err(e) => drop(self.say.send(format!("{name}: cannot begin a thread: {e}"))),
        }
    }

    /// What was begun is done before the program ends: cut off, it would be undone by the next command.
    fn finish(self, context: &Context) {
        for (name, thread) in self.running {
            if !thread.is_finished() {
                context.say(&format!("{name}: waiting for what was begun; Ctrl-C gives it up"));
            }
            let _ = thread.join();
        }
        for outcome in self.outcomes.try_iter() {
            context.say(&outcome);
        }
    }
}
