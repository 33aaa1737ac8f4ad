//! Going into a VE whose root expects us: every way in is taken while the guest has made it a trap, or hunts those
//! who come.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use house::{House, hostel};
use probe::{INSIDE, arm, armed, armed_with, probe};

fn sha256(path: &std::path::Path) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(fs::read(path).unwrap()).to_vec()
}

/// The lines of `ls -l /proc/PID/fd` as "number -> where to".
fn descriptors(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|l| Some(l.split_once(" -> ")?.0.rsplit(' ').next()?.to_owned() + " " + l.split_once(" -> ")?.1))
        .collect()
}

#[test]
fn no_descriptor_but_the_three_comes_in() {
    let h = House::new();
    h.ok(&["create", "ve", "--template", "busybox"]);
    let strayed = |args: &[&str]| {
        let mut command = h.on_host(probe());
        command
            .arg("with-strays")
            .arg(hostel())
            .arg("--config")
            .arg(h.dir.join("hostel.toml"))
            .args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // The control: the strays do reach the command that is run so.
    let mut control = h.on_host(probe());
    let control = control
        .args(["with-strays", "ls", "-l", "/proc/self/fd"])
        .output()
        .unwrap();
    assert!(descriptors(&String::from_utf8_lossy(&control.stdout)).len() > 50);
    strayed(&["start", "ve"]);
    assert_eq!(
        descriptors(&h.sh("ve", "ls -l /proc/1/fd")),
        ["0 /dev/console", "1 /dev/console", "2 /dev/console"]
    );
    let found = descriptors(&strayed(&["exec", "ve", "--", "ls", "-l", "/proc/self/fd"]));
    let numbers: Vec<&str> = found.iter().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{found:?}");
    let script = h.dir.join("script");
    fs::write(&script, "#!/bin/sh\nls -l /proc/$$/fd\n").unwrap();
    let found = descriptors(&strayed(&["runscript", "ve", script.to_str().unwrap()]));
    assert!(
        found.len() <= 5 && found.iter().all(|l| !l.contains("/etc") && !l.contains("cgroup")),
        "{found:?}"
    );
}

/// CVE-2024-21626: a descriptor of the host's that is still open when the working directory is entered.
#[test]
fn no_number_of_a_descriptor_is_a_way_out() {
    let h = armed();
    // All 1024 that a process may have take a minute; the lowest that is free is what each new one gets.
    for number in (0..128).chain((128..1024).step_by(31)) {
        let ran = h.run(&["exec", "--cwd", &format!("/proc/self/fd/{number}"), "ve", "--", "pwd"]);
        assert_ne!(ran.code, 0, "descriptor {number} is a directory: {}", ran.out);
        // Nor is there one that had to be refused by its look.
        assert!(
            !ran.err.contains("not inside the VE"),
            "descriptor {number}: {}",
            ran.err
        );
    }
    assert_eq!(h.ok(&["exec", "--cwd", "/etc", "ve", "--", "pwd"]).trim(), "/etc");
    h.sh("ve", "ln -s /proc/self/fd/6 /out; ln -s /proc/1/root/../../.. /up");
    assert_ne!(h.run(&["exec", "--cwd", "/out", "ve", "--", "pwd"]).code, 0);
    assert_eq!(
        h.ok(&["exec", "--cwd", "/up", "ve", "--", "cat", "/etc/hostname"])
            .trim(),
        "ve",
        "the VE's own root"
    );
}

/// CVE-2019-5736 and relatives: what enters a VE is looked at by its root while it is on its way.
#[test]
fn those_who_enter_cannot_be_caught() {
    // In a guest whose libraries the monitor's program could load.
    let h = House::new();
    h.debian("ve", "debian-12");
    arm(&h, "ve");
    let monitor = hostel().with_file_name("hostel-monitor");
    let before = (sha256(&hostel()), sha256(&monitor));
    // Whoever runs a shell runs what ran before: the program on its way in.
    h.sh(
        "ve",
        "mkdir /trap && printf '#!/proc/self/exe\\n' > /trap/bait && chmod 755 /trap/bait",
    );
    h.sh("ve", &format!("{INSIDE} hunt /end > /found 2>/dev/null &"));
    for _ in 0..150 {
        let ran = h.run(&["exec", "ve", "--", "/trap/bait"]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (2, ""),
            "the monitor's program, run by hand"
        );
        h.ok(&["exec", "ve", "--", "true"]);
    }
    h.sh("ve", "touch /end");
    h.until("the hunter counts", 20, || {
        h.sh("ve", "grep -c . /found || true") == "5"
    });
    let found = h.sh("ve", "cat /found");
    let count = |what| {
        found
            .lines()
            .find_map(|l| l.strip_prefix(what))
            .unwrap()
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    assert!(
        count("seen") > 0 && count("ran") > 0,
        "the hunter saw nobody: the test proves nothing; {found}"
    );
    assert!(found.ends_with("ptraced 0\nopened 0\nforeign 0"), "{found}");
    assert_eq!((sha256(&hostel()), sha256(&monitor)), before);
}

/// What the guest may have done to everything that an entry could look at.
#[test]
fn an_entry_trusts_nothing_inside() {
    let h = armed();
    let hung = |what: &str, args: &[&str]| {
        let mut command = Command::new("timeout");
        let inner = h.command(args);
        command
            .arg("10")
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_ne!(output.status.code(), Some(124), "{what}: the command hung");
        output
    };
    // The user database is a FIFO: root needs none, and nobody is unknown.
    h.sh(
        "ve",
        "mv /etc/passwd /etc/passwd- && mkfifo /etc/passwd && mv /etc/group /etc/group- && mkfifo /etc/group",
    );
    assert!(String::from_utf8_lossy(&hung("FIFO", &["exec", "ve", "--", INSIDE, "ids"]).stdout).starts_with("uid 0\n"));
    assert!(
        !hung("FIFO", &["exec", "--user", "web", "ve", "--", "id"])
            .status
            .success()
    );
    h.sh(
        "ve",
        "rm /etc/passwd /etc/group; ln -s /dev/zero /etc/passwd; ln -s /dev/tty /etc/group",
    );
    assert!(String::from_utf8_lossy(&hung("zero", &["exec", "ve", "--", INSIDE, "ids"]).stdout).starts_with("uid 0\n"));
    h.sh(
        "ve",
        "rm /etc/passwd /etc/group; mv /etc/passwd- /etc/passwd; mv /etc/group- /etc/group",
    );
    // /proc is a forgery that says: no capabilities need be dropped, and you are root.
    h.sh(
        "ve",
        "cat /proc/self/status > /status; mount -t tmpfs forged /proc; mkdir -p /proc/self/attr /proc/sys/user; \
         cp /status /proc/self/status; for f in attr/exec attr/current fd exe; do mkfifo /proc/self/$f; done",
    );
    hung("forged /proc", &["exec", "ve", "--", "true"]);
    let user = hung(
        "forged /proc",
        &["exec", "--user", "nobody", "ve", "--", "umount", "/proc"],
    );
    assert!(!user.status.success());
    h.sh("ve", "umount /proc");
    let caps = h.sh("ve", "grep CapBnd /proc/self/status; grep Seccomp: /proc/self/status");
    assert!(
        caps.contains("Seccomp:\t2") && !caps.contains("000001ffffffffff"),
        "{caps}"
    );
    // No terminals, or others than one would think.
    h.sh("ve", "umount -l /dev/pts; mkfifo /dev/pts/ptmx");
    let output = terminal(&h, "true");
    assert!(!output.0, "{}", output.1);
    h.sh("ve", "rm /dev/pts/ptmx; ln -s ../null /dev/pts/ptmx");
    let output = terminal(&h, "true");
    assert!(!output.0 && output.1.contains("ptmx"), "{}", output.1);
    h.sh(
        "ve",
        "rm /dev/pts/ptmx; mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts",
    );
    assert!(terminal(&h, "true").0, "a devpts of the guest's own making will do");
    // The home of root is gone, and what should run is a FIFO.
    h.sh(
        "ve",
        "rmdir /root 2>/dev/null || mv /root /r; mkfifo /root /bin/hole; chmod 755 /bin/hole",
    );
    assert_eq!(h.run(&["exec", "ve", "--", "pwd"]).out.trim(), "/");
    assert_eq!(hung("hole", &["exec", "ve", "--", "hole"]).status.code(), Some(126));
    h.run(&["kill", "ve"]);
}

/// Runs `exec -t` on a terminal: whether it went well, and what it showed.
fn terminal(h: &House, line: &str) -> (bool, String) {
    let inner = h.command(&["exec", "-t", "ve", "--", "/bin/sh", "-c", line]);
    let words: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|w| format!("'{}'", w.to_string_lossy()))
        .collect();
    let mut command = Command::new("timeout");
    command
        .args(["10", "script", "-qec"])
        .arg(words.join(" "))
        .arg("/dev/null");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // At the end of its own input script(1) types something, which would be shown among the rest.
    let typing = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(typing);
    assert_ne!(output.status.code(), Some(124), "{line}: the command hung");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// The terminal of the person outside never goes in: what is typed into the one inside stays inside.
#[test]
fn the_terminal_inside_is_the_ves_own() {
    let h = armed();
    let (fine, said) = terminal(&h, "tty; stat -c %t /proc/self/fd/0 -L; /usr/bin/probe ioctls native");
    assert!(
        fine && said.contains("/dev/pts/") && said.contains("TIOCSTI EPERM"),
        "{said}"
    );
    assert!(
        said.lines().any(|l| l.trim() == "88"),
        "a Unix 98 terminal, major 136: {said}"
    );
    let outside = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_ne!(h.sh("ve", "readlink /proc/self/ns/mnt"), outside.display().to_string());
}

/// A socket is a way into the network it was made in.
#[test]
fn a_socket_does_not_go_in() {
    let h = armed();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = h.command(&["exec", "ve", "--", "/bin/sh", "-c", "readlink /proc/self/fd/0; cat"]);
    let child = command
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write;
    (&ours).write_all(b"by relay").unwrap();
    ours.shutdown(std::net::Shutdown::Both).unwrap();
    drop(ours);
    drop(command);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("pipe:") && said.ends_with("by relay"), "{said}");
}

/// Nobody inside can keep a command outside waiting: not by reading nothing, not by writing for ever after.
#[test]
fn a_command_outside_ends_with_the_one_inside() {
    let h = armed();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    // More than any buffer holds, to a command that reads none of it but says a lot.
    let mut command = h.command(&["exec", "ve", "--", "/bin/sh", "-c", "head -c 300000 /dev/zero; exit 5"]);
    let (_rest, out) = UnixStream::pair().unwrap();
    let reader = std::thread::spawn({
        let rest = _rest.try_clone().unwrap();
        move || std::io::copy(&mut (&rest), &mut std::io::sink()).unwrap()
    });
    let mut child = command
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(std::os::fd::OwnedFd::from(out))
        .spawn()
        .unwrap();
    drop(command);
    use std::io::Write;
    let mut sent = 0;
    h.until("the command ends", 20, || {
        sent += (&ours).write(&[b'x'; 4096]).unwrap_or(0);
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(5));
    drop(_rest);
    assert_eq!(reader.join().unwrap(), 300_000);
    // One that it left behind goes on writing to what it was given.
    let (rest, out) = UnixStream::pair().unwrap();
    let mut command = h.command(&["exec", "ve", "--", "/bin/sh", "-c", "yes 2>/dev/null & exit 6"]);
    let mut child = command.stdout(std::os::fd::OwnedFd::from(out)).spawn().unwrap();
    drop(command);
    let reader = std::thread::spawn(move || std::io::copy(&mut (&rest), &mut std::io::sink()));
    h.until("the command ends", 20, || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(6));
    reader.join().unwrap().unwrap();
}

/// A guest that serves its own user database, or none, keeps nobody waiting for ever: a signal ends the entry.
#[test]
fn an_entry_that_hangs_can_be_given_up() {
    if !std::path::Path::new("/dev/fuse").exists() {
        println!("skipped because this host has no /dev/fuse");
        return;
    }
    let h = armed_with("fuse = true");
    // A file system that answers nothing: whoever opens what is on it waits.
    h.sh("ve", &format!("mkdir /stuck; {INSIDE} stuck /stuck >/dev/null 2>&1 &"));
    h.until("the file system is there", 10, || {
        h.sh("ve", "grep -c ' /stuck fuse' /proc/mounts || true") == "1"
    });
    h.sh("ve", "rm /etc/passwd; ln -s /stuck/passwd /etc/passwd");
    let mut child = h.command(&["exec", "ve", "--", "true"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300)); // that it hangs has no other sign
    assert!(
        child.try_wait().unwrap().is_none(),
        "nothing hangs: the test proves nothing"
    );
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    h.until("the command gives up", 10, || child.try_wait().unwrap().is_some());
    h.ok(&["stop", "ve"]);
}
