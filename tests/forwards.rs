//! Networks of kind "nat", and ports of the host that lead to VEs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;
mod outside;

use house::House;
use outside::Outside;
use serde_json::Value;

/// The host's addresses towards the world.
const HOST: [&str; 2] = ["198.51.100.1", "2001:db8:5::1"];

/// A machine outside that has a way to the private pool.
fn outside(h: &House) -> Outside {
    let outside = Outside::in_subnet(h);
    outside.sh("ip route add 10.77.0.0/24 via 198.51.100.1; ip route add fd77:7c3e:9a51:77::/64 via 2001:db8:5::1");
    outside
}

/// What asks for the name of whoever serves there; nothing where nobody does.
fn asking(host: &str, port: u16) -> String {
    format!("printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 {host} {port} 2>/dev/null | tail -n 1")
}

/// Serves its name on these ports.
fn serve(h: &House, ve: &str, ports: &[u16]) {
    h.sh(ve, &format!("mkdir -p /srv && echo {ve} >/srv/who"));
    for port in ports {
        h.sh(ve, &format!("httpd -p {port} -h /srv"));
    }
}

fn list(h: &House) -> Vec<Value> {
    let text = h.ok(&["forward", "list", "--json"]);
    serde_json::from_str::<Value>(&text)
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

fn active(h: &House) -> Vec<bool> {
    list(h).iter().map(|f| f["active"] == true).collect()
}

/// A house with a machine outside and the VEs a and b, of which a serves its name on port 80.
fn with_ves() -> (House, Outside) {
    let h = House::new();
    let outside = outside(&h);
    h.busybox("a");
    h.busybox("b");
    serve(&h, "a", &[80]);
    (h, outside)
}

#[test]
fn a_nat_network_is_reached_from_outside_by_forwards_alone() {
    let (h, outside) = with_ves();
    let kind = h.ok(&["network", "list", "-H", "-o", "name,kind"]);
    assert!(
        kind.split_whitespace().eq(["private", "nat", "private", "nat"]),
        "{kind}"
    );
    let text = h.ok(&["network", "show", "private"]);
    assert!(
        text.lines().any(|l| l.split_whitespace().eq(["masquerade", "yes"])),
        "{text}"
    );
    let addresses = h.status("a", "addresses");
    for address in addresses.as_array().unwrap() {
        let address = address.as_str().unwrap();
        let ask = asking(address, 80);
        assert_eq!(outside.sh(&ask), "");
        assert_eq!(h.sh("b", &ask), "a");
        assert_eq!(h.host_sh(&ask), "a");
    }
    // The way out is as ever.
    assert!(h.sh("a", "ping -c 1 -w 5 198.51.100.2").contains("1 packets received"));
    // At once, while it runs.
    h.ok(&["forward", "add", "a", "198.51.100.1:8080", "80"]);
    h.ok(&["forward", "add", "a", "[2001:db8:5::1]:8080", "80"]);
    for host in HOST {
        let ask = asking(host, 8080);
        assert_eq!(outside.sh(&ask), "a");
        for ve in ["a", "b"] {
            assert_eq!(h.sh(ve, &ask), "a", "{ve}");
        }
        assert_eq!(h.host_sh(&ask), "a");
    }
    // A definition by hand keeps "masquerade = false" from being believed.
    let path = "etc/networks/private.toml";
    let good = h.read(path);
    h.write(path, &format!("{good}masquerade = false\n"));
    let said = h.fails(2, &["network", "show", "private"]);
    assert!(
        said.contains("private.toml:") && said.contains("always has the host's address"),
        "{said}"
    );
    h.write(path, &good);
}

#[test]
fn forwards_are_written_listed_and_removed() {
    let (h, outside) = with_ves();
    let before = h.read("etc/ve/a.toml");
    let said = h.run(&["forward", "add", "a", ":8000-8002", "80-82"]);
    assert!(
        said.code == 0 && said.err.contains("a: tcp :8000-8002 leads to port 80-82"),
        "{}",
        said.err
    );
    h.ok(&["forward", "add", "a", "198.51.100.1:5353", "53", "--protocol", "udp"]);
    let said = h.run(&["forward", "add", "a", ":8000-8002", "80"]);
    assert!(
        said.code == 0 && said.err.contains("leads to it already"),
        "{}",
        said.err
    );
    let text = h.read("etc/ve/a.toml");
    assert!(text.starts_with(&before), "{text}");
    assert!(text.ends_with(
        "[[forward]]\nlisten = \":8000-8002\"\nto = 80\n\n[[forward]]\nprotocol = \"udp\"\nlisten = \"198.51.100.1:5353\"\nto = 53\n"
    ));
    let shown = h.ok(&["show", "a"]);
    assert!(
        shown.contains("forward.0.listen") && shown.contains(":8000-8002"),
        "{shown}"
    );
    let all = list(&h);
    assert_eq!(all.len(), 3, "{all:?}");
    let udp = all.iter().find(|f| f["protocol"] == "udp").unwrap();
    let expected = ("198.51.100.1:5353", 53, "eth0", "private", true);
    assert_eq!(
        (
            &udp["listen"],
            &udp["to"],
            &udp["interface"],
            &udp["network"],
            &udp["active"]
        ),
        (
            &expected.0.into(),
            &expected.1.into(),
            &expected.2.into(),
            &expected.3.into(),
            &expected.4.into()
        )
    );
    let table = h.ok(&["forward", "list", "a"]);
    assert!(
        table
            .lines()
            .any(|l| l.contains(":8000-8002") && l.contains(":80-82") && l.contains("yes")),
        "{table}"
    );
    // The range: one server more, at the end of it.
    serve(&h, "a", &[82]);
    for host in HOST {
        assert_eq!(outside.sh(&asking(host, 8002)), "a");
        assert_eq!(outside.sh(&asking(host, 8003)), "");
    }
    // A stopped VE's are its own, and in force when it runs again.
    h.ok(&["stop", "a"]);
    assert_eq!(active(&h), [false; 3]);
    let said = h.fails(4, &["forward", "add", "b", "198.51.100.1:8001"]);
    assert!(said.contains("leads to a already"), "{said}");
    h.ok(&["start", "a"]);
    serve(&h, "a", &[80]);
    assert_eq!(outside.sh(&asking(HOST[0], 8000)), "a");
    h.ok(&["kill", "a"]);
    h.until("it is cleared", 10, || {
        active(&h) == [false; 3] && h.state("a") == "stopped"
    });
    h.ok(&["start", "a"]);
    assert_eq!(active(&h), [true; 3]);
    // Away with them: the ports are free, and the definition is as it was.
    h.ok(&["forward", "remove", "a", ":8000-8002"]);
    let said = h.run(&["forward", "rm", "a", ":8000-8002"]);
    assert!(
        said.code == 0 && said.err.contains("doesn't lead to it"),
        "{}",
        said.err
    );
    h.ok(&["forward", "rm", "a", "198.51.100.1:5353"]);
    assert_eq!(h.read("etc/ve/a.toml").trim_end(), before.trim_end());
    assert_eq!(outside.sh(&asking(HOST[0], 8000)), "");
    serve(&h, "b", &[80]);
    h.ok(&["forward", "add", "b", ":8000", "80"]);
    assert_eq!(outside.sh(&asking(HOST[0], 8000)), "b");
}

#[test]
fn an_edit_a_flush_and_an_orphan() {
    let (h, outside) = with_ves();
    let ask = asking(HOST[0], 8080);
    let text = h.read("etc/ve/a.toml");
    // As an editor writes it.
    h.write(
        "editor",
        "printf '\\n[[forward]]\\nlisten = 8080\\nto = 80\\n' >>\"$1\"\n",
    );
    let mut command = h.command(&["edit", "a"]);
    command.env("EDITOR", format!("sh {}", h.dir.join("editor").display()));
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(outside.sh(&ask), "a");
    // A firewall flushed by hand knows of it when it is whole again.
    h.host_sh("nft flush ruleset");
    assert_eq!(outside.sh(&ask), "");
    assert!(!h.audit().is_empty());
    h.ok(&["audit", "--fix"]);
    assert_eq!(outside.sh(&ask), "a");
    // An element that is changed by hand, and one of nobody's VE.
    h.host_sh("nft delete element inet hostel forward_any4 { tcp . 8080 }");
    let found = h.audit();
    assert!(
        found.len() == 1 && found[0]["object"] == "forwards of hv101.0",
        "{found:?}"
    );
    h.host_sh("nft 'add element inet hostel forward_any4 { tcp . 9999 comment \"hv999.0\" : 10.77.0.9 . 80 }'");
    let found = h.audit();
    assert!(
        found.len() == 2 && found.iter().any(|o| o["object"] == "hv999.0"),
        "{found:?}"
    );
    h.ok(&["audit", "--fix"]);
    assert_eq!(outside.sh(&ask), "a");
    let rules = h.host_sh("nft list ruleset");
    assert!(!rules.contains("9999"), "{rules}");
    // By hand, past Hostel: what the record has is in force until the next start, which judges it.
    h.ok(&["forward", "add", "b", ":8081"]);
    h.write("etc/ve/a.toml", &format!("{text}\n[[forward]]\nlisten = 8081\n"));
    assert_eq!(outside.sh(&ask), "a");
    h.ok(&["stop", "a"]);
    let said = h.fails(4, &["start", "a"]);
    assert!(said.contains("leads to b already"), "{said}");
    h.write("etc/ve/a.toml", &text);
    h.ok(&["start", "a"]);
    assert_eq!(list(&h).len(), 2, "b's, of both families");
}

#[test]
fn bad_forwards_are_refused_where_they_are_wrong() {
    let h = House::new();
    h.busybox("a");
    let good = h.read("etc/ve/a.toml");
    for (forward, place, reason) in [
        ("listen = \"198.51.100.1\"", ":1", "an address and a port"),
        ("listen = \"127.0.0.1:80\"", ":1", "loopback"),
        ("listen = \"0.0.0.0:80\"", ":1", "\":80\""),
        ("listen = 0", ":1", "a port"),
        ("listen = \":80-90\"\nto = \"80-89\"", ":2", "11 ports"),
        ("listen = \":80\"\nprotocol = \"sctp\"", ":2", "\"tcp\" or \"udp\""),
        ("listen = \":80\"\nnetwork = \"lan\"", ":2", "one of the VE's networks"),
        ("listen = \":1-5000\"", "", "at most 4096 ports"),
        ("to = 80", "", "listen"),
    ] {
        let text = format!("{good}\n[[forward]]\n{forward}\n");
        let lines = good.lines().count() + 2;
        h.write("etc/ve/a.toml", &text);
        let place = place
            .strip_prefix(':')
            .map(|n| format!("a.toml:{}:", lines + n.parse::<usize>().unwrap()));
        let said = h.fails(2, &["show", "a"]);
        assert!(
            said.contains(&place.unwrap_or_default()) && said.contains(reason),
            "{forward}\n{said}"
        );
    }
    h.write("etc/ve/a.toml", &good);
    let said = h.run(&["forward", "add", "a", "203.0.113.77:80"]);
    assert!(
        said.code == 0 && said.err.contains("no interface of this host has 203.0.113.77 now"),
        "{}",
        said.err
    );
    let said = h.fails(2, &["forward", "add", "a", "203.0.113.77:80", "81"]);
    assert!(said.contains("no other forward"), "{said}");
    h.fails(2, &["set", "a", "forward.0.to=81"]);
    // On a bridge that Hostel isn't the gateway of, the answer would not come back.
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.88.0.1\"]\n",
    );
    h.busybox_with("c", &["network.0.network=lan"]);
    let said = h.fails(4, &["forward", "add", "c", ":80"]);
    assert!(said.contains("isn't the gateway of network \"lan\""), "{said}");
}

#[test]
fn a_suspended_ve_takes_its_forwards_along() {
    let Some(h) = House::with_criu() else { return };
    let outside = outside(&h);
    h.busybox("a");
    serve(&h, "a", &[80]);
    h.ok(&["forward", "add", "a", ":8080", "80"]);
    h.ok(&["suspend", "a"]);
    assert_eq!(active(&h), [false; 2]);
    h.fails(4, &["forward", "remove", "a", ":8080"]);
    h.ok(&["resume", "a"]);
    assert_eq!(active(&h), [true; 2]);
    assert_eq!(outside.sh(&asking(HOST[0], 8080)), "a");
}
