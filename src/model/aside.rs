//! Addresses that VEs gave back a short while ago: they are kept from others until those who knew them have forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::definition::Network;
use crate::id::{NetworkName, VeName};
use crate::units::Span;

/// When an address was given back, by whom, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// The network that it was given out in.
    pub network: NetworkName,
    /// Whose it was.
    pub ve: VeName,
    /// When, in seconds since 1970.
    pub since: i64,
}

impl Freed {
    /// Seconds from then to `now`; a clock that was set back makes it no older.
    pub fn age(&self, now: i64) -> u64 {
        u64::try_from(now.saturating_sub(self.since)).unwrap_or(0)
    }

    /// Is it to be kept from others still?
    fn is_aside(&self, quarantine: Span, now: i64) -> bool {
        self.age(now) < quarantine.duration().as_secs()
    }
}

/// All of them. An address that is in use again may stay among them: who asks says what is in use, and that comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aside(BTreeMap<IpAddr, Freed>);

impl Aside {
    /// Puts an address aside, from now on if it was before.
    pub fn put(&mut self, address: IpAddr, freed: Freed) {
        self.0.insert(address, freed);
    }

    /// Forgets those whose time is over, by their networks' own times; one whose network can't be asked stays.
    pub fn forget(&mut self, now: i64, mut quarantine: impl FnMut(&NetworkName) -> Option<Span>) {
        self.0
            .retain(|_, freed| quarantine(&freed.network).unwrap_or(Span::MAX) > Span::seconds(freed.age(now)));
    }

    /// What is aside in this network and not in use, in order of address.
    pub fn of<'a>(
        &'a self,
        network: &'a Network,
        used: &'a BTreeSet<IpAddr>,
        now: i64,
    ) -> impl Iterator<Item = (IpAddr, &'a Freed)> + 'a {
        let here = move |(address, freed): &(&IpAddr, &Freed)| {
            network.contains(**address) && freed.is_aside(network.quarantine, now) && !used.contains(*address)
        };
        self.0.iter().filter(here).map(|(address, freed)| (*address, freed))
    }

    /// Is this address aside in this network?
    pub fn get(&self, network: &Network, address: IpAddr, now: i64) -> Option<&Freed> {
        let freed = self.0.get(&address)?;
        (network.contains(address) && freed.is_aside(network.quarantine, now)).then_some(freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freed(since: i64) -> Freed {
        Freed {
            network: "n".parse().unwrap(),
            ve: "web1".parse().unwrap(),
            since,
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn network(quarantine: &str) -> Network {
        let text = format!("kind = \"routed\"\npools = [\"192.0.2.0/24\"]\nquarantine = \"{quarantine}\"\n");
        Network::parse("networks/n.toml", &text).unwrap()
    }

    #[test]
    fn it_lasts_as_long_as_the_network_says() {
        let mut aside = Aside::default();
        aside.put(ip(5), freed(1000));
        aside.put("198.51.100.1".parse().unwrap(), freed(1000));
        let list = |aside: &Aside, quarantine: &str, now| {
            let (network, used) = (network(quarantine), BTreeSet::new());
            aside.of(&network, &used, now).map(|(a, _)| a).collect::<Vec<_>>()
        };
        assert_eq!(list(&aside, "1m", 1059), [ip(5)]);
        assert_eq!(list(&aside, "1m", 1060), [] as [IpAddr; 0]);
        assert_eq!(list(&aside, "0s", 1000), [] as [IpAddr; 0]);
        // A clock that was set back makes it last longer, never shorter.
        assert_eq!(list(&aside, "1m", 10), [ip(5)]);
        let used = BTreeSet::from([ip(5)]);
        assert_eq!(aside.of(&network("1m"), &used, 1000).count(), 0);
        assert!(aside.get(&network("1m"), ip(5), 1059).is_some());
        assert!(aside.get(&network("1m"), ip(5), 1060).is_none() && aside.get(&network("1m"), ip(6), 1000).is_none());
        // Given back again, it starts anew.
        aside.put(ip(5), freed(2000));
        assert_eq!(list(&aside, "1m", 2059), [ip(5)]);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut aside = Aside::default();
        aside.put(ip(5), freed(1000));
        let other = Freed {
            network: "gone".parse().unwrap(),
            ..freed(1000)
        };
        aside.put(ip(6), other);
        let asked = |name: &NetworkName| (name.as_str() == "n").then_some(Span::seconds(60));
        aside.forget(1059, asked);
        assert_eq!(aside.0.len(), 2);
        aside.forget(1060, asked);
        assert_eq!(aside.0.keys().collect::<Vec<_>>(), [&ip(6)]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut aside = Aside::default();
        aside.put(ip(5), freed(1000));
        aside.put("2001:db8::1".parse().unwrap(), freed(7));
        let text = serde_json::to_string(&aside).unwrap();
        assert_eq!(serde_json::from_str::<Aside>(&text).unwrap(), aside);
    }
}
