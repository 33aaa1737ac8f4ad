//! What this host can do: `hostel info`.

use std::net::IpAddr;

use hostel_system::cgroup::Support;
use hostel_system::resolver;

use super::{Engine, Fact};
use crate::error::{Error, Result, chain};

impl Engine {
    /// Facts about this host, each with the reason or what follows.
    pub fn info(&self) -> Result<Vec<Fact>> {
        let host = &self.host;
        let facts = host.cgroups.facts();
        let mut list = vec![
            fact("version", env!("CARGO_PKG_VERSION"), ""),
            fact("configuration", &host.config_file.display().to_string(), ""),
            fact(
                "cgroups",
                &facts.kind.to_string(),
                "the kind that this host's init mounted",
            ),
        ];
        let held = |what: &str, support: &Support| match support {
            Support::Full => fact(what, "enforced", ""),
            Support::Partly(why) => fact(what, "in part", why),
            Support::No(why) => fact(what, "not here", why),
        };
        for (limit, support) in &facts.limits {
            list.push(held(&format!("limit {}", limit.key()), support));
        }
        list.push(held("device filter", &facts.devices));
        let (value, why) = match host.disks.probe(&host.dirs.ves()) {
            Err(_) if !host.dirs.ves().exists() => {
                ("none".to_owned(), "prepare this host with: hostel init".to_owned())
            }
            Ok(()) => (host.disks.name().to_owned(), "works on every file system".to_owned()),
            Err(why) => ("none".to_owned(), why),
        };
        list.push(fact("disk driver", &value, &why));
        list.push(fact(
            "network",
            "routed",
            "veth, a link-local gateway, nftables against spoofing",
        ));
        list.push(match host.criu.usable() {
            Ok((program, version)) => {
                let why = format!("{} suspends and resumes VEs on this kernel", program.display());
                fact("suspend", &format!("by CRIU {version}"), &why)
            }
            Err(e) => {
                let e = Error::from(e);
                let hints = e.hints.join("; ");
                fact("suspend", "not here", &format!("{}; {hints}", chain(&e)))
            }
        });
        list.push(name_servers(&resolver::name_servers(&host.resolvers)));
        list.push(match host.network.unprepared() {
            Ok(missing) if missing.is_empty() => fact("forwarding", "on", ""),
            Ok(missing) => {
                let why = format!(
                    "{} is off: VEs reach only this host until the next start turns it on",
                    missing.join(", ")
                );
                fact("forwarding", "off", &why)
            }
            Err(e) => fact("forwarding", "unknown", &chain(&Error::from(e))),
        });
        let base = host.config.idmap.base;
        let slots = host.config.idmap.count;
        list.push(fact(
            "id ranges",
            &format!("{slots} of 65536 from {base}"),
            "one for each VE, for life",
        ));
        match self.host.states() {
            Ok(states) => list.push(fact("VEs", &states.len().to_string(), "")),
            Err(e) => list.push(fact("VEs", "unknown", &chain(&e))),
        }
        Ok(list)
    }
}

/// What VEs get of the host's own.
fn name_servers(found: &[IpAddr]) -> Fact {
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    match all.is_empty() {
        false => fact(
            "name servers",
            &all.join(" "),
            "for VEs that name none, nor their networks",
        ),
        true => fact(
            "name servers",
            "none",
            "this host's own can't be reached from VEs; give dns in networks/*.toml",
        ),
    }
}

fn fact(what: &str, value: &str, why: &str) -> Fact {
    Fact {
        what: what.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
    }
}
