//! The VE's console: what init says goes to the log and to whoever is attached; what they type goes to init.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Console log beside the sockets in the run directory; the older half gets `.1` behind its name.
pub const LOG: &str = "console.log";

/// The most that a viewer who joins gets to see of what was said before.
const REPLAY: u64 = 16 << 10;

/// The master of the console's terminal, with its log.
#[derive(Debug)]
pub struct Console {
    master: File,
    log: Log,
}

impl Console {
    /// Takes over a master. A log that can't be opened is done without: a full disk must not stop a VE.
    pub fn new(master: OwnedFd, log: PathBuf, size: u64) -> io::Result<Self> {
        let master = File::from(master);
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self {
            master,
            log: Log::open(log, size),
        })
    }

    /// What the guest has written since; empty if that is nothing.
    pub fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        match self.master.read(buffer) {
            Ok(n) => {
                let said = &buffer[..n];
                self.log.write(said);
                Ok(said)
            }
            // EIO: no process has the other side open at the moment.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::EIO) => Ok(&[]),
            Err(e) => Err(e),
        }
    }

    /// What has been said since this was made, or the later part of it: as much as a viewer's line holds.
    pub fn so_far(&self) -> Vec<u8> {
        self.log.tail(REPLAY)
    }

    /// Types into the guest; what its full terminal doesn't take is dropped, as on a real line.
    pub fn type_in(&mut self, typed: &[u8]) {
        let _ = self.master.write(typed);
    }

    /// Sets the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let _ = rustix::termios::tcsetwinsize(&self.master, size);
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    /// Where in the file this run of the VE begins.
    from: u64,
    size: u64,
}

impl Log {
    fn open(path: PathBuf, size: u64) -> Self {
        let file = File::options().create(true).append(true).open(&path).ok();
        let written = file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        Self {
            path,
            file,
            written,
            from: written,
            size,
        }
    }

    /// The last `most` bytes of this run's part.
    fn tail(&self, most: u64) -> Vec<u8> {
        let from = self.from.max(self.written.saturating_sub(most));
        let mut said = Vec::new();
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(io::SeekFrom::Start(from)).is_ok()
        {
            let _ = file.take(most).read_to_end(&mut said); // less is shown then
        }
        said
    }

    fn write(&mut self, said: &[u8]) {
        if self.written + said.len() as u64 > self.size / 2 {
            let old = self.path.with_extension("log.1");
            let _ = std::fs::rename(&self.path, old);
            *self = Self::open(std::mem::take(&mut self.path), self.size); // a new file, all of it this run's
        }
        if let Some(file) = &mut self.file
            && file.write_all(said).is_ok()
        {
            self.written += said.len() as u64;
        }
    }
}

/// Somebody at the console.
#[derive(Debug)]
pub struct Viewer {
    stream: UnixStream,
}

impl Viewer {
    /// Makes a connection a viewer's.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream })
    }

    /// Shows what the guest said. False: this viewer is gone, or so slow that it had better attach again.
    pub fn show(&mut self, said: &[u8]) -> bool {
        matches!(self.stream.write(said), Ok(n) if n == said.len())
    }

    /// What was typed; `None` when the viewer is gone.
    pub fn typed<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        match self.stream.read(buffer) {
            Ok(0) => None,
            Ok(n) => Some(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(&[]),
            Err(_) => None,
        }
    }
}

impl AsFd for Viewer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
