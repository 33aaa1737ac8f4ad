//! All kernel settings of a VE's network namespace: read before it is suspended and written again after, for CRIU
//! keeps but those of interfaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result, namespace};

/// Where a network namespace's settings are, for a thread in it.
const ROOT: &str = "/proc/sys/net";

fn inside<T: Send>(init: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/proc/{init}/ns/net");
    let namespace = File::open(&path).map_err(|e| Error::os("open", path, e))?;
    namespace::within_network(namespace.as_fd(), work)
}

/// Every setting that can be read and written, by its path below [`ROOT`].
pub(super) fn read(init: u32) -> Result<BTreeMap<String, String>> {
    inside(init, || {
        let mut found = BTreeMap::new();
        let mut left = vec![PathBuf::from(ROOT)];
        while let Some(dir) = left.pop() {
            let fail = |e: std::io::Error| Error::os("read", dir.display(), e);
            for entry in std::fs::read_dir(&dir).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let metadata = entry.metadata().map_err(fail)?;
                if metadata.is_dir() {
                    left.push(entry.path());
                } else if metadata.permissions().mode() & 0o600 == 0o600
                    // One that can't be read was never set (an IPv6 secret, for one).
                    && let Ok(value) = std::fs::read_to_string(entry.path())
                    && let Ok(key) = entry.path().strip_prefix(ROOT)
                {
                    found.insert(key.display().to_string(), value.trim_end_matches('\n').to_owned());
                }
            }
        }
        Ok(found)
    })
}

/// Writes those that differ. The keys of those that the kernel wouldn't take.
pub(super) fn write(init: u32, settings: &BTreeMap<String, String>) -> Result<Vec<String>> {
    inside(init, || {
        let refused = |(key, value): (&String, &String)| {
            let path = Path::new(ROOT).join(key);
            let has = std::fs::read_to_string(&path).unwrap_or_default();
            let done = has.trim_end_matches('\n') == value || std::fs::write(&path, value).is_ok();
            (!done).then(|| key.clone())
        };
        Ok(settings.iter().filter_map(refused).collect())
    })
}
