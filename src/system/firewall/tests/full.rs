//! What a VE may not send is dropped also where everything else is on: access rules that allow all, forwards, limits,
//! classes of traffic; and after the rules were loaded anew.

use hostel_model::definition::{HostConfig, Tenant, Verdict};
use hostel_model::resolve::AccessRules;

use super::*;
use crate::firewall::testing::Wire;
use crate::firewall::traffic::{Counted, Counters, Counting, NftCounters};
use crate::firewall::{Access, Guard, NftAccess, Peers};
use crate::net::testing::network;
use crate::net::{Direction, Network, Pace, Shape};

const ACL: &str = "hostel_test_acl";
/// More than what a test sends.
const RATE: u64 = 1_000_000_000;

/// All that a VE's own owner and its tenant can allow.
fn open_rules() -> AccessRules {
    let text = "[firewall]\n[[firewall.rule]]\ndirection = \"out\"\naction = \"allow\"\n[[firewall.rule]]\n\
                direction = \"in\"\naction = \"allow\"\n";
    AccessRules {
        tenant: Vec::new(),
        own: Tenant::parse("tenants/t.toml", text).unwrap().access.rules,
        input: Verdict::Allow,
        output: Verdict::Allow,
    }
}

fn guard(member: &Member) -> Guard {
    let id = member.interface.trim_start_matches("hv").trim_end_matches(".0");
    let name = vec![member.interface.clone()];
    let (links, ports) = match member.port {
        None => (name, Vec::new()),
        Some(_) => (Vec::new(), name),
    };
    Guard {
        ve: id.parse().unwrap(),
        links,
        ports,
        rules: open_rules(),
    }
}

fn counting(bridged: bool) -> Counting {
    let classes = "[[traffic]]\nname = \"lan\"\nprefixes = [\"192.0.2.0/24\", \"2001:db8::/64\"]\n";
    Counting {
        table: "hostel_test_traffic".into(),
        prefix: "hv".into(),
        classes: HostConfig::parse("hostel.toml", classes).unwrap().traffic,
        bridged,
    }
}

fn limits(interface: &str) -> Shape {
    let pace = Some(Pace {
        rate: RATE,
        burst: None,
    });
    let way = |device: &str| Direction {
        device: device.to_owned(),
        whole: pace,
        links: vec![(interface.to_owned(), pace)],
    };
    Shape {
        alias: "hostel VE 101".to_owned(),
        inward: way("hv101.i"),
        outward: way("hv101.o"),
    }
}

/// Turns on all that there is for these members, of whom the first also has ports of the host.
fn turn_on(host: &Space, rules: &Ruleset, mut members: Vec<Member>) -> Ruleset {
    let bridged = members[0].port.is_some();
    let first = &mut members[0];
    let port = |target: &std::net::IpAddr| {
        let text = match target.is_ipv6() {
            true => format!("tcp :8080 to [{target}]:80"),
            false => format!("tcp :8080 to {target}:80"),
        };
        text.try_into().unwrap_or_else(|e| panic!("{e}"))
    };
    first.forwards = first.addresses.iter().map(port).collect();
    if !bridged {
        first.hairpin.clone_from(&first.addresses);
    }
    let rules = Ruleset {
        members,
        ..rules.clone()
    };
    let guards: Vec<Guard> = rules.members.iter().map(guard).collect();
    let counted: Vec<Counted> = rules
        .members
        .iter()
        .map(|m| Counted {
            interface: m.interface.clone(),
            port: bridged,
        })
        .collect();
    host.run(|| {
        firewall().ensure(&rules).unwrap();
        let access = NftAccess::new("hv", None);
        if !bridged || access.bears_ports(ACL).unwrap() {
            access.replace(ACL, &guards, &Peers::new()).unwrap();
        }
        NftCounters::default().load(&counting(bridged), &counted).unwrap();
        if network().unable_to_shape().unwrap().is_none() {
            network().shape(&limits(&rules.members[0].interface)).unwrap();
        }
    });
    rules
}

/// None of these frames arrives, and what is honest does: at first, when all rules are loaded anew, and after that.
fn none_arrives(host: &Space, rules: &Ruleset, [one, two]: [&Space; 2], honest: &dyn Fn(&Wire, &str), bad: &[Vec<u8>]) {
    let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    let mut send = |when: &str| {
        bad.iter().for_each(|frame| sender.send(frame));
        honest(&sender, when);
        expected.push(when.to_owned());
        seen.extend(receiver.wait_for(when));
    };
    send("at first");
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| {
            for _ in 0..5 {
                host.run(|| firewall().replace(rules)).unwrap();
            }
        });
        let mut n = 0;
        while !reload.is_finished() {
            n += 1;
            send(&format!("while they are loaded, {n}"));
        }
        reload.join().unwrap();
    });
    send("after that");
    assert_eq!(seen, expected);
}

#[test]
fn nothing_forbidden_passes_a_link_with_everything_on() {
    let Some((host, one, two)) = two_members() else { return };
    let members = vec![
        member(101, &["192.0.2.10", "2001:db8::10"]),
        member(102, &["198.51.100.7", "2001:db8:2::7"]),
    ];
    let mut rules = masquerading(&["192.0.2.0/24"]);
    rules.nat.closed = vec!["192.0.2.0/24".parse().unwrap()];
    let rules = turn_on(&host, &rules, members);
    let (mac, gateway) = spoofing::macs(&host);
    let bad: Vec<Vec<u8>> = spoofing::forbidden(mac, gateway).into_iter().map(|(_, f)| f).collect();
    let honest = |wire: &Wire, text: &str| wire.send(&spoofing::honest(mac, gateway, text));
    none_arrives(&host, &rules, [&one, &two], &honest, &bad);
}

#[test]
fn nothing_forbidden_passes_a_port_with_everything_on() {
    let Some((host, one, two)) = bridge::two_ports(bridge::on_side(7), bridge::on_side(7)) else {
        return;
    };
    let members = vec![
        bridge::port(101, bridge::on_side(7)),
        bridge::port(102, bridge::on_side(7)),
    ];
    let rules = turn_on(&host, &bridge::rules(), members);
    let (mac, to) = bridge::macs();
    let bad: Vec<Vec<u8>> = bridge::forbidden(mac, to).into_iter().map(|(_, f)| f).collect();
    let honest = |wire: &Wire, text: &str| wire.send(&bridge::honest(mac, to, text));
    none_arrives(&host, &rules, [&one, &two], &honest, &bad);
}
