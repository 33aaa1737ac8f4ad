//! A person at a VE's console.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hostel_monitor::request::Request;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::{Connection, ask};
use super::terminal;
use crate::{Error, Result};

/// How often it is looked whether a VE has started.
const LOOK: Duration = Duration::from_millis(100);

/// Ctrl-A: the next key is for us.
const ESCAPE: u8 = 0x01;

/// What the keys say about us.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    /// These go to the guest.
    Send(Vec<u8>),
    /// Leave the console.
    Leave,
}

/// Finds the escape in what was typed: Ctrl-A q leaves, Ctrl-A Ctrl-A (or any other key) goes through.
#[derive(Debug, Default)]
struct Escape {
    seen: bool,
}

impl Escape {
    fn filter(&mut self, typed: &[u8]) -> Keys {
        let mut send = Vec::with_capacity(typed.len());
        for &key in typed {
            match (self.seen, key) {
                (true, b'q') => return Keys::Leave,
                (true, ESCAPE) => send.push(ESCAPE),
                (true, other) => send.extend([ESCAPE, other]),
                (false, ESCAPE) => {}
                (false, other) => send.push(other),
            }
            self.seen = !self.seen && key == ESCAPE;
        }
        Keys::Send(send)
    }
}

/// Joins this process's terminal to the console of the VE with this run directory, over all its restarts, until the
/// person leaves or standard input ends.
pub fn join(run_dir: &Path) -> Result<()> {
    let _raw = if std::io::stdin().is_terminal() {
        Some(terminal::Raw::take()?)
    } else {
        None
    };
    let mut escape = Escape::default();
    // A VE that runs is joined as it is. One that is still to start, or starts again, is seen from its first word on.
    let mut seen = ask(run_dir, &Request::Status, None)?.map(|running| running.answer.init);
    loop {
        match ask(run_dir, &Request::Console { seen }, None)? {
            Some(connection) if connection.answer.console => {
                seen = Some(connection.answer.init);
                if let Some((rows, columns)) = terminal::size() {
                    ask(run_dir, &Request::Resize(rows, columns), None)?;
                }
                if carry(connection, &mut escape)? {
                    return Ok(());
                }
            }
            // Not running, or its monitor is a later one without a console.
            _ => {
                if wait_for_start(&mut escape)? {
                    return Ok(());
                }
            }
        }
    }
}

/// True when the person leaves.
fn wait_for_start(escape: &mut Escape) -> Result<bool> {
    let stdin = rustix::stdio::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(LOOK).ok();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        Ok(_) => Ok(typed(escape)?.is_none()),
        Err(e) => Err(fail(e.into())),
    }
}

/// Carries bytes until the VE ends (false) or the person leaves (true).
fn carry(connection: Connection, escape: &mut Escape) -> Result<bool> {
    let Connection { stream, early, .. } = connection;
    show(&early)?;
    loop {
        let stdin = rustix::stdio::stdin();
        let (from_guest, from_person) = {
            let mut fds = [PollFd::new(&stream, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(fail(e.into())),
                Ok(_) => (!fds[0].revents().is_empty(), !fds[1].revents().is_empty()),
            }
        };
        if from_guest && !relay(&stream)? {
            return Ok(false);
        }
        if from_person {
            match typed(escape)? {
                None => return Ok(true),
                Some(keys) => {
                    if (&stream).write_all(&keys).is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

fn relay(mut stream: &UnixStream) -> Result<bool> {
    let mut buffer = [0u8; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(n) => show(&buffer[..n]).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(true),
        Err(_) => Ok(false),
    }
}

/// What goes to the guest of what was typed; `None` when the person leaves.
fn typed(escape: &mut Escape) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0u8; 1024];
    match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
        Ok(0) => Ok(None),
        Ok(n) => Ok(match escape.filter(&buffer[..n]) {
            Keys::Send(keys) => Some(keys),
            Keys::Leave => None,
        }),
        Err(rustix::io::Errno::INTR) => Ok(Some(Vec::new())),
        Err(e) => Err(fail(e.into())),
    }
}

fn show(said: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(said).and_then(|()| out.flush()).map_err(fail)
}

fn fail(e: std::io::Error) -> Error {
    Error::os("carry", "the console", e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ctrl_a_q_leaves() {
        let mut escape = Escape::default();
        assert_eq!(escape.filter(b"ls\r"), Keys::Send(b"ls\r".to_vec()));
        assert_eq!(escape.filter(b"\x01\x01q"), Keys::Send(b"\x01q".to_vec()));
        assert_eq!(escape.filter(b"\x01x"), Keys::Send(b"\x01x".to_vec()));
        assert_eq!(escape.filter(b"\x01"), Keys::Send(vec![]));
        assert_eq!(escape.filter(b"q"), Keys::Leave);
    }
}
