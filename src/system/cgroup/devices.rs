//! Which devices a VE's processes may open: by the `devices` controller of cgroup v1 (admin-guide/cgroup-v1/devices.rst),
//! or by a program in the v2 tree. A second lock: a guest can make no device nodes, and none work but those in the /dev
//! that it is given.

use std::path::Path;

use super::layout::Layout;
use super::types::Support;
use super::{device_program, files};
use crate::Result;

/// A character device that may be read and written, but not made.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// Its driver.
    pub major: i32,
    /// Which one; `None`: all of that driver.
    pub minor: Option<i32>,
}

const fn device(major: i32, minor: i32) -> Device {
    Device {
        major,
        minor: Some(minor),
    }
}

/// null zero full random urandom tty console ptmx, terminals, and what a plan may add to /dev: tun and fuse.
pub const ALLOWED: [Device; 11] = [
    device(1, 3),
    device(1, 5),
    device(1, 7),
    device(1, 8),
    device(1, 9),
    device(5, 0),
    device(5, 1),
    device(5, 2),
    Device {
        major: 136,
        minor: None,
    },
    device(10, 200),
    device(10, 229),
];

/// Shuts everything else for a v1 group. It may have none in it: the kernel refuses that.
pub fn confine_v1(group: &Path) -> Result<()> {
    files::write(group, "devices.deny", "a")?;
    ALLOWED.iter().try_for_each(|device| {
        let minor = device.minor.map_or_else(|| "*".to_owned(), |m| m.to_string());
        files::write(group, "devices.allow", &format!("c {}:{minor} rw", device.major))
    })
}

/// The same for a group of the v2 tree and all in it. A kernel that takes no such program leaves the first lock alone.
pub fn confine_v2(group: &Path) -> Result<()> {
    match device_program::load() {
        Ok(program) => program.attach(group),
        Err(_) => Ok(()), // `hostel info` says why
    }
}

/// Does this host have the second lock?
pub fn support(layout: &Layout) -> Support {
    match (layout.place("devices"), &layout.v2) {
        (Some(_), _) => Support::Full,
        (None, Some(_)) => device_program::load().map_or_else(Support::No, |_| Support::Full),
        (None, None) => Support::No("there is neither the controller \"devices\" nor a v2 tree".into()),
    }
}
