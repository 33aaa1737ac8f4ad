//! Forwarding the ledger beside the looks at VEs. A thread of its own waits for PostgreSQL, so that nobody else does; it
//! keeps nothing but a connection, and what it can't forward stays in the ledger.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::error::{Class, Error, Result};
use crate::fleet::{Attempts, Fleet};
use crate::host::Host;

/// How long after a failure it is tried again; each time twice as long, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The manager's end of it.
pub(super) struct Forwarder {
    wake: SyncSender<()>,
    came: Receiver<Attempts>,
    trouble: Option<String>,
}

impl Forwarder {
    /// Begins; `None` if the ledger is not to be forwarded.
    pub fn begin(host: &Arc<Host>) -> Result<Option<Self>> {
        if host.config.ledger.is_none() {
            return Ok(None);
        }
        // One that is awake already need not be woken.
        let ((wake, woken), (say, came)) = (sync_channel(1), channel());
        let host = Arc::clone(host);
        let body = move || forward(&host, &woken, &|attempts| say.send(attempts).is_ok());
        let thread = std::thread::Builder::new().name("forward".to_owned()).spawn(body);
        thread.map_err(|e| Error::new(Class::Failed, "cannot begin a thread").because(e))?;
        Ok(Some(Self {
            wake,
            came,
            trouble: None,
        }))
    }

    /// There may be something new in the ledger.
    pub fn wake(&self) {
        let _ = self.wake.try_send(());
    }

    /// What is to be told of it: each trouble once, and that it is over.
    pub fn news(&mut self) -> Option<String> {
        let now = self.came.try_iter().last()?.trouble;
        let told = match (&self.trouble, &now) {
            (None, None) => None,
            (Some(before), Some(now)) if before == now => None,
            (_, Some(now)) => Some(format!("the ledger is not forwarded: {now}")),
            (Some(_), None) => Some("the ledger is forwarded again".to_owned()),
        };
        self.trouble = now;
        told
    }

    /// Of what is wrong, in a line of the manager's.
    pub fn status(&self) -> String {
        match self.trouble.as_deref().and_then(|why| why.lines().next()) {
            None => String::new(),
            Some(why) => format!("; not forwarded: {why}"),
        }
    }
}

/// Forwards whenever it is woken; after a failure when its pause is over, and not before. Ends when nobody listens.
fn forward(host: &Host, woken: &Receiver<()>, say: &dyn Fn(Attempts) -> bool) {
    let (mut fleet, mut pause): (Option<Fleet>, _) = (None, PAUSES.0);
    while woken.recv().is_ok() {
        loop {
            let came = host.forward(&mut fleet, false);
            if !say(host.note_forwarded(&came)) {
                return;
            }
            if came.is_ok() {
                pause = PAUSES.0;
                break;
            }
            if !slept(woken, pause) {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// False: the manager has ended.
fn slept(woken: &Receiver<()>, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    loop {
        match woken.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}
