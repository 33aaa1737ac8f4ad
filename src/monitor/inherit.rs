//! What a process inherits besides descriptors. Whoever runs `hostel start` may do so with limits, a priority, a
//! scheduling class or keys of their own; nothing of that may go on into a VE, which lives much longer than the shell
//! it was started from, and whose root could make use of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Failure, Result, Step};
use crate::sys;

/// No limit; the VE's control group holds it.
const UNLIMITED: Option<u64> = None;

/// Resource limits of every process in a VE, soft and hard. What the kernel counts for a whole user namespace
/// (pending signals, message queues, locked memory) is bounded by what its maker had (kernel/user_namespace.c).
const LIMITS: [(Resource, Option<u64>, Option<u64>); 15] = [
    (Resource::As, UNLIMITED, UNLIMITED),
    (Resource::Core, Some(0), UNLIMITED),
    (Resource::Cpu, UNLIMITED, UNLIMITED),
    (Resource::Data, UNLIMITED, UNLIMITED),
    (Resource::Fsize, UNLIMITED, UNLIMITED),
    (Resource::Locks, UNLIMITED, UNLIMITED),
    (Resource::Memlock, Some(8 << 20), Some(64 << 20)),
    (Resource::Msgqueue, Some(819_200), Some(819_200)),
    // Realtime classes and negative nice values would starve the host; the guest's CAP_SYS_NICE doesn't count there.
    (Resource::Nice, Some(0), Some(0)),
    // The soft limit stays small for programs that use select(2).
    (Resource::Nofile, Some(1024), Some(524_288)),
    (Resource::Nproc, UNLIMITED, UNLIMITED),
    (Resource::Rss, UNLIMITED, UNLIMITED),
    (Resource::Rtprio, Some(0), Some(0)),
    (Resource::Rttime, UNLIMITED, UNLIMITED),
    (Resource::Stack, Some(8 << 20), UNLIMITED),
];

/// Puts this process, and so what it will start in a VE, into the state that a booting system finds.
pub fn reset() -> Result<()> {
    // Keys of the caller's session would be open to whoever inherits it.
    sys::new_session_keyring().step("leave", "the caller's session keyring")?;
    for (resource, soft, hard) in LIMITS {
        limit(resource, soft, hard)?;
    }
    sys::ordinary_scheduling().step("return to", "ordinary scheduling")?;
    std::fs::write("/proc/self/oom_score_adj", "0").step("write", "/proc/self/oom_score_adj")
}

/// A VE can't get rid of no_new_privs, and without setuid programs it is no system: neither sudo nor su would work.
pub fn check_privileges_can_grow() -> Result<()> {
    match sys::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0) {
        Ok(1) => Err(Failure::new(
            "start",
            "a VE",
            "this command runs with no_new_privs, which would make setuid programs inside useless; run it without \
             (a systemd unit: NoNewPrivileges=no)",
        )),
        _ => Ok(()),
    }
}

/// Lowers or raises a limit as far as we may: a hard limit that the host has lowered can't be raised without
/// CAP_SYS_RESOURCE, and then stays.
fn limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> Result<()> {
    let wanted = Rlimit {
        current: soft,
        maximum: hard,
    };
    if setrlimit(resource, wanted).is_ok() {
        return Ok(());
    }
    let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let maximum = least(hard, getrlimit(resource).maximum);
    setrlimit(
        resource,
        Rlimit {
            current: least(soft, maximum),
            maximum,
        },
    )
    .step("set resource limit", format!("{resource:?}"))
}
