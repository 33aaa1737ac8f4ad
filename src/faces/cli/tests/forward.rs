//! What is said of ports of the host that lead to VEs.

use hostel_engine::facade::{ForwardReport, ForwardState};
use hostel_model::definition::Protocol;
use hostel_model::forward::PortForward;

use super::parse;
use crate::cli::command::forward::{line, list::table};
use crate::cli::paint::Paint;

#[test]
fn what_became_of_it() {
    let mut report = ForwardReport {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        protocol: Some(Protocol::Tcp),
        listen: ":8000-8010".parse().unwrap(),
        to: Some(80),
        changed: true,
        live: true,
    };
    let said = |report: &ForwardReport| line(report, "leads to port", "leads to it already");
    assert_eq!(said(&report), "web1: tcp :8000-8010 leads to port 80-90");
    report.live = false;
    assert_eq!(
        said(&report),
        "web1: tcp :8000-8010 leads to port 80-90; in force when it runs"
    );
    report.changed = false;
    assert_eq!(said(&report), "web1: tcp :8000-8010 leads to it already");
    report.protocol = None;
    assert_eq!(
        line(&report, "", "doesn't lead to it"),
        "web1: :8000-8010 doesn't lead to it"
    );
}

#[test]
fn a_line_each() {
    let state = |forward: &str, active| ForwardState {
        ve: "web1".parse().unwrap(),
        id: 101.try_into().unwrap(),
        forward: PortForward::try_from(forward.to_owned()).unwrap().into(),
        interface: "eth0".into(),
        network: "private".parse().unwrap(),
        active,
    };
    let all = [
        state("tcp 203.0.113.1:8000-8010 to 10.77.0.5:80", true),
        state("udp :53 to [fd77::5]:53", false),
    ];
    let text = table(&all).headless(true).render(None, Paint::OFF);
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            [
                "web1",
                "tcp",
                "203.0.113.1:8000-8010",
                "10.77.0.5:80-90",
                "private",
                "yes"
            ],
            ["web1", "udp", ":53", "[fd77::5]:53", "private", "no"],
        ]
    );
    let json = serde_json::to_value(&all[0]).unwrap();
    let expected = serde_json::json!({
        "ve": "web1", "id": 101, "protocol": "tcp", "listen": "203.0.113.1:8000-8010", "target": "10.77.0.5", "to": 80,
        "interface": "eth0", "network": "private", "active": true,
    });
    assert_eq!(json, expected);
}

#[test]
fn ports_are_checked_at_the_door() {
    for words in [
        "forward add web1",
        "forward add web1 203.0.113.1",
        "forward add web1 127.0.0.1:80",
        "forward add web1 :80 0",
        "forward add web1 :80 --protocol icmp",
        "forward remove web1",
    ] {
        assert_eq!(parse(words).expect_err(words).exit_code(), 2, "{words}");
    }
    for words in [
        "forward add web1 80",
        "forward add web1 [2001:db8::1]:80-90 8080 -p udp",
        "forward rm web1 :80",
        "forward ls",
    ] {
        parse(words).unwrap();
    }
}
