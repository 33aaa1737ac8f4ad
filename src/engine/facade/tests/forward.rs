//! Ports of the host: led to a VE and away from it at once, to one VE only, and all or nothing.

use hostel_model::definition::{ForwardKeys, Protocol};
use hostel_system::net::Local;

use super::*;
use crate::facade::{ForwardReport, ForwardState};
use crate::testing::{fakes, host, order, started, with_ve};

fn keys(listen: &str, to: u16) -> ForwardKeys {
    ForwardKeys {
        protocol: Protocol::Tcp,
        listen: listen.parse().unwrap(),
        to,
        network: None,
    }
}

fn add(host: &Arc<Host>, listen: &str, to: u16) -> Result<ForwardReport> {
    engine(host).add_forward(&web1(), &keys(listen, to), &Silent)
}

fn remove(host: &Arc<Host>, listen: &str) -> Result<ForwardReport> {
    engine(host).remove_forward(&web1(), listen.parse().unwrap(), None, &Silent)
}

/// What the record has, and what the firewall has.
fn led(host: &Arc<Host>) -> (Vec<String>, Vec<String>) {
    let state = host.state(id(101)).unwrap();
    assert_eq!(state.former, None);
    let members = host.firewall.members(host.config.nft_table.as_str()).unwrap();
    let text = |all: &mut dyn Iterator<Item = hostel_model::forward::PortForward>| {
        let mut all: Vec<String> = all.map(|f| f.to_string()).collect();
        all.sort();
        all
    };
    (
        text(&mut state.forwards()),
        text(&mut members.into_iter().flat_map(|m| m.forwards)),
    )
}

fn because(e: &Error) -> String {
    crate::error::chain(e)
}

#[test]
fn a_forward_comes_and_goes_in_a_ve_that_runs() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let before = definition(&host);
    let done = add(&host, "203.0.113.99:8080", 80).unwrap();
    assert!(done.changed && done.live && done.to == Some(80), "{done:?}");
    let one = vec!["tcp 203.0.113.99:8080 to 10.77.0.2:80".to_owned()];
    assert_eq!(led(&host), (one.clone(), one.clone()));
    let inventory_before = inventory(&host);
    assert!(!add(&host, "203.0.113.99:8080", 80).unwrap().changed);
    assert_eq!(inventory(&host), inventory_before);
    // A range is led port by port.
    add(&host, ":8000-8001", 9000).unwrap();
    assert_eq!(led(&host).0[1], "tcp :8000-8001 to 10.77.0.2:9000");
    assert_eq!(led(&host).1[2], "tcp :8001 to 10.77.0.2:9001");
    let list = engine(&host).forwards(None).unwrap();
    assert!(
        list.len() == 2 && list.iter().all(|f| f.active && f.interface == "eth0"),
        "{list:?}"
    );
    remove(&host, ":8000-8001").unwrap();
    assert_eq!(led(&host), (one.clone(), one));
    // The way of an address that goes leads to another, also in the record.
    engine(&host)
        .add_address(&web1(), hostel_model::request::Wanted::Auto(None), None, &Silent)
        .unwrap();
    engine(&host)
        .remove_address(&web1(), "10.77.0.2".parse().unwrap(), &Silent)
        .unwrap();
    let moved = vec!["tcp 203.0.113.99:8080 to 10.77.0.3:80".to_owned()];
    assert_eq!(led(&host), (moved.clone(), moved));
    assert!(remove(&host, "203.0.113.99:8080").unwrap().changed);
    assert!(!remove(&host, "203.0.113.99:8080").unwrap().changed);
    assert_eq!(led(&host), (vec![], vec![]));
    assert!(
        before.contains("\"auto\"") && !definition(&host).contains("forward"),
        "{}",
        definition(&host)
    );
}

#[test]
fn a_stopped_ves_ports_are_its_own_at_once() {
    let host = host().make();
    with_ve(&host, &[]);
    let done = add(&host, ":443", 443).unwrap();
    assert!(done.changed && !done.live, "{done:?}");
    assert_eq!(led(&host), (vec!["tcp :443 to 10.77.0.2:443".to_owned()], vec![]));
    let active = |list: Vec<ForwardState>| list.iter().map(|f| f.active).collect::<Vec<_>>();
    assert_eq!(active(engine(&host).forwards(Some(&web1())).unwrap()), [false]);
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    let web2 = VeRef::Name("web2".parse().unwrap());
    let thief = |host: &Arc<Host>, listen: &str| {
        refused(host, Class::Refused, listen, |e| {
            e.add_forward(&web2, &keys(listen, 1), &Silent)
        })
    };
    for listen in [":443", "203.0.113.99:443", ":400-500"] {
        let said = because(&thief(&host, listen));
        assert!(
            said.contains("leads to web1 already") && said.contains(":443 to 10.77.0.2:443"),
            "{said}"
        );
    }
    // Another protocol and another port are free. What runs leads there, and what ends does no more.
    let mut udp = keys(":443", 1);
    udp.protocol = Protocol::Udp;
    engine(&host).add_forward(&web2, &udp, &Silent).unwrap();
    started(&host);
    assert_eq!(active(engine(&host).forwards(Some(&web1())).unwrap()), [true]);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(led(&host).1, [""; 0]);
    // Gone with it.
    act(&host, &Action::Destroy { force: false }).unwrap();
    engine(&host).add_forward(&web2, &keys(":443", 1), &Silent).unwrap();
}

/// Between two who edit their files by hand, the one that starts second is told.
#[test]
fn a_definition_changed_by_hand_is_judged_at_the_start() {
    let host = host().make();
    with_ve(&host, &[]);
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    let web2 = VeRef::Name("web2".parse().unwrap());
    engine(&host).add_forward(&web2, &keys(":80", 80), &Silent).unwrap();
    let whole = definition(&host);
    edit_by_hand(&host, &format!("{whole}\n[[forward]]\nlisten = \"203.0.113.99:80\"\n"));
    let said = refused(&host, Class::Refused, "start", |e| e.act(id(101), &start(), &Silent));
    assert!(because(&said).contains("leads to web2 already"), "{said:?}");
    edit_by_hand(&host, &format!("{whole}\n[[forward]]\nlisten = 81\n"));
    act(&host, &start()).unwrap();
    let one = vec!["tcp :81 to 10.77.0.2:81".to_owned()];
    assert_eq!(led(&host), (one.clone(), one));
}

#[test]
fn what_leads_nowhere_is_refused() {
    let lan = "kind = \"bridge\"\npools = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\ngateway = [\"192.0.2.1\", \"2001:db8:1::1\"]\n\
               host_addresses = [\"192.0.2.1\"]\n";
    let on = |networks: [&'static str; 2]| {
        let host = host().file("networks/lan.toml", lan).make();
        with_ve(
            &host,
            &[("network.0.network", networks[0]), ("network.1.network", networks[1])],
        );
        host
    };
    let host4 = crate::testing::host().make();
    with_ve(&host4, &[]);
    let said = refused(&host4, Class::Usage, "no IPv6", |e| {
        e.add_forward(&web1(), &keys("[2001:db8::9]:80", 80), &Silent)
    });
    assert!(because(&said).contains("no IPv6 address"), "{said:?}");
    // A bridge is fine where the host is its gateway, which this is for IPv4 alone.
    let host = host().file("networks/lan.toml", lan).make();
    with_ve(&host, &[("network.0.network", "lan")]);
    let said = refused(&host, Class::Refused, "past the host", |e| {
        e.add_forward(&web1(), &keys("[2001:db8::9]:80", 80), &Silent)
    });
    assert!(
        because(&said).contains("isn't the gateway of network \"lan\""),
        "{said:?}"
    );
    add(&host, ":80", 80).unwrap();
    assert_eq!(led(&host).0, ["tcp :80 to 192.0.2.2:80"]);
    // With another network that does, it goes there; which one can be said.
    let both = on(["lan", "public"]);
    add(&both, ":80", 80).unwrap();
    assert_eq!(led(&both).0, ["tcp :80 to 192.0.2.2:80", "tcp :80 to [2001:db8::2]:80"]);
    let mut named = keys(":81", 81);
    named.network = Some("public".parse().unwrap());
    engine(&both).add_forward(&web1(), &named, &Silent).unwrap();
    assert!(led(&both).0.contains(&"tcp :81 to 203.0.113.2:81".to_owned()));
    named.network = Some("private".parse().unwrap());
    let said = refused(&both, Class::Usage, "another network", |e| {
        e.add_forward(&web1(), &named, &Silent)
    });
    assert!(because(&said).contains("one of the VE's networks"), "{said:?}");
    // Nor twice in one VE.
    let said = refused(&both, Class::Usage, "twice", |e| {
        e.add_forward(&web1(), &keys("203.0.113.99:80", 8080), &Silent)
    });
    assert!(because(&said).contains("no other forward"), "{said:?}");
}

#[test]
fn what_is_odd_is_told() {
    let host = host().make();
    with_ve(&host, &[]);
    fakes(&host).network.set_local(Local {
        addresses: vec!["203.0.113.99".parse().unwrap()],
        tcp: vec!["0.0.0.0:22".parse().unwrap(), "127.0.0.1:25".parse().unwrap()],
        udp: vec!["[::]:53".parse().unwrap()],
        bridges_filtered: true,
    });
    let notes = |listen: &str| {
        let heard = Heard::default();
        engine(&host).add_forward(&web1(), &keys(listen, 80), &heard).unwrap();
        engine(&host)
            .remove_forward(&web1(), listen.parse().unwrap(), None, &Silent)
            .unwrap();
        heard.notes()
    };
    assert_eq!(notes("203.0.113.99:80"), [""; 0]);
    // Only the host itself reaches the one, and the other is of the other protocol.
    assert_eq!((notes(":25"), notes(":53")), (vec![], vec![]));
    let said = notes("203.0.113.98:80");
    assert!(
        said.len() == 1 && said[0].contains("no interface of this host has 203.0.113.98"),
        "{said:?}"
    );
    for listen in [":22", "203.0.113.99:20-30"] {
        let said = notes(listen);
        assert!(said.len() == 1 && said[0].contains("tcp 0.0.0.0:22"), "{said:?}");
    }
}

#[test]
fn an_audit_sees_what_was_changed_by_hand() {
    let host = host().make();
    with_ve(&host, &[]);
    add(&host, ":80", 80).unwrap();
    started(&host);
    let table = host.config.nft_table.as_str();
    let found = |fix| -> Vec<String> {
        let all = engine(&host).audit(fix).unwrap();
        let all = all.into_iter().filter(|o| o.kind == "firewall element");
        all.map(|o| o.object).collect()
    };
    assert_eq!(found(false), [""; 0]);
    let mut members = host.firewall.members(table).unwrap();
    members[0].forwards.clear();
    host.firewall.admit(table, &members).unwrap();
    assert_eq!(found(false), ["forwards of hv101.0"]);
    found(true);
    assert_eq!(found(false), [""; 0]);
    assert_eq!(led(&host).1, ["tcp :80 to 10.77.0.2:80"]);
}

/// What it goes on with is what it had.
#[test]
fn an_audit_removes_what_nobodys_record_has() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    fakes(&host).firewall.add_stray("tcp . 22 : 10.77.0.2 . 22");
    let audit = |fix| {
        let found = engine(&host).audit(fix).unwrap().into_iter();
        found.filter(|o| o.kind == "firewall element").collect::<Vec<_>>()
    };
    let found = audit(true);
    assert!(
        found.len() == 1 && found[0].fixed && found[0].object.contains("tcp . 22"),
        "{found:?}"
    );
    assert!(audit(false).is_empty());
}

#[test]
fn a_suspended_ves_stay_as_they_are() {
    let host = host().make();
    with_ve(&host, &[]);
    add(&host, ":80", 80).unwrap();
    started(&host);
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    assert_eq!(led(&host), (vec!["tcp :80 to 10.77.0.2:80".to_owned()], vec![]));
    for what in ["add", "remove"] {
        let said = refused(&host, Class::Refused, what, |e| match what {
            "add" => e.add_forward(&web1(), &keys(":81", 81), &Silent),
            _ => e.remove_forward(&web1(), ":80".parse().unwrap(), None, &Silent),
        });
        assert!(because(&said).contains("suspended"), "{said:?}");
    }
    act(&host, &Action::Resume).unwrap();
    assert_eq!(led(&host).1, ["tcp :80 to 10.77.0.2:80"]);
}
