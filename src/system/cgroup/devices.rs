//! Which devices a VE's processes may open, by the `devices` controller of cgroup v1 (admin-guide/cgroup-v1/
//! devices.rst). A second lock: a guest can make no device nodes, and none work but those in the /dev that it is given.
//! The v2 tree has no such files; there the first lock stands alone.

use std::path::Path;

use super::files;
use crate::Result;

/// To read and to write, not to make: null zero full random urandom tty console ptmx, terminals, and what a plan may
/// add to /dev: fuse and tun.
const ALLOWED: [&str; 11] = [
    "c 1:3 rw",
    "c 1:5 rw",
    "c 1:7 rw",
    "c 1:8 rw",
    "c 1:9 rw",
    "c 5:0 rw",
    "c 5:1 rw",
    "c 5:2 rw",
    "c 136:* rw",
    "c 10:200 rw",
    "c 10:229 rw",
];

/// Shuts everything else. The group may have none in it: the kernel refuses that.
pub fn confine(group: &Path) -> Result<()> {
    files::write(group, "devices.deny", "a")?;
    ALLOWED
        .iter()
        .try_for_each(|rule| files::write(group, "devices.allow", rule))
}
