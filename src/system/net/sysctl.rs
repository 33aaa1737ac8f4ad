//! Kernel settings below /proc/sys/net. They belong to the network namespace of the thread that opens the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The settings of one network namespace, the calling thread's.
#[derive(Debug, Clone)]
pub(super) struct Sysctl {
    root: PathBuf,
}

impl Sysctl {
    /// `proc_root`: where proc is mounted.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            root: proc_root.join("sys/net"),
        }
    }

    /// Does this kernel have IPv6?
    pub fn has_ipv6(&self) -> bool {
        self.root.join("ipv6/conf").is_dir()
    }

    /// The interfaces with IPv6 settings; "all" and "default" are among them.
    pub fn ipv6_interfaces(&self) -> Result<Vec<String>> {
        let dir = self.root.join("ipv6/conf");
        let fail = |e: io::Error| Error::os("list", dir.display(), e);
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(fail)? {
            names.extend(entry.map_err(fail)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A setting's value; `None` if this kernel or interface hasn't got it.
    pub fn read(&self, key: &str) -> Result<Option<String>> {
        Ok(crate::file::read_opt(&self.root.join(key))?.map(|text| text.trim().to_owned()))
    }

    /// Sets `key` (a path: "ipv4/ip_forward") to `value`; the old value if that was another.
    pub fn set(&self, key: &str, value: &str) -> Result<Option<String>> {
        let path = self.root.join(key);
        let old = crate::file::read(&path)?;
        if old.trim() == value {
            return Ok(None);
        }
        fs::write(&path, value).map_err(|e| Error::os("set", path.display(), e))?;
        Ok(Some(old.trim().to_owned()))
    }
}
