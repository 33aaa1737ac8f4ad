//! What is said of tenants.

use hostel_engine::facade::{BudgetStatus, TenantStatus, TenantVe, TrafficStatus};
use hostel_model::budget::Budget;
use hostel_model::monthly::Passed;

use super::{golden, parse};
use crate::cli::command::tenant::{list::List, show};
use crate::cli::paint::Paint;

fn budget(budget: Budget, used: u64, limit: Option<u64>) -> BudgetStatus {
    BudgetStatus {
        budget,
        unit: budget.unit(),
        used: (used != u64::MAX).then_some(used),
        running: Some(0),
        limit,
    }
}

fn acme() -> TenantStatus {
    TenantStatus {
        name: "acme".into(),
        state: "suspended",
        problem: None,
        suspended: Some("unpaid since May".into()),
        description: Some("Acme Ltd., customer 4711".into()),
        contact: Some("Ann <ann@acme.example>".into()),
        tags: vec!["hosting".into(), "vip".into()],
        share: None,
        plans: Some(vec!["small".into(), "medium".into()]),
        templates: None,
        networks: Some(Vec::new()),
        ves: 3,
        running: 0,
        budgets: vec![
            budget(Budget::Ves, 3, Some(10)),
            budget(Budget::Cpu, 4500, Some(8000)),
            budget(Budget::Memory, 3 << 30, Some(2 << 30)),
            budget(Budget::Disk, 30 << 30, None),
            budget(Budget::Ipv4, 3, Some(4)),
            budget(Budget::Ipv6, 3, Some(0)),
        ],
        traffic: Some(TrafficStatus {
            month: "2026-05".into(),
            used: Some(5 << 40),
            limit: Some(10 << 40),
            ves: vec![Passed {
                ve: "old".into(),
                id: 101,
                bytes: 5 << 40,
            }],
        }),
    }
}

fn open() -> TenantStatus {
    TenantStatus {
        name: "initech-hosting-of-the-north".into(),
        state: "active",
        suspended: None,
        budgets: vec![budget(Budget::Ves, 1, None), budget(Budget::Memory, u64::MAX, None)],
        ..acme()
    }
}

fn broken() -> TenantStatus {
    TenantStatus {
        name: "globex".into(),
        state: "broken",
        problem: Some("/etc/hostel/tenants/globex.toml has mistakes".into()),
        suspended: None,
        budgets: Vec::new(),
        traffic: None,
        ..acme()
    }
}

fn ves() -> Vec<TenantVe> {
    let web1 = TenantVe {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        state: "stopped".into(),
        cpu: 1500,
        memory: Some(1 << 30),
        disk: 10 << 30,
        ipv4: 1,
        ipv6: 1,
    };
    let db1 = TenantVe {
        id: 102.try_into().unwrap(),
        name: "db1".parse().unwrap(),
        memory: None,
        ..web1.clone()
    };
    vec![web1, db1]
}

#[test]
fn tables_at_80_and_200_columns() {
    for width in [80, 200] {
        let parts = [
            List::default().table(&[acme(), broken(), open()]),
            show::block(&acme()),
            show::budgets(&acme()),
            show::shares(&ves()),
        ];
        let text = parts.map(|t| t.render(Some(width), Paint::OFF)).join("\n");
        assert!(text.lines().all(|l| l.chars().count() <= width), "{text}");
        golden(&format!("tests/golden/cli/tenant-{width}.txt"), &text);
    }
}

#[test]
fn json_of_show() {
    let json = serde_json::to_string_pretty(&show::object(&acme(), &ves())).unwrap();
    golden("tests/golden/cli/tenant.json", &format!("{json}\n"));
}

#[test]
fn what_can_be_typed() {
    for words in [
        "tenant ls -H --tag vip",
        "tenant show acme --json",
        "tenant create acme --file a.toml memory=1GiB",
        "tenant set acme memory= tags+=vip -n",
        "tenant rm acme",
        "tenant suspend acme --timeout 5s --json",
        "tenant unsuspend acme --no-start",
    ] {
        parse(words).unwrap_or_else(|e| panic!("{words}: {e}"));
    }
    for words in [
        "tenant",
        "tenant set acme",
        "tenant show",
        "tenant show Acme",
        "tenant list --tag A",
    ] {
        assert_eq!(parse(words).expect_err(words).exit_code(), 2, "{words}");
    }
}
