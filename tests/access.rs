//! Access rules: who reaches a VE and whom it reaches, as guests see it.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;
use serde_json::Value;

const ONE: (&str, &str) = ("10.77.0.10", "fd77:7c3e:9a51:77::10");
const TWO: (&str, &str) = ("10.77.0.11", "fd77:7c3e:9a51:77::11");

fn ve(h: &House, name: &str, (v4, v6): (&str, &str)) {
    h.busybox_with(
        name,
        &["network.0.network=private", &format!("network.0.addresses={v4},{v6}")],
    );
}

/// Writes these lines below a VE's definition, past its editor.
fn define(h: &House, name: &str, lines: &str) {
    let file = format!("etc/ve/{name}.toml");
    let text = h.read(&file);
    h.write(&file, &format!("{text}\n{lines}"));
}

fn rule(lines: &str) -> String {
    format!("[[firewall.rule]]\n{lines}\n")
}

/// Something answers on a port of a VE, for both families, as often as it is asked.
fn serve(h: &House, name: &str, port: u16) {
    h.sh(
        name,
        &format!("(while true; do nc -l -p {port} -e echo hello; done) </dev/null >/dev/null 2>&1 &"),
    );
    h.until("it listens", 20, || {
        h.sh(name, "netstat -tln").contains(&format!(":{port}"))
    });
}

/// Is there an answer, soon?
fn answers(h: &House, from: &str, to: &str, port: u16) -> bool {
    h.sh(from, &format!("nc -w 1 {to} {port} </dev/null 2>&1 || true"))
        .contains("hello")
}

/// The same for an answer that must come, however busy the machine is.
#[track_caller]
fn answered(h: &House, from: &str, to: &str, port: u16) {
    h.until(&format!("{to} to answer {from} on port {port}"), 20, || {
        answers(h, from, to, port)
    });
}

fn pings(h: &House, from: &str, to: &str, seconds: u32) -> bool {
    h.sh(from, &format!("ping -c 1 -W {seconds} -w {seconds} {to} 2>&1 || true"))
        .contains("1 packets received")
}

fn shown(h: &House, name: &str) -> Value {
    serde_json::from_str(&h.ok(&["firewall", "show", name, "--json"])).unwrap()
}

/// The packets of the first rule that says this.
fn packets(h: &House, name: &str, rule: &str) -> u64 {
    let all = shown(h, name);
    let all = all["rules"].as_array().unwrap();
    let line = all.iter().find(|l| l["rule"].as_str().unwrap().contains(rule)).unwrap();
    line["packets"].as_u64().unwrap()
}

#[test]
fn rules_of_a_ve_are_in_force_from_before_its_start_and_change_at_once() {
    let h = House::new();
    ve(&h, "one", ONE);
    ve(&h, "two", TWO);
    assert_eq!(shown(&h, "one")["state"], "none");
    assert!(
        !h.host_sh("nft list tables").contains("_acl"),
        "who has no rules has no table"
    );
    h.ok(&["stop", "one"]);
    let web = rule(
        "direction = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\nports = [80]\npeers = [\"ve:two\"]\ncomment = \"shop\"",
    );
    define(&h, "one", &format!("[firewall]\nin = \"deny\"\n{web}"));
    h.ok(&["start", "one"]);
    serve(&h, "one", 80);
    serve(&h, "one", 81);
    for to in [ONE.0, ONE.1] {
        answered(&h, "two", to, 80);
        assert!(!answers(&h, "two", to, 81) && !pings(&h, "two", to, 1), "{to}");
    }
    let host_hears = || {
        let said = h.host_sh("busybox nc -w 1 10.77.0.10 80 </dev/null 2>&1 || true");
        said.contains("hello")
    };
    assert!(!host_hears(), "the host is nobody's peer");
    assert!(
        pings(&h, "one", TWO.0, 10) && pings(&h, "one", TWO.1, 10),
        "answers come in"
    );
    assert!(packets(&h, "one", "tcp 80 from ve:two") >= 2 && packets(&h, "one", "the rest") >= 4);
    assert!(h.ok(&["firewall", "show", "one"]).contains("shop"));
    // At once, with the counters of what stays.
    let before = packets(&h, "one", "tcp 80 from ve:two");
    h.ok(&["set", "one", "firewall.out=deny"]);
    assert!(!pings(&h, "one", TWO.0, 1) && !pings(&h, "one", "169.254.1.1", 1));
    answered(&h, "two", ONE.0, 80);
    assert!(packets(&h, "one", "tcp 80 from ve:two") > before);
    // The peer's address moves, and nobody else gets in by the old one.
    h.ok(&["address", "add", "two", "10.77.0.30"]);
    h.sh(
        "two",
        "ip route replace 10.77.0.10 via 169.254.1.1 dev eth0 src 10.77.0.30 onlink",
    );
    answered(&h, "two", ONE.0, 80);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.ok(&["address", "remove", "two", TWO.0]);
    let sets = h.host_sh("nft list table inet hostel_acl");
    assert!(sets.contains("10.77.0.30") && !sets.contains(TWO.0), "{sets}");
    h.ok(&["set", "one", "firewall.in=allow"]);
    assert!(answers(&h, "two", ONE.0, 81));
    h.until("the host to be let in", 20, host_hears);
    h.ok(&["stop", "one"]);
    assert!(!h.host_sh("nft list tables").contains("_acl"));
    assert_eq!(shown(&h, "one")["state"], "not running");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn a_tenants_rules_bind_all_its_ves_when_they_are_applied() {
    let h = House::new();
    ve(&h, "one", ONE);
    ve(&h, "two", TWO);
    serve(&h, "one", 80);
    h.ok(&["set", "one", "firewall.in=allow"]);
    answered(&h, "two", ONE.0, 80);
    let text = h.read("etc/tenants/default.toml");
    let deny = rule("direction = \"in\"\naction = \"deny\"\nprotocol = \"tcp\"\npeers = [\"tenant:default\"]");
    h.write("etc/tenants/default.toml", &format!("{text}\n{deny}"));
    let told: Value = serde_json::from_str(&h.ok(&["firewall", "apply", "--dry-run", "--json"])).unwrap();
    assert_eq!(told["rules"][0]["ves"], serde_json::json!(["one", "two"]));
    assert_eq!(told["rules"][0]["peers"], serde_json::json!(["one", "two"]));
    assert_eq!(
        (&told["ves"][0]["state"], &told["ves"][1]["state"]),
        (&"changed".into(), &"changed".into())
    );
    assert!(answers(&h, "two", ONE.0, 80), "nothing has changed yet");
    assert!(h.ok(&["firewall", "apply", "-n"]).contains("from tenant:default"));
    h.ok(&["firewall", "apply"]);
    for to in [ONE.0, ONE.1] {
        assert!(!answers(&h, "two", to, 80), "{to}");
    }
    assert!(pings(&h, "two", ONE.0, 10) && pings(&h, "two", ONE.1, 10));
    assert!(packets(&h, "one", "in deny tcp from tenant:default") > 0);
    assert_eq!(shown(&h, "two")["rules"][0]["from"], "tenant default");
    let again: Value = serde_json::from_str(&h.ok(&["firewall", "apply", "--json"])).unwrap();
    assert_eq!(again["ves"][0]["state"], "right");
    // Whoever takes them away is found.
    h.host_sh("nft flush chain inet hostel_acl in_101");
    assert!(answers(&h, "two", ONE.0, 80));
    assert!(!h.audit().is_empty());
    h.ok(&["audit", "--fix"]);
    assert!(!answers(&h, "two", ONE.0, 80));
    h.host_sh("nft delete table inet hostel_acl");
    assert_eq!(h.audit().len(), 2, "{:?}", h.audit());
    h.ok(&["restart", "two"]);
    assert!(!answers(&h, "two", ONE.0, 80), "a start mends them for all");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.host_sh("nft flush ruleset");
    h.ok(&["restart", "two"]);
    assert!(!answers(&h, "two", ONE.0, 80), "and all else");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn the_guests_own_rules_work_inside() {
    let h = House::new();
    ve(&h, "one", ONE);
    ve(&h, "two", TWO);
    h.ok(&["set", "one", "firewall.out=deny"]);
    serve(&h, "one", 80);
    answered(&h, "two", ONE.0, 80);
    // The host's nft, with the libraries that it wants.
    let dir = h.dir.join("nft");
    h.host_sh(&format!(
        "mkdir {dir}; nft=$(command -v nft); cp -L $nft $(ldd $nft | grep -o '/[^ ]*') {dir}; cp $(ls {dir}/ld-* ) {dir}/ld",
        dir = dir.display()
    ));
    h.ok(&["push", "one", dir.to_str().unwrap(), "/root/nft"]);
    let nft = "/root/nft/ld --library-path /root/nft /root/nft/nft";
    h.sh(
        "one",
        &format!("echo 'table inet own {{ chain in {{ type filter hook input priority 0; tcp dport 80 counter drop; }}; }}' | {nft} -f -"),
    );
    assert!(!answers(&h, "two", ONE.0, 80) && !answers(&h, "two", ONE.1, 80));
    let counted = h.sh("one", &format!("{nft} list ruleset"));
    assert!(!counted.contains("packets 0 "), "{counted}");
    assert!(pings(&h, "two", ONE.0, 10));
    h.sh("one", &format!("{nft} flush ruleset"));
    answered(&h, "two", ONE.0, 80);
    assert!(!pings(&h, "one", TWO.0, 1), "the host's are not the guest's to flush");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

/// The network lan, of kind bridge, and VEs on it with these ends of their addresses. The first lets nobody in. False, with
/// the reason said, where this kernel refuses that.
fn on_lan(h: &House, ves: &[(&str, u32)]) -> bool {
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\ngateway = [\"10.88.0.1\", \"fd88::1\"]\n\
         host_addresses = [\"10.88.0.1\", \"fd88::1\"]\n",
    );
    for (name, end) in ves {
        let addresses = format!("network.0.addresses=10.88.0.{end},fd88::{end}");
        h.busybox_with(name, &["network.0.network=lan", &addresses]);
    }
    let (first, end) = ves[0];
    assert!(pings(h, ves[1].0, &format!("10.88.0.{end}"), 10));
    let set = h.run(&["set", first, "firewall.in=deny"]);
    if set.code == 0 {
        return true;
    }
    assert!(
        set.err.contains("network lan is of kind bridge") && set.err.contains("nf_conntrack_bridge"),
        "{}",
        set.err
    );
    assert!(!h.read(&format!("etc/ve/{first}.toml")).contains("firewall"));
    println!("skipped because this kernel can't track connections on bridges");
    false
}

#[test]
fn on_a_bridge_they_are_in_force_or_refused() {
    let h = House::new();
    if !on_lan(&h, &[("one", 10), ("two", 11)]) {
        return;
    }
    serve(&h, "one", 80);
    for to in ["10.88.0.10", "fd88::10"] {
        assert!(!pings(&h, "two", to, 1) && !answers(&h, "two", to, 80), "{to}");
    }
    for to in ["10.88.0.11", "fd88::11", "10.88.0.1", "fd88::1"] {
        assert!(pings(&h, "one", to, 10), "{to}: answers come in");
    }
    define(
        &h,
        "one",
        &rule("direction = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\npeers = [\"ve:two\"]"),
    );
    h.ok(&["firewall", "apply"]);
    for to in ["10.88.0.10", "fd88::10"] {
        answered(&h, "two", to, 80);
        assert!(!pings(&h, "two", to, 1), "{to}");
    }
    assert!(packets(&h, "one", "from ve:two") >= 2 && packets(&h, "one", "the rest") > 0);
    h.ok(&["set", "two", "firewall.out=deny"]);
    assert!(!answers(&h, "two", "10.88.0.10", 80) && !pings(&h, "two", "10.88.0.1", 1));
    assert!(pings(&h, "one", "10.88.0.11", 10));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.ok(&["stop", "--all"]);
    assert!(!h.host_sh("nft list tables").contains("_acl"));
}

/// How many connections one may have begun, how many it would, and what others begin meanwhile.
const LIMIT: u32 = 40;
const FLOOD: u32 = 400;
const REST: u32 = 40;

/// Begins connections from a VE, by UDP to as many ports.
fn flood(h: &House, from: &str, to: &str) {
    let pid = h.status(from, "pid").to_string();
    let line = format!("for port in $(seq {FLOOD}); do echo >/dev/udp/{to}/$((20000 + port)); done 2>/dev/null; true");
    let ran = h
        .on_host("nsenter")
        .args(["--net", "--target", &pid, "bash", "-c", &line])
        .output();
    assert!(ran.unwrap().status.success());
}

/// The kernel's table of connections is everybody's, and with rules on one port it has those of all ports.
#[test]
fn on_a_bridge_a_flood_of_one_leaves_connections_for_others() {
    let h = House::with(&format!("net.connections = {LIMIT}"));
    if !on_lan(&h, &[("one", 10), ("two", 11), ("three", 12)]) {
        return;
    }
    let tracked = || {
        let told = h.host_sh("cat /proc/sys/net/netfilter/nf_conntrack_count");
        told.parse::<u32>().unwrap()
    };
    let crowded = || h.host_sh("nft list counter bridge hostel_acl crowded | grep -o 'packets [0-9]*'");
    // They stay for as long as this takes.
    h.host_sh("echo 600 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    serve(&h, "two", 80);
    serve(&h, "three", 80);
    assert!(pings(&h, "two", "10.88.0.12", 10) && pings(&h, "two", "fd88::12", 10));
    // Who has no rules, to who has none either.
    for to in ["10.88.0.12", "fd88::12"] {
        flood(&h, "two", to);
        assert!(tracked() < LIMIT + REST, "{to}: {}", tracked());
    }
    assert_ne!(crowded(), "packets 0");
    assert!(!answers(&h, "two", "10.88.0.12", 80) && !pings(&h, "two", "10.88.0.1", 1));
    for from in ["one", "three"] {
        answered(&h, from, "10.88.0.11", 80);
    }
    answered(&h, "one", "fd88::12", 80);
    assert!(pings(&h, "three", "10.88.0.1", 10));
    // What packets put into sets is no change of somebody's.
    let counted = h.host_sh("nft list set bridge hostel_acl port_connections");
    assert!(
        counted.contains("hv") && h.audit().is_empty(),
        "{counted}\n{:?}",
        h.audit()
    );
    let set = h.run(&["set", "three", "firewall.out=deny"]);
    assert!(set.code == 0 && !set.err.contains("by hand"), "{}", set.err);
    // With another limit it has them.
    let settings = h.read("hostel.toml").replace("connections = 40", "connections = 5000");
    h.write("hostel.toml", &settings);
    assert!(!h.audit().is_empty());
    h.ok(&["audit", "--fix"]);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    flood(&h, "two", "10.88.0.12");
    assert!(tracked() > FLOOD, "{}", tracked());
    assert!(!pings(&h, "two", "10.88.0.10", 1), "the rules are in force as before");
}

/// Those of routed links are a table of their own, and each of the two tells that the other is gone.
#[test]
fn on_a_bridge_they_come_back_when_somebody_has_removed_their_table() {
    let h = House::with("metering.interval = \"1s\"");
    if !on_lan(&h, &[("one", 10), ("two", 11)]) {
        return;
    }
    ve(&h, "far", ONE);
    h.ok(&["set", "far", "firewall.in=deny"]);
    assert!(!pings(&h, "two", "10.88.0.10", 1) && h.audit().is_empty());
    let remove = |family: &str| h.host_sh(&format!("nft delete table {family} hostel_acl"));
    remove("bridge");
    assert!(pings(&h, "two", "10.88.0.10", 10));
    // Whoever changes rules of the other family.
    let said = h.run(&["set", "far", "firewall.out=deny"]);
    assert!(said.code == 0 && said.err.contains("by hand"), "{}", said.err);
    assert!(
        !pings(&h, "two", "10.88.0.10", 1) && h.audit().is_empty(),
        "{:?}",
        h.audit()
    );
    remove("inet");
    h.ok(&["restart", "two"]);
    assert!(!pings(&h, "one", ONE.0, 1) && !pings(&h, "two", "10.88.0.10", 1));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // And the manager, whatever happens meanwhile.
    let mut manager = h.manager();
    for family in ["bridge", "inet"] {
        remove(family);
        h.until("the manager has loaded it again", 60, || {
            h.host_sh("nft list tables")
                .contains(&format!("table {family} hostel_acl"))
        });
    }
    assert!(!pings(&h, "two", "10.88.0.10", 1));
    house::signal(&manager, rustix::process::Signal::TERM);
    h.until("it ends", 30, || manager.try_wait().unwrap().is_some());
}

#[test]
fn connections_and_rules_outlive_a_suspension() {
    let Some(h) = House::with_criu() else { return };
    ve(&h, "one", ONE);
    ve(&h, "two", TWO);
    let serve = "nc -l -p 7000 -e sh -c 'n=0; while read l; do n=$((n+1)); echo $n; done'";
    h.sh("one", &format!("{serve} </dev/null >/dev/null 2>&1 &"));
    h.until("it listens", 20, || h.sh("one", "netstat -tln").contains(":7000"));
    let talk = format!(
        "mkfifo /root/in; sleep 1000 >/root/in & nc {} 7000 </root/in >/root/out &",
        ONE.0
    );
    h.sh("two", &format!("({talk}) </dev/null >/dev/null 2>&1 &"));
    h.until("the client to be there", 20, || h.sh("two", "ls /root").contains("out"));
    let heard = || h.sh("two", "cat /root/out");
    h.sh("two", "echo line >/root/in");
    h.until("the first answer", 20, || heard() == "1");
    h.ok(&["set", "one", "firewall.in=deny"]);
    h.ok(&["suspend", "one"]);
    assert!(!h.host_sh("nft list tables").contains("_acl"));
    h.ok(&["resume", "one"]);
    assert!(!pings(&h, "two", ONE.0, 1));
    h.sh("two", "echo line >/root/in");
    h.until("the next answer", 30, || heard() == "1\n2");
    assert!(pings(&h, "one", TWO.0, 10));
}
