//! The network on the real kernel, with `ip` and `ping` as witnesses.

mod announce;
mod astray;
mod big_tcp;
mod bridge;
mod proxy;

use super::testing::{Space, add_ve, host_and_ve, link, network};
use super::{Counters, FakeNetwork, Link, Need, Network};
use crate::error::Kind;

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

#[test]
fn host_and_ve_reach_each_other() {
    let Some((host, ve)) = host_and_ve(101, &[V4, V6]) else {
        return;
    };
    host.ip("addr add 203.0.113.1/32 dev lo");
    host.ip("addr add 2001:db8:1::1/128 dev lo");
    // The first packet must come through: there is nothing to wait for.
    assert!(host.reaches(V4));
    assert!(host.reaches(V6));
    for target in ["169.254.1.1", "203.0.113.1", "2001:db8:1::1", "fe80::1%eth0"] {
        assert!(ve.reaches(target), "{target}");
    }
}

/// All that the kernel acknowledges fits where it waits to be read.
#[test]
fn a_ve_with_hundreds_of_addresses() {
    let all: Vec<String> = (0..500_u32)
        .map(|n| format!("192.0.{}.{}", 2 + n / 250, 1 + n % 250))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let Some((host, ve)) = host_and_ve(101, &all) else {
        return;
    };
    assert!(host.ping(all[0], 5) && host.ping(all[499], 5));
    let shown = ve.ip_json("addr show eth0");
    assert!(shown[0]["addr_info"].as_array().is_some_and(|has| has.len() >= 500));
}

#[test]
fn ves_reach_each_other() {
    let Some((host, one)) = host_and_ve(101, &[V4, V6]) else {
        return;
    };
    let Some(two) = add_ve(&host, 102, &["198.51.100.7", "2001:db8:2::7"]) else {
        return;
    };
    for target in ["198.51.100.7", "2001:db8:2::7"] {
        assert!(one.reaches(target), "{target}");
    }
    for target in [V4, V6] {
        assert!(two.reaches(target), "{target}");
    }
}

#[test]
fn both_ends_are_as_described() {
    let Some((host, ve)) = host_and_ve(101, &[V4, V6]) else {
        return;
    };
    let shown = &host.ip_json("-d link show hv101.0")[0];
    assert_eq!(shown["ifalias"], "hostel VE 101");
    assert_eq!(shown["group"], super::GROUP.to_string());
    assert_eq!(shown["inet6_addr_gen_mode"], "none");
    assert_eq!(shown["operstate"], "UP");
    let end = &ve.ip_json("-d link show eth0")[0];
    assert_eq!(end["address"], "02:00:00:00:65:00");
    assert_eq!((&end["operstate"], &end["mtu"]), (&"UP".into(), &1500.into()));
    assert!(ve.ip("link show lo").contains("LOWER_UP"));

    let addresses = |space: &Space, name: &str| {
        let shown = space.ip_json(&format!("addr show {name}"));
        let list = shown[0]["addr_info"].as_array().unwrap().clone();
        let text =
            |a: &serde_json::Value| format!("{}/{} {}", a["local"].as_str().unwrap(), a["prefixlen"], a["scope"]);
        list.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(
        addresses(&host, "hv101.0"),
        ["169.254.1.1/32 \"link\"", "fe80::1/64 \"link\""]
    );
    let own = addresses(&ve, "eth0");
    assert!(
        own.contains(&format!("{V4}/32 \"global\"")) && own.contains(&format!("{V6}/128 \"global\"")),
        "{own:?}"
    );
    assert!(!ve.ip("-6 addr show eth0 scope global").contains("tentative"));

    let settings = [("rp_filter", "1"), ("forwarding", "1"), ("accept_redirects", "0")];
    for (key, value) in settings {
        assert_eq!(host.sysctl(&format!("ipv4/conf/hv101.0/{key}")), value, "{key}");
    }
    for (key, value) in [
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("forwarding", "1"),
        ("accept_redirects", "0"),
    ] {
        assert_eq!(host.sysctl(&format!("ipv6/conf/hv101.0/{key}")), value, "{key}");
    }
    assert!(
        host.ip("neigh show dev hv101.0")
            .lines()
            .filter(|l| l.contains("PERMANENT"))
            .count()
            == 2
    );
}

#[test]
fn a_link_without_addresses_is_up_and_no_more() {
    let Some((host, ve)) = host_and_ve(101, &[]) else {
        return;
    };
    assert_eq!(host.ip_json("link show hv101.0")[0]["operstate"], "UP");
    assert_eq!(ve.ip_json("link show eth0")[0]["operstate"], "UP");
    assert_eq!(host.ip_json("addr show hv101.0")[0]["addr_info"], serde_json::json!([]));
    assert_eq!(ve.ip("route").trim(), "");
    assert_eq!(host.ip("route show proto 104").trim(), "");
}

#[test]
fn the_mtu_holds_on_both_ends() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    let wide = Link {
        mtu: Some(9000),
        ..link(101, 0, &[V4])
    };
    host.run(|| network().attach(ve.fd(), &[wide])).unwrap();
    assert_eq!(host.ip_json("link show hv101.0")[0]["mtu"], 9000);
    assert_eq!(ve.ip_json("link show eth0")[0]["mtu"], 9000);
}

#[test]
fn attaching_twice_replaces_the_link() {
    let Some((host, ve)) = host_and_ve(101, &[V4]) else {
        return;
    };
    host.run(|| network().attach(ve.fd(), &[link(101, 0, &["192.0.2.11", V6])]))
        .unwrap();
    assert_eq!(host.interfaces(), ["hv101.0"]);
    assert_eq!(ve.interfaces(), ["eth0"]);
    let found = host.run(|| network().list("hv")).unwrap();
    assert_eq!(
        found[0].addresses,
        ["192.0.2.11".parse::<std::net::IpAddr>().unwrap(), V6.parse().unwrap()]
    );
    assert!(host.reaches("192.0.2.11") && !host.ping(V4, 1));
}

#[test]
fn a_half_made_link_is_ours_all_the_same() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    host.ip(&format!(
        "link add hv101.0 group {} type veth peer name x0",
        super::GROUP
    ));
    let found = host.run(|| network().list("hv")).unwrap();
    assert_eq!((found[0].name.as_str(), found[0].alias.as_str()), ("hv101.0", ""));
    host.run(|| network().attach(ve.fd(), &[link(101, 0, &[V4])])).unwrap();
    assert_eq!(host.interfaces(), ["hv101.0"]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    host.ip("link add hv101.0 type veth peer name x0");
    host.ip("link set x0 alias mine");
    let refused = host
        .run(|| network().attach(ve.fd(), &[link(101, 0, &[V4])]))
        .unwrap_err();
    assert_eq!(refused.kind, Kind::Exists);
    assert!(refused.hint.is_some());
    let names = ["hv102.0".to_owned(), "hv101.0".to_owned()];
    host.run(|| network().attach(ve.fd(), &[link(102, 0, &[V4])])).unwrap();
    assert_eq!(host.run(|| network().detach(&names)).unwrap_err().kind, Kind::Exists);
    assert_eq!(host.run(|| network().list("hv")).unwrap().len(), 1);
    let mut left = host.interfaces();
    left.sort();
    assert_eq!(left, ["hv101.0", "hv102.0", "x0"]);
}

#[test]
fn a_failure_undoes_all() {
    let Some((host, _first)) = host_and_ve(101, &[V4]) else {
        return;
    };
    let Some(ve) = Space::new() else { return };
    let links = [link(102, 0, &["192.0.2.20", V6]), link(102, 1, &[V4])];
    let refused = host.run(|| network().attach(ve.fd(), &links)).unwrap_err();
    assert_eq!(refused.kind, Kind::Exists);
    assert_eq!(refused.to_string(), "cannot add route to 192.0.2.10 by hv102.1");
    assert_eq!(host.interfaces(), ["hv101.0"]);
    assert_eq!(ve.interfaces(), Vec::<String>::new());
    assert!(!host.ip("route").contains("192.0.2.20"));

    ve.ip("link add eth1 type veth peer name y1");
    let refused = host
        .run(|| network().attach(ve.fd(), &[links[0].clone(), link(102, 1, &[])]))
        .unwrap_err();
    assert!(refused.hint.unwrap().contains("eth1"));
    assert_eq!(host.interfaces(), ["hv101.0"]);
    assert_eq!(ve.interfaces().len(), 2);
}

#[test]
fn detaching_leaves_nothing() {
    let Some((host, ve)) = host_and_ve(101, &[V4, V6]) else {
        return;
    };
    let before = |space: &Space| {
        (
            space.ip("addr"),
            space.ip("route show table all"),
            space.ip("-6 route show table all"),
        )
    };
    let Some(blank) = Space::new() else { return };
    let names = ["hv101.0".to_owned(), "hv555.0".to_owned()];
    host.run(|| network().detach(&names)).unwrap();
    host.run(|| network().detach(&names)).unwrap();
    assert_eq!(before(&host), before(&blank));
    assert_eq!(before(&ve), before(&blank));
    assert_eq!(host.ip("neigh").trim(), "");
    assert!(host.run(|| network().list("hv")).unwrap().is_empty());
}

#[test]
fn the_list_shows_ours_with_this_prefix_only() {
    let Some((host, ve)) = host_and_ve(101, &[V6, V4, "198.51.100.9"]) else {
        return;
    };
    host.ip("link add hv102.0 type veth peer name hv103.0");
    host.ip("link add hvc0 type veth peer name hvc1");
    host.ip("route add 203.0.113.99/32 dev hv101.0");
    let other = Link {
        host_name: "hx101.0".into(),
        guest_name: "eth9".into(),
        ..link(101, 9, &[])
    };
    host.run(|| network().attach(ve.fd(), &[other])).unwrap();
    let found = host.run(|| network().list("hv")).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].alias.as_str()),
        ("hv101.0", "hostel VE 101")
    );
    let addresses: Vec<String> = found[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, [V4, "198.51.100.9", V6]);
}

#[test]
fn counters_count_from_the_hosts_side() {
    let Some((host, ve)) = host_and_ve(101, &[V4]) else {
        return;
    };
    let count = |name: &str| host.run(|| network().counters(name)).unwrap();
    let before = count("hv101.0").unwrap();
    // Requests without an answer: the VE sends, the host drops.
    ve.output("ping", "-n -c 5 -i 0.01 -W 0.1 -s 1000 203.0.113.77");
    let after = count("hv101.0").unwrap();
    let sent = after.rx_bytes - before.rx_bytes;
    assert!((5 * 1000..20_000).contains(&sent), "{before:?} {after:?}");
    assert!(after.rx_packets - before.rx_packets >= 5);
    assert_eq!(count("hv404.0"), None);
}

#[test]
fn preparing_the_host_is_told_once() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    host.ip("link add up0.5 type veth peer name up1");
    // A new namespace begins with the settings of the machine's own, which may forward already.
    host.set_sysctl("ipv4/ip_forward", "0");
    host.set_sysctl("ipv6/conf/all/forwarding", "0");
    let prepare = || host.run(|| network().prepare_host()).unwrap();
    let changes = prepare();
    assert!(
        changes.contains(&"net.ipv4.ip_forward: 0 -> 1".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"net.ipv6.conf.up0/5.accept_ra: 1 -> 2".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"net.ipv6.conf.all.forwarding: 0 -> 1".to_owned()),
        "{changes:?}"
    );
    assert_eq!(prepare(), Vec::<String>::new());
    let unprepared = || host.run(|| network().unprepared()).unwrap();
    assert_eq!(unprepared(), []);
    // One of both may be off, and what isn't asked for stays as somebody set it.
    host.set_sysctl("ipv4/ip_forward", "0");
    host.set_sysctl("ipv6/conf/up0.5/accept_ra", "0");
    assert_eq!(unprepared(), [(Need::Forwarding, "net.ipv4.ip_forward".to_owned())]);
    assert_eq!(prepare(), ["net.ipv4.ip_forward: 0 -> 1"]);
    assert_eq!(host.sysctl("ipv6/conf/up0.5/accept_ra"), "0");
    assert_eq!(
        (host.sysctl("ipv4/ip_forward"), ve.sysctl("ipv4/ip_forward")),
        ("1".into(), "0".into())
    );
}

#[test]
fn a_second_interface_answers_by_itself() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    host.run(|| network().prepare_host()).unwrap();
    host.ip("addr add 203.0.113.1/32 dev lo");
    let links = [
        link(101, 0, &[V4, V6]),
        link(101, 1, &["198.51.100.8", "2001:db8:8::8"]),
    ];
    host.run(|| network().attach(ve.fd(), &links)).unwrap();
    // Strict reverse path filtering drops what comes by the wrong interface: these answers came by the right one.
    for target in [V4, V6, "198.51.100.8", "2001:db8:8::8"] {
        assert!(host.reaches(target), "{target}");
    }
    assert!(ve.reaches("-I 198.51.100.8 203.0.113.1"));
    host.run(|| network().attach(ve.fd(), &links))
        .expect("again, with the rules of the first time still there");
}

#[test]
fn wrong_links_touch_nothing() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    let wrong = Link {
        host_name: "../x".into(),
        ..link(101, 0, &[V4])
    };
    let refused = host
        .run(|| network().attach(ve.fd(), &[link(102, 1, &[V6]), wrong]))
        .unwrap_err();
    assert_eq!(refused.kind, Kind::Invalid);
    assert!(host.interfaces().is_empty());
}

#[test]
fn a_descriptor_that_is_no_namespace_is_refused() {
    let Some(host) = Space::new() else { return };
    let file = std::fs::File::open("/dev/null").unwrap();
    let refused = host
        .run(|| network().attach(std::os::fd::AsFd::as_fd(&file), &[link(101, 0, &[V4])]))
        .unwrap_err();
    assert_eq!(refused.to_string(), "cannot enter a namespace of the VE");
    assert!(host.interfaces().is_empty());
}

#[test]
fn the_fake_behaves() {
    let fake = FakeNetwork::new();
    let file = std::fs::File::open("/dev/null").unwrap();
    let netns = std::os::fd::AsFd::as_fd(&file);
    fake.attach(netns, &[link(101, 0, &[V4])]).unwrap();
    fake.attach(netns, &[link(101, 0, &[V4])]).unwrap();
    assert_eq!(
        fake.attach(netns, &[link(102, 0, &[V4])]).unwrap_err().kind,
        Kind::Exists
    );
    fake.set_counters(
        "hv101.0",
        Counters {
            rx_bytes: 5,
            ..Counters::default()
        },
    );
    assert_eq!(fake.counters("hv101.0").unwrap().unwrap().rx_bytes, 5);
    assert_eq!(fake.list("hv").unwrap().len(), 1);
    fake.fail_method(Some("detach"));
    assert!(fake.detach(&["hv101.0".into()]).is_err());
    fake.fail_method(None);
    fake.fail_call(1);
    assert!(fake.detach(&["hv101.0".into()]).is_err());
    fake.detach(&["hv101.0".into()]).unwrap();
    assert!(fake.links().is_empty() && fake.counters("hv101.0").unwrap().is_none());
}

#[test]
fn the_first_packet_comes_through() {
    for _ in 0..40 {
        let Some((host, _ve)) = host_and_ve(101, &[V4]) else {
            return;
        };
        assert!(host.reaches(V4));
    }
}
