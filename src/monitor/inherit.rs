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
const LIMITS: [(Resource, Option<u64>, Option<u64>); 14] = [
    (Resource::As, UNLIMITED, UNLIMITED),
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
    let (soft, hard) = core_limits(&std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default());
    limit(Resource::Core, soft, hard)?;
    sys::ordinary_scheduling().step("return to", "ordinary scheduling")?;
    std::fs::write("/proc/self/oom_score_adj", "0").step("write", "/proc/self/oom_score_adj")
}

/// How large core dumps may be, soft and hard, where the kernel's core_pattern (core(5)) is this. A file lies in the
/// directory of the process that died, inside: the guest may have that if it asks for it. But a program that the kernel
/// runs for each dump, or a socket that it sends them to, is the host's: a VE's root must not have it read what he
/// likes. The kernel asks it whatever the limit is, 0 too, except for 1, which is its mark for "not even that".
fn core_limits(pattern: &str) -> (Option<u64>, Option<u64>) {
    match pattern.trim_start().chars().next() {
        Some('|' | '@') | None => (Some(1), Some(1)),
        Some(_) => (Some(0), UNLIMITED),
    }
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

#[cfg(test)]
mod tests {
    use super::core_limits;

    #[test]
    fn no_program_of_the_host_is_fed_by_a_guest() {
        for theirs in [
            "|/usr/share/apport/apport %p",
            "|/bin/false",
            "@/run/coredump.socket",
            "@@/run/x",
            "",
        ] {
            assert_eq!(core_limits(theirs), (Some(1), Some(1)), "{theirs}");
        }
        for file in ["core\n", "/var/crash/core.%e.%p", "core.%p"] {
            assert_eq!(core_limits(file), (Some(0), None), "{file}");
        }
    }
}
