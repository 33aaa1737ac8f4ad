//! The requests of traffic control: pure, one function each (linux/pkt_sched.h, linux/pkt_cls.h, rtnetlink(7)).

use super::super::netlink::{Attributes, Request};

const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = ACK | libc::NLM_F_CREATE as u16;
const REPLACE: u16 = CREATE | libc::NLM_F_REPLACE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;

/// Length of struct tcmsg, before the attributes.
pub(super) const HEADER: usize = 20;
/// TC_H_ROOT.
const ROOT: u32 = 0xffff_ffff;
/// TC_H_CLSACT: where what comes in and what goes out can be looked at before any queue.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;

/// TCA_KIND and TCA_OPTIONS; an action has the same two (TCA_ACT_KIND, TCA_ACT_OPTIONS).
pub(super) const KIND: u16 = 1;
pub(super) const OPTIONS: u16 = 2;
/// TCA_TBF_PARMS (struct tc_tbf_qopt), TCA_TBF_RATE64, TCA_TBF_BURST.
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
/// TCA_U32_CLASSID, TCA_U32_SEL, TCA_U32_ACT, TCA_U32_INDEV.
const U32_CLASS: u16 = 1;
const U32_SELECTOR: u16 = 5;
pub(super) const U32_ACTIONS: u16 = 7;
pub(super) const U32_DEVICE: u16 = 8;
/// TC_U32_TERMINAL: what matches is done with.
const U32_TERMINAL: u8 = 1;
/// TCA_MIRRED_PARMS.
pub(super) const MIRRED: u16 = 2;
/// TC_ACT_STOLEN and TCA_EGRESS_REDIR.
const STOLEN: u32 = 4;
const REDIRECT: u32 = 1;
/// TC_LINKLAYER_ETHERNET: the kernel needs no table of times then.
const ETHERNET: u8 = 1;
/// ETH_P_ALL, as it stands in a packet.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();
/// What the kernel counts a bucket's depth in: 64 ns (PSCHED_SHIFT).
const TICK_NS: u64 = 64;

/// The token bucket, and what stands in it: all packets one after the other, or a class for each link.
pub(super) const BUCKET: u32 = 0x1_0000;
const IN_BUCKET: u32 = BUCKET | 1;
const FIFO: u32 = 0x2_0000;
pub(super) const CLASSES: u32 = 0x3_0000;
const EMPTY_FIFO: u32 = 0x4_0000;
/// The class of packets of no link that we know.
pub(super) const REST: u16 = 0xffff;
/// The queue of class `n` has the handle of this one and `n` more.
const FIRST_FIFO: u16 = 0x100;

/// A place where packets pass an interface, before any queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// What the interface receives.
    Ingress,
    /// What it sends.
    Egress,
}

impl Gate {
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// How fast, in numbers for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
    /// Bytes that may wait.
    pub queue: u32,
}

impl Bucket {
    /// The time that the burst takes at this rate, in the kernel's ticks.
    fn ticks(&self) -> u32 {
        let ns = u64::from(self.burst) * 1_000_000_000 / self.rate.max(1);
        u32::try_from(ns / TICK_NS).unwrap_or(u32::MAX).max(1)
    }

    /// struct tc_ratespec. A rate that doesn't fit it is said in an attribute beside.
    fn spec(&self) -> [u8; 12] {
        let mut spec = [0; 12];
        spec[1] = ETHERNET;
        spec[8..].copy_from_slice(&u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        spec
    }

    fn is_wide(&self) -> bool {
        self.rate >= u64::from(u32::MAX)
    }
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Names and structs of a few bytes; with what is nested, a few hundred.
    let length = (4 + value.len()) as u16;
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    words(&[0, index, handle, parent, info])
}

fn object(kind: u16, flags: u16, header: Vec<u8>, what: &str, options: &[u8]) -> Request {
    let mut body = header;
    attribute(&mut body, KIND, &text(what));
    attribute(&mut body, OPTIONS, options);
    Request { kind, flags, body }
}

/// All that an interface sends goes through a token bucket; one that is there is changed, and keeps its queue. It cuts
/// segments that are larger than its burst apart.
pub(super) fn bucket(index: u32, bucket: &Bucket) -> Request {
    let mut parameters = bucket.spec().to_vec();
    parameters.extend([0; 12]); // no peak rate
    parameters.extend(words(&[bucket.queue, bucket.ticks(), 0]));
    let mut options = Vec::new();
    attribute(&mut options, TBF_PARAMETERS, &parameters);
    if bucket.is_wide() {
        attribute(&mut options, TBF_RATE64, &bucket.rate.to_ne_bytes());
    }
    attribute(&mut options, TBF_BURST, &bucket.burst.to_ne_bytes());
    object(
        libc::RTM_NEWQDISC,
        REPLACE,
        header(index, BUCKET, ROOT, 0),
        "tbf",
        &options,
    )
}

/// Asks for the bucket of an interface. (With an echo, as kernels before 6.6 tell only their listeners otherwise.)
pub(super) fn get_bucket(index: u32) -> Request {
    Request {
        kind: libc::RTM_GETQDISC,
        flags: libc::NLM_F_ECHO as u16,
        body: header(index, BUCKET, 0, 0),
    }
}

/// The burst in bytes that an answer to this tells; it may be a few bytes less, and never more.
pub(super) fn read_burst(body: &[u8]) -> Option<u64> {
    let within = |bytes, wanted| Attributes::new(bytes).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
    let options = within(body.get(HEADER..)?, OPTIONS)?;
    let parameters: &[u8] = within(options, TBF_PARAMETERS)?;
    let word = |at: usize| Some(u32::from_ne_bytes(parameters.get(at..at + 4)?.try_into().ok()?));
    let wide = within(options, TBF_RATE64)
        .and_then(|v| v.try_into().ok())
        .map(u64::from_ne_bytes);
    let rate = wide.unwrap_or(word(8)?.into());
    let ns = u128::from(word(28)?) * u128::from(TICK_NS);
    u64::try_from(ns * u128::from(rate) / 1_000_000_000).ok()
}

/// In the bucket, all packets wait in one row of so many bytes.
pub(super) fn one_row(index: u32, queue: u32) -> Request {
    row(index, FIFO, queue)
}

/// The same, and whatever waits there now is lost.
pub(super) fn empty_row(index: u32, queue: u32) -> Request {
    row(index, EMPTY_FIFO, queue)
}

fn row(index: u32, handle: u32, queue: u32) -> Request {
    let header = header(index, handle, IN_BUCKET, 0);
    object(libc::RTM_NEWQDISC, REPLACE, header, "bfifo", &queue.to_ne_bytes())
}

/// In the bucket, packets wait in classes. Refused (EEXIST) if they do already.
pub(super) fn classes(index: u32) -> Request {
    let mut options = Vec::new();
    attribute(&mut options, 2, &words(&[3, 10, REST.into(), 0, 0])); // TCA_HTB_INIT: struct tc_htb_glob
    let header = header(index, CLASSES, IN_BUCKET, 0);
    object(libc::RTM_NEWQDISC, REPLACE | EXCLUSIVE, header, "htb", &options)
}

/// A class, and the row that its packets wait in.
pub(super) fn class(index: u32, number: u16, bucket: &Bucket) -> [Request; 2] {
    let id = CLASSES | u32::from(number);
    // Between classes that have packets at once, one frame after the other: said, for else the kernel computes it from
    // the rate, and complains of what it has computed.
    let quantum = bucket.burst.clamp(1514, 60_000);
    let mut parameters = [bucket.spec(), bucket.spec()].concat();
    parameters.extend(words(&[bucket.ticks(), bucket.ticks(), quantum, 0, 0]));
    let mut options = Vec::new();
    attribute(&mut options, 1, &parameters); // TCA_HTB_PARMS: struct tc_htb_opt
    if bucket.is_wide() {
        attribute(&mut options, 6, &bucket.rate.to_ne_bytes()); // TCA_HTB_RATE64
        attribute(&mut options, 7, &bucket.rate.to_ne_bytes()); // TCA_HTB_CEIL64
    }
    let class = object(
        libc::RTM_NEWTCLASS,
        CREATE,
        header(index, id, CLASSES, 0),
        "htb",
        &options,
    );
    let handle = u32::from(FIRST_FIFO.saturating_add(number)) << 16;
    let row = header(index, handle, id, 0);
    let queue = bucket.queue.to_ne_bytes();
    [class, object(libc::RTM_NEWQDISC, REPLACE, row, "bfifo", &queue)]
}

/// A selector that everything matches, also a frame with nothing in it (struct tc_u32_sel without keys).
const EVERYTHING: [u8; 16] = [U32_TERMINAL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn filter(index: u32, parent: u32, priority: u16, options: &[u8]) -> Request {
    let header = header(index, 0, parent, info(priority));
    object(libc::RTM_NEWTFILTER, CREATE, header, "u32", options)
}

fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(ALL_PROTOCOLS)
}

/// What came by this link is of the class with its number; the same is the filter's priority.
pub(super) fn sort(index: u32, link: &str, number: u16) -> Request {
    let mut options = Vec::new();
    attribute(&mut options, U32_CLASS, &(CLASSES | u32::from(number)).to_ne_bytes());
    attribute(&mut options, U32_SELECTOR, &EVERYTHING);
    attribute(&mut options, U32_DEVICE, &text(link));
    filter(index, CLASSES, number, &options)
}

/// No more so.
pub(super) fn unsort(index: u32, number: u16) -> Request {
    remove_filter(index, CLASSES, number)
}

/// Opens the gates of an interface. Refused (EEXIST) if they are open.
pub(super) fn open_gates(index: u32) -> Request {
    let header = header(index, CLSACT_HANDLE, CLSACT, 0);
    object(libc::RTM_NEWQDISC, CREATE | EXCLUSIVE, header, "clsact", &[])
}

/// Removes them, with all filters there.
pub(super) fn close_gates(index: u32) -> Request {
    Request {
        kind: libc::RTM_DELQDISC,
        flags: ACK,
        body: header(index, CLSACT_HANDLE, CLSACT, 0),
    }
}

/// Everything at this gate goes through another interface's queue, and comes back when it has passed.
pub(super) fn redirect(index: u32, gate: Gate, priority: u16, to: u32) -> Request {
    let mut mirred = Vec::new();
    // struct tc_mirred: index, capabilities, action, two counts, what to do, with which interface
    attribute(&mut mirred, MIRRED, &words(&[0, 0, STOLEN, 0, 0, REDIRECT, to]));
    let mut action = Vec::new();
    attribute(&mut action, KIND, &text("mirred"));
    attribute(&mut action, OPTIONS, &mirred);
    let mut actions = Vec::new();
    attribute(&mut actions, 1, &action);
    let mut options = Vec::new();
    attribute(&mut options, U32_SELECTOR, &EVERYTHING);
    attribute(&mut options, U32_ACTIONS, &actions);
    filter(index, gate.parent(), priority, &options)
}

/// No more so.
pub(super) fn let_pass(index: u32, gate: Gate, priority: u16) -> Request {
    remove_filter(index, gate.parent(), priority)
}

fn remove_filter(index: u32, parent: u32, priority: u16) -> Request {
    Request {
        kind: libc::RTM_DELTFILTER,
        flags: ACK,
        body: header(index, 0, parent, info(priority)),
    }
}

/// Asks for the filters at a gate.
pub(super) fn filters_at(index: u32, gate: Gate) -> Request {
    list_filters(index, gate.parent())
}

/// Asks for those that sort packets into classes.
pub(super) fn filters_of_classes(index: u32) -> Request {
    list_filters(index, CLASSES)
}

fn list_filters(index: u32, parent: u32) -> Request {
    Request {
        kind: libc::RTM_GETTFILTER,
        flags: 0,
        body: header(index, 0, parent, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_the_kernel() {
        let gigabit = Bucket {
            rate: 125_000_000,
            burst: 1_250_000,
            queue: 0,
        };
        assert_eq!(gigabit.ticks(), 156_250, "10 ms in 64 ns");
        assert_eq!(gigabit.spec()[8..], 125_000_000_u32.to_ne_bytes());
        assert!(!gigabit.is_wide());
        let wide = Bucket {
            rate: 12_500_000_000,
            burst: 1,
            ..gigabit
        };
        assert!(wide.is_wide() && wide.ticks() == 1 && wide.spec()[8..] == [0xff; 4]);
        for (given, read) in [(gigabit, 1_250_000), (wide, 800)] {
            assert_eq!(
                read_burst(&bucket(7, &given).body),
                Some(read),
                "what is asked is told alike"
            );
        }
        assert_eq!(read_burst(&[0; HEADER]), None);
    }

    #[test]
    fn attributes_are_padded() {
        let mut out = Vec::new();
        attribute(&mut out, 7, &[1]);
        attribute(&mut out, 8, &[]);
        let read: Vec<_> = Attributes::new(&out).collect();
        assert_eq!(read, [(7, &[1][..]), (8, &[])]);
        assert_eq!(out.len(), 12);
    }
}
