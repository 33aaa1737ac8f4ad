//! Between the standard streams outside and those of a command inside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::enter::Stdio;
use crate::error::{Result, Step};

/// Signals that go on to the command, and SIGWINCH.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Blocks those signals and gives a descriptor that tells of them.
pub fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::from(Signal::SIGWINCH);
    FORWARDED.iter().for_each(|s| set.add(*s));
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// One direction of bytes.
#[derive(Debug)]
struct Stream {
    from: Option<File>,
    to: Option<File>,
    /// Input ends with the command; output is read to its end.
    input: bool,
    /// It goes to a terminal, which has no end of its own: the character that means one is typed.
    typed: Option<Typed>,
}

/// What a terminal was last given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// Whole lines: one end-of-file character is an end.
    Lines,
    /// A line begun: the first one only hands that over.
    Part,
}

/// All that has to be carried.
#[derive(Debug)]
pub struct Relay {
    streams: Vec<Stream>,
    master: Option<File>,
}

impl Relay {
    /// Looks at this process's standard streams. Pipes, sockets and plain files go inside as they are; a terminal,
    /// a directory or a device would give the guest something of the host's to hold, so a pipe stands in for it.
    pub fn prepare(terminal: bool) -> io::Result<(Self, Stdio)> {
        let mut relay = Self { streams: Vec::new(), master: None };
        let mut stdio: Stdio = [None, None, None];
        if terminal {
            return Ok((relay, stdio));
        }
        for (number, slot) in stdio.iter_mut().enumerate() {
            let ours = match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            };
            if !harmless(ours)? {
                let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                let ours = File::from(ours.try_clone_to_owned()?);
                let (from, to, theirs) = match number {
                    0 => (ours, File::from(write), read),
                    _ => (File::from(read), ours, write),
                };
                relay.streams.push(Stream { from: Some(from), to: Some(to), input: number == 0, typed: None });
                *slot = Some(theirs);
            }
        }
        Ok((relay, stdio))
    }

    /// The command has a terminal of its own; this is its master.
    pub fn terminal(&mut self, master: OwnedFd, size: Option<(u16, u16)>) {
        let master = File::from(master);
        if let Some((rows, columns)) = size {
            set_size(&master, rows, columns);
        }
        // The terminal inside was opened non-blocking; reading waits in poll, writing may wait.
        let _ = rustix::io::ioctl_fionbio(&master, false);
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).ok();
        self.streams = vec![
            Stream { from: copy(rustix::stdio::stdin()), to: master.try_clone().ok(), input: true, typed: Some(Typed::Lines) },
            Stream { from: master.try_clone().ok(), to: copy(rustix::stdio::stdout()), input: false, typed: None },
        ];
        self.master = Some(master);
    }

    /// Carries bytes and signals until the command has ended; its exit code.
    pub fn run(mut self, child: &OwnedFd, signals: &SignalFd) -> Result<u8> {
        let mut ended = false;
        loop {
            let open: Vec<usize> = (0..self.streams.len()).filter(|i| self.wants(*i, ended)).collect();
            if ended && open.is_empty() {
                break;
            }
            let ready = {
                let mut fds: Vec<PollFd<'_>> = open
                    .iter()
                    .filter_map(|i| self.streams[*i].from.as_ref())
                    .map(|from| PollFd::new(from, PollFlags::IN))
                    .collect();
                fds.push(PollFd::new(signals, PollFlags::IN));
                if !ended {
                    fds.push(PollFd::new(child, PollFlags::IN));
                }
                // After the end only what is already on its way is waited for: a process left behind inside may
                // hold the other side for ever.
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                match poll(&mut fds, ended.then_some(&now)) {
                    Ok(0) => break,
                    Ok(_) => fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>(),
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(e) => return Err(e).step("wait for", "the command"),
                }
            };
            if ready[open.len()] {
                self.pass_signals(child, signals);
            }
            for (slot, stream) in open.iter().enumerate() {
                if ready[slot] {
                    self.streams[*stream].carry();
                }
            }
            ended |= ready.get(open.len() + 1).copied().unwrap_or(false);
        }
        exit_code(child)
    }

    fn wants(&self, stream: usize, ended: bool) -> bool {
        let stream = &self.streams[stream];
        stream.from.is_some() && !(ended && stream.input)
    }

    fn pass_signals(&self, child: &OwnedFd, signals: &SignalFd) {
        while let Ok(Some(info)) = signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGWINCH) => {
                    if let (Some(master), Ok(size)) = (&self.master, rustix::termios::tcgetwinsize(rustix::stdio::stdin())) {
                        set_size(master, size.ws_row, size.ws_col);
                    }
                }
                Ok(signal) => {
                    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
                        let _ = pidfd_send_signal(child, signal); // it may just have ended
                    }
                }
                Err(_) => {}
            }
        }
    }
}

impl Stream {
    fn carry(&mut self) {
        let mut buffer = [0u8; 16 * 1024];
        let Some(from) = &mut self.from else { return };
        let read = match from.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => return,
            Err(_) => 0, // EIO: the terminal's last user is gone
        };
        let gone = match (&mut self.to, read) {
            (None, _) => true,
            (Some(to), 0) => {
                if let Some(typed) = self.typed {
                    type_end(to, typed);
                }
                true
            }
            (Some(to), n) => to.write_all(&buffer[..n]).is_err(),
        };
        if let (Some(typed), Some(last)) = (&mut self.typed, buffer[..read].last()) {
            *typed = if matches!(last, b'\n' | b'\r') { Typed::Lines } else { Typed::Part };
        }
        if gone {
            self.from = None;
            self.to = None; // closing it is how the other side learns
        }
    }
}

/// Says to whoever reads the terminal by lines that nothing more comes.
fn type_end(terminal: &mut File, typed: Typed) {
    let modes = rustix::termios::tcgetattr(&*terminal);
    let end = modes.map_or(0x04, |m| m.special_codes[rustix::termios::SpecialCodeIndex::VEOF]);
    let times = if typed == Typed::Part { 2 } else { 1 };
    let _ = terminal.write_all(&[end, end][..times]); // the last reader may just have gone
}

fn harmless(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::fs::FileType;
    let stat = match rustix::fs::fstat(fd) {
        Err(rustix::io::Errno::BADF) => return Ok(true), // closed: stays closed
        other => other?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket | FileType::RegularFile => true,
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        _ => false,
    })
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

fn exit_code(child: &OwnedFd) -> Result<u8> {
    let status = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED).step("wait for", "the command")?;
    Ok(status.map_or(125, |s| match (s.exit_status(), s.terminating_signal()) {
        (Some(code), _) => code as u8,
        (_, Some(signal)) => 128u8.saturating_add(signal as u8),
        _ => 125,
    }))
}
