use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

/// Where others may write, but not remove it.
fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(script: &Path, patience: u64) -> Ran {
    let env = [
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("VEID".to_owned(), "101".to_owned()),
    ];
    let bounds = Bounds {
        patience: Duration::from_secs(patience),
        interrupted: None,
    };
    HostScripts.run(script, &env, Path::new("/none"), bounds).unwrap()
}

fn said(ran: &Ran) -> &str {
    std::str::from_utf8(&ran.said).unwrap()
}

#[test]
fn only_what_is_there_is_found_in_order() {
    let dir = place();
    script(dir.path(), "b.mount", "");
    script(dir.path(), "a.mount", "");
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let places = [
        (dir.path().join("none"), names(&["a.mount"])),
        (dir.path().to_owned(), names(&["b.mount", "c.mount", "a.mount"])),
    ];
    let found = HostScripts.find(&places).unwrap();
    assert_eq!(found, [dir.path().join("b.mount"), dir.path().join("a.mount")]);
}

#[test]
fn what_others_could_have_written_is_unfit() {
    let dir = place();
    let path = script(dir.path(), "all.mount", "");
    let why = |path: &Path| HostScripts.judge(path).unwrap().err();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(why(&path), None);
    for (mode, word) in [(0o775, "others"), (0o757, "others"), (0o644, "executable")] {
        chmod(&path, mode);
        assert!(why(&path).unwrap().contains(word), "{mode:o}");
    }
    chmod(&path, 0o755);
    symlink(&path, dir.path().join("101.mount")).unwrap();
    assert!(why(&dir.path().join("101.mount")).unwrap().contains("plain file"));
    std::os::unix::fs::chown(&path, Some(1), None).unwrap();
    assert!(why(&path).unwrap().contains("root"));
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    chmod(dir.path(), 0o777);
    assert!(why(&path).unwrap().contains("directory"));
    // Where each may remove only what is his.
    chmod(dir.path(), 0o1777);
    assert_eq!(why(&path), None);
}

#[test]
fn it_has_the_environment_that_it_is_given_and_no_descriptor_of_ours() {
    let dir = place();
    let leak = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let ran = run(
        &script(dir.path(), "x", "echo $VEID:$HOME; ls /proc/self/fd; pwd; exit 3"),
        20,
    );
    assert_eq!(ran.how, How::Code(3));
    // ls opens the fourth itself.
    assert_eq!(said(&ran), "101:\n0\n1\n2\n3\n/\n");
}

#[test]
fn one_that_hangs_is_killed_with_all_its_group() {
    let dir = place();
    let mark = dir.path().join("pid");
    let text = format!(
        "echo begun\n(trap '' TERM; sleep 60) & echo $! > {}\nsleep 60",
        mark.display()
    );
    let begun = Instant::now();
    let ran = run(&script(dir.path(), "x", &text), 1);
    assert_eq!((ran.how.clone(), said(&ran)), (How::TimedOut, "begun\n"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let child = std::fs::read_to_string(mark).unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(10);
    while !(stat().is_empty() || stat().contains(") Z ")) {
        assert!(Instant::now() < end, "{}", stat());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_it_leaves_running_is_not_waited_for() {
    let dir = place();
    let begun = Instant::now();
    let ran = run(&script(dir.path(), "x", "sleep 30 & echo $!"), 25);
    assert_eq!(ran.how, How::Code(0));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let pid = said(&ran).trim().parse().unwrap();
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    );
}

#[test]
fn a_person_may_give_it_up() {
    let dir = place();
    let flag = AtomicBool::new(false);
    let script = script(dir.path(), "x", "sleep 60");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            flag.store(true, Ordering::Relaxed);
        });
        let bounds = Bounds {
            patience: Duration::from_secs(50),
            interrupted: Some(&flag),
        };
        assert_eq!(
            HostScripts.run(&script, &[], Path::new("/none"), bounds).unwrap().how,
            How::Interrupted
        );
    });
}

#[test]
fn of_many_words_the_first_are_kept() {
    let dir = place();
    let ran = run(&script(dir.path(), "x", "head -c 1000000 /dev/zero; kill -9 $$"), 50);
    assert_eq!((ran.how, ran.said.len()), (How::Signal(9), MOST_SAID));
}

#[test]
fn what_cannot_be_run_is_told() {
    let dir = place();
    let path = dir.path().join("x");
    std::fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(run(&path, 5).how, How::NotRun(_)));
}

/// A directory of root's in one that isn't: whoever owns that may put another in its place.
#[test]
fn a_link_to_where_others_may_rename_is_unfit() {
    let dir = place();
    let home = dir.path().join("home");
    std::fs::create_dir_all(home.join("hooks")).unwrap();
    let path = script(&home.join("hooks"), "all.mount", "");
    let link = dir.path().join("hooks");
    symlink(home.join("hooks"), &link).unwrap();
    let real = std::fs::canonicalize(&path).unwrap();
    assert_eq!(HostScripts.judge(&link.join("all.mount")).unwrap(), Ok(real));
    std::os::unix::fs::chown(&home, Some(1), None).unwrap();
    let why = HostScripts.judge(&link.join("all.mount")).unwrap().unwrap_err();
    assert!(why.contains("/home: it does not belong to root"), "{why}");
}

#[test]
fn it_has_no_terminal_and_is_noted_as_long_as_it_runs() {
    let dir = place();
    let note = dir.path().join("note");
    std::fs::write(&note, NOTHING).unwrap();
    let text = "echo $$ $(cut -d' ' -f6 /proc/$$/stat) $(tail -n +2 $NOTE | cut -d' ' -f1)";
    let env = [("NOTE".to_owned(), note.display().to_string())];
    let bounds = Bounds {
        patience: Duration::from_secs(20),
        interrupted: None,
    };
    let ran = HostScripts
        .run(&script(dir.path(), "x", text), &env, &note, bounds)
        .unwrap();
    let numbers: Vec<&str> = said(&ran).split_whitespace().collect();
    // Of itself, of its session, and of whom the note names.
    assert!(
        numbers.len() == 3 && numbers.iter().all(|n| *n == numbers[0]),
        "{ran:?}"
    );
    assert_eq!(std::fs::read(&note).unwrap(), NOTHING);
}

/// Its caller was killed, and it with him; but not what it had begun.
#[test]
fn what_is_left_of_one_is_ended_and_nobody_else() {
    let dir = place();
    let note = dir.path().join("note");
    let mut leader = std::process::Command::new("sh")
        .args(["-c", "sleep 300 & echo $! && exec sleep 300"])
        .process_group(0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(leader.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let left: u32 = line.trim().parse().unwrap();
    let lives = || std::fs::read_to_string(format!("/proc/{left}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", leader.id())).unwrap();
    let boot = crate::process::boot_id(Path::new("/proc")).unwrap();
    let end_left = |text: String| {
        std::fs::write(&note, text).unwrap();
        HostScripts.end_left(&note).unwrap();
    };
    let began = hostel_monitor::identity::start_time(&stat).unwrap().to_string();
    end_left(format!("another boot\n{stat}"));
    end_left(format!("{boot}\n{}", stat.replace(&began, "1")));
    end_left(String::from_utf8(NOTHING.to_vec()).unwrap());
    assert!(lives());
    leader.kill().unwrap();
    leader.wait().unwrap();
    assert!(lives());
    end_left(format!("{boot}\n{stat}"));
    assert!(!lives());
}
