//! `[firewall]` of a VE or a tenant: who may reach its VEs, and whom they may reach.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::field::{Field, Reading, Record, Shape, fields};
use super::value::{Cell, Read, read_list, words};
use crate::id::{TenantName, VeName};

/// The most rules of one VE or tenant.
pub const MAX_RULES: usize = 64;
/// The most peers of one rule.
pub const MAX_PEERS: usize = 64;
/// The most ports and ranges of ports of one rule.
pub const MAX_PORTS: usize = 32;
/// The most characters of a comment.
const MAX_COMMENT: usize = 200;

words! {
    /// What becomes of a new connection.
    Verdict, "\"allow\" or \"deny\"",
    /// It is made.
    Allow = "allow",
    /// Its packets are dropped.
    Deny = "deny",
}

words! {
    /// From whom to whom, seen from the VE.
    Direction, "\"in\" or \"out\"",
    /// To the VE.
    In = "in",
    /// From the VE.
    Out = "out",
}

words! {
    /// A protocol above IP.
    AccessProtocol, "\"tcp\", \"udp\" or \"icmp\"",
    /// TCP.
    Tcp = "tcp",
    /// UDP.
    Udp = "udp",
    /// ICMP and ICMPv6.
    Icmp = "icmp",
}

/// What `[firewall]` says in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    /// What becomes of connections to its VEs that no rule is about.
    #[serde(rename = "in")]
    pub input: Option<Verdict>,
    /// The same for connections from its VEs.
    #[serde(rename = "out")]
    pub output: Option<Verdict>,
    /// In order; the first that fits decides.
    #[serde(rename = "rule")]
    pub rules: Vec<AccessRule>,
}

/// One `[[firewall.rule]]`: a connection that fits in all that is said here is allowed or denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessRule {
    /// To the VE, or from it.
    pub direction: Direction,
    /// What becomes of it.
    pub action: Verdict,
    /// Of which protocol; `None`: any.
    pub protocol: Option<AccessProtocol>,
    /// To which ports, of the VE ("in") or of the peer ("out"). Empty: all.
    pub ports: Vec<PortRange>,
    /// With whom. Empty: everybody.
    pub peers: Vec<Peer>,
    /// For people.
    pub comment: Option<String>,
}

/// A port, or all from one to another: `8000-8010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, not before the first.
    pub last: u16,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Peer {
    /// An address or a network.
    Network(IpNetwork),
    /// All addresses of a VE.
    Ve(VeName),
    /// All addresses of all VEs of a tenant.
    Tenant(TenantName),
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| {
            Some(text)
                .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?
                .parse()
                .ok()
        };
        match (port(first), port(last)) {
            (Some(first), Some(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(format!("\"{text}\" is not {}", <Self as Read>::EXPECTED)),
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Read for PortRange {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str =
        "a port from 1 to 65535, or a range from the lower to the higher such as \"8000-8010\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.parse_number_or_text()
    }
}

impl FromStr for Peer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not {}", <Self as Read>::EXPECTED);
        if let Some(name) = text.strip_prefix("ve:") {
            return name.parse().map(Self::Ve).map_err(|_| wrong());
        }
        if let Some(name) = text.strip_prefix("tenant:") {
            return name.parse().map(Self::Tenant).map_err(|_| wrong());
        }
        match text.parse::<IpNetwork>() {
            Ok(network) => Ok(Self::Network(network)),
            Err(_) => Err(wrong()),
        }
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        peer.to_string()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(n) if n.prefix() == if n.is_ipv4() { 32 } else { 128 } => n.ip().fmt(f),
            Self::Network(n) => n.fmt(f),
            Self::Ve(name) => write!(f, "ve:{name}"),
            Self::Tenant(name) => write!(f, "tenant:{name}"),
        }
    }
}

impl Read for Peer {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str =
        "an address, a network such as \"198.51.100.0/24\", \"ve:\" and a VE's name, or \"tenant:\" and a tenant's";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let peer = cell.parse::<Self>()?;
        let Self::Network(network) = &peer else {
            return Some(peer);
        };
        if network.ip() != network.network() {
            let (base, prefix) = (network.network(), network.prefix());
            cell.wrong(format!("\"{base}/{prefix}\", the network that this address is in"));
            return None;
        }
        if matches!(network.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
            cell.wrong("an IPv4 address as such, without \"::ffff:\"");
            return None;
        }
        Some(peer)
    }
}

read_list! {
    PortRange, List, "a list of ports and ranges such as [\"80\", \"8000-8010\"]";
    Peer, List, "a list of peers such as [\"198.51.100.0/24\", \"2001:db8::/32\", \"ve:web1\", \"tenant:acme\"]";
}

impl fmt::Display for AccessRule {
    /// In one line: `in deny tcp 22 from 198.51.100.0/24,ve:web1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.direction, self.action)?;
        match (self.protocol, self.peers.is_empty()) {
            (Some(protocol), _) => write!(f, " {protocol}")?,
            (None, true) => f.write_str(" all")?,
            (None, false) => {}
        }
        if !self.ports.is_empty() {
            write!(f, " {}", joined(&self.ports))?;
        }
        let word = match self.direction {
            Direction::In => "from",
            Direction::Out => "to",
        };
        match self.peers.is_empty() {
            true => Ok(()),
            false => write!(f, " {word} {}", joined(&self.peers)),
        }
    }
}

fn joined(list: &[impl fmt::Display]) -> String {
    let all: Vec<String> = list.iter().map(ToString::to_string).collect();
    all.join(",")
}

/// What is read of `[firewall]`.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub input: Option<Verdict>,
    pub output: Option<Verdict>,
    pub rules: Option<Vec<RuleDraft>>,
}

#[derive(Debug, Default)]
pub(super) struct RuleDraft {
    direction: Option<Direction>,
    action: Option<Verdict>,
    protocol: Option<AccessProtocol>,
    ports: Option<Vec<PortRange>>,
    peers: Option<Vec<Peer>>,
    comment: Option<String>,
}

impl Record for RuleDraft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "direction": Direction => direction, "connections to the VE (in) or from it (out)", "\"in\"";
        "action": Verdict => action, "what becomes of them", "\"allow\"";
        "protocol": AccessProtocol => protocol, "their protocol; icmp is ICMPv6 too; any if not set", "\"tcp\"";
        "ports": Vec<PortRange> => ports,
            "the ports that they are made to; all if not set", "[\"80\", \"8000-8010\"]";
        "peers": Vec<Peer> => peers,
            "who is at the other end; everybody if not set", "[\"198.51.100.0/24\", \"ve:web1\", \"tenant:acme\"]";
        "comment": String => comment, "what the rule is for, for people", "\"the office\"";
    };
    const REQUIRED: &'static [&'static str] = &["direction", "action"];
}

impl Read for Vec<RuleDraft> {
    const SHAPE: Shape = Shape::Tables;
    const EXPECTED: &'static str = "tables that each begin with [[firewall.rule]]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        Some(cell.records())
    }
}

impl Draft {
    /// What the values must be together.
    pub fn check(&self, reading: &mut Reading<'_>) {
        let rules = self.rules.as_deref().unwrap_or_default();
        if rules.len() > MAX_RULES {
            reading.wrong("firewall.rule", format!("at most {MAX_RULES} of them"));
        }
        // With a mistake inside, a list is shorter than what was written.
        let whole = reading.reports.is_empty();
        for (i, rule) in rules.iter().enumerate() {
            let key = |name: &str| format!("firewall.rule.{i}.{name}");
            let mut count = |name: &str, n: Option<usize>, most: usize, all: &str| match n {
                Some(0) if whole => reading.wrong(&key(name), format!("at least one; leave it out for {all}")),
                Some(n) if n > most => reading.wrong(&key(name), format!("at most {most} of them")),
                _ => {}
            };
            count("ports", rule.ports.as_ref().map(Vec::len), MAX_PORTS, "all ports");
            count("peers", rule.peers.as_ref().map(Vec::len), MAX_PEERS, "everybody");
            if rule.ports.is_some()
                && !matches!(rule.protocol, Some(AccessProtocol::Tcp | AccessProtocol::Udp))
                && whole
            {
                reading.wrong(
                    &key("ports"),
                    "protocol = \"tcp\" or \"udp\" beside it: nothing else has ports",
                );
            }
            if rule.comment.as_ref().is_some_and(|c| c.chars().count() > MAX_COMMENT) {
                reading.wrong(&key("comment"), format!("at most {MAX_COMMENT} characters"));
            }
        }
    }

    /// What was read, if nothing was wrong with it.
    pub fn finish(self) -> Access {
        let rule = |draft: RuleDraft| {
            Some(AccessRule {
                direction: draft.direction?,
                action: draft.action?,
                protocol: draft.protocol,
                ports: draft.ports.unwrap_or_default(),
                peers: draft.peers.unwrap_or_default(),
                comment: draft.comment,
            })
        };
        Access {
            input: self.input,
            output: self.output,
            rules: self.rules.into_iter().flatten().filter_map(rule).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
