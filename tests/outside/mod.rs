//! A machine outside: a network namespace with a cable to the one that plays the host.

#![allow(dead_code)] // each file of tests uses a part

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::house::House;

pub struct Outside(Child);

impl Outside {
    /// At the end of a cable to `up0` of the host, which is bare, and with these addresses on its own `eth0`.
    pub fn beside(h: &House, addresses: &[&str]) -> Self {
        Self::cabled(h, "up0", addresses)
    }

    /// In a subnet with the host, which is 198.51.100.1 and 2001:db8:5::1 on `out0`; this one is 198.51.100.2 and
    /// 2001:db8:5::2. It knows of no pool.
    pub fn in_subnet(h: &House) -> Self {
        let outside = Self::cabled(h, "out0", &["198.51.100.2/24", "2001:db8:5::2/64"]);
        h.host_sh(
            "ip addr add 198.51.100.1/24 dev out0; ip addr add 2001:db8:5::1/64 dev out0 nodad; ip link set out0 up",
        );
        outside
    }

    fn cabled(h: &House, end: &str, addresses: &[&str]) -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0_u8; 3]).unwrap();
        let outside = Self(child);
        let pid = outside.0.id();
        h.host_sh(&format!("ip link add {end} type veth peer name eth0 netns {pid}"));
        outside.sh("ip link set eth0 up");
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            outside.sh(&format!("ip addr add {address} dev eth0 {nodad}"));
        }
        outside
    }

    /// A shell line there.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", self.0.id()), "--", "sh", "-c", line]);
        command
    }

    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        let out = self.command(line).output().unwrap();
        assert!(out.status.success(), "{line}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Takes each address for that of another machine, and knows so until it hears something else.
    pub fn mistakes(&self, addresses: &[&str]) {
        for address in addresses {
            self.sh(&format!(
                "ip neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud reachable"
            ));
        }
    }

    /// Waits until it has heard who has these addresses.
    pub fn hears(&self, h: &House, addresses: &[&str], mac: &str) {
        for address in addresses {
            h.until(&format!("it hears of {address}"), 10, || {
                self.sh(&format!("ip neigh show {address}")).contains(mac)
            });
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
