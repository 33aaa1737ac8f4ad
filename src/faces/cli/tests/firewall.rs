//! What is said of access rules.

use hostel_engine::facade::{AccessLine, AccessReport, Applied, Touch, VeChange};
use hostel_model::definition::{Direction, Verdict};

use super::golden;
use crate::cli::command::firewall::{apply, show};
use crate::cli::paint::Paint;

fn line(from: &str, number: Option<usize>, rule: &str, packets: Option<u64>) -> AccessLine {
    AccessLine {
        direction: Direction::In,
        from: from.into(),
        number,
        action: Verdict::Allow,
        rule: rule.into(),
        comment: number.map(|_| "the shop, and what is behind it".into()),
        packets,
        bytes: packets.map(|n| n * 60),
    }
}

#[test]
fn rules_and_whom_they_touch() {
    let report = AccessReport {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        state: "in force",
        rules: vec![
            line(
                "tenant acme",
                Some(2),
                "in deny tcp 22 from 198.51.100.0/24,2001:db8::/32",
                Some(7),
            ),
            line(
                "VE web1",
                Some(1),
                "in allow tcp 80,443 from ve:db1,tenant:acme",
                Some(123_456),
            ),
            line("VE web1", None, "in deny the rest", None),
        ],
    };
    let applied = Applied {
        dry_run: true,
        rules: vec![Touch {
            from: "tenant acme".into(),
            number: 2,
            rule: "in deny tcp 22 from tenant:acme".into(),
            ves: vec!["web1".parse().unwrap(), "web2".parse().unwrap()],
            peers: vec!["web2".parse().unwrap()],
        }],
        ves: vec![VeChange {
            name: "web1".parse().unwrap(),
            state: "failed",
            problem: Some("no".into()),
        }],
    };
    assert!(applied.failure().is_some());
    for (width, name) in [(80, "80"), (200, "200")] {
        let text = show::table(&report).render(Some(width), Paint::OFF);
        let whom = apply::rules(&applied).render(Some(width), Paint::OFF);
        golden(
            &format!("tests/golden/cli/firewall-{name}.txt"),
            &format!("{text}\n{whom}"),
        );
    }
}
