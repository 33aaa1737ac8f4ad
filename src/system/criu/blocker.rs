//! What CRIU's log says of why it failed, in plain words.

/// Words of an error in CRIU's log, and what they mean to a person.
const MEANINGS: &[(&str, &str)] = &[
    (
        "nested uts",
        "a process has a host name of its own (a UTS namespace inside the VE)",
    ),
    ("nested ipc", "a process has an IPC namespace of its own"),
    (
        "nested user",
        "a process has a user namespace of its own (a container inside, or a sandbox)",
    ),
    (
        "nested pid",
        "a process has a pid namespace of its own (a container inside)",
    ),
    ("nested time", "a process has a time namespace of its own"),
    (
        "slave external peer",
        "a terminal from outside is in use: leave hostel enter and exec --pty first",
    ),
    ("io_uring", "a process uses io_uring"),
    ("anon_inode:bpf", "a process holds a BPF program"),
    (
        "ghost file",
        "a deleted file that is still open is too large to be saved",
    ),
    ("fuse", "a FUSE file system is mounted"),
    ("tun", "a process uses /dev/net/tun"),
    (
        "Can't lookup mount",
        "a process has a file open on a file system that isn't mounted any more, as one of lxcfs",
    ),
    ("Unknown filesystem", "a file system is mounted that can't be saved"),
];

/// Noise: what is logged as an error and doesn't matter here, or only repeats that something failed.
const NOISE: &[&str] = &[
    "RLIMIT_NOFILE for self",
    "address already assigned",
    "Address already assigned",
    "Dumping FAILED",
    "Restoring FAILED",
    "failed with -1",
    "Unable to detach",
    "action scripts failed",
    "RPC client reported script error",
    // Tools that it asks whether they are there.
    "execvp(\"ip",
    "-save -V failed",
    "-restore -V failed",
];

/// The reason of a failure from CRIU's log: what it means if that is known, and the log's own words.
pub fn reason(log: &str) -> Option<String> {
    let error = |line: &str| Some(line.split_once("Error (")?.1.split_once("): ")?.1.trim().to_owned());
    let told = log
        .lines()
        .filter_map(error)
        .find(|said| !NOISE.iter().any(|noise| said.contains(noise)))?;
    let meaning = MEANINGS.iter().find(|(words, _)| has_words(&told, words));
    Some(match meaning {
        Some((_, meaning)) => format!("{meaning}; CRIU says: {told}"),
        None => format!("CRIU says: {told}"),
    })
}

/// Does this text have these words, large or small? "refused" doesn't have "fuse".
fn has_words(text: &str, words: &str) -> bool {
    let (text, words) = (text.to_lowercase(), words.to_lowercase());
    let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(&words).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + words.len()..]);
        !goes_on(before.chars().next_back()) && !goes_on(after.chars().next())
    })
}

/// Has a dump failed by what is over in a moment? Since late in 2025 the kernel shows a watch of inotify without the handle
/// of its file while somebody is about to mount that file system or take it off (fs/notify/fdinfo.c,
/// `super_trylock_shared`), and control groups are one file system for the host and all VEs. CRIU then can't read the line.
pub fn passes(log: &str) -> bool {
    ["inotify", "fanotify"]
        .iter()
        .any(|kind| log.contains(&format!("error parsing [{kind} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_without_a_handle_passes() {
        let log = "(00.08) Error (criu/proc_parse.c:2131): parse_fdinfo_pid_s: error parsing [inotify wd:3 ino:6e sdev:2c \
                   mask:2c8 ignored_mask:0 ] for 8: Invalid argument\n";
        assert!(passes(log));
        assert!(!passes(
            "(00.17) Error (criu/namespaces.c:604): Can't dump nested uts namespace for 12\n"
        ));
    }

    #[test]
    fn the_first_error_that_matters_is_told() {
        let log = "(00.037812) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not \
                   permitted\n(00.16) Warn  (x): y\n(00.17) Error (criu/namespaces.c:604): Can't dump nested uts \
                   namespace for 12\n(00.2) Error (criu/cr-dump.c:1982): Dumping FAILED.\n";
        let told = reason(log).unwrap();
        assert!(told.starts_with("a process has a host name of its own"), "{told}");
        assert!(
            told.ends_with("CRIU says: Can't dump nested uts namespace for 12"),
            "{told}"
        );
        let log = "Error (criu/util.c:642): execvp(\"iptables-restore\", ...) failed: No such file or directory\n(00.09)      1: \
                   Error (criu/util.c:1723): iptables-restore -V failed\n(00.1)      1: Error (criu/mount-v2.c:324): mnt-v2: \
                   Failed to move_mount from a to b: Invalid argument\n";
        assert_eq!(
            reason(log).unwrap(),
            "CRIU says: mnt-v2: Failed to move_mount from a to b: Invalid argument"
        );
        assert_eq!(reason("(00.1) all is well\n"), None);
    }

    #[test]
    fn a_part_of_a_word_means_nothing() {
        let of = |said: &str| reason(&format!("(00.1) Error (criu/x.c:1): {said}\n")).unwrap();
        for said in ["Connection refused", "cpu is TUNed", "Unfortunately not", "no my_tun"] {
            assert_eq!(of(said), format!("CRIU says: {said}"));
        }
        for (said, meaning) in [
            ("Unsupported mount of fuse.sshfs", "a FUSE file system"),
            ("FUSE: is here", "a FUSE file system"),
            ("tun: no filter", "a process uses /dev/net/tun"),
            ("Can't open /dev/net/tun", "a process uses /dev/net/tun"),
            ("Unknown anon_inode:[io_uring]", "a process uses io_uring"),
        ] {
            assert!(of(said).starts_with(meaning), "{said}: {}", of(said));
        }
    }
}
