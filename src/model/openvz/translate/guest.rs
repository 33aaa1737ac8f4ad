//! Capabilities, features and devices.

use super::{Given, Refused, Work};
use crate::openvz::code::{self, Code};
use crate::openvz::key::Group;
use crate::openvz::value::{list, switches};

/// Capabilities that no VE has; what is not here is power over what is the VE's own, and every VE's root has it.
const DENIED: [&str; 15] = [
    "sys_module",
    "sys_rawio",
    "sys_pacct",
    "sys_resource",
    "sys_time",
    "audit_control",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Powers that every VE's root has over what is the VE's own; those of OpenVZ's own are among them.
const EVERYBODYS_POWERS: [&str; 28] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_chroot",
    "sys_ptrace",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "setfcap",
    "setveid",
    "ve_admin",
];

/// The switches of Hostel's that stand for features of the same name.
const SWITCHES: [&str; 7] = ["nesting", "io_uring", "keyring", "fuse", "tun", "compat32", "ipsec"];

/// Features of old, and what is to be said of each.
const OF_OLD: [(&str, &str); 9] = [
    ("sysfs", "every VE has it, to read"),
    (
        "nfs",
        "no VE can mount NFS by itself: it has no such power over the host's kernel",
    ),
    (
        "nfsd",
        "no VE can be a server of the kernel's NFS; one in user space works",
    ),
    ("sit", "a VE has tunnels of its own where the host's kernel has them"),
    ("ipip", "a VE has tunnels of its own where the host's kernel has them"),
    ("ipgre", "a VE has tunnels of its own where the host's kernel has them"),
    ("ppp", "no VE gets /dev/ppp"),
    ("bridge", "a VE has bridges of its own where the host's kernel has them"),
    ("time", "a VE has the host's time, and no power to set it"),
];

/// Devices that every VE has: name below /dev, and numbers.
const EVERYBODYS: [(&str, &str); 11] = [
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
    ("console", "5:1"),
    ("ptmx", "5:2"),
    ("pts", "136:all"),
    ("ptyp", "2:all"),
    ("ttyp", "3:all"),
];

/// Devices that a switch opens: name below /dev, numbers, the switch.
const SWITCHED: [(&str, &str, &str); 2] = [
    ("net/tun", "10:200", "features.tun"),
    ("fuse", "10:229", "features.fuse"),
];

fn refuse(code: Code, given: &Given<'_>, why: String) -> Refused {
    Refused {
        code,
        message: format!("{}: {why}", given.named),
    }
}

impl Work<'_> {
    pub(super) fn capabilities(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let wanted = switches(given.value).map_err(|e| refuse(code::VALUE, given, e.to_string()))?;
        for (name, on) in wanted {
            let name = name.strip_prefix("cap_").unwrap_or(&name).to_owned();
            let denied = DENIED.contains(&name.as_str());
            if !denied && !EVERYBODYS_POWERS.contains(&name.as_str()) {
                return Err(refuse(code::VALUE, given, format!("there is no capability \"{name}\"")));
            }
            let name = name.to_ascii_uppercase();
            match (on, denied) {
                (true, true) => {
                    let why = format!("no VE gets {name}: it is a power over the host");
                    return Err(refuse(code::CAPABILITY, given, why));
                }
                (false, false) => {
                    let why = format!("{name} can't be taken from a VE: its root has all powers over what is its own");
                    return Err(refuse(code::CAPABILITY, given, why));
                }
                _ => {}
            }
        }
        let kept: Vec<String> = list(given.value).map(str::to_owned).collect();
        self.remember_parts(given, &kept, ",");
        let why = "it is so for every VE".to_owned();
        self.out.without_effect.push((given.named.to_owned(), why));
        Ok(())
    }

    pub(super) fn features(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let wanted = switches(given.value).map_err(|e| refuse(code::VALUE, given, e.to_string()))?;
        let (mut of_old, mut kept) = (Vec::new(), Vec::new());
        for (name, on) in wanted {
            if SWITCHES.contains(&name.as_str()) {
                self.about(Group::Security);
                self.set(&format!("features.{name}"), &on.to_string());
                continue;
            }
            let Some((_, why)) = OF_OLD.iter().find(|(known, _)| *known == name) else {
                return Err(refuse(code::VALUE, given, format!("there is no feature \"{name}\"")));
            };
            kept.push(format!("{name}:{}", if on { "on" } else { "off" }));
            if on {
                of_old.push(format!("{name}: {why}"));
            }
        }
        if !kept.is_empty() {
            self.remember_parts(given, &kept, ",");
        }
        for why in of_old {
            self.out.without_effect.push((given.named.to_owned(), why));
        }
        Ok(())
    }

    pub(super) fn device_nodes(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let mut kept = Vec::new();
        for device in list(given.value) {
            let (name, rights) = device.rsplit_once(':').unwrap_or((device, ""));
            let name = if device == "none" {
                "none"
            } else {
                name.trim_start_matches("/dev/")
            };
            let switch = SWITCHED
                .iter()
                .find(|(known, ..)| *known == name)
                .map(|(.., switch)| *switch);
            let common = name == "none" || EVERYBODYS.iter().any(|(known, _)| *known == name);
            self.device(given, name, switch, common, rights)?;
            kept.extend((common && name != "none").then(|| device.to_owned()));
        }
        self.remember_devices(given, &kept);
        Ok(())
    }

    /// What every VE has, and this one was given by name.
    fn remember_devices(&mut self, given: &Given<'_>, kept: &[String]) {
        if !kept.is_empty() {
            self.remember_parts(given, kept, " ");
        }
    }

    pub(super) fn device_numbers(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let mut kept = Vec::new();
        for device in list(given.value) {
            let parts: Vec<&str> = device.split(':').collect();
            let (kind, numbers, rights) = match parts.as_slice() {
                ["none"] => ("c", "none".to_owned(), ""),
                [kind @ ("b" | "c"), major, minor] => (*kind, format!("{major}:{minor}"), "rw"),
                [kind @ ("b" | "c"), major, minor, rights] => (*kind, format!("{major}:{minor}"), *rights),
                _ => {
                    return Err(refuse(
                        code::VALUE,
                        given,
                        format!("\"{device}\" is not b|c:MAJOR:MINOR|all:[rwq]"),
                    ));
                }
            };
            let character = kind == "c";
            let switch = SWITCHED
                .iter()
                .find(|(_, known, _)| character && *known == numbers)
                .map(|(.., switch)| *switch);
            let common = numbers == "none" || character && EVERYBODYS.iter().any(|(_, known)| *known == numbers);
            self.device(given, device, switch, common, rights)?;
            kept.extend((common && numbers != "none").then(|| device.to_owned()));
        }
        self.remember_devices(given, &kept);
        Ok(())
    }

    /// One device: it has a switch, or every VE has it, or none.
    fn device(
        &mut self,
        given: &Given<'_>,
        name: &str,
        switch: Option<&str>,
        common: bool,
        rights: &str,
    ) -> Result<(), Refused> {
        if !rights.bytes().all(|b| b"rwqmnone".contains(&b)) {
            return Err(refuse(
                code::VALUE,
                given,
                format!("\"{rights}\" is not of r, w and q, or none"),
            ));
        }
        match switch {
            Some(switch) => {
                self.about(Group::Security);
                let on = rights != "none" && (rights.is_empty() || rights.contains(['r', 'w']));
                self.set(switch, &on.to_string());
                Ok(())
            }
            None if common => {
                self.out
                    .without_effect
                    .push((given.named.to_owned(), format!("{name}: every VE has it")));
                Ok(())
            }
            None if rights == "none" => Ok(()),
            None => {
                let why = format!("no VE gets {name}; net/tun and fuse can be had, where the plan grants them");
                Err(refuse(code::DEVICE, given, why))
            }
        }
    }
}
