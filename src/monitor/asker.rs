//! Connections to the monitor's socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::request::Answer;

/// Is the other end of this connection still open? What it says is not heeded.
pub fn is_there(stream: &mut UnixStream) -> bool {
    let mut buffer = [0u8; 64];
    match stream.read(&mut buffer) {
        Ok(n) => n > 0,
        Err(e) => e.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Answers a question.
pub fn reply(mut stream: &UnixStream, answer: &Answer) {
    if let Ok(mut text) = serde_json::to_vec(answer) {
        text.push(b'\n');
        let _ = stream.write_all(&text); // the asker may be gone
    }
}
