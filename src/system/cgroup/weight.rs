//! How much all VEs together weigh against what else runs on the host.
//!
//! They share one group, `<root>`, and a group that is left alone weighs as much as one busy process (v1) or one slice
//! (v2) of the host: a backup job would get half of a machine whose purpose are its VEs. A weight that follows the
//! number of VEs would have the opposite fault: the more there are, the less is left to log in and mend things with.
//! So all together have ten times of what the host has, however many they are, and the host keeps an eleventh when
//! everybody wants all.
//!
//! Only a weight that nobody has chosen is replaced (the kernel's default): what a person writes there stays.

use std::path::Path;

use super::files;
use super::layout::Hierarchy;
use crate::Result;

/// How often the host's weight.
const TIMES: u64 = 10;
/// The most that the kernel takes as `cpu.shares`.
const MOST_SHARES: u64 = 1 << 18;

/// A weight in a group's file: what it is if nobody chose it, and what all VEs get.
struct Weight {
    file: &'static str,
    default: u64,
    together: u64,
    /// What the kernel writes before the number, and wants to read.
    label: &'static str,
}

impl Weight {
    fn new(file: &'static str, default: u64, together: u64) -> Self {
        Self {
            file,
            default,
            together,
            label: "",
        }
    }

    /// A kernel without that file has nothing that weighs.
    fn set(&self, dir: &Path) -> Result<()> {
        let Ok(text) = files::try_read(&dir.join(self.file)) else {
            return Ok(());
        };
        let first = text.lines().next().unwrap_or_default();
        let now = first.strip_prefix(self.label).unwrap_or(first).trim();
        if now == self.default.to_string() {
            files::write(dir, self.file, &format!("{}{}", self.label, self.together))?;
        }
        Ok(())
    }
}

/// In a v1 hierarchy. There a group's weight is divided among the processors that it runs on, and a process has all of
/// its own on its one: so all VEs have ten times a process on each processor.
pub fn v1(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    let has = |controller: &str| hierarchy.controllers.iter().any(|c| c == controller);
    if has("cpu") {
        shares(processors()).set(dir)?;
    }
    if has("blkio") {
        // BFQ's, and that of CFQ, which left the kernel with 5.0 and went to 1000 at most.
        for (file, default) in [("blkio.bfq.weight", 100), ("blkio.weight", 500)] {
            Weight::new(file, default, 1000).set(dir)?;
        }
    }
    Ok(())
}

fn shares(processors: u64) -> Weight {
    Weight::new(
        "cpu.shares",
        1024,
        processors.saturating_mul(TIMES * 1024).min(MOST_SHARES),
    )
}

fn processors() -> u64 {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
    online.ok().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(1)
}

/// In the v2 tree, where the host's processes are in slices beside `<root>`, each with the default weight.
pub fn v2(dir: &Path) -> Result<()> {
    for (file, label) in [
        ("cpu.weight", ""),
        ("io.weight", "default "),
        ("io.bfq.weight", "default "),
    ] {
        let weight = Weight::new(file, 100, 100 * TIMES);
        Weight { label, ..weight }.set(dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_the_host_as_far_as_the_kernel_goes() {
        assert_eq!(
            [1, 2, 16, 64].map(|n| shares(n).together),
            [10_240, 20_480, 163_840, 262_144]
        );
    }

    #[test]
    fn what_a_person_chose_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        std::fs::write(file("cpu.weight"), "100\n").unwrap();
        std::fs::write(file("io.weight"), "default 100\n8:0 300\n").unwrap();
        v2(dir.path()).unwrap();
        assert_eq!([text("cpu.weight"), text("io.weight")], ["1000", "default 1000"]);
        assert!(!file("io.bfq.weight").exists());
        std::fs::write(file("cpu.weight"), "50\n").unwrap();
        v2(dir.path()).unwrap();
        assert_eq!(text("cpu.weight"), "50\n");
    }
}
