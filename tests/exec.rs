//! Commands inside a VE: `exec`, `enter`, `runscript`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use house::{House, end_of, signal};
use rustix::process::Signal;

#[test]
fn a_command_gets_its_arguments_as_given() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "printf '#!/bin/sh\\nfor a in \"$@\"; do printf \"[%%s]\" \"$a\"; done\\n' > /bin/show; chmod +x /bin/show",
    );
    let odd = [
        "",
        "two words",
        "-x",
        "--",
        "$HOME",
        "`id`",
        "a\tb\nc",
        "\"'\\",
        "*",
        "grüße ☃",
        "",
        "--user",
    ];
    let args: Vec<&str> = ["exec", "web1", "--", "show"].into_iter().chain(odd).collect();
    let expected: String = odd.iter().map(|a| format!("[{a}]")).collect();
    assert_eq!(h.ok(&args), expected);
    // Without the dashes too: everything behind the command is the command's.
    assert_eq!(
        h.ok(&["exec", "web1", "show", "-u", "root", "--tty"]),
        "[-u][root][--tty]"
    );
}

#[test]
fn the_exit_code_is_the_commands() {
    let h = House::new();
    h.busybox("web1");
    for code in [0, 1, 3, 125, 200, 255] {
        assert_eq!(
            h.run(&["exec", "web1", "--", "sh", "-c", &format!("exit {code}")]).code,
            code
        );
    }
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
        assert_eq!(
            h.run(&["exec", "web1", "--", "sh", "-c", &format!("kill -{name} $$")])
                .code,
            128 + number,
            "{name}"
        );
    }
    let err = h.fails(127, &["exec", "web1", "--", "no-such-program"]);
    assert!(err.contains("no-such-program"), "{err}");
    h.fails(127, &["exec", "web1", "--", "/no/such/program"]);
    let err = h.fails(126, &["exec", "web1", "--", "/etc/passwd"]);
    assert!(err.contains("/etc/passwd"), "{err}");
    h.fails(126, &["exec", "web1", "--", "/etc"]);
    h.fails(2, &["exec", "web1"]);
    h.fails(125, &["exec", "nobody", "true"]);
    h.ok(&["stop", "web1"]);
    let err = h.fails(125, &["exec", "web1", "true"]);
    assert!(
        err.contains("not running") && err.contains("hostel start web1"),
        "{err}"
    );
}

#[test]
fn the_three_streams_are_separate() {
    let h = House::new();
    h.busybox("web1");
    let ran = h.feed(
        &["exec", "web1", "--", "sh", "-c", "cat; echo to-out; echo to-err >&2"],
        b"from-in\n",
    );
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "from-in\nto-out\n");
    assert_eq!(String::from_utf8(ran.stderr).unwrap(), "to-err\n");
    // A closed stream at our side is no failure at the other.
    let ran = h
        .command(&["exec", "web1", "--", "sh", "-c", "cat; echo end"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.stdout, b"end\n");
    // A reader that goes away ends the writer (SIGPIPE), as in any pipeline.
    let line = format!(
        "{} --config {} exec web1 -- yes | head -n 1",
        house::hostel().display(),
        h.dir.join("hostel.toml").display()
    );
    assert_eq!(h.host_sh(&line), "y");
    h.until("yes has ended", 10, || {
        h.run(&["exec", "web1", "pidof", "yes"]).code == 1
    });
}

#[test]
fn tens_of_megabytes_go_through_whole() {
    let h = House::new();
    h.busybox("web1");
    // Incompressible enough to see any block that is lost, doubled or swapped.
    let data: Vec<u8> = (0u64..6 << 20)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let ran = h.feed(&["exec", "web1", "cat"], &data);
    assert_eq!(ran.status.code(), Some(0));
    assert!(
        ran.stdout == data,
        "{} of {} bytes came back, or other ones",
        ran.stdout.len(),
        data.len()
    );
    let sum = String::from_utf8(h.feed(&["exec", "web1", "md5sum"], &data).stdout).unwrap();
    let mut here = h.on_host("md5sum");
    let mut child = here.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&data).unwrap();
    assert_eq!(
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(),
        sum
    );
    // Into a plain file of the host's, which is not a pipe on the way.
    let path = h.dir.join("out");
    let out = std::fs::File::create(&path).unwrap();
    let done = h
        .command(&["exec", "web1", "--", "head", "-c", "20000000", "/dev/zero"])
        .stdout(out)
        .status()
        .unwrap();
    assert!(done.success());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 20_000_000);
}

/// A file that can be written would be the guest's to change, with all that was in it before.
#[test]
fn a_file_of_the_hosts_gets_the_output_and_does_not_go_in() {
    let h = House::new();
    h.busybox("web1");
    let path = h.dir.join("log");
    std::fs::write(&path, "before\n").unwrap();
    let line = "readlink /proc/self/fd/1 | sed 's/:.*//'; for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    let both = || std::fs::File::options().append(true).open(&path).unwrap();
    let out = both();
    let err = out.try_clone().unwrap();
    let mut command = h.command(&["exec", "web1", "--", "sh", "-c", line]);
    assert!(command.stdout(out).stderr(err).status().unwrap().success());
    // In the order in which it was said.
    let said = std::fs::read_to_string(&path).unwrap();
    assert_eq!(said, "before\npipe\nout 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    // One that can only be read is no harm.
    let mut command = h.command(&["exec", "web1", "--", "sh", "-c", "head -n 1; readlink /proc/self/fd/0"]);
    let output = command.stdin(std::fs::File::open(&path).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().next(), Some("before"));
    // What can't be written is said.
    let mut command = h.command(&["exec", "web1", "--", "sh", "-c", "echo lost; sleep 0.2"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(125) && said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn a_command_runs_as_the_user_in_the_place_and_with_the_variables_asked_for() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "mkdir -p /home/ann; echo ann:x:1234:1234::/home/ann:/bin/sh >> /etc/passwd
         printf 'ann:x:1234:\nstaff:x:77:ann\n' >> /etc/group",
    );
    assert_eq!(
        h.ok(&["exec", "-u", "ann", "web1", "--", "id"]).trim(),
        "uid=1234(ann) gid=1234(ann) groups=77(staff)"
    );
    assert_eq!(
        h.ok(&[
            "exec",
            "web1",
            "-u",
            "1234",
            "--",
            "sh",
            "-c",
            "id -un; pwd; echo $HOME $USER"
        ]),
        "ann\n/home/ann\n/home/ann ann\n"
    );
    assert_eq!(
        h.ok(&["exec", "web1", "-u", "ann:staff", "--", "id", "-g"]).trim(),
        "77"
    );
    assert_eq!(
        h.ok(&["exec", "web1", "-u", "4000:5000", "--", "sh", "-c", "id -u; id -g"]),
        "4000\n5000\n"
    );
    for bad in [
        "nobody-here",
        "",
        "0x0",
        "-1",
        "65536",
        "4294967295",
        "ann:nogroup-here",
    ] {
        let err = h.fails(125, &["exec", "web1", &format!("--user={bad}"), "--", "id"]);
        assert!(err.contains("the VE has no such"), "{bad:?}: {err}");
    }
    let env = h.ok(&[
        "exec",
        "web1",
        "-e",
        "A=1",
        "--env",
        "B=x y=z",
        "-e",
        "PATH=/usr/bin:/bin",
        "-e",
        "EMPTY=",
        "--",
        "env",
    ]);
    for line in ["A=1", "B=x y=z", "PATH=/usr/bin:/bin", "EMPTY=", "HOME=/root"] {
        assert!(env.lines().any(|l| l == line), "{line} is not in\n{env}");
    }
    // Nothing of the host's environment gets inside.
    let mut command = h.command(&["exec", "web1", "--", "env"]);
    let env = command.env("HOST_SECRET", "x").output().unwrap();
    assert!(!String::from_utf8(env.stdout).unwrap().contains("HOST_SECRET"));
    h.fails(2, &["exec", "web1", "-e", "nonsense", "--", "env"]);
    assert_eq!(
        h.ok(&["exec", "web1", "-w", "/var/log", "--", "pwd"]).trim(),
        "/var/log"
    );
    let err = h.fails(125, &["exec", "web1", "-w", "/no/such/place", "--", "pwd"]);
    assert!(err.contains("/no/such/place"), "{err}");
}

#[test]
fn without_a_terminal_there_is_none_and_with_one_it_is_the_ves_own() {
    let h = House::new();
    h.busybox("web1");
    assert_eq!(h.run(&["exec", "web1", "tty"]).out.trim(), "not a tty");
    let ran = h.on_terminal(
        &["exec", "web1", "--", "sh", "-c", "tty; stty size; echo $TERM; exit 7"],
        &[],
    );
    assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
    assert_eq!(ran.code, 7, "{}", ran.out);
    assert!(
        h.on_terminal(&["exec", "-T", "web1", "tty"], &[])
            .out
            .contains("not a tty")
    );
    // Typed lines reach the program; Ctrl-C ends it and not us.
    let ran = h.on_terminal(
        &["exec", "web1", "--", "sh", "-c", "echo ask; read x; echo got-$x"],
        &[("ask", "hello\n")],
    );
    assert!(ran.out.contains("got-hello"), "{}", ran.out);
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 1; done";
    let ran = h.on_terminal(&["exec", "web1", "--", "sh", "-c", script], &[("ready", "\x03")]);
    assert!(ran.out.contains("caught") && ran.code == 9, "{} {}", ran.code, ran.out);
    assert_eq!(h.run(&["exec", "web1", "pidof", "sleep"]).code, 1);
}

#[test]
fn a_forced_terminal_without_one_here_ends_with_its_input() {
    let h = House::new();
    h.busybox("web1");
    let ran = h.feed(
        &["exec", "-t", "web1", "--", "sh", "-c", "tty; cat; echo end"],
        b"line\n",
    );
    let out = String::from_utf8(ran.stdout).unwrap();
    assert!(
        out.contains("/dev/pts/") && out.contains("line") && out.contains("end"),
        "{out}"
    );
}

#[test]
fn signals_to_the_command_outside_reach_the_one_inside() {
    let h = House::new();
    h.busybox("web1");
    for (sent, caught) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let script = format!("trap 'echo caught {caught}; exit 9' {caught}; echo ready; while :; do sleep 0.1; done");
        let mut child = h.spawn(&["exec", "web1", "--", "sh", "-c", &script]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        signal(&child, sent);
        line.clear();
        out.read_to_string(&mut line).unwrap();
        let ran = end_of(child);
        assert_eq!(
            (line.as_str(), ran.code),
            (format!("caught {caught}\n").as_str(), 9),
            "{caught}: {}",
            ran.err
        );
    }
    // One that doesn't care dies of it, and we say so.
    let child = h.spawn(&["exec", "web1", "--", "sleep", "1000"]);
    h.until("it runs", 10, || h.run(&["exec", "web1", "pidof", "sleep"]).code == 0);
    signal(&child, Signal::TERM);
    assert_eq!(end_of(child).code, 128 + 15);
    assert_eq!(h.run(&["exec", "web1", "pidof", "sleep"]).code, 1);
}

/// A frozen command reacts to nothing, so nobody waits for it.
#[test]
fn ctrl_c_ends_the_waiting_for_a_command_that_is_frozen() {
    let h = House::new();
    h.busybox("web1");
    let script = "trap 'echo caught >/got; exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let mut command = h.command(&["exec", "web1", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    h.ok(&["pause", "web1"]);
    signal(&child, Signal::INT);
    let mut code = None;
    h.until("it ends", 20, || {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!((code, h.state("web1")), (Some(Some(130)), "paused".into()));
    // The command still holds its standard error, so there is no end to wait for.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("web1 is paused, so sh can't end now"), "{line}");
    // The signal isn't lost.
    assert!(!h.run(&["unpause", "web1"]).err.contains("error"));
    h.until("it gets the signal", 20, || {
        h.run(&["exec", "web1", "grep", "caught", "/got"]).code == 0
    });
}

#[test]
fn ctrl_c_typed_on_a_terminal_ends_the_waiting_for_a_command_that_is_frozen() {
    if !std::fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .contains(" cgroup2 ")
    {
        println!("skipped because the v1 freezer stops also who reads the terminal");
        return;
    }
    let h = House::new();
    h.busybox("web1");
    // What dies of the signal, and what catches it.
    for (script, told) in [
        ("exec sleep 1000", false),
        ("trap : INT; while :; do sleep 1; done", true),
    ] {
        let mut talk = h.terminal(&["exec", "web1", "--", "sh", "-c", &format!("echo ready; {script}")]);
        talk.hear("ready");
        h.ok(&["pause", "web1"]);
        talk.say("\x03");
        let ran = talk.end();
        assert_eq!(
            (ran.code, ran.out.contains("web1 is paused")),
            (130, told),
            "{}",
            ran.out
        );
        h.ok(&["unpause", "web1"]);
        h.until("its terminal has hung up", 20, || {
            h.run(&["exec", "web1", "pidof", "sleep"]).code == 1
        });
    }
    // While it runs, what is typed is the command's, as ever.
    let mut talk = h.terminal(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        "trap 'echo caught; exit 3' INT; echo ready; read x",
    ]);
    talk.hear("ready");
    talk.say("\x03");
    let ran = talk.end();
    assert!(ran.code == 3 && ran.out.contains("caught"), "{} {}", ran.code, ran.out);
}

#[test]
fn ctrl_c_ends_a_copy_into_a_ve_that_is_frozen_meanwhile() {
    let h = House::new();
    house::template("busybox");
    // So slow that there is time to pause it.
    let slow = [
        "create",
        "web1",
        "--template",
        "busybox",
        "--set",
        "cpu.cap=2%",
        "--start",
    ];
    h.ok(&slow);
    let large = h.dir.join("large");
    std::fs::write(&large, vec![7; 90 << 20]).unwrap();
    let child = h.spawn(&["push", "web1", large.to_str().unwrap(), "/large"]);
    let inside = format!("/proc/{}/root/large", h.status("web1", "pid"));
    h.until("it has begun", 30, || {
        std::fs::metadata(&inside).is_ok_and(|m| m.len() > 0)
    });
    h.ok(&["pause", "web1"]);
    assert!(
        std::fs::metadata(&inside).unwrap().len() < 90 << 20,
        "it is still under way"
    );
    signal(&child, Signal::INT);
    let ran = end_of(child);
    assert!(
        ran.code == 130 && ran.err.contains("did not copy"),
        "{} {}",
        ran.code,
        ran.err
    );
    h.ok(&["unpause", "web1"]);
}

#[test]
fn a_background_process_does_not_hold_exec_back() {
    let h = House::new();
    h.busybox("web1");
    let begun = std::time::Instant::now();
    h.ok(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        "sleep 1000 >/dev/null 2>&1 </dev/null &",
    ]);
    assert!(begun.elapsed().as_secs() < 20);
    h.sh("web1", "pidof sleep");
}

#[test]
fn the_ve_ends_while_a_command_runs_in_it() {
    let h = House::new();
    h.busybox("web1");
    let child = h.spawn(&["exec", "web1", "--", "sleep", "1000"]);
    h.until("it runs", 10, || h.run(&["exec", "web1", "pidof", "sleep"]).code == 0);
    h.ok(&["kill", "web1"]);
    assert_eq!(end_of(child).code, 128 + 9);
}

#[test]
fn enter_gives_the_users_login_shell() {
    let h = House::new();
    h.busybox("web1");
    let ran = h.feed(&["enter", "web1"], b"echo $0; pwd; id -un; exit 5\n");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "-sh\n/root\nroot\n");
    assert_eq!(ran.status.code(), Some(5));
    h.sh(
        "web1",
        "mkdir -p /home/ann; echo ann:x:1234:1234::/home/ann:/bin/ash >> /etc/passwd",
    );
    let ran = h.feed(&["enter", "-u", "ann", "web1"], b"echo $0; id -un\n");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "-ash\nann\n");
    let ran = h.on_terminal(&["enter", "web1"], &[("# ", "tty; exit 4\n")]);
    assert!(
        ran.out.contains("/dev/pts/") && ran.code == 4,
        "{} {}",
        ran.code,
        ran.out
    );
}

#[test]
fn a_script_of_the_host_runs_inside_and_leaves_nothing_there() {
    let h = House::new();
    h.busybox("web1");
    h.write("setup.sh", "#!/bin/sh\necho \"[$1][$2]\" $(hostname); cat; exit 6\n");
    let script = h.dir.join("setup.sh");
    let script = script.to_str().unwrap();
    let before = h.sh("web1", "find / -xdev | sort | md5sum");
    let ran = h.feed(&["runscript", "web1", script, "a b", "--site"], b"typed\n");
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "[a b][--site] web1\ntyped\n");
    assert_eq!(ran.status.code(), Some(6));
    assert_eq!(h.sh("web1", "find / -xdev | sort | md5sum"), before);
    // Without a first line that names one, the shell runs it; with one that isn't there, 127.
    h.write("plain", "echo plain; exit 2\n");
    let plain = h.dir.join("plain");
    let ran = h.run(&["runscript", "web1", plain.to_str().unwrap()]);
    assert_eq!((ran.out.as_str(), ran.code), ("plain\n", 2));
    h.write("perl", "#!/usr/bin/no-perl\n");
    std::fs::set_permissions(h.dir.join("perl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let perl = h.dir.join("perl");
    h.fails(127, &["runscript", "web1", perl.to_str().unwrap()]);
    let err = h.fails(125, &["runscript", "web1", "/no/such/script"]);
    assert!(err.contains("/no/such/script"), "{err}");
}
