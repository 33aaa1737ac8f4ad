//! Talking to a VE's monitor on its socket.

use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostel_monitor::request::{Answer, Request, SOCKET};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::{Error, Kind, Result};

/// A monitor answers at once; one that doesn't within this time is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open connection, after the first answer.
#[derive(Debug)]
pub struct Connection {
    /// What the monitor said.
    pub answer: Answer,
    /// The rest of the stream (a console's bytes).
    pub stream: UnixStream,
    /// Bytes that came with the answer.
    pub early: Vec<u8>,
}

/// How often it is looked whether a person has given up.
const LOOK: Duration = Duration::from_millis(100);

/// Asks the monitor of the VE with this run directory. `None`: there is none.
pub fn ask(run_dir: &Path, request: &Request, patience: Option<Duration>) -> Result<Option<Connection>> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    ask_until(run_dir, request, patience.unwrap_or(PATIENCE), &NEVER)
}

/// Says something that isn't answered. The monitor hears it before it acts on anything that happens afterwards. `None`:
/// there is none.
pub fn tell(run_dir: &Path, request: &Request) -> Result<Option<UnixStream>> {
    let path = run_dir.join(SOCKET);
    let fail = |e: std::io::Error| Error::os("talk to the monitor at", path.display(), e);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED)) => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let mut line = serde_json::to_vec(request).map_err(|e| fail(e.into()))?;
    line.push(b'\n');
    match (&stream).write_all(&line) {
        Ok(()) => Ok(Some(stream)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => Ok(None),
        Err(e) => Err(fail(e)),
    }
}

/// Sends a byte with a descriptor.
pub(super) fn send_with(stream: &UnixStream, fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Asks for as long as `interrupted` is not raised.
pub(super) fn ask_until(
    run_dir: &Path,
    request: &Request,
    patience: Duration,
    interrupted: &AtomicBool,
) -> Result<Option<Connection>> {
    let Some(stream) = tell(run_dir, request)? else {
        return Ok(None);
    };
    let path = run_dir.join(SOCKET);
    let fail = |e: std::io::Error| Error::os("talk to the monitor at", path.display(), e);
    stream.set_read_timeout(Some(LOOK)).map_err(fail)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(fail)?);
    let (mut text, end) = (Vec::new(), Instant::now() + patience);
    loop {
        match reader.read_until(b'\n', &mut text) {
            Ok(_) if text.ends_with(b"\n") => break,
            Ok(_) => return Ok(None), // it ended while we asked
            // The same, before it had read the question.
            Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                let given_up = |why, kind| Err(Error::new("hear from the monitor at", path.display(), why).kind(kind));
                if interrupted.load(Ordering::Relaxed) {
                    return given_up("interrupted", Kind::Interrupted);
                }
                if Instant::now() >= end {
                    return given_up("no answer in time", Kind::TimedOut);
                }
            }
            Err(e) => return Err(fail(e)),
        }
    }
    let answer = serde_json::from_slice(&text).map_err(|e| fail(e.into()))?;
    stream.set_read_timeout(None).map_err(fail)?;
    Ok(Some(Connection {
        answer,
        stream,
        early: reader.buffer().to_vec(),
    }))
}
