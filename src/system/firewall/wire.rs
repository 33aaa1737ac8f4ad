//! The few messages of nf_tables that we send ourselves (linux/netfilter/nf_tables.h): one VE's elements in and out, and
//! what tells whether the table is ours. Starting `nft` for that would cost a VE's start some milliseconds.

use std::collections::BTreeSet;

use super::keys::{Family, Key, NAME, Set};
use crate::net::check;
use crate::net::netlink::{Attributes, Request};

/// struct nfgenmsg, before the attributes.
pub(super) const HEADER: usize = 4;
/// NFTA_SET_ELEM_LIST_TABLE, _SET and _ELEMENTS.
pub(super) const ELEMENTS: [u16; 3] = [1, 2, 3];
/// NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE: an element is nested that deep.
pub(super) const ELEMENT: [u16; 3] = [1, 1, 1];
/// NFTA_SET_ELEM_DATA: beside the key, in a map.
const DATA: u16 = 2;
/// NFTA_SET_ELEM_USERDATA: what nft keeps beside an element for itself. In it, its comment: a type (0), a length, and the
/// text with a final zero.
const USERDATA: u16 = 6;
/// NFTA_SET_ELEM_KEY_END: the last key of a range.
const KEY_END: u16 = 10;
/// NFTA_TABLE_NAME, NFTA_TABLE_FLAGS.
const TABLE: [u16; 2] = [1, 2];
/// NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME.
const CHAIN: [u16; 2] = [1, 3];
/// NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS.
const RULE: [u16; 3] = [1, 2, 4];
/// Elements in one message: a list attribute holds 64 KiB.
const CHUNK: usize = 500;

pub(super) const ACK: u16 = libc::NLM_F_ACK as u16;

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // The callers' values are names of at most 128 bytes and lists of CHUNK elements.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(super) fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | libc::NLA_F_NESTED as u16, value)
}

pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, format!("{value}\0").as_bytes())
}

pub(super) fn message(family: Family, kind: i32, flags: u16, attributes: &[Vec<u8>]) -> Request {
    let mut body = vec![family as u8, 0, 0, 0];
    attributes.iter().for_each(|a| body.extend(a));
    Request {
        kind: (libc::NFNL_SUBSYS_NFTABLES << 8) as u16 | kind as u16,
        flags,
        body,
    }
}

/// The values of all attributes of a kind.
pub(super) fn nested_in(bytes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    Attributes::new(bytes).filter(move |(k, _)| *k == kind).map(|(_, v)| v)
}

/// Wraps messages into a transaction: all or none.
pub(super) fn transaction(messages: Vec<Request>) -> Vec<Request> {
    let mark = |kind: i32| {
        let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
        Request {
            kind: kind as u16,
            flags: 0,
            body: vec![libc::AF_UNSPEC as u8, 0, high, low],
        }
    };
    let begin = std::iter::once(mark(libc::NFNL_MSG_BATCH_BEGIN));
    begin.chain(messages).chain([mark(libc::NFNL_MSG_BATCH_END)]).collect()
}

/// An element's comment as nft keeps it. The callers' are names of interfaces, of 15 bytes at most.
fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// The comment in what nft keeps beside an element.
fn read_comment(userdata: &[u8]) -> Option<&str> {
    let text = userdata.strip_prefix(&[0])?.get(1..)?;
    std::str::from_utf8(text.split(|b| *b == 0).next()?).ok()
}

/// Adds elements; those that are there already stay.
pub(super) fn add(table: &str, keys: &[Key]) -> Vec<Request> {
    change(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE as u16, table, keys)
}

/// Deletes elements; one that isn't there fails (ENOENT).
pub(super) fn delete(table: &str, keys: &[Key]) -> Vec<Request> {
    change(libc::NFT_MSG_DELSETELEM, 0, table, keys)
}

fn change(kind: i32, flags: u16, table: &str, keys: &[Key]) -> Vec<Request> {
    let [of_table, of_set, list] = ELEMENTS;
    let [element, key, value] = ELEMENT;
    let mut requests = Vec::new();
    let adds = kind == libc::NFT_MSG_NEWSETELEM;
    for set in Set::all() {
        let own: Vec<&Key> = keys.iter().filter(|k| k.set == set).collect();
        for chunk in own.chunks(CHUNK) {
            let one = |k: &&Key| {
                let mut parts = nested(key, &attribute(value, &k.bytes));
                if !k.end.is_empty() {
                    parts.extend(nested(KEY_END, &attribute(value, &k.end)));
                }
                if adds && !k.data.is_empty() {
                    parts.extend(nested(DATA, &attribute(value, &k.data)));
                }
                if adds && !k.owner.is_empty() {
                    parts.extend(attribute(USERDATA, &comment(&k.owner)));
                }
                nested(element, &parts)
            };
            let elements: Vec<u8> = chunk.iter().flat_map(one).collect();
            let attributes = [text(of_table, table), text(of_set, set.name()), nested(list, &elements)];
            requests.push(message(set.family(), kind, flags | ACK, &attributes));
        }
    }
    requests
}

/// Asks for all elements of a set (a dump).
pub(super) fn list(table: &str, set: Set) -> Request {
    message(
        set.family(),
        libc::NFT_MSG_GETSETELEM,
        0,
        &[text(ELEMENTS[0], table), text(ELEMENTS[1], set.name())],
    )
}

/// The interface's name in a key.
fn name_in(key: &[u8]) -> Option<&str> {
    let name = key.get(..NAME)?.split(|b| *b == 0).next()?;
    std::str::from_utf8(name).ok()
}

/// The keys in one answer to [`list`]: of these interfaces, or of all.
pub(super) fn read_keys(set: Set, body: &[u8], of: Option<&BTreeSet<&str>>) -> Vec<Key> {
    let [element, key, value] = ELEMENT;
    let first = |bytes, outer| nested_in(bytes, outer).flat_map(|b| nested_in(b, value)).next();
    let read = |element| {
        let bytes = first(element, key)?;
        let owner = match (set.has_owners(), set.is_forward()) {
            (true, forward) => {
                let written = nested_in(element, USERDATA).find_map(read_comment);
                let known = written.filter(|owner| check::interface_name(owner).is_ok());
                match known {
                    Some(owner) => owner.to_owned(),
                    // One that has no comment, or another than we write, was added by hand, and is nobody's.
                    None if forward => String::new(),
                    None => return None,
                }
            }
            (false, _) => String::new(),
        };
        let wanted = |interfaces: &BTreeSet<&str>| match set.has_owners() {
            true => interfaces.contains(owner.as_str()),
            false => name_in(bytes).is_some_and(|name| interfaces.contains(name)),
        };
        of.is_none_or(wanted).then(|| Key {
            set,
            bytes: bytes.to_vec(),
            end: first(element, KEY_END).unwrap_or_default().to_vec(),
            data: first(element, DATA).unwrap_or_default().to_vec(),
            owner,
        })
    };
    nested_in(body.get(HEADER..).unwrap_or_default(), ELEMENTS[2])
        .flat_map(|list| nested_in(list, element))
        .filter_map(read)
        .collect()
}

/// Asks which state of the packet filter this is.
pub(super) fn get_generation() -> Request {
    let mut request = message(Family::Inet, libc::NFT_MSG_GETGEN, 0, &[]);
    // Of all families.
    request.body = vec![0; HEADER];
    request
}

/// The answer to [`get_generation`] (NFTA_GEN_ID).
pub(super) fn read_generation(body: &[u8]) -> Option<u32> {
    let mut attributes = Attributes::new(body.get(HEADER..)?);
    let id = attributes.find_map(|(kind, value)| (kind == 1).then(|| value.try_into().ok())?)?;
    Some(u32::from_be_bytes(id))
}

/// Asks for a table.
pub(super) fn get_table(family: Family, table: &str) -> Request {
    message(family, libc::NFT_MSG_GETTABLE, 0, &[text(TABLE[0], table)])
}

/// Asks for all tables of a family (a dump).
pub(super) fn list_tables(family: Family) -> Request {
    message(family, libc::NFT_MSG_GETTABLE, 0, &[])
}

/// The name in an answer to [`list_tables`].
pub(super) fn table_name(body: &[u8]) -> Option<String> {
    let mut attributes = Attributes::new(body.get(HEADER..).unwrap_or_default());
    let (_, name) = attributes.find(|(kind, _)| *kind == TABLE[0])?;
    String::from_utf8(name.strip_suffix(b"\0")?.to_vec()).ok()
}

/// Does the answer to [`get_table`] show a table at work (no flag, "dormant" above all)?
pub(super) fn is_awake(body: &[u8]) -> bool {
    let mut attributes = Attributes::new(body.get(HEADER..).unwrap_or_default());
    attributes
        .find(|(kind, _)| *kind == TABLE[1])
        .is_none_or(|(_, flags)| flags.iter().all(|b| *b == 0))
}

/// Removes a table with all that is in it.
pub(super) fn delete_table(family: Family, table: &str) -> Request {
    message(family, libc::NFT_MSG_DELTABLE, ACK, &[text(TABLE[0], table)])
}

/// Asks for a chain.
pub(super) fn get_chain(family: Family, table: &str, chain: &str) -> Request {
    message(
        family,
        libc::NFT_MSG_GETCHAIN,
        0,
        &[text(CHAIN[0], table), text(CHAIN[1], chain)],
    )
}

/// Makes an empty chain that no hook leads to.
pub(super) fn new_chain(family: Family, table: &str, chain: &str) -> Request {
    let flags = libc::NLM_F_CREATE as u16 | ACK;
    message(
        family,
        libc::NFT_MSG_NEWCHAIN,
        flags,
        &[text(CHAIN[0], table), text(CHAIN[1], chain)],
    )
}

/// Removes an empty chain.
pub(super) fn delete_chain(family: Family, table: &str, chain: &str) -> Request {
    message(
        family,
        libc::NFT_MSG_DELCHAIN,
        ACK,
        &[text(CHAIN[0], table), text(CHAIN[1], chain)],
    )
}

/// Asks for all rules of a table (a dump).
pub(super) fn list_rules(family: Family, table: &str) -> Request {
    message(family, libc::NFT_MSG_GETRULE, 0, &[text(RULE[0], table)])
}

/// What one rule does, from an answer to [`list_rules`]: its chain and its expressions, as the kernel writes them;
/// `None` if it is of another table (kernels that ignore the filter).
pub(super) fn read_rule(table: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut rule = Vec::new();
    for (kind, value) in Attributes::new(body.get(HEADER..).unwrap_or_default()) {
        if kind == RULE[0] && value.strip_suffix(b"\0") != Some(table.as_bytes()) {
            return None;
        }
        if kind == RULE[1] || kind == RULE[2] {
            rule.extend(attribute(kind, value));
        }
    }
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::super::keys::{keys, members};
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes: Vec<u8>) {
            for set in [Set::Ve4, Set::Forward4] {
                let keys = read_keys(set, &bytes, None);
                let _ = members(&keys);
            }
            let _ = is_awake(&bytes);
            let _ = read_rule("t", &bytes);
        }
    }

    #[test]
    fn a_change_reads_back() {
        let member = |n: u16| Member {
            interface: format!("hv{n}.0"),
            addresses: vec![std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()],
            routes: Vec::new(),
            mac: [2, 0, 0, 0, 0, 1],
            forwards: vec![format!("tcp :{n} to [2001:db8::{n:x}]:80").try_into().unwrap()],
            ..Member::default()
        };
        let all: Vec<Key> = (101..1301).flat_map(|n| keys(&member(n))).collect();
        let requests = add("t", &all);
        assert_eq!(requests.len(), 18, "six sets, 1200 elements, 500 at a time");
        let read: Vec<Key> = requests
            .iter()
            .zip(
                [
                    Set::Links,
                    Set::Ve6,
                    Set::Nd6,
                    Set::Sources6,
                    Set::ArpLinks,
                    Set::ForwardAny6,
                ]
                .into_iter()
                .flat_map(|s| [s; 3]),
            )
            .flat_map(|(r, set)| read_keys(set, &r.body, None))
            .collect();
        let sorted = |keys: &[Key]| keys.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&read), sorted(&all));
        let one: usize = requests
            .iter()
            .rev()
            .take(3)
            .map(|r| read_keys(Set::ForwardAny6, &r.body, Some(&BTreeSet::from(["hv200.0"]))).len())
            .sum();
        assert_eq!(one, 1);
    }
}
