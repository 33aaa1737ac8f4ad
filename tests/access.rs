//! Access rules: who reaches a VE and whom it reaches, as guests see it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

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

#[test]
fn on_a_bridge_they_are_in_force_or_refused() {
    let h = House::new();
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\ngateway = [\"10.88.0.1\", \"fd88::1\"]\n\
         host_addresses = [\"10.88.0.1\", \"fd88::1\"]\n",
    );
    let on_lan = |addresses: &str| {
        [
            "network.0.network=lan".to_owned(),
            format!("network.0.addresses={addresses}"),
        ]
    };
    for (name, addresses) in [("one", "10.88.0.10,fd88::10"), ("two", "10.88.0.11,fd88::11")] {
        let [network, addresses] = on_lan(addresses);
        h.busybox_with(name, &[&network, &addresses]);
    }
    assert!(pings(&h, "two", "10.88.0.10", 10));
    let set = h.run(&["set", "one", "firewall.in=deny"]);
    if set.code != 0 {
        assert!(
            set.err.contains("network lan is of kind bridge") && set.err.contains("nf_conntrack_bridge"),
            "{}",
            set.err
        );
        assert!(!h.read("etc/ve/one.toml").contains("firewall"));
        println!("skipped because this kernel can't track connections on bridges");
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
