//! Whoever is about to end the VE.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Its connection, and what came on it.
#[derive(Debug)]
pub struct Finisher {
    stream: UnixStream,
    root: Option<OwnedFd>,
}

impl From<UnixStream> for Finisher {
    /// The stream must not block.
    fn from(stream: UnixStream) -> Self {
        Self { stream, root: None }
    }
}

impl AsFd for Finisher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Finisher {
    /// Is it still there? Takes what has come from it.
    pub fn is_there(&mut self) -> bool {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut io = [IoSliceMut::new(&mut byte)];
        let heard = recvmsg(&self.stream, &mut io, &mut control, RecvFlags::CMSG_CLOEXEC);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.root = fds.last().or(self.root.take());
            }
        }
        match heard {
            Ok(message) => message.bytes > 0,
            Err(e) => e == rustix::io::Errno::WOULDBLOCK,
        }
    }

    /// The VE's root, if it has sent one by now.
    pub fn into_root(mut self) -> Option<OwnedFd> {
        self.is_there(); // for what may have come since
        self.root
    }
}
