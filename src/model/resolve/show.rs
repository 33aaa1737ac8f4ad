//! Settings as texts, for people and for comparison.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::{Effective, Source};
use crate::bandwidth::Burst;
use crate::definition::{AccessRule, Addresses, DriverName, ForwardKeys};
use crate::limits::Limits;
use crate::units::{Bytes, Rate};

impl Effective {
    /// Every setting as (key, value, source), in the order of the documentation. Values are as a person writes them:
    /// "unlimited" where there is no limit, "none" where there is nothing; secrets are only said to be there.
    pub fn settings(&self) -> Vec<(String, String, String)> {
        let values = self.values();
        let keys = crate::definition::keys().iter().map(|k| k.key.as_str());
        let known = keys.filter_map(|key| values.get(key).map(|value| (key.to_owned(), value.clone())));
        let networks = self.interfaces.iter().enumerate().flat_map(|(i, interface)| {
            let names = ["network", "addresses", "routes", "mac"].into_iter();
            let keys = names.chain(interface.allowed.by_key().map(|(key, _)| key));
            let keys = keys.chain(["rate_in", "rate_out", "burst"]);
            keys.map(move |name| format!("network.{i}.{name}"))
        });
        let forwards =
            (0..self.forwards.len()).flat_map(|i| ForwardKeys::NAMES.map(|name| format!("forward.{i}.{name}")));
        let openvz = self.openvz.iter().map(|(name, _)| format!("openvz.{name}"));
        let networks = networks
            .chain(forwards)
            .chain(openvz)
            .filter_map(|key| values.get(&key).map(|value| (key.clone(), value.clone())));
        known
            .chain(networks)
            .map(|(key, value)| {
                let source = self.sources.get(&key).unwrap_or(&Source::Default).to_string();
                (key, value, source)
            })
            .collect()
    }

    /// Every setting's value by its key.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let Limits {
            cpu,
            memory,
            processes,
            io,
        } = &self.limits;
        let rate = |bytes: Option<Bytes>| max(bytes.map(|b| Rate(b.get())));
        let weight = |weight: Option<u16>| weight.unwrap_or(100).to_string();
        let cap = cpu
            .cap_milli
            .map(|milli| format!("{}.{:03}", milli / 1000, milli % 1000));
        let mut values: BTreeMap<String, String> = [
            ("id", self.id.to_string()),
            ("name", self.name.to_string()),
            ("tenant", self.tenant.to_string()),
            ("template", self.template.to_string()),
            ("plan", self.plan.to_string()),
            ("onboot", self.onboot.to_string()),
            ("priority", self.priority.to_string()),
            ("disabled", self.disabled.to_string()),
            ("hostname", self.hostname.to_string()),
            ("share", self.share.to_string()),
            ("description", some(self.description.as_ref())),
            (
                "dns",
                match self.has_hosts_name_servers() {
                    true => "the host's own".to_owned(),
                    false => list(&self.dns),
                },
            ),
            ("search", list(&self.search)),
            (
                "guest.password_hash",
                some(self.guest.password_hash.as_ref().map(|_| "(set)")),
            ),
            ("guest.ssh_keys", list(&self.guest.ssh_keys)),
            ("guest.timezone", some(self.guest.timezone.as_ref())),
            ("start.timeout", self.start_timeout.to_string()),
            ("stop.timeout", self.stop_timeout.to_string()),
            ("stop.mode", self.stop_mode.to_string()),
            (
                "cpu.cap",
                max(cap.map(|c| c.trim_end_matches('0').trim_end_matches('.').to_owned())),
            ),
            ("cpu.weight", weight(cpu.weight)),
            ("cpu.pin", max(cpu.pin.as_ref())),
            ("cpu.count", max(cpu.count)),
            ("memory.limit", max(memory.limit)),
            ("memory.swap", max(memory.swap)),
            ("memory.guarantee", some(memory.guarantee)),
            ("processes", max(*processes)),
            ("disk.size", self.disk.size.to_string()),
            ("disk.inodes", max(self.disk.inodes)),
            ("disk.driver", driver(self.disk.driver)),
            ("io.read", rate(io.read_bytes)),
            ("io.write", rate(io.write_bytes)),
            ("io.read_ops", max(io.read_ops)),
            ("io.write_ops", max(io.write_ops)),
            ("io.weight", weight(io.weight)),
            ("firewall.in", self.access.input.to_string()),
            ("firewall.out", self.access.output.to_string()),
            ("firewall.rule", rules(&self.access.own)),
            ("net.in", max(self.traffic.inward)),
            ("net.out", max(self.traffic.outward)),
            ("net.burst", burst(self.traffic.burst)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        values.extend(
            self.features
                .iter()
                .map(|(key, open)| (key.to_owned(), open.to_string())),
        );
        for (i, interface) in self.interfaces.iter().enumerate() {
            values.insert(format!("network.{i}.network"), interface.network.name.to_string());
            values.insert(format!("network.{i}.addresses"), interface.addresses.to_string());
            values.insert(format!("network.{i}.routes"), list(&interface.routes));
            values.insert(format!("network.{i}.mac"), some(interface.mac));
            values.insert(format!("network.{i}.rate_in"), max(interface.rate_in));
            values.insert(format!("network.{i}.rate_out"), max(interface.rate_out));
            values.insert(format!("network.{i}.burst"), burst(interface.burst));
            for (key, allowed) in interface.allowed.by_key() {
                values.insert(format!("network.{i}.{key}"), allowed.to_string());
            }
        }
        for (name, value) in self.openvz.iter() {
            values.insert(format!("openvz.{name}"), value.to_owned());
        }
        for (i, forward) in self.forwards.iter().enumerate() {
            for (name, value) in ForwardKeys::NAMES.into_iter().zip(forward.texts()) {
                values.insert(format!("forward.{i}.{name}"), value);
            }
        }
        values
    }

    /// The addresses that are fixed in the definition, of all interfaces.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.interfaces.iter().flat_map(|i| match &i.addresses {
            Addresses::Auto => [].iter().copied(),
            Addresses::Fixed(list) => list.iter().copied(),
        })
    }
}

/// A line of them all, in order.
fn rules(rules: &[AccessRule]) -> String {
    if rules.is_empty() {
        return "none".to_owned();
    }
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What may pass at once where nobody has said it.
pub(crate) const BURST_UNSAID: &str = "10 ms of the rate";

fn burst(burst: Option<Burst>) -> String {
    burst.map_or_else(|| BURST_UNSAID.to_owned(), |b| b.to_string())
}

fn max(limit: Option<impl fmt::Display>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |l| l.to_string())
}

fn driver(asked: Option<DriverName>) -> String {
    asked.map_or_else(|| "the host's choice".to_owned(), |d| d.to_string())
}

fn some(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |v| v.to_string())
}

fn list(values: &[impl fmt::Display]) -> String {
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}
