//! What VEs know each other by on a network.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::bridge;
use super::field::Reading;
use super::value::words;
use crate::id::{Domain, NetworkName};

words! {
    /// How the VEs of a network find each other by name.
    Naming, "\"off\", \"hosts\" or \"dns\"",
    /// Not by Hostel's doing.
    Off = "off",
    /// By lines in /etc/hosts of each.
    Hosts = "hosts",
    /// By a name server of the network's own.
    Dns = "dns",
}

/// How names are told on a network, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// How.
    pub by: Naming,
    /// Do tenants learn the names of each other's VEs? If not, each learns those of its own.
    pub shared: bool,
    /// By "dns": the domain that the names are in.
    pub domain: Option<Domain>,
    /// By "dns": the addresses of the network's name server.
    pub servers: Vec<IpAddr>,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) by: Option<Naming>,
    pub(super) shared: Option<bool>,
    pub(super) domain: Option<Domain>,
}

impl Draft {
    fn by(&self) -> Naming {
        self.by.unwrap_or(Naming::Off)
    }

    /// What the values must be together. `on`: the bridge, if the network is of that kind.
    pub(super) fn check(&self, on: Option<&bridge::Draft>, reading: &mut Reading<'_>) {
        if self.shared.is_some() && self.by() == Naming::Off {
            reading.wrong(
                "names_shared",
                "this key only beside names = \"hosts\" or \"dns\": nobody is told a name without",
            );
        }
        if self.by() != Naming::Dns {
            if self.domain.is_some() {
                reading.wrong("names_domain", "this key only beside names = \"dns\"");
            }
            return;
        }
        if self.shared != Some(true) {
            reading.wrong(
                "names",
                "\"hosts\", or names_shared = true beside \"dns\": the name server answers all on the network alike",
            );
        }
        if on.is_some_and(|bridge| bridge.host.as_ref().is_none_or(Vec::is_empty)) {
            reading.wrong(
                "names",
                "\"hosts\", or host_addresses beside \"dns\": the name server has those",
            );
        }
    }

    pub(super) fn finish(self, network: Option<&NetworkName>, on: Option<&[IpAddr]>, pools: &[IpNetwork]) -> Names {
        let by = self.by();
        let is_dns = by == Naming::Dns;
        let domain = self.domain.or_else(|| own_domain(network?)).filter(|_| is_dns);
        let servers = match on {
            _ if !is_dns => Vec::new(),
            Some(host) => host.to_vec(),
            None => pools.iter().filter_map(second).collect(),
        };
        Names {
            by,
            shared: self.shared.unwrap_or(false),
            domain,
            servers,
        }
    }
}

/// The domain of a network that has no other. "internal" is nobody's on the Internet (ICANN resolution 2024.07.29.06).
fn own_domain(network: &NetworkName) -> Option<Domain> {
    let labels: Vec<String> = network
        .as_str()
        .replace('_', "-")
        .split('.')
        .map(|label| label.trim_matches('-').to_owned())
        .filter(|label| !label.is_empty())
        .collect();
    format!("{}.internal", labels.join(".")).parse().ok()
}

/// The address after that of the network itself, which "auto" gives to nobody.
fn second(pool: &IpNetwork) -> Option<IpAddr> {
    let next = match pool.network() {
        IpAddr::V4(v4) => IpAddr::from(u32::from(v4).checked_add(1)?.to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from(u128::from(v6).checked_add(1)?.to_be_bytes()),
    };
    Some(next).filter(|a| pool.contains(*a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Network;

    fn network(keys: &str) -> Result<Names, crate::definition::Diagnostics> {
        let text = format!("kind = \"nat\"\npools = [\"10.77.0.0/24\"]\n{keys}\n");
        Network::parse("networks/private.toml", &text).map(|n| n.names)
    }

    #[test]
    fn nobody_is_told_a_name_unasked_and_no_other_tenant_s() {
        let names = |by, shared| Names {
            by,
            shared,
            domain: None,
            servers: Vec::new(),
        };
        assert_eq!(network("").unwrap(), names(Naming::Off, false));
        assert_eq!(network("names = \"hosts\"").unwrap(), names(Naming::Hosts, false));
        let shared = "names = \"hosts\"\nnames_shared = true";
        assert_eq!(network(shared).unwrap(), names(Naming::Hosts, true));
    }

    #[test]
    fn what_makes_no_sense_is_told_where_it_stands() {
        for (keys, key, column, expected) in [
            ("names = \"host\"", "names", 9, "\"off\", \"hosts\" or \"dns\""),
            ("names = true", "names", 9, "\"off\", \"hosts\" or \"dns\""),
            ("names_shared = true", "names_shared", 16, "only beside names"),
            (
                "names_domain = \"a.example\"",
                "names_domain",
                16,
                "only beside names = \"dns\"",
            ),
            ("names = \"dns\"", "names", 9, "names_shared = true"),
            (
                "names = \"dns\"\nnames_shared = false",
                "names",
                9,
                "names_shared = true",
            ),
            (
                "names_shared = \"yes\"\nnames = \"hosts\"",
                "names_shared",
                16,
                "true or false",
            ),
        ] {
            let wrong = network(keys).unwrap_err();
            let found: Vec<_> = wrong.iter().map(|d| (d.key.as_str(), d.line, d.column)).collect();
            assert_eq!(found, [(key, 3, column)], "{keys}\n{wrong}");
            assert!(wrong.to_string().contains(expected), "{wrong}");
        }
    }

    #[test]
    fn a_name_server_has_addresses_and_a_domain_of_its_network() {
        let dns = "names = \"dns\"\nnames_shared = true";
        let one = network(dns).unwrap();
        assert_eq!(one.domain.unwrap().to_string(), "private.internal");
        assert_eq!(one.servers, ["10.77.0.1".parse::<IpAddr>().unwrap()]);
        let own = network(&format!("{dns}\nnames_domain = \"a.example\"")).unwrap();
        assert_eq!(own.domain.unwrap().to_string(), "a.example");
        let text =
            format!("kind = \"routed\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nsearch = [\"b.example\"]\n{dns}");
        let routed = Network::parse("networks/a_b.toml", &text).unwrap();
        // They are its VEs' name servers, and nobody else gets them.
        assert_eq!(routed.name_servers().len(), 2);
        assert!(routed.name_servers().iter().all(|a| routed.excludes(*a)));
        let search: Vec<String> = routed.search.iter().map(ToString::to_string).collect();
        assert_eq!(search, ["a-b.internal", "b.example"]);
        let bridge = format!("kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\n{dns}");
        let wrong = Network::parse("networks/lan.toml", &bridge).unwrap_err();
        assert!(wrong.to_string().contains("host_addresses"), "{wrong}");
        let bridge = format!("{bridge}\nhost_addresses = [\"10.88.0.5\"]");
        let bridge = Network::parse("networks/lan.toml", &bridge).unwrap();
        assert_eq!(bridge.names.servers, ["10.88.0.5".parse::<IpAddr>().unwrap()]);
    }
}
