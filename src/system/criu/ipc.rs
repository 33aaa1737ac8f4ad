//! What a VE has of System V IPC, and whether CRIU can bring it back.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::CloneFlags;

use super::Version;
use super::version::keeps_ipc;
use crate::{Error, Result, namespace};

/// Where the kernel lists them, for a thread in their namespace (proc_sysvipc(5)), and what they are.
const LISTS: [(&str, &str); 3] = [
    ("/proc/sysvipc/shm", "shared memory"),
    ("/proc/sysvipc/sem", "semaphores"),
    ("/proc/sysvipc/msg", "message queues"),
];

/// Are System V IPC objects lost by this CRIU on this host's kernel?
pub fn loses_ipc(criu: Version) -> Result<bool> {
    let kernel = crate::file::read(Path::new("/proc/sys/kernel/osrelease"))?;
    Ok(kernel.parse().is_ok_and(|kernel| !keeps_ipc(criu, kernel)))
}

/// Why this CRIU can't bring back the VE of this init on this host, if it uses System V IPC and that would be lost.
pub fn unkept_ipc(criu: Version, init: u32) -> Result<Option<String>> {
    if !loses_ipc(criu)? {
        return Ok(None);
    }
    let used = used(init)?;
    Ok((!used.is_empty()).then(|| {
        let list = used.join(" and ");
        format!("it uses System V {list}, which CRIU {criu} loses on this kernel; CRIU 3.18 or later doesn't")
    }))
}

/// What kinds of objects there are in the namespace of this process.
fn used(init: u32) -> Result<Vec<&'static str>> {
    let path = format!("/proc/{init}/ns/ipc");
    let ipc = File::open(&path).map_err(|e| Error::os("open", path, e))?;
    namespace::within(ipc.as_fd(), CloneFlags::CLONE_NEWIPC, || {
        let mut used = Vec::new();
        for (list, what) in LISTS {
            // A line of titles, then one for each; a kernel without System V IPC has no such file.
            let lines = crate::file::read_opt(Path::new(list))?.map_or(0, |text| text.lines().count());
            if lines > 1 {
                used.push(what);
            }
        }
        Ok(used)
    })
}

#[cfg(test)]
mod tests {
    use nix::sched::unshare;

    use super::*;

    #[test]
    fn what_is_used_is_seen_in_its_own_namespace_alone() {
        // A thread of this process with an IPC namespace of its own, which is named by its own id.
        let seen = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWIPC).unwrap();
            let me = nix::unistd::gettid().as_raw().unsigned_abs();
            let before = used(me).unwrap();
            // SAFETY: no memory of ours is given; the segment ends with its namespace.
            assert!(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) } >= 0);
            // SAFETY: as above.
            assert!(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) } >= 0);
            (before, used(me).unwrap())
        });
        let (before, after) = seen.join().unwrap();
        assert!(before.is_empty(), "{before:?}");
        assert_eq!(after, ["shared memory", "message queues"]);
    }
}
