//! Processes as the kernel tells of them (proc_pid_stat(5), proc_pid_status(5)). Only what is read without the lock of a
//! process's memory, which one that hangs may hold for ever: so its name, and not its command line.

use std::path::Path;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number on the host.
    pub pid: u32,
    /// Its number where it runs.
    pub inside: u32,
    /// Its user, as a number of the host.
    pub uid: u32,
    /// What it does, as a letter: R, S, D, T, Z, ….
    pub state: char,
    /// Its name, at most 15 bytes of it.
    pub name: String,
    /// Processor time that it and its threads have had, in nanoseconds: steps of a clock tick.
    pub cpu_ns: u64,
    /// Bytes of memory that are its own or shared.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// When it began, in clock ticks since the host's boot.
    pub began: u64,
}

/// Those of these processes that there still are.
pub fn list(proc: &Path, pids: &[u32]) -> Vec<Listed> {
    let Some(ticks) = ticks() else {
        return Vec::new();
    };
    let read = |pid: u32, file: &str| std::fs::read(proc.join(pid.to_string()).join(file)).ok();
    let one = |pid: &u32| {
        let (stat, status) = (read(*pid, "stat")?, read(*pid, "status")?);
        parse(
            *pid,
            &String::from_utf8_lossy(&stat),
            &String::from_utf8_lossy(&status),
            ticks,
        )
    };
    pids.iter().filter_map(one).collect()
}

fn ticks() -> Option<u64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    u64::try_from(ticks).ok()
}

fn parse(pid: u32, stat: &str, status: &str, ticks: u64) -> Option<Listed> {
    // The name may hold spaces and brackets; what follows its last bracket is plain.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    // Fields are counted from the state on, which proc_pid_stat(5) has as the third.
    let (user, kernel) = (number(11)?, number(12)?);
    Some(Listed {
        pid,
        // The last is that of the innermost namespace.
        inside: line("NSpid")
            .and_then(|l| l.split_ascii_whitespace().last()?.parse().ok())
            .unwrap_or(pid),
        uid: line("Uid")?.split_ascii_whitespace().next()?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        name: name.to_owned(),
        cpu_ns: user
            .checked_add(kernel)?
            .checked_mul(1_000_000_000_u64.checked_div(ticks)?)?,
        // Of one that has ended and is not yet forgotten there is none.
        memory: line("VmRSS")
            .and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024))
            .unwrap_or(0),
        threads: number(17)?,
        began: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_process_likes() {
        let stat =
            "77 (a) b (c) R 1 77 77 0 -1 4194304 1 2 3 4 150 50 7 8 20 0 3 0 4242 1000 10 18446744073709551615 1\n";
        let status = "Name:\ta) b (c\nUid:\t1048576\t1048576\t1048576\t1048576\nNSpid:\t77\t5\nVmRSS:\t    12 kB\n";
        let want = Listed {
            pid: 77,
            inside: 5,
            uid: 1_048_576,
            state: 'R',
            name: "a) b (c".to_owned(),
            cpu_ns: 2_000_000_000,
            memory: 12 << 10,
            threads: 3,
            began: 4242,
        };
        assert_eq!(parse(77, stat, status, 100), Some(want));
        assert_eq!(parse(77, "77 (x) R 1", status, 100), None);
    }

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        let seen = list(Path::new("/proc"), &[own, u32::MAX]);
        let [seen] = &seen[..] else { panic!("{seen:?}") };
        assert!(
            seen.pid == own && seen.threads >= 1 && seen.memory > 0 && seen.began > 0,
            "{seen:?}"
        );
    }
}
