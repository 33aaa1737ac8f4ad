//! A VE in the words of CTID.conf: what is in force, and what is remembered of it.

use std::net::IpAddr;

use super::Remembered;
use super::conf::Conf;
use super::table::{parameter, table};
use super::translate::{weight_of_priority, weight_of_units};
use super::value::{PAGE, UNLIMITED, Unit, pair};
use crate::mac::Mac;
use crate::resolve::Effective;
use crate::units::Bytes;

/// What is known of a VE beside its definition.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Where its root is mounted, when it is.
    pub root: String,
    /// Where its disk and record lie.
    pub private: String,
    /// Its interfaces, in order.
    pub interfaces: Vec<InterfaceFacts>,
}

/// An interface as it was made.
#[derive(Debug, Clone)]
pub struct InterfaceFacts {
    /// Is it on a bridge?
    pub bridged: bool,
    /// What it is called inside.
    pub name: String,
    /// The name of that: the bridge of the host if it was there already, else the network.
    pub bridge: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Mac,
    /// The name of the host's end.
    pub host_name: String,
    /// May it send from its own hardware address only?
    pub filtered: bool,
}

/// The parameters of a VE with their values, in the order of the table: those in force, and what is remembered.
pub fn parameters(ve: &Effective, facts: &Facts) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in table().flat_map(|key| key.config.iter().copied()) {
        let value =
            in_force(name, ve, facts).or_else(|| ve.openvz.get(name).filter(|_| is_note(name)).map(str::to_owned));
        all.extend(value.map(|value| (name.to_owned(), value)));
    }
    all
}

/// The text of its CTID.conf.
pub fn render(ve: &Effective, facts: &Facts) -> String {
    let mut conf = Conf::default();
    conf.comment(&format!(
        "VE {} ({}): written by Hostel from its definition. Changes here have no effect.",
        ve.id, ve.name
    ));
    conf.comment("");
    for (name, value) in parameters(ve, facts) {
        conf.set(&name, &value);
    }
    conf.to_string()
}

/// Is it told as it is remembered, whatever is in force?
fn is_note(name: &str) -> bool {
    use super::key::{Act, Becomes};
    parameter(name).is_some_and(|key| match key.becomes {
        Becomes::NoEffect(_) => true,
        Becomes::Act { act, .. } => !matches!(act, Act::AddAddress | Act::Interfaces | Act::Plan),
        Becomes::Settings { .. } | Becomes::Refused(_) => false,
    })
}

/// What a parameter's value is by what is in force; `None` if it isn't said.
fn in_force(name: &str, ve: &Effective, facts: &Facts) -> Option<String> {
    let (limits, disk) = (&ve.limits, &ve.disk);
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    Some(match name {
        "ONBOOT" => yes(ve.onboot),
        "BOOTORDER" if ve.priority > 0 => ve.priority.to_string(),
        "DISABLED" if ve.disabled => yes(true),
        "STOP_TIMEOUT" => ve.stop_timeout.duration().as_secs().to_string(),
        "NAME" => return name_of(ve),
        "DESCRIPTION" => return ve.description.clone(),
        "OSTEMPLATE" => ve.template.name.to_string(),
        "ORIGIN_SAMPLE" => ve.plan.to_string(),
        "HOSTNAME" => ve.hostname.to_string(),
        "VE_ROOT" => return some(facts.root.clone()),
        "VE_PRIVATE" => return some(facts.private.clone()),
        "IP_ADDRESS" => joined(
            facts
                .interfaces
                .iter()
                .filter(|i| !i.bridged)
                .flat_map(|i| &i.addresses),
        ),
        "NETIF" => return some(bridges(facts)),
        "NAMESERVER" => {
            return some(if ve.has_hosts_name_servers() {
                "inherit".into()
            } else {
                joined(&ve.dns)
            });
        }
        "SEARCHDOMAIN" => return some(joined(&ve.search)),
        "PHYSPAGES" => format!("0:{}", pages(limits.memory.limit)),
        "SWAPPAGES" => format!("0:{}", pages(limits.memory.swap)),
        "VMGUARPAGES" => format!("{}:{UNLIMITED}", limits.memory.guarantee?.get() / PAGE),
        "NUMPROC" => twice(limits.processes.unwrap_or(UNLIMITED)),
        "CPUUNITS" => cpu_units(ve).to_string(),
        "CPULIMIT" => (limits.cpu.cap_milli? / 10).to_string(),
        "CPUS" => limits.cpu.count?.to_string(),
        "CPUMASK" => limits.cpu.pin.as_ref()?.to_string(),
        "DISKSPACE" => diskspace(disk.size, &ve.openvz),
        "DISKINODES" => twice(disk.inodes?),
        "IOPRIO" => match limits.io.weight {
            Some(weight) => priority(weight)?.to_string(),
            // Given where no weight has an effect.
            None => return ve.openvz.get(name).map(str::to_owned),
        },
        "IOLIMIT" => lesser(
            limits.io.read_bytes.map(Bytes::get),
            limits.io.write_bytes.map(Bytes::get),
        )?
        .to_string(),
        "IOPSLIMIT" => lesser(limits.io.read_ops, limits.io.write_ops)?.to_string(),
        "FEATURES" => return some(features(ve)),
        "DEVNODES" => return some(device_nodes(ve)),
        "AUTOSTOP" => ve.stop_mode.to_string(),
        _ => return None,
    })
}

fn yes(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

/// The name that the dialect knows it by: the one it was given, or its own unless that is made of its number.
pub fn name_of(ve: &Effective) -> Option<String> {
    match ve.openvz.get("NAME") {
        Some(name) => Some(name.to_owned()),
        None => Some(ve.name.to_string()).filter(|name| *name != format!("ct{}", ve.id)),
    }
}

fn joined<T: ToString>(list: impl IntoIterator<Item = T>) -> String {
    list.into_iter().map(|x| x.to_string()).collect::<Vec<_>>().join(" ")
}

fn pages(bytes: Option<Bytes>) -> u64 {
    bytes.map_or(UNLIMITED, |b| b.get().div_ceil(PAGE))
}

fn twice(n: u64) -> String {
    format!("{n}:{n}")
}

/// CPUUNITS as they were given, as long as they mean the weight that is in force.
pub fn cpu_units(ve: &Effective) -> u64 {
    let weight = u64::from(ve.limits.cpu.weight.unwrap_or(100));
    let given = ve
        .openvz
        .get("CPUUNITS")
        .and_then(|text| text.trim().parse::<u64>().ok());
    let meant = given.filter(|units| weight_of_units(*units) == weight);
    meant.unwrap_or(weight * 10)
}

/// What has one number there has one for each way here.
pub fn lesser(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// The priority of a weight that a priority has made.
fn priority(weight: u16) -> Option<u64> {
    (0..8).find(|n| weight_of_priority(*n) == u64::from(weight))
}

/// In KB; the soft limit as it was given, as long as the hard one is in force.
fn diskspace(size: Bytes, remembered: &Remembered) -> String {
    let given = remembered.get("DISKSPACE").and_then(|text| pair(text, Unit::Kib).ok());
    let soft = given
        .filter(|pair| pair.limit.limit() == Some(size.get()))
        .and_then(|pair| pair.barrier.limit());
    let kib = |bytes: u64| bytes.div_ceil(1024);
    format!("{}:{}", kib(soft.unwrap_or(size.get())), kib(size.get()))
}

/// The switches that are open, and what else is remembered.
fn features(ve: &Effective) -> String {
    let open = ve.features.iter().filter(|(_, open)| *open);
    let open = open.map(|(key, _)| format!("{}:on", key.trim_start_matches("features.")));
    open.chain(ve.openvz.get("FEATURES").map(str::to_owned))
        .collect::<Vec<_>>()
        .join(",")
}

fn device_nodes(ve: &Effective) -> String {
    let nodes = [("net/tun:rw", ve.features.tun), ("fuse:rw", ve.features.fuse)];
    let open = nodes.iter().filter(|(_, open)| *open).map(|(node, _)| *node);
    // And what it has as every VE does.
    joined(open.chain(ve.openvz.get("DEVNODES")))
}

fn bridges(facts: &Facts) -> String {
    let of_bridges = facts.interfaces.iter().filter(|i| i.bridged);
    let one = |i: &InterfaceFacts| {
        let filter = if i.filtered { "on" } else { "off" };
        let addresses: String = i.addresses.iter().map(|a| format!(",ip={a}")).collect();
        let (name, mac, bridge, host) = (&i.name, i.mac, &i.bridge, &i.host_name);
        format!("ifname={name},bridge={bridge},mac={mac},host_ifname={host},mac_filter={filter}{addresses}")
    };
    of_bridges.map(one).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openvz::{Given, Surroundings, translate};

    fn effective(more: &str) -> Effective {
        crate::resolve::tests::effective("", &format!("name = \"ct101\"\n{more}"))
    }

    fn get(more: &str, name: &str) -> Option<String> {
        let all = parameters(&effective(more), &Facts::default());
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    #[test]
    fn what_is_remembered_is_told_as_long_as_it_is_so() {
        let units = "[cpu]\nweight = 12\n[openvz]\nCPUUNITS = \"125\"\nNETFILTER = \"full\"\n";
        assert_eq!(get(units, "CPUUNITS").unwrap(), "125");
        assert_eq!(get(units, "NETFILTER").unwrap(), "full");
        assert_eq!(
            get("[cpu]\nweight = 20\n[openvz]\nCPUUNITS = \"125\"\n", "CPUUNITS").unwrap(),
            "200"
        );
        let disk = "[disk]\nsize = \"22GiB\"\n[openvz]\nDISKSPACE = \"20G:22G\"\n";
        assert_eq!(get(disk, "DISKSPACE").unwrap(), "20971520:23068672");
        assert_eq!(
            get(
                "[disk]\nsize = \"8GiB\"\n[openvz]\nDISKSPACE = \"20G:22G\"\n",
                "DISKSPACE"
            )
            .unwrap(),
            "8388608:8388608"
        );
        assert_eq!(get("", "NAME"), None);
        assert_eq!(get("[openvz]\nNAME = \"Web_1\"\n", "NAME").unwrap(), "Web_1");
        assert_eq!(get("disabled = true\n", "DISABLED").unwrap(), "yes");
        assert_eq!(
            get("[memory]\nlimit = \"1GiB\"\nswap = \"unlimited\"\n", "PHYSPAGES").unwrap(),
            "0:262144"
        );
        assert_eq!(
            get("[memory]\nlimit = \"1GiB\"\nswap = \"unlimited\"\n", "SWAPPAGES").unwrap(),
            "0:9223372036854775807"
        );
    }

    /// What is told is understood again, and comes to the same.
    #[test]
    fn what_is_rendered_is_translated_back() {
        let more = "onboot = true\npriority = 3\n[memory]\nlimit = \"1GiB\"\nswap = \"512MiB\"\n[cpu]\nweight = 300\ncount = 2\n\
            [io]\nread = \"10MiB\"\nwrite = \"10MiB\"\nweight = 140\n[disk]\nsize = \"20GiB\"\n";
        let text = render(&effective(more), &Facts::default());
        let (conf, problems) = Conf::parse(&text);
        assert!(problems.is_empty(), "{problems:?}");
        let remembered = Remembered::default();
        let around = Surroundings {
            cpus: 2,
            creating: true,
            remembered: &remembered,
            memory_limit: None,
            interfaces: Vec::new(),
            networks: &[],
            default_network: None,
            no_io_weight: None,
        };
        let entries: Vec<_> = conf.entries().collect();
        let given = |e: &&crate::openvz::Entry| parameter(&e.name).map(|key| (key, e.name.clone(), e.value.clone()));
        let given: Vec<_> = entries.iter().filter_map(given).collect();
        let given: Vec<_> = given
            .iter()
            .map(|(key, named, value)| Given { key, named, value })
            .collect();
        let done = translate(&given, &around).unwrap();
        for expected in [
            ("onboot", "true"),
            ("priority", "3"),
            ("memory.limit", "1073741824"),
            ("memory.swap", "536870912"),
            ("cpu.weight", "300"),
            ("cpu.count", "2"),
            ("io.read", "10485760"),
            ("io.weight", "140"),
            ("disk.size", "21474836480"),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned());
            assert!(done.settings.contains(&expected), "{expected:?} in {:?}", done.settings);
        }
        assert_eq!(done.plan.unwrap().as_str(), "small");
    }
}
