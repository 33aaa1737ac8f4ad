//! What this host can do: `hostel info`.

use std::net::IpAddr;
use std::path::Path;

use hostel_model::definition::DriverName;
use hostel_system::archive;
use hostel_system::cgroup::Support;
use hostel_system::criu::loses_ipc;
use hostel_system::file;
use hostel_system::net::Need;
use hostel_system::process::find_lxcfs;
use hostel_system::resolver;

use super::{Engine, Fact};
use crate::error::{Error, Result, chain};

impl Engine {
    /// Facts about this host, each with the reason or what follows.
    pub fn info(&self) -> Result<Vec<Fact>> {
        let host = &self.host;
        let facts = host.cgroups.facts();
        let kind = facts.kind.to_string();
        let mut list = vec![
            fact("version", env!("CARGO_PKG_VERSION"), ""),
            fact("configuration", &host.config_file.display().to_string(), ""),
            kernel(),
            fact("cgroups", &kind, "the kind that this host's init mounted"),
        ];
        list.extend(
            facts
                .limits
                .iter()
                .map(|(limit, s)| held(&format!("limit {}", limit.key()), s)),
        );
        list.extend(self.traffic_limits());
        list.push(held("device filter", &facts.devices));
        list.push(unpacking());
        list.extend(self.drivers());
        list.push(fact(
            "network",
            "routed, nat, bridge",
            "veth; nftables against spoofing; routed: a link-local gateway, nat: behind the host's address as well, \
             bridge: of Hostel's own or one of the host's",
        ));
        list.push(self.suspension());
        list.push(name_servers(&resolver::name_servers(&host.resolvers)));
        list.push(self.names_by_dns());
        list.push(self.forwarding());
        let (base, slots) = (host.config.idmap.base, host.config.idmap.count);
        let ranges = format!("{slots} of 65536 from {base}");
        list.push(fact("id ranges", &ranges, "one for each VE, for life"));
        list.extend(self.fleet_fact());
        list.push(self.figures());
        list.push(self.units());
        list.push(self.manager());
        list.extend(host.broken_definitions().into_iter().map(|(kind, name, _, why)| {
            let why = format!("{why}; no VE that uses it can start");
            fact(&format!("{kind} {name}"), "can't be read", &why)
        }));
        list.push(match host.states() {
            Ok(states) => fact("VEs", &states.len().to_string(), ""),
            Err(e) => fact("VEs", "unknown", &chain(&e)),
        });
        Ok(list)
    }

    /// Whether VEs can be suspended to disk, and by what.
    fn suspension(&self) -> Fact {
        match self.host.criu.usable() {
            Ok((program, version)) => {
                let but = match loses_ipc(version) {
                    Ok(true) => ", but none that uses System V IPC, as PostgreSQL does: that takes CRIU 3.18 or later",
                    _ => "",
                };
                let why = format!("{} suspends and resumes VEs on this kernel{but}", program.display());
                fact("suspend", &format!("by CRIU {version}"), &why)
            }
            Err(e) => {
                let e = Error::from(e);
                let hints = e.hints.join("; ");
                fact("suspend", "not here", &format!("{}; {hints}", chain(&e)))
            }
        }
    }

    fn names_by_dns(&self) -> Fact {
        const WHAT: &str = "names by DNS";
        match self.host.name_servers.usable() {
            Ok(program) => fact(WHAT, "works", &format!("by {}", program.display())),
            Err(e) => {
                let e = Error::from(e);
                let hints = e.hints.join("; ");
                fact(WHAT, "not here", &format!("{}; {hints}", chain(&e)))
            }
        }
    }

    fn forwarding(&self) -> Fact {
        let off = |missing: Vec<(Need, String)>| -> Vec<String> {
            let forwarding = missing.into_iter().filter(|(need, _)| *need == Need::Forwarding);
            forwarding.map(|(_, setting)| setting).collect()
        };
        match self.host.network.unprepared().map(off) {
            Ok(missing) if missing.is_empty() => fact("forwarding", "on", ""),
            Ok(missing) => {
                let off = missing.join(", ");
                let why = format!("{off} is off: VEs reach only this host until the next start turns it on");
                fact("forwarding", "off", &why)
            }
            Err(e) => fact("forwarding", "unknown", &chain(&Error::from(e))),
        }
    }

    /// Whose memory, uptime and load a VE sees.
    fn figures(&self) -> Fact {
        const WHAT: &str = "figures in /proc";
        let Some(mount) = self.host.lxcfs() else {
            return fact(WHAT, "the host's", "VEs can have their own: see [proc] in hostel.toml");
        };
        match find_lxcfs(&mount) {
            Ok(_) => fact(WHAT, "each VE's own", &format!("by lxcfs at {}", mount.display())),
            Err(why) => fact(WHAT, "the host's", &why.to_string()),
        }
    }
}

impl Engine {
    /// Whether this host can limit what its VEs' networks carry.
    fn traffic_limits(&self) -> Vec<Fact> {
        let (value, why) = match self.host.network.unable_to_shape() {
            Ok(None) => ("enforced", "also rate_in and rate_out of each interface".to_owned()),
            Ok(Some(why)) => ("not here", why),
            Err(e) => ("unknown", chain(&Error::from(e))),
        };
        ["limit net.in", "limit net.out"]
            .map(|what| fact(what, value, &why))
            .to_vec()
    }

    /// Which driver new VEs' disks are of, and what each can here.
    fn drivers(&self) -> Vec<Fact> {
        let (host, ves) = (&self.host, self.host.dirs.ves());
        if !ves.exists() {
            return vec![fact("disk driver", "none", "prepare this host with: hostel init")];
        }
        let of_each: Vec<_> = host.disks.all().map(|d| (d.name(), d.probe(&ves))).collect();
        let chosen = host.config.driver.or_else(|| {
            let able = of_each.iter().find(|(_, can)| can.is_ok());
            able.map(|(name, _)| *name)
        });
        let why = match host.config.driver {
            Some(_) => "hostel.toml says so; what new VEs get where neither plan nor VE says else",
            None => "the best that this host can; hostel init writes it into hostel.toml",
        };
        let name = chosen.map_or_else(|| "none".to_owned(), |d| d.to_string());
        let mut list = vec![fact("disk driver", &name, why)];
        list.extend(of_each.into_iter().map(|(name, can)| {
            let what = format!("disk driver {name}");
            match can {
                Ok(()) => fact(&what, "works", good_for(name)),
                Err(why) => fact(&what, "not here", &why),
            }
        }));
        list
    }
}

fn held(what: &str, support: &Support) -> Fact {
    match support {
        Support::Full => fact(what, "enforced", ""),
        Support::Partly(why) => fact(what, "in part", why),
        Support::No(why) => fact(what, "not here", why),
    }
}

/// The kernel, and what is wrong with it as a host of strangers.
fn kernel() -> Fact {
    let read = |path: &str| file::read(Path::new(path)).unwrap_or_default();
    let (release, version) = (read("/proc/sys/kernel/osrelease"), read("/proc/sys/kernel/version"));
    let modules = read("/proc/modules");
    let names = modules.lines().filter_map(|l| l.split(' ').next());
    let doubts = hostel_model::kernel::doubts(release.trim(), version.trim(), names);
    fact("kernel", &format!("Linux {}", release.trim()), &doubts.join("; "))
}

/// What keeps a hostile image in its place beside our own care.
fn unpacking() -> Fact {
    const WHAT: &str = "unpacking";
    match archive::why_unconfined() {
        None => fact(
            WHAT,
            "confined",
            "by Landlock: what unpacks an image can touch nothing but its tree",
        ),
        Some(why) => fact(
            WHAT,
            "not confined",
            &format!("{why}; images are held to their tree by Hostel's own checks alone"),
        ),
    }
}

fn good_for(driver: DriverName) -> &'static str {
    match driver {
        DriverName::Project => "limits space and files; df inside shows the VE's own",
        DriverName::Btrfs => "limits space, but no files (disk.inodes); df inside shows the host's whole file system",
        DriverName::Image => "works on every file system; limits space and files; df inside shows the VE's own",
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
