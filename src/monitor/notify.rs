//! The socket on which a guest's init tells that it has booted (sd_notify(3)). Whatever comes is the guest's doing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, recv, recvmsg};

use crate::exit;
use crate::sys::{self, Cloned};

/// How long the throw-away process may take to end; the socket is gone from here in any case.
const PATIENCE: Duration = Duration::from_secs(1);

/// What init said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that matters.
    Nothing,
    /// That it has booted.
    Booted,
    /// Something was sent along that is not to be touched.
    Rights,
}

/// The receiving end.
#[derive(Debug)]
pub struct Notify(OwnedFd);

impl Notify {
    /// Takes the socket over.
    pub fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Reads one message, without waiting.
    pub fn hear(&self) -> Heard {
        let mut buffer = [0u8; 2048];
        // Descriptors may lie in the message, and taking it would make us their last user: closing a TCP socket, for
        // one, waits as long as its SO_LINGER says. So look first, without taking.
        let look = recvmsg(
            &self.0,
            &mut [io::IoSliceMut::new(&mut buffer)],
            &mut RecvAncillaryBuffer::default(),
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        match look {
            Ok(message) if message.flags.contains(ReturnFlags::CTRUNC) => return Heard::Rights,
            Ok(_) => {}
            Err(_) => return Heard::Nothing,
        }
        match recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((n, _)) if buffer[..n].split(|b| *b == b'\n').any(|line| line == b"READY=1") => Heard::Booted,
            _ => Heard::Nothing,
        }
    }

    /// Closes it, with what is still in its queue. A process that ends doesn't linger over its sockets (net/ipv4:
    /// inet_release, PF_EXITING), so a throw-away one is made the last user.
    pub fn close(self) {
        let Ok((ours, theirs)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else {
            std::mem::forget(self); // without descriptors or memory: rather keep it open
            return;
        };
        match sys::clone3(0, None) {
            Ok(Cloned::Child) => {
                drop(theirs);
                let _ = rustix::io::read(&ours, &mut [0u8; 1]); // ends when the monitor has closed the socket
                sys::exit_at_once();
            }
            Ok(Cloned::Parent(_, child)) => {
                drop(self);
                drop((ours, theirs));
                exit::reap(child.as_fd(), PATIENCE);
            }
            Err(_) => std::mem::forget(self),
        }
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
