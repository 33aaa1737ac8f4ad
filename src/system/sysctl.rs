//! Settings of the running kernel, below /proc/sys.

use std::path::Path;

use crate::{Error, Kind, Result, file};

/// Raises a number to at least `least`. The old value if it was lower; `None` if it was high enough, or this kernel has
/// no such setting.
pub fn raise(proc_sys: &Path, name: &str, least: u64) -> Result<Option<u64>> {
    let path = proc_sys.join(name);
    let Some(text) = file::read_opt(&path)? else {
        return Ok(None);
    };
    let now: u64 = text
        .trim()
        .parse()
        .map_err(|_| Error::new("understand", path.display(), "it is no number").kind(Kind::Invalid))?;
    if now >= least {
        return Ok(None);
    }
    std::fs::write(&path, least.to_string()).map_err(|e| Error::os("raise", path.display(), e))?;
    Ok(Some(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ever_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("fs")).unwrap();
        let file = dir.path().join("fs/most");
        std::fs::write(&file, "128\n").unwrap();
        assert_eq!(raise(dir.path(), "fs/most", 1000).unwrap(), Some(128));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1000");
        assert_eq!(raise(dir.path(), "fs/most", 500).unwrap(), None);
        assert_eq!(raise(dir.path(), "fs/none", 500).unwrap(), None);
    }
}
