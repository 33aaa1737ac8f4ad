//! What VEs reach of the host itself: the part of the text that says so.

use hostel_model::definition::HostService;
use hostel_model::mac::Mac;
use ipnetwork::IpNetwork;
use tera::{Context, Tera};

use super::Ruleset;
use super::nat::{HostSet, prefixes, sorted};
use crate::error::{Error, Result};
use crate::net::check;

const TEMPLATE: &str = include_str!("../../../templates/nftables/host.nft.tera");

/// What the host is to VEs beside their router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSide {
    /// Bridges that VEs share with others, who are none of our business.
    pub shared: Vec<String>,
    /// What networks' VEs may connect to; beside ping, DNS and DHCP.
    pub offers: Vec<Offer>,
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

fn interfaces(about: &'static str, name: &'static str, names: &[String]) -> HostSet {
    HostSet {
        about,
        name,
        of: "ifname",
        interval: false,
        elements: sorted(names.iter().map(|name| format!("\"{name}\""))),
    }
}

/// The part of the table's text.
pub(super) fn text(ruleset: &Ruleset) -> Result<String> {
    let (host, ves) = (&ruleset.host, &ruleset.nat.inside);
    ves.iter()
        .chain(&host.shared)
        .try_for_each(|name| check::interface_name(name))?;
    let sets = [
        interfaces("Bridges that VEs are on and nobody else.", "ve_bridges", ves),
        interfaces("Bridges that they share with others.", "shared_bridges", &host.shared),
    ];
    let mut context = Context::new();
    context.insert("prefix", &ruleset.prefix);
    let [guest, mask] = Mac::OF_GUESTS.map(check::mac_text);
    context.insert("guests", &format!("{mask} == {guest}"));
    context.insert("sets", &sets);
    context.insert("offers", &sorted(host.offers.iter().flat_map(Offer::matches)));
    Tera::one_off(TEMPLATE, &context, false).map_err(|e| Error::new("render the ruleset of table", &ruleset.table, e))
}
