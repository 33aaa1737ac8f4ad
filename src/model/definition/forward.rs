//! `[[forward]]` in a VE's definition: ports of the host that lead to it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::field::{Field, Reading, Record, Shape, When, fields};
use super::value::{Cell, Read, words};
use crate::forward::{LISTEN, Listen, Ports};
use crate::id::NetworkName;

/// The most ports that lead to one VE. Each is an element of the firewall's maps, of each family.
pub const MAX_FORWARDED: u32 = 4096;

words! {
    /// What is forwarded.
    Protocol, "\"tcp\" or \"udp\"",
    /// TCP.
    Tcp = "tcp",
    /// UDP.
    Udp = "udp",
}

/// One `[[forward]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardKeys {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Ports of the host.
    pub listen: Listen,
    /// The VE's port that the first of them leads to; the others follow.
    pub to: u16,
    /// On which of its networks the VE's address is; `None`: the first that has one of the family.
    pub network: Option<NetworkName>,
}

impl ForwardKeys {
    /// Its keys.
    pub const NAMES: [&str; 4] = ["protocol", "listen", "to", "network"];

    /// The value of each, as a person writes it.
    pub fn texts(&self) -> [String; 4] {
        let network = self
            .network
            .as_ref()
            .map_or_else(|| "the first".to_owned(), ToString::to_string);
        [
            self.protocol.to_string(),
            self.listen.to_string(),
            self.ports_there().to_string(),
            network,
        ]
    }

    /// The VE's ports.
    fn ports_there(&self) -> Ports {
        self.listen.ports.moved_to(self.to).unwrap_or(self.listen.ports)
    }

    /// Do both name a port of the host that is the same?
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.listen.address, other.listen.address);
        self.protocol == other.protocol
            && self.listen.ports.overlap(other.listen.ports)
            && (a.is_none() || b.is_none() || a == b)
    }
}

impl fmt::Display for ForwardKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, listen, .. } = self;
        let to = self.ports_there();
        let network = self.network.iter().map(|n| format!(" on {n}")).collect::<String>();
        f.pad(&format!("{protocol} {listen} to {to}{network}"))
    }
}

impl Read for Listen {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = LISTEN;
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        match cell.number_or_text()?.parse() {
            Ok(listen) => Some(listen),
            Err(expected) => {
                cell.wrong(expected);
                None
            }
        }
    }
}

impl Read for Ports {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "a port from 1 to 65535, or a range of as many as listen has";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.parse_number_or_text()
    }
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    protocol: Option<Protocol>,
    listen: Option<Listen>,
    to: Option<Ports>,
    network: Option<NetworkName>,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "protocol": Protocol => protocol, "what is forwarded, tcp or udp; tcp if not set", "\"tcp\"", When::Restart;
        "listen": Listen => listen,
            "ports of one of the host's addresses, or of all of them", "\"203.0.113.1:8080\"", When::Restart;
        "to": Ports => to,
            "the VE's port that the first of them leads to; the same if not set", "80", When::Restart;
        "network": NetworkName => network,
            "on which of its networks; the first with an address of the family if not set", "\"private\"", When::Restart;
    };
    const REQUIRED: &'static [&'static str] = &["listen"];
}

impl Read for Vec<Draft> {
    const SHAPE: Shape = Shape::Tables;
    const EXPECTED: &'static str = "tables that each begin with [[forward]]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        Some(cell.records())
    }
}

/// What they must be together, and with the VE's networks. Those that are whole.
pub(super) fn check(
    drafts: &[Draft],
    networks: &BTreeSet<&NetworkName>,
    reading: &mut Reading<'_>,
) -> Vec<ForwardKeys> {
    let mut all: Vec<ForwardKeys> = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        let Some(listen) = draft.listen else { continue };
        let key = |name: &str| format!("forward.{i}.{name}");
        let to = draft.to.unwrap_or(listen.ports);
        if listen.ports.moved_to(to.first()).is_none() || ![1, listen.ports.count()].contains(&to.count()) {
            let count = listen.ports.count();
            reading.wrong(&key("to"), format!("the first of {count} ports, as many as listen has"));
        }
        if let Some(network) = draft.network.as_ref().filter(|n| !networks.contains(n)) {
            reading.wrong(
                &key("network"),
                format!("one of the VE's networks, unlike \"{network}\""),
            );
        }
        let forward = ForwardKeys {
            protocol: draft.protocol.unwrap_or(Protocol::Tcp),
            listen,
            to: to.first(),
            network: draft.network.clone(),
        };
        if let Some(other) = all.iter().find(|o| o.overlaps(&forward)) {
            let expected = format!("ports that no other forward has, unlike {other}");
            reading.wrong(&key("listen"), expected);
        }
        all.push(forward);
    }
    if all.iter().map(|f| f.listen.ports.count()).sum::<u32>() > MAX_FORWARDED {
        reading.wrong("forward", format!("at most {MAX_FORWARDED} ports in all"));
    }
    all
}
