//! Networks of kind "bridge": VEs on one Ethernet, with each other, the host and what is outside; and what a guest with
//! root can do there.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod house;
mod outside;
mod probe;

use house::House;
use outside::Outside;
use probe::{arm, inside};

const LAN: &str = "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\ngateway = [\"10.88.0.1\", \"fd88::1\"]\n\
    host_addresses = [\"10.88.0.1\", \"fd88::1\"]\n";
const ON_LAN: &str = "network.0.network=lan";

/// A house with this network `lan`.
fn house(network: &str) -> House {
    let h = House::new();
    h.write("etc/networks/lan.toml", network);
    h
}

fn ve(h: &House, name: &str, addresses: &str) {
    h.busybox_with(name, &[ON_LAN, &format!("network.0.addresses={addresses}")]);
}

fn reaches(h: &House, ve: &str, to: &str) -> bool {
    h.sh(ve, &format!("ping -c 1 -W 3 {to} 2>&1 || true"))
        .contains("1 packets received")
}

#[track_caller]
fn pings(h: &House, ve: &str, to: &str) {
    let out = h.sh(ve, &format!("ping -c 1 -w 10 {to} 2>&1 || true"));
    assert!(out.contains("1 packets received"), "{ve} does not reach {to}: {out}");
}

#[test]
fn ves_reach_each_other_and_the_host_on_a_bridge_that_hostel_makes() {
    let h = house(LAN);
    ve(&h, "one", "auto");
    ve(&h, "two", "10.88.0.20,fd88::20");
    let list = h.status("one", "addresses");
    assert_eq!(list, serde_json::json!(["10.88.0.2", "fd88::2"]), "not the gateway's");
    for to in ["10.88.0.20", "fd88::20", "10.88.0.1", "fd88::1"] {
        pings(&h, "one", to);
    }
    pings(&h, "two", "10.88.0.2");
    assert!(h.sh("one", "ip route").contains("default via 10.88.0.1"));
    assert!(h.sh("one", "ip route").contains("10.88.0.0/24 dev eth0"));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // It is the network's, and stays while that is defined; without the network it is found, and removed.
    h.ok(&["stop", "--all"]);
    assert!(h.host_sh("ip -br link show type bridge").starts_with("brhv-lan"));
    h.ok(&["start", "one"]);
    pings(&h, "one", "10.88.0.1");
    h.ok(&["destroy", "--force", "one"]);
    h.ok(&["destroy", "two"]);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    std::fs::remove_file(h.dir.join("etc/networks/lan.toml")).unwrap();
    let found = h.audit();
    assert_eq!((found.len(), &found[0]["kind"]), (1, &"bridge".into()), "{found:?}");
    h.ok(&["audit", "--fix"]);
    assert_eq!(h.host_sh("ip -br link show type bridge"), "");
}

/// Who runs on it is back at the next start there, or after an audit, and held as before.
#[test]
fn a_bridge_that_somebody_has_removed_comes_back_with_all_who_were_on_it() {
    let h = house(LAN);
    h.write("etc/tenants/acme.toml", "");
    ve(&h, "one", "10.88.0.10,fd88::10");
    h.busybox_with(
        "two",
        &[ON_LAN, "network.0.addresses=10.88.0.11,fd88::11", "tenant=acme"],
    );
    // A kernel that can't hold access rules there refuses them.
    let ruled = h.run(&["set", "one", "firewall.out=deny"]).code == 0;
    let address = || h.host_sh("ip -o link show brhv-lan | grep -o 'link/ether [^ ]*'");
    let known = address();
    h.host_sh("ip link delete brhv-lan");
    assert!(!reaches(&h, "two", "10.88.0.1"));
    let said = h.run(&["create", "three", "--template", "busybox", "--set", ON_LAN, "--start"]);
    assert!(
        said.code == 0 && said.err.contains("one is on it again"),
        "{}",
        said.err
    );
    let held = || {
        // The host has the hardware address that guests know, so that none has to find out that another is silent.
        assert_eq!(address(), known);
        for to in ["10.88.0.1", "fd88::1"] {
            h.until(&format!("two reaches {to}"), 10, || reaches(&h, "two", to));
        }
        // Another tenant's, one that may send to nobody, and an address that isn't its own.
        assert!(!reaches(&h, "two", "10.88.0.10"));
        match ruled {
            true => assert!(!reaches(&h, "one", "10.88.0.1")),
            false => h.until("one reaches the host", 10, || reaches(&h, "one", "10.88.0.1")),
        }
        let stolen = "ip addr add 10.88.0.77/24 dev eth0; ping -c 1 -W 2 -I 10.88.0.77 10.88.0.1 2>&1 || true; \
            ip addr del 10.88.0.77/24 dev eth0";
        assert!(!h.sh("two", stolen).contains("1 packets received"));
    };
    held();
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.host_sh("ip link delete brhv-lan");
    let found = h.audit();
    assert!(
        found.len() == 3 && found.iter().all(|f| f["kind"] == "port"),
        "{found:?}"
    );
    h.ok(&["audit", "--fix"]);
    held();
    h.until("three reaches the host", 10, || reaches(&h, "three", "10.88.0.1"));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn an_uplink_and_somebody_elses_bridge() {
    let h = house(
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\nexclude = [\"10.88.0.200\"]\n",
    );
    let outside = Outside::beside(&h, &["10.88.0.200/24", "fd88::200/64"]);
    ve(&h, "one", "10.88.0.10,fd88::10");
    pings(&h, "one", "10.88.0.200");
    pings(&h, "one", "fd88::200");
    outside.sh("ping -c 1 -W 5 10.88.0.10 && ping -c 1 -W 5 fd88::10");
    // The host is nobody there.
    assert!(!h.host_sh("ip addr show brhv-lan").contains("inet"));
    h.ok(&["stop", "one"]);
    // Now the operator has a bridge of that uplink.
    h.host_sh(
        "ip link add br0 type bridge; ip link set up0 master br0; ip link set br0 up; ip addr add 10.88.0.1/24 dev br0",
    );
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nbridge = \"br0\"\nexclude = [\"10.88.0.1\", \"10.88.0.200\"]\n",
    );
    let found = h.audit();
    assert_eq!(
        (found.len(), &found[0]["kind"]),
        (1, &"bridge".into()),
        "the one that nobody wants: {found:?}"
    );
    h.ok(&["audit", "--fix"]);
    h.ok(&["start", "one"]);
    pings(&h, "one", "10.88.0.200");
    pings(&h, "one", "10.88.0.1");
    h.ok(&["stop", "one"]);
    assert_eq!(h.host_sh("ip -br link show type bridge | wc -l"), "1");
    assert!(h.host_sh("ip link show up0").contains("master br0"));
    h.host_sh("ip link del br0");
    let said = h.fails(1, &["start", "one"]);
    assert!(said.contains("br0") && said.contains("leave \"bridge\" out"), "{said}");
}

/// Frames of the VLAN alone reach a VE, with its tag outside and without one inside; another VLAN is another Ethernet.
#[test]
fn a_vlan_of_the_uplink() {
    let of = |vlan: u16| {
        format!(
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\nvlan = {vlan}\n\
             exclude = [\"10.88.0.201\"]\n"
        )
    };
    let h = house(&of(20));
    // It has no address but in the VLAN: it would answer from there.
    let outside = Outside::beside(&h, &[]);
    h.ok(&["create", "web1", "--template", "busybox", "--network", "lan"]);
    let tagged = "ip link add link eth0 name eth0.20 type vlan id 20 && ip link set eth0.20 up && \
        ip addr add 10.88.0.201/24 dev eth0.20 && ip addr add fd88::201/64 dev eth0.20 nodad";
    if !outside.command(tagged).output().unwrap().status.success() {
        println!("skipped because this kernel has no VLANs (8021q)");
        let refused = h.run(&["start", "web1"]);
        assert!(refused.code != 0 && refused.err.contains("8021q"), "{refused:?}");
        assert_eq!(h.state("web1"), "stopped");
        assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
        return;
    }
    h.ok(&["start", "web1"]);
    pings(&h, "web1", "10.88.0.201");
    pings(&h, "web1", "fd88::201");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // What the guest tags itself is no frame of any VLAN.
    let inside = "ip link add link eth0 name v type vlan id 21 && ip link set v up && ip addr add 10.89.0.1/24 dev v";
    if h.run(&["exec", "web1", "--", "sh", "-c", inside]).code == 0 {
        outside.sh("ip link add link eth0 name eth0.21 type vlan id 21 && ip link set eth0.21 up && ip addr add 10.89.0.2/24 dev eth0.21");
        assert!(!reaches(&h, "web1", "10.89.0.2"));
    }
    // Another VLAN from now on: those that run come along with the next start.
    h.write("etc/networks/lan.toml", &of(22));
    h.ok(&["restart", "web1"]);
    assert!(!reaches(&h, "web1", "10.88.0.201"));
    // Somebody removes the VLAN's device, and the bridge; the next start has them again.
    h.write("etc/networks/lan.toml", &of(20));
    h.ok(&["stop", "web1"]);
    h.host_sh("ip link del vlhv-lan; ip link del brhv-lan");
    h.ok(&["start", "web1"]);
    pings(&h, "web1", "10.88.0.201");
    h.ok(&["destroy", "--force", "web1"]);
    std::fs::remove_file(h.dir.join("etc/networks/lan.toml")).unwrap();
    assert!(!h.audit().is_empty(), "its bridge and its VLAN are left");
    h.ok(&["audit", "--fix"]);
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
    assert_eq!(h.host_sh("ip -br link show | grep -c lan || true").trim(), "0");
}

#[test]
fn bad_definitions_are_refused_with_their_line() {
    let h = house(LAN);
    let cases = [
        (
            "kind = \"routed\"\npools = [\"10.88.0.0/24\"]\nuplink = \"eth1\"\n",
            "lan.toml:3:10",
            "kind = \"bridge\"",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nvlan = 20\n",
            "lan.toml:3:8",
            "uplink",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nuplink = \"eth1\"\nvlan = 4095\n",
            "lan.toml:4:8",
            "1 to 4094",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nuplink = \"Eth 1\"\n",
            "lan.toml:3:10",
            "an interface",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nbridge = \"br0\"\nuplink = \"eth1\"\n",
            "lan.toml:4:10",
            "its owner's",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.99.0.1\"]\n",
            "lan.toml:3:11",
            "pools",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.88.0.255\"]\n",
            "lan.toml:3:11",
            "pools",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.88.0.1\", \"10.88.0.2\"]\n",
            "lan.toml:3:11",
            "one address of each family",
        ),
        (
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nmasquerade = true\n",
            "lan.toml:3:14",
            "host_addresses",
        ),
    ];
    for (text, place, reason) in cases {
        h.write("etc/networks/lan.toml", text);
        let said = h.run(&["create", "one", "--template", "busybox", "--set", ON_LAN]);
        assert!(
            said.code != 0 && said.err.contains(place) && said.err.contains(reason),
            "{text}{}",
            said.err
        );
    }
    // What is allowed on a bridge has no meaning elsewhere, and the gateway's address is nobody's.
    h.write("etc/networks/lan.toml", LAN);
    house::template("busybox");
    let said = h.fails(
        2,
        &[
            "create",
            "one",
            "--template",
            "busybox",
            "--set",
            "network.0.network=private",
            "--set",
            "network.0.allow_ra=true",
        ],
    );
    assert!(said.contains("allow_ra") && said.contains("bridge"), "{said}");
    for taken in ["10.88.0.1", "10.88.0.0", "10.88.0.255"] {
        let address = format!("network.0.addresses={taken}");
        let said = h.fails(
            2,
            &[
                "create",
                "one",
                "--template",
                "busybox",
                "--set",
                ON_LAN,
                "--set",
                &address,
            ],
        );
        assert!(said.contains("somebody else"), "{said}");
    }
}

/// What a guest with root sends is told apart by the neighbour's kernel: what it learns, and what it answers.
#[test]
fn root_inside_deceives_nobody() {
    let h = house(LAN);
    for (name, address) in [("evil", "10.88.0.10,fd88::10"), ("good", "10.88.0.11,fd88::11")] {
        ve(&h, name, address);
    }
    arm(&h, "evil");
    arm(&h, "good");
    pings(&h, "evil", "10.88.0.11");
    pings(&h, "good", "10.88.0.1");
    let heard = || {
        let listener = h.spawn(&["exec", "good", "--", probe::INSIDE, "hear", "eth0", "end"]);
        h.until("the neighbour to listen", 20, || {
            // Bound to an interface, and running.
            !h.sh("good", "awk '$5 > 0 && $6 == 1' /proc/net/packet").is_empty()
        });
        let sent = inside(&h, "evil", &["deceive", "eth0", "10.88.0.11", "10.88.0.1"]);
        assert!(
            sent.len() == 11 && sent.values().all(|came| came == "ok"),
            "all of them were sent: {sent:?}"
        );
        house::end_of(listener)
            .out
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), ["end ok"], "nothing but the honest one");
    // Without the rules all that the bridge itself doesn't drop is heard: it was they.
    h.host_sh("nft delete table bridge hostel");
    let all = heard();
    for name in [
        "arp-gateway",
        "gateways-address",
        "dhcp-offer",
        "dhcp-by-any-port",
        "vlan",
        "router-advertisement",
    ] {
        assert!(all.contains(&format!("{name} ok")), "{name}: {all:?}");
    }
    assert!(!all.contains(&"other-mac ok".to_owned()), "the port is locked: {all:?}");
    h.ok(&["audit", "--fix"]);
    // With other addresses than its own nobody answers it.
    h.sh(
        "evil",
        "ip addr add 10.88.0.99/24 dev eth0; ip addr add fd88::99/64 dev eth0",
    );
    h.until("the address to be usable", 20, || {
        !h.sh("evil", "ip addr show eth0").contains("tentative")
    });
    assert!(!reaches(&h, "evil", "-I 10.88.0.99 10.88.0.11"));
    assert!(!reaches(&h, "evil", "-I fd88::99 fd88::11"));
    h.sh(
        "evil",
        "ip link set eth0 address 02:00:00:00:00:99; ip route replace default via 10.88.0.1 || true",
    );
    assert!(!reaches(&h, "evil", "10.88.0.11"));
    h.ok(&["restart", "evil"]);
    pings(&h, "evil", "10.88.0.11");
}

#[test]
fn what_is_allowed_is_allowed_at_once_and_no_longer_than_it_is() {
    let h = house(LAN);
    ve(&h, "one", "10.88.0.10");
    ve(&h, "two", "10.88.0.11");
    let add = "ip addr add 10.88.0.99/24 dev eth0";
    h.sh("one", add);
    assert!(!reaches(&h, "one", "-I 10.88.0.99 10.88.0.11"));
    // Else the ping may join the last of the questions that nobody was let hear, and be given up with it.
    h.sh("one", "ip neigh flush dev eth0; true");
    h.ok(&["set", "one", "network.0.allow_ip_spoofing=true"]);
    pings(&h, "one", "-I 10.88.0.99 10.88.0.11");
    h.ok(&["set", "one", "network.0.allow_ip_spoofing=false"]);
    assert!(!reaches(&h, "one", "-I 10.88.0.99 10.88.0.11"));
    // A hardware address: the bridge is told as well.
    let other = "ip link set eth0 address 02:00:00:00:00:99; ip neigh flush dev eth0; true";
    h.ok(&["set", "one", "network.0.allow_mac_spoofing=true"]);
    h.sh("one", other);
    pings(&h, "one", "10.88.0.11");
    h.ok(&["set", "one", "network.0.allow_mac_spoofing=false"]);
    assert!(!reaches(&h, "one", "10.88.0.11"));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.ok(&["set", "one", "network.0.allow_ip_spoofing=true"]);
    h.ok(&["restart", "one"]);
    h.sh("one", add);
    pings(&h, "one", "-I 10.88.0.99 10.88.0.11");
    // A firewall flushed by hand knows of it when it is whole again.
    h.host_sh("nft flush ruleset");
    assert!(!h.audit().is_empty());
    h.ok(&["audit", "--fix"]);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    pings(&h, "one", "-I 10.88.0.99 10.88.0.11");
    pings(&h, "two", "10.88.0.10");
}

#[test]
fn tenants_are_kept_apart_unless_the_network_says_otherwise() {
    let h = house(LAN);
    let tenant = h.read("etc/tenants/default.toml");
    h.write("etc/tenants/other.toml", &tenant);
    ve(&h, "one", "10.88.0.10,fd88::10");
    h.busybox_with(
        "two",
        &[ON_LAN, "network.0.addresses=10.88.0.11,fd88::11", "tenant=other"],
    );
    ve(&h, "three", "10.88.0.12");
    pings(&h, "one", "10.88.0.12");
    for to in ["10.88.0.11", "fd88::11"] {
        assert!(!reaches(&h, "one", to), "{to}");
    }
    pings(&h, "two", "10.88.0.1");
    // Nor by way of the host, which forwards.
    h.sh("one", "ip route add 10.88.0.11/32 via 10.88.0.1");
    assert!(!reaches(&h, "one", "10.88.0.11"));
    h.write("etc/networks/lan.toml", &format!("{LAN}isolated = false\n"));
    for name in ["one", "two"] {
        h.ok(&["restart", name]);
    }
    pings(&h, "one", "10.88.0.11");
}

#[test]
fn connections_over_a_bridge_outlive_a_suspension() {
    let Some(h) = House::with_criu() else { return };
    h.write("etc/networks/lan.toml", LAN);
    ve(&h, "server", "10.88.0.10");
    ve(&h, "client", "10.88.0.11");
    // A server that answers each line with the count of lines of this connection.
    let serve = "nc -l -p 7000 -e sh -c 'n=0; while read l; do n=$((n+1)); echo $n; done'";
    h.sh("server", &format!("{serve} </dev/null >/dev/null 2>&1 &"));
    h.until("it listens", 20, || h.sh("server", "netstat -tln").contains(":7000"));
    let talk = "mkfifo /root/in; sleep 1000 >/root/in & nc 10.88.0.10 7000 </root/in >/root/out &";
    h.sh("client", &format!("({talk}) </dev/null >/dev/null 2>&1 &"));
    h.until("the client to be there", 20, || {
        h.sh("client", "ls /root").contains("out")
    });
    let say = || h.sh("client", "echo line >/root/in");
    let heard = || h.sh("client", "cat /root/out");
    say();
    h.until("the first answer", 20, || heard() == "1");
    for expected in ["1\n2", "1\n2\n3"] {
        h.ok(&["suspend", "server"]);
        assert!(!reaches(&h, "client", "10.88.0.10"));
        say(); // while nobody is there
        h.ok(&["resume", "server"]);
        h.until("the next answer", 30, || heard() == expected);
    }
    pings(&h, "server", "10.88.0.11");
    assert!(h.host_sh("bridge -d link show dev hv101.0").contains("locked on"));
    assert!(!h.host_sh("nft list tables").contains("held"));
}
