//! The lines of a journal and how they stand in the file: each numbered and with a checksum, so that a torn, changed
//! or missing one is seen.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Begin;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The first.
    Begin(Begin),
    /// A step is about to be taken.
    Step(String),
    /// It has been taken.
    Done(String),
    /// It is about to be undone.
    Undoing(String),
    /// It has been undone.
    Undone(String),
    /// Nothing remains to be done.
    End,
}

/// `CHECKSUM {"n":NUMBER,"line":LINE}` and a newline. The number shows a line that is missing.
pub(super) fn encode(n: u64, line: &Line) -> serde_json::Result<String> {
    let json = serde_json::to_string(&Numbered { n, line: line.clone() })?;
    Ok(format!("{} {json}\n", checksum(json.as_bytes())))
}

#[derive(Serialize, Deserialize)]
struct Numbered {
    n: u64,
    line: Line,
}

/// The first 64 bits of SHA-256, in hexadecimal.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

pub(super) struct Parsed {
    pub(super) lines: Vec<Line>,
    /// Bytes of whole lines.
    pub(super) whole: u64,
}

/// Reads the lines; the last may be torn, no other.
pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Parsed, String> {
    let mut parsed = Parsed {
        lines: Vec::new(),
        whole: 0,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
        let (raw, after) = rest.split_at(length);
        // A tail that a crash tore, or that the file system filled with zeros, has no end.
        let Some(text) = raw.strip_suffix(b"\n") else { break };
        match decode(text, parsed.lines.len() as u64) {
            Ok(line) => parsed.lines.push(line),
            Err(why) => return Err(format!("line {}: {why}", parsed.lines.len() + 1)),
        }
        parsed.whole += length as u64;
        rest = after;
    }
    Ok(parsed)
}

fn decode(text: &[u8], n: u64) -> std::result::Result<Line, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let (sum, json) = text.split_once(' ').ok_or("it has no checksum")?;
    if sum != checksum(json.as_bytes()) {
        return Err("its checksum is wrong".into());
    }
    let line: Numbered = serde_json::from_str(json).map_err(|e| e.to_string())?;
    if line.n == n {
        Ok(line.line)
    } else {
        Err(format!("it is number {} and should be {n}", line.n))
    }
}
