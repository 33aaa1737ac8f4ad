//! What VEs reach of the host itself, and by way of it: the part of the text that says so.

use hostel_model::definition::{AddressRange, HostService};
use hostel_model::mac::Mac;
use ipnetwork::IpNetwork;
use serde::Serialize;
use tera::Context;

use super::keys::Set;
use super::nat::{HostSet, named_rules, prefixes, sorted};
use super::ruleset::member_sets;
use super::template::Template;
use super::{Member, Ruleset};
use crate::error::Result;
use crate::net::check;

/// What connections are counted by: a link's interface; on a bridge all come by the same, but not by the same address.
#[derive(Serialize)]
struct Counted {
    what: &'static str,
    name: &'static str,
    key: &'static str,
}

const COUNTED: [Counted; 2] = [
    Counted {
        what: "link",
        name: "link",
        key: "iifname",
    },
    Counted {
        what: "port of a bridge",
        name: "port",
        key: "ether saddr",
    },
];

/// A share of what the kernel can track that leaves enough for others, and at which counting is still cheap.
const SHARE: u32 = 8;
/// The most by default. The kernel looks at each connection of an interface that begins another one.
const MOST: u32 = 32_768;

/// How many connections each interface may have if nothing is said, on a kernel that tracks `tracked` in all (`None`:
/// that isn't known before it tracks any).
pub fn usual_connections(tracked: Option<u32>) -> u32 {
    tracked.map_or(MOST, |all| (all / SHARE).clamp(1, MOST))
}

static TEMPLATE: Template = Template::new(include_str!("../../../templates/nftables/host.nft.tera"));

/// What the host is to VEs beside their router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSide {
    /// Bridges that VEs share with others, who are none of our business.
    pub shared: Vec<String>,
    /// What networks' VEs may connect to; beside ping, DNS and DHCP.
    pub offers: Vec<Offer>,
    /// How many connections by way of the host, or with it, each interface of a VE may have begun. At least 1.
    pub connections: u32,
    /// Networks on bridges whose tenants are kept from each other.
    pub apart: Vec<Apart>,
}

/// A network on a bridge into which the host forwards nothing from VEs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// The bridge.
    pub bridge: String,
    /// The network's addresses.
    pub pools: Vec<IpNetwork>,
    /// Those of them that no VE has: of machines on the LAN, for one.
    pub others: Vec<AddressRange>,
    /// Has the bridge rules of its own about what comes back to it?
    pub own: bool,
}

impl Default for HostSide {
    fn default() -> Self {
        Self {
            shared: Vec::new(),
            offers: Vec::new(),
            connections: usual_connections(None),
            apart: Vec::new(),
        }
    }
}

/// Ports of the host that the VEs of a network may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The network's addresses.
    pub pools: Vec<IpNetwork>,
    /// The ports.
    pub services: Vec<HostService>,
}

impl Offer {
    /// What fits a packet to one of them; a text for each family, and for each protocol if not all is offered.
    fn matches(&self) -> Vec<String> {
        let sources = [(false, "ip"), (true, "ip6")].into_iter().filter_map(|(ipv6, word)| {
            let pools = prefixes(self.pools.iter(), ipv6);
            (!pools.is_empty()).then(|| format!("{word} saddr {{ {} }}", pools.join(", ")))
        });
        let ports = |pick: fn(&HostService) -> Option<String>| sorted(self.services.iter().filter_map(pick)).join(", ");
        let tcp = ports(|s| {
            if let HostService::Tcp(p) = s {
                Some(p.to_string())
            } else {
                None
            }
        });
        let udp = ports(|s| {
            if let HostService::Udp(p) = s {
                Some(p.to_string())
            } else {
                None
            }
        });
        let what: Vec<String> = if self.services.contains(&HostService::All) {
            vec![String::new()]
        } else {
            let named = [("tcp", tcp), ("udp", udp)]
                .into_iter()
                .filter(|(_, ports)| !ports.is_empty());
            named
                .map(|(protocol, ports)| format!(" {protocol} dport {{ {ports} }}"))
                .collect()
        };
        let one = |from: String| what.iter().map(move |what| format!("{from}{what}")).collect::<Vec<_>>();
        sources.flat_map(one).collect()
    }
}

fn interfaces<'a>(about: &'static str, name: &'static str, names: impl IntoIterator<Item = &'a String>) -> HostSet {
    HostSet {
        about,
        name,
        of: "ifname",
        interval: false,
        elements: sorted(names.into_iter().map(|name| format!("\"{name}\""))),
    }
}

/// Where VEs aren't to get by way of the host.
fn apart_sets(apart: &[Apart]) -> Vec<HostSet> {
    let set = |about, name, of, interval, elements| HostSet {
        about,
        name,
        of,
        interval,
        elements,
    };
    let (about, of_others) = ("Their networks' addresses.", "Those of them that no VE has.");
    let pools = |ipv6: bool| prefixes(apart.iter().flat_map(|a| &a.pools), ipv6);
    let others = |ipv6: bool| {
        let all = apart.iter().flat_map(|a| &a.others);
        sorted(
            all.filter(move |r| r.first().is_ipv6() == ipv6)
                .map(ToString::to_string),
        )
    };
    let own = apart
        .iter()
        .filter(|a| a.own)
        .map(|a| format!("\"{0}\" . \"{0}\"", a.bridge));
    vec![
        interfaces(
            "Bridges whose tenants are kept apart.",
            "isolated_bridges",
            apart.iter().map(|a| &a.bridge),
        ),
        set(
            "From each of ours back to itself.",
            "judged",
            "ifname . ifname",
            false,
            sorted(own),
        ),
        set(about, "apart4", "ipv4_addr", true, pools(false)),
        set(about, "apart6", "ipv6_addr", true, pools(true)),
        set(of_others, "others4", "ipv4_addr", true, others(false)),
        set(of_others, "others6", "ipv6_addr", true, others(true)),
    ]
}

/// The part of the table's text.
pub(super) fn text(ruleset: &Ruleset, members: &[Member]) -> Result<String> {
    let (host, ves) = (&ruleset.host, &ruleset.nat.inside);
    let mut bridges = ves
        .iter()
        .chain(&host.shared)
        .chain(host.apart.iter().map(|a| &a.bridge));
    bridges.try_for_each(|name| check::interface_name(name))?;
    let mut sets = vec![
        interfaces("Bridges that VEs are on and nobody else.", "ve_bridges", ves),
        interfaces("Bridges that they share with others.", "shared_bridges", &host.shared),
    ];
    sets.extend(apart_sets(&host.apart));
    let mut context = Context::new();
    context.insert("prefix", &ruleset.prefix);
    let [guest, mask] = Mac::OF_GUESTS.map(check::mac_text);
    context.insert("guests", &format!("{mask} == {guest}"));
    context.insert("sets", &sets);
    context.insert("known", &member_sets(Set::HOST, members));
    context.insert("closed", &!ruleset.nat.closed.is_empty());
    context.insert("named", &named_rules(&ruleset.nat));
    context.insert("counted", &COUNTED);
    context.insert("connections", &host.connections);
    context.insert("offers", &sorted(host.offers.iter().flat_map(Offer::matches)));
    TEMPLATE.fill(&context, "render the ruleset of table", &ruleset.table)
}
