//! A blocking netlink socket: several requests in one datagram, each with its answer (netlink(7), rfc3549).
//!
//! Blocking on purpose: the kernel answers within the `send`, so an event loop would only add its own start-up to
//! every VE's start.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBufForce, ReceiveTimeout, SndBufForce},
};
use nix::sys::time::TimeVal;
use rtnetlink::sys::{Socket, SocketAddr, protocols};

/// Length of a message's header (struct nlmsghdr).
const HEADER: usize = 16;
/// Room for one answer; the kernel fills at most 32 KiB per datagram of a dump.
const ROOM: usize = 64 * 1024;
/// How long to wait for an answer that should be there at once.
const PATIENCE_SECONDS: i64 = 10;
/// The kernel's text of an error, an attribute of the answer (NLMSGERR_ATTR_MSG).
const ATTRIBUTE_TEXT: u16 = 1;
/// The answer has attributes (NLM_F_ACK_TLVS).
const FLAG_ATTRIBUTES: u16 = 0x200;
/// The dump isn't consistent (NLM_F_DUMP_INTR).
const FLAG_INTERRUPTED: u16 = 0x10;
/// How often to start an interrupted dump anew.
const TRIES: u32 = 20;

/// One message to send: its type, its flags besides NLM_F_REQUEST, and what follows the header.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub kind: u16,
    pub flags: u16,
    pub body: Vec<u8>,
}

/// What follows the header of a message received.
pub(crate) type Answer = Vec<u8>;

/// The bytes of the largest transaction: the elements of thousands of VEs. The kernel's default is some 200 KiB.
const TRANSACTION_MAX: usize = 16 << 20;
/// Room for the answers to a batch, in bytes: the kernel counts nearly a kilobyte for each.
const ANSWERS: usize = 8 << 20;

/// The kernel said no, or the talk with it failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Which of the requests.
    pub index: usize,
    /// Why.
    pub error: io::Error,
    /// What the kernel added in words.
    pub text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The errno, 0 if there was none.
    pub fn errno(&self) -> i32 {
        self.error.raw_os_error().unwrap_or(0)
    }

    /// As the error of an adapter.
    pub fn into_error(self, act: &'static str, object: impl fmt::Display) -> crate::Error {
        let kind = crate::Error::os(act, "", io::Error::from(self.error.kind())).kind;
        let kind = self.error.raw_os_error().map_or(kind, |n| {
            crate::Error::os(act, "", io::Error::from_raw_os_error(n)).kind
        });
        crate::Error::new(act, object, self).kind(kind)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self {
            index: 0,
            error,
            text: None,
        }
    }
}

/// A netlink socket of the network namespace in which it was made.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// To the routing subsystem (rtnetlink(7)).
    pub fn route() -> io::Result<Self> {
        Self::new(protocols::NETLINK_ROUTE)
    }

    /// To netfilter.
    pub fn netfilter() -> io::Result<Self> {
        let netlink = Self::new(protocols::NETLINK_NETFILTER)?;
        // SAFETY: the socket is open and outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(netlink.socket.as_raw_fd()) };
        setsockopt(&fd, SndBufForce, &TRANSACTION_MAX).map_err(io::Error::from)?;
        Ok(netlink)
    }

    fn new(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        {
            // SAFETY: the socket is open and outlives this borrow.
            let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
            // All acknowledgements of a batch wait here until it has been sent: some hundred are more than is usual. Where it
            // isn't granted, the usual does for fewer.
            let _ = setsockopt(&fd, RcvBufForce, &ANSWERS);
        }
        socket.connect(&SocketAddr::new(0, 0))?;
        // Answers without a copy of the request, but with the kernel's words. Kernels before 4.12 have neither
        // option; we then get along without the words.
        let _ = socket.set_cap_ack(true).and_then(|()| socket.set_ext_ack(true));
        // SAFETY: the socket is open and outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        setsockopt(&fd, ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0)).map_err(io::Error::from)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes the kernel honour filters in dump requests; kernels before 4.20 don't, so filter the answers too.
    pub fn filter_strictly(&self) {
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    /// Sends the requests in one datagram and waits until each is acknowledged. The first refusal ends it; what
    /// the kernel did with the requests behind the refused one depends on the subsystem.
    pub fn apply(&mut self, requests: &[Request]) -> Result<(), Refusal> {
        if requests.is_empty() {
            return Ok(());
        }
        let ack = libc::NLM_F_ACK as u16;
        let awaited = |flags: u16| flags & ack != 0;
        let first = self.send(requests)?;
        let mut waiting = requests.iter().filter(|r| awaited(r.flags)).count();
        while waiting > 0 {
            for message in self.receive()? {
                let index = message.sequence.wrapping_sub(first) as usize;
                if index >= requests.len() || message.kind != libc::NLMSG_ERROR as u16 {
                    continue;
                }
                message.outcome().map_err(|refusal| Refusal { index, ..refusal })?;
                waiting -= 1;
            }
        }
        Ok(())
    }

    /// Sends one request and waits for its one answer.
    pub fn get(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let sequence = self.send(std::slice::from_ref(request))?;
        loop {
            for message in self.receive()?.into_iter().filter(|m| m.sequence == sequence) {
                if message.kind != libc::NLMSG_ERROR as u16 {
                    return Ok(message.body);
                }
                message.outcome()?;
            }
        }
    }

    /// Sends one dump request and gathers the answers; again from the start if the kernel's list changed meanwhile.
    pub fn dump(&mut self, request: &Request) -> Result<Vec<Answer>, Refusal> {
        let request = Request {
            flags: request.flags | libc::NLM_F_DUMP as u16,
            ..request.clone()
        };
        for _ in 0..TRIES {
            if let Some(answers) = self.dump_once(&request)? {
                return Ok(answers);
            }
        }
        let busy = "the list changed on every attempt to read it".to_owned();
        Err(Refusal {
            index: 0,
            error: io::Error::from_raw_os_error(libc::EBUSY),
            text: Some(busy),
        })
    }

    fn dump_once(&mut self, request: &Request) -> Result<Option<Vec<Answer>>, Refusal> {
        let sequence = self.send(std::slice::from_ref(request))?;
        let mut answers = Vec::new();
        let mut whole = true;
        loop {
            for message in self.receive()?.into_iter().filter(|m| m.sequence == sequence) {
                whole &= message.flags & FLAG_INTERRUPTED == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(whole.then_some(answers)),
                    libc::NLMSG_ERROR => match message.outcome() {
                        Err(refusal) if refusal.errno() == libc::EINTR => return Ok(None),
                        outcome => outcome?,
                    },
                    _ => answers.push(message.body),
                }
            }
        }
    }

    /// Sends all in one datagram; the sequence number of the first.
    fn send(&mut self, requests: &[Request]) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            write_message(&mut datagram, request, self.sequence)?;
        }
        let sent = self.socket.send(&datagram, 0)?;
        if sent != datagram.len() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "the datagram was sent only in part",
            ));
        }
        Ok(first)
    }

    fn receive(&self) -> io::Result<Vec<Received>> {
        let mut buffer = Vec::with_capacity(ROOM);
        loop {
            match self.socket.recv(&mut buffer, libc::MSG_TRUNC) {
                Ok(n) if n > ROOM => return Err(io::Error::other("an answer of the kernel was cut off")),
                Ok(_) => return read_messages(&buffer),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

fn write_message(datagram: &mut Vec<u8>, request: &Request, sequence: u32) -> io::Result<()> {
    let length = u32::try_from(HEADER + request.body.len()).map_err(io::Error::other)?;
    datagram.extend(length.to_ne_bytes());
    datagram.extend(request.kind.to_ne_bytes());
    datagram.extend((request.flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
    datagram.extend(sequence.to_ne_bytes());
    datagram.extend(0_u32.to_ne_bytes());
    datagram.extend(&request.body);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
    Ok(())
}

struct Received {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: Vec<u8>,
}

impl Received {
    /// Reads an NLMSG_ERROR: an acknowledgement or a refusal.
    fn outcome(&self) -> Result<(), Refusal> {
        match read_i32(&self.body, 0) {
            Some(0) => Ok(()),
            Some(code) => {
                let text = (self.flags & FLAG_ATTRIBUTES != 0).then(|| self.text()).flatten();
                Err(Refusal {
                    index: 0,
                    error: io::Error::from_raw_os_error(code.saturating_neg()),
                    text,
                })
            }
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel's answer is too short").into()),
        }
    }

    fn text(&self) -> Option<String> {
        // The code and the header of the refused request come first (its body is left out: NETLINK_CAP_ACK).
        let attributes = Attributes::new(self.body.get(4 + HEADER..)?);
        let value = attributes.into_iter().find(|(kind, _)| *kind == ATTRIBUTE_TEXT)?.1;
        Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned())
    }
}

fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes)
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn read_messages(mut bytes: &[u8]) -> io::Result<Vec<Received>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer can't be read");
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = read_i32(bytes, 0)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(broken)?;
        let body = bytes.get(HEADER..length).ok_or_else(broken)?.to_vec();
        let kind = read_u16(bytes, 4).ok_or_else(broken)?;
        let flags = read_u16(bytes, 6).ok_or_else(broken)?;
        let sequence = read_i32(bytes, 8).ok_or_else(broken)?.cast_unsigned();
        messages.push(Received {
            kind,
            flags,
            sequence,
            body,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

/// The attributes (type, length, value) in a piece of a message, one after the other; ends at a broken one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(read_u16(self.0, 0)?);
        let kind = read_u16(self.0, 2)? & !((libc::NLA_F_NESTED | libc::NLA_F_NET_BYTEORDER) as u16);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_writing_and_reading() {
        let mut bytes = Vec::new();
        for (sequence, body) in [(7, vec![1, 2, 3]), (8, vec![])] {
            write_message(
                &mut bytes,
                &Request {
                    kind: 20,
                    flags: 4,
                    body,
                },
                sequence,
            )
            .unwrap();
        }
        let read = read_messages(&bytes).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].kind, read[0].flags, read[0].sequence, &read[0].body[..]),
            (20, 5, 7, &[1, 2, 3][..])
        );
        assert_eq!((read[1].sequence, read[1].body.len()), (8, 0));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            if let Ok(messages) = read_messages(&bytes) {
                for message in messages {
                    let _ = message.outcome();
                    let _ = message.text();
                }
            }
            let _ = Attributes::new(&bytes).count();
        }
    }

    #[test]
    fn the_kernels_words_are_kept() {
        let mut netlink = Netlink::route().unwrap();
        let kind = libc::RTM_NEWADDR;
        let refusal = netlink.apply(&[Request {
            kind,
            flags: libc::NLM_F_ACK as u16,
            body: vec![2, 32, 0, 0, 0, 0, 0, 0],
        }]);
        let refusal = refusal.unwrap_err();
        assert_ne!(refusal.errno(), 0);
        assert!(refusal.to_string().contains("os error"), "{refusal}");
    }
}
