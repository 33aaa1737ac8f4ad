//! Paths as archives write them.

use super::{Limits, refused};
use crate::Result;

/// The parent of a clean path, and its last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (
            path.get(..slash).unwrap_or_default(),
            path.get(slash + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

/// A name in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

/// A name up to its first NUL, as C has it.
pub(super) fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
    name
}

/// A path of an archive, without `.` parts and doubled or trailing slashes; empty for the tree's root. Refused if
/// it is absolute, has a `..`, a NUL, a part that no file system can hold, or is too long or deep.
pub(super) fn clean(path: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    if path.first() == Some(&b'/') {
        return Err(refused(path, "its path is absolute"));
    }
    if path.contains(&0) {
        return Err(refused(path, "its name holds a NUL"));
    }
    if path.len() > limits.path_len {
        let start = path.get(..64).unwrap_or(path);
        return Err(refused(
            start,
            format!(
                "a path that begins so has {} bytes; {} are allowed",
                path.len(),
                limits.path_len
            ),
        ));
    }
    let parts: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|p| !matches!(*p, b"" | b"."))
        .collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(refused(path, "its path has a \"..\""));
    }
    if parts.iter().any(|p| p.len() > 255) {
        return Err(refused(path, "a part of its path is longer than 255 bytes"));
    }
    if parts.len() > limits.depth {
        return Err(refused(
            path,
            format!("it lies more than {} directories deep", limits.depth),
        ));
    }
    Ok(parts.join(&b'/'))
}
