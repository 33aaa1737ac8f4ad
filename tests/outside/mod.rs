//! A machine outside, at the end of a cable to `up0` of the host.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::house::House;

pub struct Outside(Child);

impl Outside {
    /// With these addresses on its `eth0`.
    pub fn beside(h: &House, addresses: &[&str]) -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0_u8; 3]).unwrap();
        let outside = Self(child);
        let pid = outside.0.id();
        h.host_sh(&format!("ip link add up0 type veth peer name eth0 netns {pid}"));
        outside.sh("ip link set eth0 up");
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            outside.sh(&format!("ip addr add {address} dev eth0 {nodad}"));
        }
        outside
    }

    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        let out = Command::new("nsenter")
            .args([&format!("--net=/proc/{}/ns/net", self.0.id()), "--", "sh", "-c", line])
            .output()
            .unwrap();
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
