//! A conversation with `criu swrk`: one request, notifications in between, one answer.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use hostel_monitor::message::receive;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::wire::{Message, Value, fields};

const DUMP: u64 = 1;
const RESTORE: u64 = 2;
const NOTIFY: u64 = 6;

/// How often it is looked whether anybody still waits for it: 0.1 s.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// What CRIU says.
#[derive(Debug)]
pub enum Event {
    /// It has come to a stage, and waits for our word.
    Stage {
        /// Which: "post-dump".
        name: String,
        /// The first process of the tree, where there is one by now.
        pid: Option<u32>,
        /// What comes with it: a terminal's master.
        fd: Option<OwnedFd>,
    },
    /// It is over.
    Answer(bool),
    /// It has ended without an answer.
    Gone,
}

/// Our end.
#[derive(Debug)]
pub struct Session(OwnedFd);

impl From<OwnedFd> for Session {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl Session {
    /// Our end and CRIU's, which is closed at exec unless that is changed. It looks up descriptors that the request
    /// names in this process.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(ours), theirs))
    }

    /// Asks for a dump.
    pub fn dump(&self, options: &Message) -> io::Result<()> {
        self.send(&Message::default().number(1, DUMP).message(2, options))
    }

    /// Asks for a restore.
    pub fn restore(&self, options: &Message) -> io::Result<()> {
        self.send(&Message::default().number(1, RESTORE).message(2, options))
    }

    /// Answers a stage: go on, or give up.
    pub fn reply(&self, go_on: bool) -> io::Result<()> {
        self.send(&Message::default().number(1, NOTIFY).number(3, go_on.into()))
    }

    /// Waits for what it says next for as long as it is `wanted`. `None`: it isn't any more.
    pub fn hear_while(&self, mut wanted: impl FnMut() -> bool) -> io::Result<Option<Event>> {
        while wanted() {
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                ready => {
                    ready?;
                    return self.hear().map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Waits for what it says next.
    pub fn hear(&self) -> io::Result<Event> {
        let mut buffer = vec![0u8; 64 * 1024];
        let (bytes, fd) = match receive(self.0.as_fd(), &mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(Event::Gone),
            received => received?,
        };
        if bytes == 0 {
            return Ok(Event::Gone);
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "it said something that makes no sense");
        event(&buffer[..bytes], fd).ok_or_else(strange)
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.0.as_fd().as_raw_fd(),
            &[IoSlice::new(message.as_bytes())],
            &[],
            flags,
            None,
        )?;
        Ok(())
    }
}

fn event(message: &[u8], fd: Option<OwnedFd>) -> Option<Event> {
    let (mut kind, mut success, mut stage) = (None, None, None);
    for field in fields(message)? {
        match field {
            (1, Value::Number(n)) => kind = Some(n),
            (2, Value::Number(n)) => success = Some(n != 0),
            (5, Value::Bytes(inner)) => stage = Some(fields(inner)?),
            _ => {}
        }
    }
    if kind? != NOTIFY {
        return success.map(Event::Answer);
    }
    let (mut name, mut pid) = (String::new(), None);
    for field in stage? {
        match field {
            (1, Value::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
            (2, Value::Number(n)) => pid = u32::try_from(n).ok(),
            _ => {}
        }
    }
    Some(Event::Stage { name, pid, fd })
}
