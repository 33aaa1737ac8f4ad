//! Between the standard streams outside and those of a command inside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::enter::Stdio;
use crate::error::{Result, Step};

/// Signals that go on to the command, and SIGWINCH.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// What is carried at once: a pipe that is ready takes this much without making the writer wait (PIPE_BUF).
const CHUNK: usize = 4096;

/// What is still carried after the command has ended: all that a pipe may hold (fs.pipe-max-size). More can only come
/// from processes it left behind, and these could go on for ever.
const LAST: usize = 1 << 20;

/// How long is waited for what must be on its way.
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Blocks those signals and gives a descriptor that tells of them.
pub fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::from(Signal::SIGWINCH);
    FORWARDED.iter().for_each(|s| set.add(*s));
    set.thread_block()?;
    Ok(SignalFd::with_flags(
        &set,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Takes the signals that have come: does one of them ask us to end?
pub fn told_to_end(signals: &SignalFd) -> bool {
    let mut told = false;
    while let Ok(Some(info)) = signals.read_signal() {
        told |= info.ssi_signo != Signal::SIGWINCH as u32;
    }
    told
}

/// What a person types for SIGINT. On a terminal of the command's own it comes to us as a byte.
const CTRL_C: u8 = 3;

/// One direction of bytes.
#[derive(Debug)]
struct Stream {
    from: Option<File>,
    to: Option<File>,
    /// Read, but not written yet.
    held: Vec<u8>,
    /// Input ends with the command; output is read to its end.
    input: bool,
    /// It goes to a terminal, which has no end of its own: the character that means one is typed.
    typed: Option<Typed>,
    /// Ctrl-C was typed.
    interrupt: bool,
    /// Output of the command's that was lost, and not because nobody wants it.
    lost: Option<io::Error>,
}

/// What a terminal was last given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// Whole lines: one end-of-file character is an end.
    Lines,
    /// A line begun: the first one only hands that over.
    Part,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Bytes or signals were carried.
    Carried,
    /// Somebody wants the command to end.
    ToldToEnd,
    /// It has.
    Ended,
}

/// All that has to be carried.
#[derive(Debug, Default)]
pub struct Relay {
    streams: Vec<Stream>,
    master: Option<File>,
}

impl Relay {
    /// Looks at this process's standard streams. Pipes, and plain files that can only be read, go inside as they are. A
    /// pipe stands in for everything else: a terminal, a directory or a device would be something of the host's in the
    /// guest's hands, a socket would be one in the host's network, and of a file that can be written the guest could
    /// change what was there before. Where two outputs are the same, so are their pipes, and what comes first is first.
    pub fn prepare(terminal: bool) -> io::Result<(Self, Stdio)> {
        let mut relay = Self::default();
        let mut stdio: Stdio = [None, None, None];
        if terminal {
            return Ok((relay, stdio));
        }
        for number in 0..stdio.len() {
            let ours = match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            };
            if number == 2
                && is_same(rustix::stdio::stdout(), ours)?
                && let Some(theirs) = &stdio[1]
            {
                stdio[2] = Some(theirs.try_clone()?);
            } else if !harmless(ours)? {
                let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                let ours = File::from(ours.try_clone_to_owned()?);
                let (from, to, theirs) = match number {
                    0 => (ours, File::from(write), read),
                    _ => (File::from(read), ours, write),
                };
                // Only our side of the pipe: the other one is another open file.
                rustix::io::ioctl_fionbio(if number == 0 { &to } else { &from }, true)?;
                relay.streams.push(Stream::new(from, to, number == 0));
                stdio[number] = Some(theirs);
            }
        }
        Ok((relay, stdio))
    }

    /// The command has a terminal of its own; this is its master, which the child opened non-blocking for us.
    pub fn terminal(&mut self, master: OwnedFd, size: Option<(u16, u16)>) -> io::Result<()> {
        let master = File::from(master);
        if let Some((rows, columns)) = size {
            set_size(&master, rows, columns);
        }
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        self.streams = vec![
            Stream {
                typed: Some(Typed::Lines),
                ..Stream::new(copy(rustix::stdio::stdin())?, master.try_clone()?, true)
            },
            Stream::new(master.try_clone()?, copy(rustix::stdio::stdout())?, false),
        ];
        self.master = Some(master);
        Ok(())
    }

    /// Carries bytes and signals until the command has ended; its exit code. `None`: it was told to end, but is frozen;
    /// then whoever waits for it need not.
    pub fn run(mut self, child: &OwnedFd, signals: &SignalFd, is_frozen: impl Fn() -> bool) -> Result<Option<u8>> {
        loop {
            match self.turn(child, signals).step("wait for", "the command")? {
                Turn::Ended => break,
                // A signal that is sure to be its end reaches it all the same (but not in v1).
                Turn::ToldToEnd if is_frozen() && !ends_at_once(child).step("wait for", "the command")? => {
                    return Ok(None);
                }
                Turn::ToldToEnd | Turn::Carried => {}
            }
        }
        self.finish().step("carry", "the last of the output")?;
        match self.streams.iter_mut().find_map(|s| s.lost.take()) {
            Some(e) => Err(e).step("write", "the command's output"),
            None => exit_code(child).map(Some),
        }
    }

    /// Waits for something to do and does it.
    fn turn(&mut self, child: &OwnedFd, signals: &SignalFd) -> io::Result<Turn> {
        let mut fds = vec![PollFd::new(child, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let streams = &self.streams;
        let waiting: Vec<usize> = (0..streams.len()).filter(|i| streams[*i].awaits().is_some()).collect();
        fds.extend(streams.iter().filter_map(Stream::awaits));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => return Ok(Turn::Carried),
            other => other?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut told = ready[1] && self.pass_signals(child, signals);
        for (stream, _) in waiting.into_iter().zip(&ready[2..]).filter(|(_, ready)| **ready) {
            self.streams[stream].carry();
            told |= std::mem::take(&mut self.streams[stream].interrupt);
        }
        Ok(match (ready[0], told) {
            (true, _) => Turn::Ended,
            (false, true) => Turn::ToldToEnd,
            (false, false) => Turn::Carried,
        })
    }

    /// After the end only what is already on its way is waited for: a process left behind inside may hold the other
    /// side for ever.
    fn finish(&mut self) -> io::Result<()> {
        self.streams.retain(|stream| !stream.input);
        for stream in &mut self.streams {
            let mut left = LAST;
            while left > 0
                && let Some(fd) = stream.awaits()
            {
                let patience = if stream.held.is_empty() { Some(&MOMENT) } else { None };
                match poll(&mut [fd], patience) {
                    Ok(0) => break,
                    Ok(_) => left = left.saturating_sub(stream.carry()),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(())
    }

    /// True if one asks the command to end.
    fn pass_signals(&self, child: &OwnedFd, signals: &SignalFd) -> bool {
        let mut told = false;
        while let Ok(Some(info)) = signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGWINCH) => {
                    if let (Some(master), Ok(size)) =
                        (&self.master, rustix::termios::tcgetwinsize(rustix::stdio::stdin()))
                    {
                        set_size(master, size.ws_row, size.ws_col);
                    }
                }
                Ok(signal) => {
                    told = true;
                    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
                        let _ = pidfd_send_signal(child, signal); // it may just have ended
                    }
                }
                Err(_) => {}
            }
        }
        told
    }
}

impl Stream {
    fn new(from: File, to: File, input: bool) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            held: Vec::new(),
            input,
            typed: None,
            interrupt: false,
            lost: None,
        }
    }

    /// What it needs next: something to read, or room to write what it holds. Nothing when it is closed.
    fn awaits(&self) -> Option<PollFd<'_>> {
        match self.held.is_empty() {
            true => self.from.as_ref().map(|from| PollFd::new(from, PollFlags::IN)),
            false => self.to.as_ref().map(|to| PollFd::new(to, PollFlags::OUT)),
        }
    }

    /// Carries a chunk a step further, without ever waiting for the guest. How many bytes were read.
    fn carry(&mut self) -> usize {
        let mut read = 0;
        if self.held.is_empty() {
            let Some(from) = &mut self.from else { return 0 };
            let mut buffer = [0u8; CHUNK];
            match from.read(&mut buffer) {
                Ok(0) => return self.end(),
                Ok(n) => {
                    read = n;
                    if let Some(typed) = &mut self.typed {
                        let whole = matches!(buffer[n - 1], b'\n' | b'\r');
                        *typed = if whole { Typed::Lines } else { Typed::Part };
                        self.interrupt |= buffer[..n].contains(&CTRL_C);
                    }
                    self.held.extend_from_slice(&buffer[..n]);
                }
                Err(e) if passing(&e) => return 0,
                Err(_) => return self.close(), // EIO: the terminal's last user is gone
            }
        }
        match self.to.as_mut().map(|to| to.write(&self.held)) {
            Some(Ok(n)) => drop(self.held.drain(..n)),
            Some(Err(e)) if passing(&e) => {}
            Some(Err(e)) if !self.input && !self.is_unwanted(&e) => {
                self.lost = Some(e);
                return self.close();
            }
            _ => return self.close(),
        }
        read
    }

    /// Does this error say that nobody has the other side of the pipe, socket or terminal any more?
    fn is_unwanted(&self, e: &io::Error) -> bool {
        match e.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => true,
            Some(libc::EIO) => self.to.as_ref().is_some_and(rustix::termios::isatty),
            _ => false,
        }
    }

    /// Its source has ended; a terminal is told so by a character.
    fn end(&mut self) -> usize {
        if let (Some(typed), Some(to)) = (self.typed, &mut self.to) {
            type_end(to, typed);
        }
        self.close()
    }

    /// Closing is how the other side learns.
    fn close(&mut self) -> usize {
        self.from = None;
        self.to = None;
        self.held.clear();
        0
    }
}

/// Says to whoever reads the terminal by lines that nothing more comes.
fn type_end(terminal: &mut File, typed: Typed) {
    let modes = rustix::termios::tcgetattr(&*terminal);
    let end = modes.map_or(0x04, |m| m.special_codes[rustix::termios::SpecialCodeIndex::VEOF]);
    let times = if typed == Typed::Part { 2 } else { 1 };
    let _ = terminal.write_all(&[end, end][..times]); // the last reader may just have gone
}

fn passing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn harmless(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::fs::FileType;
    let stat = match rustix::fs::fstat(fd) {
        Err(rustix::io::Errno::BADF) => return Ok(true), // closed: stays closed
        other => other?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::RegularFile => !rustix::fs::fcntl_getfl(fd)?.intersects(OFlags::WRONLY | OFlags::RDWR),
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        _ => false,
    })
}

/// Are both descriptors of the same file?
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let id = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    match (id(one), id(other)) {
        (Err(rustix::io::Errno::BADF), _) | (_, Err(rustix::io::Errno::BADF)) => Ok(false),
        (one, other) => Ok(one? == other?),
    }
}

/// Whether it ends within a moment.
fn ends_at_once(child: &OwnedFd) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(child, PollFlags::IN)], Some(&MOMENT))? > 0)
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
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
