//! The groups that a guest has made below its own in the v2 tree: read before it is suspended and made again before
//! it goes on. CRIU makes only those that hold a process, and a guest's systemd watches empty ones too.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Settings that are kept, in the order in which they are written (cgroup-v2.rst). What others set (the state of the
/// freezer) or what names devices isn't among them.
const KEPT: [&str; 15] = [
    "cgroup.subtree_control",
    "cgroup.max.depth",
    "cgroup.max.descendants",
    "cpu.weight",
    "cpu.max",
    "io.weight",
    "io.bfq.weight",
    "memory.min",
    "memory.low",
    "memory.high",
    "memory.max",
    "memory.swap.max",
    "memory.oom.group",
    "pids.max",
    "cpuset.cpus",
];

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// Its path below the guest's own group; empty for that itself.
    pub path: PathBuf,
    /// Whose it is: a user and a group of the host.
    pub owner: (u32, u32),
    /// Its settings, with what they hold.
    pub settings: Vec<(String, String)>,
}

impl Inner {
    /// The group alone, as it is made.
    pub fn without_settings(self) -> Self {
        Self {
            settings: Vec::new(),
            ..self
        }
    }
}

/// The guest's group and all below it, parents first.
pub fn read(payload: &Path) -> Result<Vec<Inner>> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let dir = payload.join(&path);
        let fail = |e: std::io::Error| Error::os("read cgroup", dir.display(), e);
        let metadata = std::fs::metadata(&dir).map_err(fail)?;
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                left.push(path.join(entry.file_name()));
            }
        }
        let value = |name: &&str| {
            let value = std::fs::read_to_string(dir.join(name)).ok()?;
            Some(((*name).to_owned(), without_devices(name, value)))
        };
        found.push(Inner {
            path,
            owner: (metadata.uid(), metadata.gid()),
            settings: KEPT.iter().filter_map(value).collect(),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Of weights of I/O the first line is for all devices, and others are each for one, whose numbers may be another's when
/// the VE goes on.
fn without_devices(name: &str, value: String) -> String {
    match name {
        "io.weight" | "io.bfq.weight" => value.lines().take(1).map(|line| format!("{line}\n")).collect(),
        _ => value,
    }
}

/// Makes them again; those that are there are only given their owner and settings. Answers the settings that this kernel
/// doesn't take back.
pub fn make(payload: &Path, groups: &[Inner]) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for Inner { path, owner, settings } in groups {
        let dir = payload.join(path);
        let fail = |e: std::io::Error| Error::os("make cgroup", dir.display(), e);
        match std::fs::create_dir(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(fail(e)),
            _ => {}
        }
        for (name, value) in settings {
            // All else of the guest's own group is the host's to set, and may be another now: the cap that is shown
            // there, for one.
            if path.as_os_str().is_empty() && name != "cgroup.subtree_control" {
                continue;
            }
            let not_taken = set(&dir, name, value.trim());
            refused.extend(not_taken.into_iter().map(|what| path.join(what).display().to_string()));
        }
        if path.as_os_str().is_empty() {
            continue; // its files' owners are decided where it is made
        }
        let own = |path: &Path| std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1)).map_err(fail);
        own(&dir)?;
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_file() {
                own(&entry.path())?;
            }
        }
    }
    Ok(refused)
}

/// Sets one setting of a group. Answers what of it could not be: the group goes on without.
fn set(dir: &Path, name: &str, value: &str) -> Vec<String> {
    let file = dir.join(name);
    // Once made, a group has what it was made with: nothing to be written, and nothing that can fail.
    if value.is_empty() || std::fs::read_to_string(&file).is_ok_and(|now| now.trim() == value) {
        return Vec::new();
    }
    // None is made where the kernel has none.
    let write = |text: &str| {
        let mut file = std::fs::File::options().write(true).truncate(true).open(&file)?;
        file.write_all(text.as_bytes())
    };
    if name != "cgroup.subtree_control" {
        return write(value).err().map(|_| name.to_owned()).into_iter().collect();
    }
    // Read as "cpu io", written as "+cpu +io"; if one of them isn't to be had, none is.
    let all: String = value.split_whitespace().map(|c| format!("+{c} ")).collect();
    if write(&all).is_ok() {
        return Vec::new();
    }
    let refused = value.split_whitespace().filter(|c| write(&format!("+{c}")).is_err());
    refused.map(|c| format!("{name} (+{c})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_made_again() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("system.slice/empty.slice")).unwrap();
        std::fs::write(from.path().join("system.slice/pids.max"), "77\n").unwrap();
        std::fs::write(from.path().join("system.slice/io.weight"), "default 100\n8:0 300\n").unwrap();
        std::fs::write(from.path().join("system.slice/io.bfq.weight"), "default 200\n").unwrap();
        std::fs::write(from.path().join("cpu.max"), "50000 100000\n").unwrap();
        std::fs::write(from.path().join("cgroup.subtree_control"), "cpu io\n").unwrap();
        let read_back = read(from.path()).unwrap();
        let paths: Vec<_> = read_back.iter().map(|g| g.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["", "system.slice", "system.slice/empty.slice"]);
        let bare: Vec<_> = read_back.iter().cloned().map(Inner::without_settings).collect();
        assert!(make(to.path(), &bare).unwrap().is_empty());
        assert!(to.path().join("system.slice/empty.slice").is_dir());
        // In a real tree files come with the groups; one that doesn't is of a controller that isn't here.
        for file in [
            "system.slice/pids.max",
            "system.slice/io.weight",
            "cgroup.subtree_control",
        ] {
            std::fs::write(to.path().join(file), "\n").unwrap();
        }
        std::fs::write(to.path().join("cpu.max"), "200000 100000\n").unwrap();
        for _ in 0..2 {
            assert_eq!(make(to.path(), &read_back).unwrap(), ["system.slice/io.bfq.weight"]);
        }
        let own = |file| std::fs::read_to_string(to.path().join(file)).unwrap();
        assert_eq!(own("system.slice/pids.max"), "77");
        assert_eq!(own("system.slice/io.weight"), "default 100");
        assert_eq!(own("cgroup.subtree_control"), "+cpu +io ");
        assert_eq!(own("cpu.max"), "200000 100000\n", "the host's");
        assert!(!to.path().join("system.slice/io.bfq.weight").exists());
    }
}
