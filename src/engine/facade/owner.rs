//! Which VE a process of the host is in, and what the host is, for whoever reckons with both.

use std::collections::BTreeMap;
use std::path::Path;

use hostel_model::id::VeId;
use hostel_model::stat::HostReading;
use hostel_system::process::{Listed, list, ps};

use super::Engine;
use crate::error::Result;
use crate::ve::registry::ids_in;

/// A process of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// What the kernel tells of it.
    pub seen: Listed,
    /// The VE that it is in.
    pub ve: Option<VeId>,
}

impl Engine {
    /// Those of these processes that there are, in order.
    pub fn owners(&self, pids: &[u32]) -> Vec<Owned> {
        let (proc, root) = (self.proc(), self.host.config.cgroup_root.as_str());
        let owner = |pid: u32| {
            let groups = std::fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
            groups.lines().find_map(|line| ve_of(line, root))
        };
        let seen = list(proc, pids).into_iter();
        seen.map(|seen| Owned {
            ve: owner(seen.pid),
            seen,
        })
        .collect()
    }

    /// All processes in VEs that run.
    pub fn inhabitants(&self) -> Result<BTreeMap<u32, VeId>> {
        let mut all = BTreeMap::new();
        for id in ids_in(&self.host.dirs.ves())? {
            let pids = self.host.cgroups.processes(id)?;
            all.extend(pids.into_iter().map(|pid| (pid, id)));
        }
        Ok(all)
    }

    /// What the host's ps says with these options, and its exit code.
    pub fn ps(&self, options: &[String]) -> Result<(String, i32)> {
        Ok(ps(options)?)
    }

    /// What the host uses and has.
    pub fn host_now(&self) -> HostReading {
        self.meter().host()
    }

    /// The sum of what the kernel calls its processors' BogoMIPS: a measure of how fast they are, of a kind.
    pub fn bogomips(&self) -> Option<f64> {
        bogomips(&std::fs::read_to_string(self.proc().join("cpuinfo")).ok()?)
    }

    /// The kernel's settings are in /proc too, wherever that is mounted.
    fn proc(&self) -> &Path {
        self.host.proc_sys.parent().unwrap_or(Path::new("/proc"))
    }
}

/// Of a line of /proc/PID/cgroup. A guest may make groups of any name in its own, but they all lie below that.
fn ve_of(line: &str, root: &str) -> Option<VeId> {
    let path = line.splitn(3, ':').nth(2)?;
    let (_, below) = path.split_once(&format!("/{root}/"))?;
    below.split('/').next()?.parse().ok()
}

fn bogomips(cpuinfo: &str) -> Option<f64> {
    let mut sum = None;
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        // Other architectures write it in other letters.
        if key.trim().eq_ignore_ascii_case("bogomips")
            && let Ok(n) = value.trim().parse::<f64>()
        {
            sum = Some(sum.unwrap_or(0.0) + n);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_ve_whose_group_is_the_outermost() {
        let id = |n: u32| VeId::try_from(n).ok();
        for (line, ve) in [
            ("0::/hostel/101/payload/init.scope", id(101)),
            ("5:memory:/hostel/102/payload", id(102)),
            ("0::/hostel.slice/hostel/103/payload/hostel/101/x", id(103)),
            ("0::/hostel/monitor", None),
            ("0::/system.slice/ssh.service", None),
            ("0::/hostel/7", None),
            ("nonsense", None),
        ] {
            assert_eq!(ve_of(line, "hostel"), ve, "{line}");
        }
        assert_eq!(ve_of("0::/a.slice/b/101/payload", "a.slice/b"), id(101));
    }

    #[test]
    fn bogomips_are_added_up() {
        let text = "processor\t: 0\nbogomips\t: 4800.50\n\nprocessor : 1\nBogoMIPS : 50.00\n";
        assert_eq!(bogomips(text), Some(4850.5));
        assert_eq!(bogomips("processor : 0\n"), None);
    }
}
