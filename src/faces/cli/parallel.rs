//! Runs work on many VEs at once, and shows how far each is.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hostel_engine::Error;
use hostel_engine::facade::Progress;

use super::board::{Board, Size};
use super::paint::Paint;

/// How progress is shown.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// Standard error is a terminal that can move its cursor.
    pub live: bool,
    /// Only errors.
    pub quiet: bool,
    /// Every step gets a line that stays.
    pub verbose: bool,
    /// Colours of standard error.
    pub paint: Paint,
}

impl Show {
    /// Is it shown at which step each is?
    fn steps(self) -> bool {
        self.verbose || (self.live && !self.quiet)
    }
}

/// How many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Work that keeps a processor busy, such as booting: one for each processor.
    Heavy,
    /// Work that is done soon: two for each processor.
    Light,
    /// Work that others do while we wait, as a guest its shutdown: many.
    Waiting,
}

impl Load {
    /// For so many pieces of work. To count processors takes as long as many a verb's step: not for one.
    fn workers(self, pieces: usize) -> usize {
        match pieces {
            0 | 1 => pieces,
            many => self.limit().min(many),
        }
    }

    fn limit(self) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match self {
            Self::Heavy => cores,
            Self::Light => 2 * cores,
            Self::Waiting => (64 * cores).max(128),
        }
    }
}

/// What a worker tells the thread that draws.
enum Event<T> {
    Begin(usize),
    Step(usize, String),
    Note(usize, String),
    End(usize, Result<T, Error>),
}

/// The progress of one VE, sent to the thread that draws.
struct Line<T> {
    index: usize,
    events: Sender<Event<T>>,
    /// Steps are shown. Otherwise each would wake the thread that draws for nothing.
    steps: bool,
}

impl<T: Send> Progress for Line<T> {
    fn step(&self, what: &str) {
        if self.steps {
            // The receiver outlives every worker.
            let _ = self.events.send(Event::Step(self.index, what.to_owned()));
        }
    }
    fn note(&self, what: &str) {
        let _ = self.events.send(Event::Note(self.index, what.to_owned()));
    }
}

/// Does `work` for every label. `told` hears of each end, in the order in which they come, and gives the lines
/// that stay on standard error. One failure stops no other.
pub fn run<T: Send>(
    show: Show,
    labels: &[String],
    load: Load,
    work: &(dyn Fn(usize, &dyn Progress) -> Result<T, Error> + Sync),
    told: &mut dyn FnMut(usize, Result<T, Error>) -> String,
) {
    let mut board = Board::new(io::stderr(), show, labels.to_vec());
    let next = AtomicUsize::new(0);
    let (events, heard) = mpsc::channel();
    let work_through = |events: Sender<Event<T>>| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= labels.len() {
                break;
            }
            let line = Line {
                index,
                events: events.clone(),
                steps: show.steps(),
            };
            let _ = events.send(Event::Begin(index));
            let result = work(index, &line);
            let _ = events.send(Event::End(index, result));
        }
    };
    thread::scope(|scope| {
        for n in 0..load.workers(labels.len()) {
            let (own, work_through) = (events.clone(), &work_through);
            if thread::Builder::new()
                .spawn_scoped(scope, move || work_through(own))
                .is_err()
            {
                // A host that has no process left to give (a fork bomb in it, say) is where VEs must be stopped. Those
                // that are at work do it all; without any, it is done here, and shown when it is done.
                if n == 0 {
                    work_through(events.clone());
                }
                break;
            }
        }
        drop(events);
        loop {
            let heard = heard.recv_timeout(Duration::from_secs(1));
            let (size, now) = (stderr_size(), Instant::now());
            match heard {
                Ok(Event::Begin(index)) => board.begin(index, now),
                Ok(Event::Step(index, what)) => board.step(index, &what, size, now),
                Ok(Event::Note(index, what)) => board.note(index, &what, size, now),
                Ok(Event::End(index, result)) => board.end(index, &told(index, result), size, now),
                Err(RecvTimeoutError::Timeout) => board.tick(size, now),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
}

/// Does one piece of work under a label.
pub fn one<T: Send>(
    show: Show,
    label: &str,
    work: impl Fn(&dyn Progress) -> Result<T, Error> + Sync,
) -> Result<T, Error> {
    let mut answer = None;
    run(
        show,
        &[label.to_owned()],
        Load::Heavy,
        &|_, progress| work(progress),
        &mut |_, result| {
            answer = Some(result);
            String::new()
        },
    );
    #[allow(clippy::expect_used)] // `run` tells of every label, and there is one
    answer.expect("the work has ended")
}

/// The size of the terminal that standard error is; 80 by 24 where it doesn't say.
fn stderr_size() -> Size {
    let size = terminal_size::terminal_size_of(io::stderr());
    let (width, height) = size.map_or((80, 24), |(w, h)| (usize::from(w.0), usize::from(h.0)));
    Size {
        width: width.max(20),
        height: height.max(3),
    }
}
