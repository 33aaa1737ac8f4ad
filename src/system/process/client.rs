//! Talking to a VE's monitor on its socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hostel_monitor::request::{Answer, Request, SOCKET};

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

/// Asks the monitor of the VE with this run directory. `None`: there is none.
pub fn ask(run_dir: &Path, request: &Request, patience: Option<Duration>) -> Result<Option<Connection>> {
    let path = run_dir.join(SOCKET);
    let fail = |e: std::io::Error| Error::os("talk to the monitor at", path.display(), e);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED)) => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    stream
        .set_read_timeout(Some(patience.unwrap_or(PATIENCE)))
        .map_err(fail)?;
    let mut line = serde_json::to_vec(request).map_err(|e| fail(e.into()))?;
    line.push(b'\n');
    match (&stream).write_all(&line) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => return Ok(None),
        sent => sent.map_err(fail)?,
    }
    let mut reader = BufReader::new(stream.try_clone().map_err(fail)?);
    let mut text = String::new();
    match reader.read_line(&mut text) {
        Ok(0) => return Ok(None), // it ended while we asked
        Ok(_) => {}
        // The same, before it had read the question.
        Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(
                Error::new("hear from the monitor at", path.display(), "no answer in time").kind(Kind::TimedOut),
            );
        }
        Err(e) => return Err(fail(e)),
    }
    let answer = serde_json::from_str(&text).map_err(|e| fail(e.into()))?;
    stream.set_read_timeout(None).map_err(fail)?;
    Ok(Some(Connection {
        answer,
        stream,
        early: reader.buffer().to_vec(),
    }))
}
