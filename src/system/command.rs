//! Other commands of this host, run without a terminal: left to themselves, or attended until they end.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, setpriority_process};

use crate::scripts::{Bounds, How, left};
use crate::{Error, Result};

/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How long one that was told to end may take to undo what it has done, before it is killed.
const UNDOING: Duration = Duration::from_secs(120);

/// How much of what it says may wait for whoever hears it.
const PIECES: usize = 16;

/// Variables by which a service manager and its services know each other: what a service starts is none.
const OF_SERVICES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

fn command(program: &Path, args: &[String]) -> Command {
    let mut command = Command::new(program);
    // Ctrl-C at the terminal is for who attends it.
    command
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        .current_dir("/");
    for name in OF_SERVICES {
        command.env_remove(name);
    }
    // A shell has what it runs in the background ignore Ctrl-C, and so would all that comes from that.
    // SAFETY: between fork and exec only sigaction and sigprocmask are called, which allocate nothing and take no lock.
    unsafe { command.pre_exec(hostel_monitor::sys::restore_signals) };
    command
}

/// Starts one that nobody attends: it says what it has to say where this process does, and goes on when this one ends.
/// Whoever keeps the child must look now and then whether it has ended, as it stays in the table of processes otherwise.
pub fn leave(program: &Path, args: &[String]) -> Result<Child> {
    let spawned = command(program, args).spawn();
    spawned.map_err(|e| Error::os("run", program.display(), e))
}

/// Runs one, and gives `hear` what it writes to its standard output and error, as it comes. When its time is over, or
/// somebody gives up, it is told to end as by Ctrl-C, and killed if it doesn't within two minutes. It has the priority that
/// processes usually have.
pub fn attend(program: &Path, args: &[String], bounds: Bounds<'_>, hear: &mut dyn FnMut(&[u8])) -> Result<How> {
    let fail = |e: std::io::Error| Error::os("run", program.display(), e);
    let (ours, theirs) = std::io::pipe().map_err(fail)?;
    // Who may not raise it runs it as it is.
    let _ = setpriority_process(None, 0);
    let mut command = command(program, args);
    command.stdout(theirs.try_clone().map_err(fail)?).stderr(theirs);
    let mut child = command.spawn().map_err(fail)?;
    drop(command); // with our copies of the pipe's other end
    let (to, from) = sync_channel(PIECES);
    // What the command leaves running may keep the pipe open for ever: nobody waits for this thread.
    std::thread::spawn(move || pass_on(ours, &to));
    let how = wait(&mut child, bounds, &from, hear).map_err(fail)?;
    // What it has said up to its end is in the pipe by now.
    for _ in 0..4 * PIECES {
        match from.recv_timeout(LOOK) {
            Ok(piece) => hear(&piece),
            Err(_) => break,
        }
    }
    Ok(how)
}

fn pass_on(mut pipe: impl Read, to: &SyncSender<Vec<u8>>) {
    let mut piece = [0; 4096];
    loop {
        match pipe.read(&mut piece) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(n @ 1..) if to.send(piece[..n].to_vec()).is_ok() => {}
            _ => return,
        }
    }
}

fn wait(
    child: &mut Child,
    bounds: Bounds<'_>,
    from: &Receiver<Vec<u8>>,
    hear: &mut dyn FnMut(&[u8]),
) -> std::io::Result<How> {
    let pid = Pid::from_child(child);
    let mut end = Instant::now() + bounds.patience;
    let mut given_up = None;
    loop {
        match from.recv_timeout(LOOK) {
            Ok(piece) => hear(&piece),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
        }
        if let Some(status) = child.try_wait()? {
            return Ok(given_up.unwrap_or(match (status.code(), status.signal()) {
                (Some(code), _) => How::Code(code),
                (None, signal) => How::Signal(signal.unwrap_or_default()),
            }));
        }
        // It isn't waited for yet, so its number is its own.
        match (&given_up, left(bounds, end)) {
            (None, Err(how)) => {
                kill_process(pid, Signal::INT)?;
                (given_up, end) = (Some(how), Instant::now() + UNDOING);
            }
            (Some(_), _) if Instant::now() >= end => kill_process(pid, Signal::KILL)?,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn sh(line: &str, patience: Duration, interrupted: Option<&AtomicBool>) -> (How, String) {
        let mut said = Vec::new();
        let bounds = Bounds { patience, interrupted };
        let args = ["-c".to_owned(), line.to_owned()];
        let how = attend(Path::new("/bin/sh"), &args, bounds, &mut |piece| {
            said.extend_from_slice(piece)
        })
        .unwrap();
        (how, String::from_utf8(said).unwrap())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_it_says_and_how_it_ends() {
        let (how, said) = sh("read x || echo nothing; echo out; echo err >&2; exit 7", LONG, None);
        assert_eq!((how, said.as_str()), (How::Code(7), "nothing\nout\nerr\n"));
        assert_eq!(sh("kill -9 $$", LONG, None).0, How::Signal(9));
        let much = sh("head -c 300000 /dev/zero | tr '\\0' x; echo end", LONG, None).1;
        assert!(much.len() == 300_004 && much.ends_with("xend\n"), "{}", much.len());
    }

    /// It is told as by Ctrl-C, may undo what it has done, and what it says of that is heard.
    #[test]
    fn one_that_takes_too_long_may_undo() {
        let line = "trap 'echo undone; exit 130' INT; echo begun; while :; do sleep 0.05; done";
        let (how, said) = sh(line, Duration::from_millis(500), None);
        assert_eq!((how, said.as_str()), (How::TimedOut, "begun\nundone\n"));
    }

    #[test]
    fn one_that_is_given_up() {
        let flag = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let begun = Instant::now();
            let run = scope.spawn(|| sh("trap 'exit 130' INT; while :; do sleep 0.05; done", LONG, Some(&flag)));
            std::thread::sleep(Duration::from_millis(200));
            flag.store(true, Ordering::Relaxed);
            assert_eq!(run.join().unwrap().0, How::Interrupted);
            assert!(begun.elapsed() < Duration::from_secs(30));
        });
    }

    /// Whatever whoever began us had us ignore, as a shell does with Ctrl-C for what it runs in the background.
    #[test]
    fn it_minds_all_signals() {
        // SAFETY: SIG_IGN runs no code of ours, and nobody here waits for this one.
        unsafe { libc::signal(libc::SIGPWR, libc::SIG_IGN) };
        let (how, said) = sh("grep -E 'SigIgn|SigBlk' /proc/self/status", LONG, None);
        assert_eq!(how, How::Code(0));
        let masks: Vec<&str> = said.lines().filter_map(|l| l.split_whitespace().last()).collect();
        // The 31 that have names; the next two are the C library's own.
        let named = |mask: &&str| u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
        assert!(masks.len() == 2 && masks.iter().all(|m| named(m) == 0), "{said}");
    }

    /// What it leaves running has the pipe, and nobody waits for that.
    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let begun = Instant::now();
        let (how, said) = sh("sleep 20 & echo $!", LONG, None);
        assert_eq!(how, How::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let left: i32 = said.trim().parse().unwrap();
        kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn one_that_is_left_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!(
            "test -z \"$NOTIFY_SOCKET\" && echo done > {}/done",
            dir.path().display()
        );
        let mut child = leave(Path::new("/bin/sh"), &["-c".to_owned(), line]).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(std::fs::read_to_string(dir.path().join("done")).unwrap(), "done\n");
        assert!(leave(Path::new("/nonexistent"), &[]).is_err());
    }
}
