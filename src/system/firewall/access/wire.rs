//! The messages of nf_tables (linux/netfilter/nf_tables.h) that tell what a table has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Count;
use crate::firewall::keys::{Family, NAME};
use crate::firewall::wire::{message, nested_in, text};
use crate::net::netlink::{Attributes, Request};
use crate::net::read_address;

/// struct nfgenmsg, before the attributes.
const HEADER: usize = 4;
/// The table that chains, sets and objects are in is their first attribute (NFTA_CHAIN_TABLE and the like).
const TABLE: u16 = 1;
/// NFTA_CHAIN_NAME.
const CHAIN_NAME: u16 = 3;
/// NFTA_SET_NAME, NFTA_OBJ_NAME, NFTA_SET_ELEM_LIST_SET.
const NAME_OF: u16 = 2;
/// NFTA_OBJ_TYPE, and the one of counters.
const OBJECT_TYPE: (u16, u32) = (3, 1);
/// NFTA_OBJ_DATA, and in it NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS.
const COUNTER: (u16, u16, u16) = (4, 1, 2);
/// NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE.
const ELEMENT: (u16, u16, u16, u16) = (3, 1, 1, 1);

/// NFTA_SET_ELEM_FLAGS, and the flag of an element that is the first address behind an interval (NFT_SET_ELEM_INTERVAL_END).
const FLAGS: (u16, u32) = (3, 1);
/// NFTA_SET_ELEM_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN.
const VERDICT: (u16, u16, u16) = (2, 2, 2);

/// What can be listed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Chains,
    Sets,
    Objects,
}

/// Asks for all of a kind that a table has (a dump). Some kernels tell those of other tables too.
pub(super) fn list(family: Family, table: &str, kind: Kind) -> Request {
    let kind = match kind {
        Kind::Chains => libc::NFT_MSG_GETCHAIN,
        Kind::Sets => libc::NFT_MSG_GETSET,
        Kind::Objects => libc::NFT_MSG_GETOBJ,
    };
    message(family, kind, 0, &[text(TABLE, table)])
}

/// Asks for the elements of a set or map (a dump).
pub(super) fn list_elements(family: Family, table: &str, set: &str) -> Request {
    let attributes = [text(TABLE, table), text(NAME_OF, set)];
    message(family, libc::NFT_MSG_GETSETELEM, 0, &attributes)
}

fn value(body: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes::new(body).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

fn word(body: &[u8], kind: u16) -> Option<String> {
    String::from_utf8(value(body, kind)?.strip_suffix(b"\0")?.to_vec()).ok()
}

/// The name in an answer to [`list`], if it is of this table.
pub(super) fn name(table: &str, kind: Kind, body: &[u8]) -> Option<String> {
    let body = body.get(HEADER..)?;
    let at = match kind {
        Kind::Chains => CHAIN_NAME,
        Kind::Sets | Kind::Objects => NAME_OF,
    };
    word(body, TABLE).filter(|of| of == table)?;
    word(body, at)
}

/// What a counter among the objects has counted.
pub(super) fn count(body: &[u8]) -> Option<Count> {
    let body = body.get(HEADER..)?;
    let big = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    let kind = value(body, OBJECT_TYPE.0)?.try_into().ok().map(u32::from_be_bytes);
    kind.filter(|k| *k == OBJECT_TYPE.1)?;
    let data = value(body, COUNTER.0)?;
    Some(Count {
        bytes: value(data, COUNTER.1).and_then(big)?,
        packets: value(data, COUNTER.2).and_then(big)?,
    })
}

/// The elements in one answer to [`list_elements`]: the key of each, and all of it as the kernel writes it.
pub(super) fn elements(body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (list, element, key, data) = ELEMENT;
    let body = body.get(HEADER..).unwrap_or_default();
    let all = nested_in(body, list).flat_map(|list| nested_in(list, element));
    all.map(|whole| {
        let key = value(whole, key).and_then(|k| value(k, data)).unwrap_or_default();
        (key.to_vec(), whole.to_vec())
    })
    .collect()
}

/// The chain that an element of a map sends to.
pub(super) fn jump(whole: &[u8]) -> Option<String> {
    let (data, verdict, chain) = VERDICT;
    word(value(value(whole, data)?, verdict)?, chain)
}

/// The interface that a key of a map names.
pub(super) fn interface(key: &[u8]) -> Option<String> {
    let name = key.get(..NAME)?.split(|b| *b == 0).next()?;
    String::from_utf8(name.to_vec()).ok()
}

/// The address that a key of a set is.
pub(super) fn address(key: &[u8]) -> Option<IpAddr> {
    read_address(key)
}

/// The prefixes that a set of intervals has: each interval is an element where it begins, and another behind its end,
/// unless that is the end of all addresses. One that is no prefix, which nobody but a person can have added, is left out.
pub(super) fn prefixes(elements: &[(Vec<u8>, Vec<u8>)]) -> BTreeSet<IpNetwork> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    };
    let (mut begins, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for (key, whole) in elements {
        let Some(at) = address(key) else { continue };
        let flags = value(whole, FLAGS.0)
            .and_then(|f| f.try_into().ok())
            .map(u32::from_be_bytes);
        match flags.unwrap_or(0) & FLAGS.1 {
            0 => begins.insert(at),
            _ => ends.insert(number(at)),
        };
    }
    let prefix = |first: IpAddr| {
        let (bits, highest) = match first {
            IpAddr::V4(_) => (32, u128::from(u32::MAX)),
            IpAddr::V6(_) => (128, u128::MAX),
        };
        let end = ends.range(number(first)..).find(|end| **end > number(first));
        let last = end.map_or(highest, |end| end - 1);
        let differ = number(first) ^ last;
        let network = IpNetwork::new(first, bits - u8::try_from(differ.count_ones()).ok()?).ok()?;
        (network.network() == first && number(network.broadcast()) == last).then_some(network)
    };
    begins.into_iter().filter_map(prefix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
            let _ = (name("t", Kind::Chains, &bytes), count(&bytes), jump(&bytes));
            for (key, whole) in elements(&bytes) {
                let _ = (interface(&key), address(&key), jump(&whole), prefixes(&[(key.clone(), whole.clone())]));
            }
        }
    }
}
