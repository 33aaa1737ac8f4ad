//! What engine, monitor and child say to each other while a VE starts. One JSON message a packet (SOCK_SEQPACKET),
//! descriptors beside it (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::guest::Left;
use crate::spec::Init;

/// Monitor (or enterer) to engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromMonitor {
    /// The VE's first process and its namespaces are there, and its network, which comes with this, may be made. It
    /// waits for `Go`.
    Born(Init),
    /// Something that the VE was to have could not be had; it starts all the same (start only).
    Without(Failure),
    /// CRIU runs, and the way to it comes with this (resume only). The number is of this monitor's descriptor of the images.
    Criu(i32),
    /// All is in place but init: from now on something may be run inside (start only).
    Furnished,
    /// Init runs.
    Started,
    /// A terminal's master comes with this (entry only).
    Terminal,
    /// A command inside runs; its process id on the host (entry only).
    Entered(u32),
    /// The VE was entered, but the program could not be run (entry only).
    NotRun(Failure),
    /// Somebody wants the command to end, but the VE is paused and it can't (entry only).
    Paused,
    /// It could not be done, and what was begun is gone.
    Failed(Failure),
}

/// Engine to monitor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToMonitor {
    /// Something of the host's that the VE is to have comes with this, as a detached mount (start only): its path in the
    /// VE, whether it is a directory, whether the VE's users are to be the owners of what is theirs on it.
    Bind(String, bool, bool),
    /// The VE's disk comes with this, as a detached mount. Nothing comes after it but `Go`.
    Disk,
    /// The network is ready: run init. (Resume: let it go on.)
    Go,
    /// The process that becomes init is there (resume only); answered by `Born`.
    Tree(u32),
    /// The console's master comes with this (resume only).
    Console,
}

/// Child to monitor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromChild {
    /// The console's master comes with this.
    Console,
    /// The notify socket comes with this.
    Notify,
    /// Something of the VE's identity could not be written.
    Left(Left),
    /// Everything is in place; only exec is left.
    Ready,
    /// A step failed; the child has ended.
    Failed(Failure),
}

/// Monitor to child.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToChild {
    /// A device for the guest's /dev comes with this, as a detached mount: its name there, its numbers.
    Device(String, u32, u32),
    /// Something of the host's comes with this, as a detached mount: its path, and whether it is a directory.
    Bind(String, bool),
    /// The root's detached mount comes with this; the id maps are written. Nothing comes after it but `Go`.
    Root,
    /// Run init.
    Go,
}

/// The longest message: failures carry paths, nothing here carries content.
const LONGEST: usize = 64 * 1024;

/// One end of a conversation.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two ends, closed at exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// The same end once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a message, with descriptors.
    pub fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let raw: Vec<i32> = fds.iter().map(|f| f.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&text)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        Ok(())
    }

    /// Says no more: the other end, if it waits for us, waits for nothing.
    pub fn fall_silent(&self) {
        // It fails only if the other end is gone.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// Receives the next message and the descriptor that came with it; `None` when the other end is closed.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Option<OwnedFd>)>> {
        let mut buffer = vec![0u8; LONGEST];
        let (bytes, fd) = loop {
            match receive(self.0.as_fd(), &mut buffer) {
                // A peer that ended without reading our last message leaves this once; what it said before comes next.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                received => break received?,
            }
        };
        if bytes == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&buffer[..bytes])?, fd)))
    }
}

/// The next message of a socket that keeps their bounds: how many bytes of it are in the buffer, none if the other end is
/// closed, and the last descriptor that came with it.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([i32; 1]);
    loop {
        let mut io = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut io, Some(&mut space), flags) {
            Err(nix::Error::EINTR) => continue,
            received => received?,
        };
        let mut fd = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(list) = control {
                for raw in list {
                    // SAFETY: the kernel has just installed this descriptor for us.
                    fd = Some(unsafe { OwnedFd::from_raw_fd(raw) });
                }
            }
        }
        return Ok((message.bytes, fd));
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}
