//! The messages of nf_tables that are about counters (linux/netfilter/nf_tables.h).

use hostel_model::traffic::{Amount, Direction, Flow};

use crate::firewall::keys::{Family, NAME};
use crate::firewall::wire::{ACK, ELEMENT, ELEMENTS, HEADER, attribute, message, nested, text};
use crate::net::netlink::{Attributes, Request};

/// NFTA_SET_TABLE, NFTA_SET_NAME.
const SET: [u16; 2] = [1, 2];
/// NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME.
const CHAIN: [u16; 2] = [1, 3];
/// NFTA_SET_ELEM_USERDATA, NFTA_SET_ELEM_EXPR.
const USERDATA: u16 = 6;
const EXPRESSION: u16 = 7;
/// NFTA_EXPR_DATA; in it, of a counter, NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS.
const EXPRESSION_DATA: u16 = 2;
const COUNTER: [u16; 2] = [1, 2];
/// How libnftnl writes a comment of an element (NFTNL_UDATA_SET_ELEM_COMMENT): type, length, text with a NUL.
const COMMENT: u8 = 0;

/// A set of counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CounterSet {
    pub family: Family,
    pub flow: Flow,
}

impl CounterSet {
    /// Its name: `out_external_4`.
    pub fn name(&self) -> String {
        let v = if self.flow.ipv6 { 6 } else { 4 };
        format!("{}_{}_{v}", self.flow.direction, self.flow.class)
    }

    /// What a set of that name is; `None` if it is none of counters.
    pub fn of(family: Family, name: &str) -> Option<Self> {
        let (direction, rest) = name.split_once('_')?;
        let (class, v) = rest.rsplit_once('_')?;
        Some(Self {
            family,
            flow: Flow {
                class: class.to_owned(),
                direction: match direction {
                    "in" => Direction::In,
                    "out" => Direction::Out,
                    _ => return None,
                },
                ipv6: match v {
                    "4" => false,
                    "6" => true,
                    _ => return None,
                },
            },
        })
    }
}

/// An element of a set of counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub interface: String,
    pub mark: String,
    pub amount: Amount,
}

fn key(interface: &str) -> Vec<u8> {
    let mut bytes = interface.as_bytes().to_vec();
    bytes.resize(NAME, 0);
    let [_, key, value] = ELEMENT;
    nested(key, &attribute(value, &bytes))
}

fn elements(set: &CounterSet, table: &str, kind: i32, flags: u16, parts: &[Vec<u8>]) -> Request {
    let [of_table, of_set, list] = ELEMENTS;
    let all: Vec<u8> = parts.iter().flat_map(|part| nested(ELEMENT[0], part)).collect();
    let attributes = [text(of_table, table), text(of_set, &set.name()), nested(list, &all)];
    message(set.family, kind, flags, &attributes)
}

/// Adds counters; those that are there already stay.
pub(super) fn add(table: &str, set: &CounterSet, interfaces: &[&str], mark: &str) -> Request {
    let length = u8::try_from(mark.len() + 1).unwrap_or(u8::MAX);
    let comment = [&[COMMENT, length][..], mark.as_bytes(), &[0]].concat();
    let one = |interface: &&str| [key(interface), attribute(USERDATA, &comment)].concat();
    let parts: Vec<_> = interfaces.iter().map(one).collect();
    let flags = libc::NLM_F_CREATE as u16 | ACK;
    elements(set, table, libc::NFT_MSG_NEWSETELEM, flags, &parts)
}

/// Deletes one; it fails (ENOENT) if it isn't there.
pub(super) fn delete(table: &str, set: &CounterSet, interface: &str) -> Request {
    elements(set, table, libc::NFT_MSG_DELSETELEM, ACK, &[key(interface)])
}

/// Asks for one.
pub(super) fn get(table: &str, set: &CounterSet, interface: &str) -> Request {
    elements(set, table, libc::NFT_MSG_GETSETELEM, 0, &[key(interface)])
}

/// Asks for all of a set (a dump).
pub(super) fn list(table: &str, set: &CounterSet) -> Request {
    let attributes = [text(ELEMENTS[0], table), text(ELEMENTS[1], &set.name())];
    message(set.family, libc::NFT_MSG_GETSETELEM, 0, &attributes)
}

/// Asks for all sets of a table (a dump).
pub(super) fn list_sets(family: Family, table: &str) -> Request {
    message(family, libc::NFT_MSG_GETSET, 0, &[text(SET[0], table)])
}

/// Asks for all chains of a family (a dump).
pub(super) fn list_chains(family: Family) -> Request {
    message(family, libc::NFT_MSG_GETCHAIN, 0, &[])
}

/// Removes a set with all that is in it.
pub(super) fn delete_set(family: Family, table: &str, set: &str) -> Request {
    message(
        family,
        libc::NFT_MSG_DELSET,
        ACK,
        &[text(SET[0], table), text(SET[1], set)],
    )
}

/// The name in an answer to [`list_sets`], if the set is of this table.
pub(super) fn set_name(table: &str, body: &[u8]) -> Option<String> {
    name_in(table, body, SET)
}

/// The same for [`list_chains`].
pub(super) fn chain_name(table: &str, body: &[u8]) -> Option<String> {
    name_in(table, body, CHAIN)
}

fn name_in(table: &str, body: &[u8], [of_table, of_name]: [u16; 2]) -> Option<String> {
    let text = |kind: u16| {
        let (_, value) = Attributes::new(body.get(HEADER..)?).find(|(k, _)| *k == kind)?;
        String::from_utf8(value.strip_suffix(b"\0")?.to_vec()).ok()
    };
    if text(of_table)? == table { text(of_name) } else { None }
}

/// The elements in an answer to [`get`] or [`list`].
pub(super) fn read(body: &[u8]) -> Vec<Element> {
    inside(body.get(HEADER..).unwrap_or_default(), ELEMENTS[2])
        .flat_map(|list| inside(list, ELEMENT[0]))
        .filter_map(read_one)
        .collect()
}

fn inside(bytes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    Attributes::new(bytes).filter(move |(k, _)| *k == kind).map(|(_, v)| v)
}

fn read_one(element: &[u8]) -> Option<Element> {
    let key = inside(inside(element, ELEMENT[1]).next()?, ELEMENT[2]).next()?;
    let name = key.get(..NAME)?.split(|b| *b == 0).next()?;
    let counter = inside(inside(element, EXPRESSION).next()?, EXPRESSION_DATA).next()?;
    let number = |kind| {
        Some(u64::from_be_bytes(
            inside(counter, kind).next()?.get(..8)?.try_into().ok()?,
        ))
    };
    let comment = inside(element, USERDATA).next().unwrap_or_default();
    Some(Element {
        interface: String::from_utf8(name.to_vec()).ok()?,
        mark: read_comment(comment).unwrap_or_default(),
        amount: Amount {
            bytes: number(COUNTER[0])?,
            packets: number(COUNTER[1])?,
        },
    })
}

fn read_comment(mut bytes: &[u8]) -> Option<String> {
    loop {
        let (kind, length) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        let value = bytes.get(2..2 + length)?;
        if kind == COMMENT {
            return String::from_utf8(value.strip_suffix(b"\0")?.to_vec()).ok();
        }
        bytes = &bytes[2 + length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_name() {
        for (name, class) in [("out_external_4", "external"), ("in_my_own_6", "my_own")] {
            let set = CounterSet::of(Family::Inet, name).unwrap();
            assert_eq!((set.name().as_str(), set.flow.class.as_str()), (name, class));
        }
        for other in ["prefixes_lan_4", "out_lan", "out_lan_5", "links"] {
            assert_eq!(CounterSet::of(Family::Inet, other), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read_comment(&bytes);
            let _ = set_name("t", &bytes);
        }
    }
}
