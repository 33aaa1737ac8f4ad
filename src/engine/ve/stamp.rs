//! Which version of a file it is, for who keeps what he has read of it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Its number, when it was changed, and its size; `None`: there is none. Hostel replaces files as a whole, so that each
/// version has another number; who edits one in place changes at least the time.
pub type Stamp = Option<(u64, i64, i64, u64)>;

/// That of the file at a path.
pub fn stamp(path: &Path) -> Stamp {
    let m = std::fs::metadata(path).ok()?;
    Some((m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
}
