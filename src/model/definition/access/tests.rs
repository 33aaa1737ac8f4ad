use proptest::prelude::*;

use super::*;
use crate::definition::{Diagnostics, Tenant, VeDefinition};

const VE: &str = "id = 101\nname = \"web1\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n";

fn ve(more: &str) -> Result<Access, Diagnostics> {
    VeDefinition::parse("ve/web1.toml", &format!("{VE}{more}")).map(|ve| ve.access)
}

/// The first mistake: its line (6 is the first after those of [`VE`]) and column, its key, and what was expected.
#[track_caller]
fn fault(more: &str) -> (usize, usize, String, String) {
    let wrong = ve(more).unwrap_err();
    let first = wrong.iter().next().unwrap();
    (first.line, first.column, first.key.clone(), first.expected.clone())
}

#[test]
fn rules_are_read_in_order() {
    let access = ve("[firewall]\nin = \"deny\"\n[[firewall.rule]]\ndirection = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\n\
         ports = [\"80\", 443, \"8000-8010\"]\npeers = [\"198.51.100.0/24\", \"2001:db8::7\", \"ve:db1\", \"tenant:acme\"]\n\
         comment = \"the shop\"\n[[firewall.rule]]\ndirection = \"out\"\naction = \"deny\"\n")
    .unwrap();
    assert_eq!((access.input, access.output), (Some(Verdict::Deny), None));
    let lines: Vec<String> = access.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "in allow tcp 80,443,8000-8010 from 198.51.100.0/24,2001:db8::7,ve:db1,tenant:acme",
            "out deny all"
        ]
    );
    assert_eq!(access.rules[0].comment.as_deref(), Some("the shop"));
    assert_eq!(ve("").unwrap(), Access::default());
    let tenant = Tenant::parse("tenants/acme.toml", "[firewall]\nout = \"deny\"\n").unwrap();
    assert_eq!(tenant.access.output, Some(Verdict::Deny));
}

#[test]
fn every_mistake_has_its_place() {
    let rule = |more: &str| format!("[[firewall.rule]]\ndirection = \"in\"\naction = \"deny\"\n{more}\n");
    let cases = [
        ("[firewall]\nin = \"drop\"\n".to_owned(), 7, 6, "firewall.in", "allow"),
        ("[firewall]\nrules = []\n".to_owned(), 7, 1, "firewall.rules", "in"),
        (
            "[firewall]\nrule = 7\n".to_owned(),
            7,
            8,
            "firewall.rule",
            "[[firewall.rule]]",
        ),
        (
            "[[firewall.rule]]\naction = \"deny\"\n".to_owned(),
            6,
            1,
            "firewall.rule.0.direction",
            "in",
        ),
        (rule("protocol = \"sctp\""), 9, 12, "firewall.rule.0.protocol", "tcp"),
        (rule("ports = [\"80\"]"), 9, 9, "firewall.rule.0.ports", "protocol"),
        (
            rule("protocol = \"icmp\"\nports = [\"80\"]"),
            10,
            9,
            "firewall.rule.0.ports",
            "protocol",
        ),
        (
            rule("protocol = \"tcp\"\nports = []"),
            10,
            9,
            "firewall.rule.0.ports",
            "at least one",
        ),
        (
            rule("protocol = \"tcp\"\nports = [\"0\"]"),
            10,
            10,
            "firewall.rule.0.ports.0",
            "1 to 65535",
        ),
        (
            rule("protocol = \"tcp\"\nports = [\"9-8\"]"),
            10,
            10,
            "firewall.rule.0.ports.0",
            "lower",
        ),
        (
            rule("protocol = \"tcp\"\nports = [\"+80\"]"),
            10,
            10,
            "firewall.rule.0.ports.0",
            "a port",
        ),
        (rule("peers = []"), 9, 9, "firewall.rule.0.peers", "everybody"),
        (rule("peers = [\"web1\"]"), 9, 10, "firewall.rule.0.peers.0", "ve:"),
        (rule("peers = [\"ve:Web 1\"]"), 9, 10, "firewall.rule.0.peers.0", "ve:"),
        (
            rule("peers = [\"tag:office\"]"),
            9,
            10,
            "firewall.rule.0.peers.0",
            "tenant:",
        ),
        (
            rule("peers = [\"10.0.0.1\", \"10.0.0.1/8\"]"),
            9,
            22,
            "firewall.rule.0.peers.1",
            "\"10.0.0.0/8\"",
        ),
        (
            rule("peers = [\"::ffff:10.0.0.1\"]"),
            9,
            10,
            "firewall.rule.0.peers.0",
            "IPv4",
        ),
        (rule("port = 7"), 9, 1, "firewall.rule.0.port", "ports"),
    ];
    for (text, line, column, key, expected) in cases {
        let found = fault(&text);
        assert_eq!((found.0, found.1, found.2.as_str()), (line, column, key), "{text}");
        assert!(found.3.contains(expected), "{text}: {}", found.3);
    }
}

#[test]
fn numbers_are_bounded() {
    let rule = "[[firewall.rule]]\ndirection = \"in\"\naction = \"deny\"\n";
    assert!(ve(&rule.repeat(MAX_RULES)).is_ok());
    assert_eq!(fault(&rule.repeat(MAX_RULES + 1)).2, "firewall.rule");
    let peers = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("\"10.0.{i}.1\"")).collect();
        format!("{rule}peers = [{}]\n", list.join(", "))
    };
    assert!(ve(&peers(MAX_PEERS)).is_ok());
    assert_eq!(fault(&peers(MAX_PEERS + 1)).2, "firewall.rule.0.peers");
    let ports = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("\"{}\"", i + 1)).collect();
        format!("{rule}protocol = \"udp\"\nports = [{}]\n", list.join(", "))
    };
    assert!(ve(&ports(MAX_PORTS)).is_ok());
    assert_eq!(fault(&ports(MAX_PORTS + 1)).2, "firewall.rule.0.ports");
    let long = format!("{rule}comment = \"{}\"\n", "x".repeat(MAX_COMMENT + 1));
    assert_eq!(fault(&long).2, "firewall.rule.0.comment");
}

proptest! {
    #[test]
    fn what_is_a_peer_or_a_port_is_written_as_it_is_read(text in "(ve:|tenant:)?[a-z0-9.:/-]{0,18}") {
        if let Ok(peer) = text.parse::<Peer>() {
            prop_assert_eq!(peer.to_string().parse::<Peer>(), Ok(peer));
        }
        if let Ok(range) = text.parse::<PortRange>() {
            prop_assert!(range.first > 0 && range.first <= range.last);
            prop_assert_eq!(range.to_string().parse::<PortRange>(), Ok(range));
        }
    }
}
