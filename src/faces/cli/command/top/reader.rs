//! The thread that reads figures, again and again. It alone touches what may hang.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hostel_engine::facade::Meter;
use hostel_engine::{Class, Engine, Error};
use hostel_model::id::VeId;
use hostel_model::stat::{self, Figures, Row, Snapshot};
use jiff::Timestamp;

use super::processes::{Run, Usage};

/// How long the first interval is, so that something is on the screen soon; and any that somebody waits for.
const FIRST: Duration = Duration::from_millis(100);

/// What can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To read so often.
    Every(Duration),
    /// To tell of the processes of a VE too, or no more.
    Open(Option<VeId>),
    /// To read soon.
    Now,
}

/// A reading.
#[derive(Debug, Clone)]
pub struct Look {
    pub time: Timestamp,
    pub sizes: Figures<Option<u64>>,
    pub rows: Vec<Row>,
    pub processes: Option<(VeId, Vec<Usage>)>,
}

/// What it says.
#[derive(Debug)]
pub enum Told {
    Look(Box<Look>),
    /// A reading failed: why.
    Failed(String),
}

/// Begins to read.
pub fn begin(engine: &Arc<Engine>, every: Duration) -> Result<(Sender<Ask>, Receiver<Told>), Error> {
    let (asks, heard) = channel();
    let (say, told) = channel();
    let engine = Arc::clone(engine);
    let body = move || {
        let reader = Reader {
            meter: engine.meter(),
            engine: &engine,
            every,
            open: None,
            runs: Run::default(),
        };
        reader.run(&heard, &say);
    };
    match std::thread::Builder::new().spawn(body) {
        // It is not waited for: it may hang.
        Ok(_) => Ok((asks, told)),
        Err(e) => Err(Error::new(Class::Failed, "cannot begin a thread").because(e)),
    }
}

struct Reader<'a> {
    engine: &'a Engine,
    meter: Meter<'a>,
    every: Duration,
    open: Option<VeId>,
    runs: Run,
}

impl Reader<'_> {
    /// Until nobody asks any more.
    fn run(mut self, asks: &Receiver<Ask>, say: &Sender<Told>) {
        let mut before = None;
        let mut due = Instant::now();
        loop {
            match asks.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(ask) => {
                    match ask {
                        Ask::Every(every) => self.every = every,
                        Ask::Open(id) => (self.open, self.runs) = (id, Run::default()),
                        Ask::Now => {}
                    }
                    due = due.min(Instant::now() + FIRST);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            due = Instant::now() + if before.is_some() { self.every } else { FIRST };
            let told = match self.look(&mut before) {
                Ok(None) => continue,
                Ok(Some(look)) => Told::Look(Box::new(look)),
                Err(e) => Told::Failed(e.to_string()),
            };
            if say.send(told).is_err() {
                return;
            }
        }
    }

    /// What was used since the last reading; nothing of the first.
    fn look(&mut self, before: &mut Option<Snapshot>) -> Result<Option<Look>, Error> {
        let Some(old) = before else {
            *before = Some(self.meter.begin()?);
            return Ok(None);
        };
        let now = self.meter.read()?;
        let interval = stat::interval(old, &now);
        let processes = match self.open {
            Some(id) => Some((id, self.runs.next(self.engine.processes(id)?, Instant::now()))),
            None => None,
        };
        let look = Look {
            time: Timestamp::now(),
            sizes: now.host.sizes,
            rows: interval.rows,
            processes,
        };
        *before = Some(now);
        Ok(Some(look))
    }
}
