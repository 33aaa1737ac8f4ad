//! Real servers that misbehave: a guest with root answers its neighbours as a DHCP server and announces itself as a
//! router (dnsmasq in the network namespace of a VE), and what comes of it there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::path::Path;
use std::process::{Child, Stdio};

use house::House;

const LAN: &str = "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\ngateway = [\"10.88.0.1\", \"fd88::1\"]\n\
    host_addresses = [\"10.88.0.1\", \"fd88::1\"]\npass_ra = true\n";

/// dnsmasq in a VE's network, until it is dropped: whoever lives there would keep the interfaces.
struct Server {
    child: Child,
    log: std::path::PathBuf,
}

impl Server {
    /// Offers addresses of the pool by DHCP, and the pool's prefix and itself as a router by advertisements.
    fn of(h: &House, ve: &str, round: u32) -> Self {
        let log = h.dir.join(format!("dnsmasq-{round}.log"));
        let leases = h.dir.join(format!("dnsmasq-{round}.leases"));
        let pid = h.status(ve, "pid").to_string();
        let mut nsenter = h.on_host("nsenter");
        nsenter.args([
            "-t",
            &pid,
            "-n",
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
        ]);
        nsenter.args([
            "--no-hosts",
            "--port=0",
            "--interface=eth0",
            "--bind-interfaces",
            "--user=root",
            "--log-dhcp",
        ]);
        nsenter.args([
            "--dhcp-authoritative",
            "--no-ping",
            "--dhcp-range=10.88.0.150,10.88.0.160,2m",
            "--enable-ra",
        ]);
        nsenter.args([
            "--dhcp-range=fd88::,ra-only,64",
            "--ra-param=eth0,high,4",
            "--pid-file=",
        ]);
        nsenter.arg(format!("--log-facility={}", log.display()));
        nsenter.arg(format!("--dhcp-leasefile={}", leases.display()));
        let child = nsenter.stdin(Stdio::null()).spawn().unwrap();
        Self { child, log }
    }

    /// What it has done.
    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn advertised(&self) -> usize {
        self.told().matches("RTR-ADVERT(eth0)").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the neighbour's DHCP client is told: its last line.
fn asks_for_a_lease(h: &House) -> String {
    h.sh("good", "udhcpc -f -n -q -i eth0 -t 3 -T 1 -s /bin/true 2>&1 || true")
}

/// Addresses that the neighbour has made of a prefix that a router announced.
fn from_advertisements(h: &House) -> String {
    h.sh("good", "ip -6 addr show dev eth0 | grep dynamic || true")
}

#[test]
fn a_guests_dhcp_and_router_deceive_nobody_unless_they_may() {
    if !Path::new("/usr/sbin/dnsmasq").exists() {
        println!("skipped because dnsmasq is not installed");
        return;
    }
    let h = House::new();
    h.write("etc/networks/lan.toml", LAN);
    for (name, address, more) in [
        ("evil", "10.88.0.10,fd88::10", "network.0.allow_dhcp_client=false"),
        ("good", "10.88.0.11,fd88::11", "network.0.allow_dhcp_client=true"),
    ] {
        let address = format!("network.0.addresses={address}");
        h.busybox_with(name, &["network.0.network=lan", &address, more]);
    }
    // As a guest does that trusts its network.
    let trusting = "sysctl -w net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.autoconf=1";
    h.sh("good", trusting);

    let server = Server::of(&h, "evil", 1);
    h.until("it has announced itself", 60, || server.advertised() >= 3);
    let said = asks_for_a_lease(&h);
    assert!(said.contains("no lease"), "{said}");
    assert!(
        server.told().contains("DHCPOFFER(eth0)"),
        "it was asked and answered: {}",
        server.told()
    );
    assert_eq!(from_advertisements(&h), "");
    assert!(!h.sh("good", "ip -6 route").contains("proto ra"));
    drop(server);

    // Whoever may, is heard: it was the rules.
    h.ok(&[
        "set",
        "evil",
        "network.0.allow_dhcp_server=true",
        "network.0.allow_ra=true",
    ]);
    h.ok(&["restart", "evil"]);
    let server = Server::of(&h, "evil", 2);
    h.until("the neighbour believes its router", 60, || {
        !from_advertisements(&h).is_empty()
    });
    let said = asks_for_a_lease(&h);
    assert!(said.contains("obtained from 10.88.0.10"), "{said}: {}", server.told());
    drop(server);
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
}
