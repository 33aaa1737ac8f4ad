//! Name servers of networks that tell names by DNS.
//!
//! One belongs to its network, as a bridge does: it runs as long as a VE is listed there, whether that runs or not. What
//! it says stands in its configuration, which is made of the files about VEs (`ve/names.rs`); where that changes, it is
//! replaced by another, which takes some milliseconds. On a routed network its addresses lie on a bridge without ports.
//! The firewall keeps all from them but the network's own, and is there before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use hostel_model::definition::{Naming, Network};
use hostel_model::id::NetworkName;
use hostel_model::resolve::Effective;
use hostel_system::net::{BRIDGE_ALIAS_PREFIX, Bridge, OwnBridge};
use hostel_system::resolver;
use ipnetwork::IpNetwork;

use super::called::lines;
use super::registry::Catalogue;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;

/// What a network wants of its name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// None.
    None,
    /// One with this configuration.
    Config(Box<Network>, String),
    /// The network's definition can't be read: what there is stays.
    Unknown,
}

impl Host {
    /// Where the name server of a network has what is its own.
    pub fn name_server_dir(&self, network: &NetworkName) -> PathBuf {
        self.dirs.name_servers().join(network.as_str())
    }

    /// Has the name servers of these networks be as they should. What could not be done, a line each.
    pub fn settle_name_servers(&self, networks: BTreeSet<NetworkName>, verb: &str) -> Vec<String> {
        let settle = |name: NetworkName| match self.settle_name_server(&name, verb) {
            Ok(()) => None,
            Err(e) => Some(format!(
                "the name server of network {name} is not as it should be: {}",
                chain(&e)
            )),
        };
        networks.into_iter().filter_map(settle).collect()
    }

    /// The same of one.
    pub fn settle_name_server(&self, name: &NetworkName, verb: &str) -> Result<()> {
        if self.is_served(name, &self.service_of(name))? {
            return Ok(());
        }
        let _lock = self.lock_names(verb)?;
        // What others have changed before they wait here is in it.
        match self.service_of(name) {
            Service::Unknown => Ok(()),
            Service::None => self.end_name_server(name),
            Service::Config(network, config) => {
                {
                    let _lock = self.lock_firewall(verb)?;
                    self.mend_firewall()?;
                    self.network.bridge(&self.server_bridge(&network)?)?;
                }
                let place = self.cgroups.monitor_placement()?;
                let unified = place.unified.map(|dir| dir.join("cgroup.procs"));
                let home: Vec<PathBuf> = place.join.into_iter().chain(unified).collect();
                self.name_servers.serve(&self.name_server_dir(name), &config, &home)?;
                Ok(())
            }
        }
    }

    /// Is it so already?
    pub fn is_served(&self, name: &NetworkName, service: &Service) -> Result<bool> {
        let dir = self.name_server_dir(name);
        match service {
            Service::Unknown => Ok(true),
            Service::None => Ok(!dir.exists()),
            Service::Config(_, config) => Ok(self.name_servers.serves(&dir, config)?),
        }
    }

    /// Ends it, and takes away what was there for it.
    fn end_name_server(&self, name: &NetworkName) -> Result<()> {
        self.name_servers.end(&self.name_server_dir(name))?;
        let is_bridge = |n: &Network| n.bridge.is_some();
        if !Catalogue::default().network(self, name).is_ok_and(is_bridge) {
            let _lock = self.lock_firewall("names")?;
            self.network.unbridge(&self.own_name("br", name.as_str()))?;
        }
        Ok(())
    }

    /// What the network wants.
    pub fn service_of(&self, name: &NetworkName) -> Service {
        let mut catalogue = Catalogue::default();
        match catalogue.network(self, name) {
            Ok(network) if network.names.by == Naming::Dns => match self.server_config(network) {
                Some(config) => Service::Config(Box::new(network.clone()), config),
                None => Service::None,
            },
            Ok(_) => Service::None,
            Err(e) if e.class == Class::NotFound => Service::None,
            Err(_) => Service::Unknown,
        }
    }

    /// dnsmasq.conf(5) of a network; `None`: nobody is listed there.
    fn server_config(&self, network: &Network) -> Option<String> {
        let mut all = BTreeMap::new();
        for listed in self.listed(&network.name) {
            if let Some(called) = listed.read() {
                all.insert(listed.id, (listed.tenant, called));
            }
        }
        if all.is_empty() {
            return None;
        }
        let pid = self.name_server_dir(&network.name).join("pid");
        let mut text = format!(
            "# Written by Hostel from networks/{}.toml and the VEs on it.\npid-file={}\nuser=nobody\nno-hosts\nno-resolv\n\
             bind-interfaces\ndomain-needed\nbogus-priv\ncache-size=1000\n",
            network.name,
            pid.display()
        );
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            // It never fails: a String takes all.
            let _ = writeln!(text, "{key}={value}");
        };
        for server in &network.names.servers {
            line("listen-address", server);
        }
        let forwarders = match network.dns.is_empty() {
            true => resolver::name_servers(&self.resolvers),
            false => network.dns.clone(),
        };
        // Not itself, should somebody have named it there.
        for server in forwarders.iter().filter(|f| !network.names.servers.contains(f)) {
            line("server", server);
        }
        let domain = network.names.domain.as_ref();
        if let Some(domain) = domain {
            line("local", &format_args!("/{domain}/"));
        }
        for names in lines(&all, None).lines() {
            let Some((address, names)) = names.split_once(' ') else {
                continue;
            };
            for name in names.split(' ') {
                // The first one is what the address is called when that is asked for.
                let full = domain.map(|d| format!("{name}.{d},")).unwrap_or_default();
                line("host-record", &format_args!("{full}{name},{address}"));
            }
        }
        Some(text)
    }

    /// Where its addresses lie: the bridge of its network, or one that is there for nothing else.
    fn server_bridge(&self, network: &Network) -> Result<Bridge> {
        if let Some(bridge) = self.bridge(network)? {
            return Ok(bridge);
        }
        let whole = |a: &IpAddr| IpNetwork::new(*a, if a.is_ipv6() { 128 } else { 32 }).ok();
        Ok(Bridge {
            name: self.own_name("br", network.name.as_str()),
            own: Some(OwnBridge {
                alias: format!("{BRIDGE_ALIAS_PREFIX}{}", network.name),
                mtu: None,
                big_tcp: false,
                addresses: network.names.servers.iter().filter_map(whole).collect(),
                uplink: None,
            }),
        })
    }

    /// Without the program there are no names on such a network.
    pub(super) fn judge_names(&self, ve: &Effective) -> Result<()> {
        let by_dns = ve
            .interfaces
            .iter()
            .map(|i| &i.network)
            .find(|n| n.names.by == Naming::Dns);
        let Some(network) = by_dns else { return Ok(()) };
        self.name_servers.usable().map(drop).map_err(|e| {
            let hint = e.hint.clone().unwrap_or_default();
            let message = format!("network {} can't tell {} names", network.name, ve.name);
            Error::new(Class::Limit, message)
                .because(e)
                .hint(hint)
                .hint("or give the network names = \"hosts\"")
        })
    }
}
