//! A tenant's budget for traffic: so many bytes in a month of UTC. It isn't promised to any VE but used up by all, those
//! too that are no more; so it is judged when one is to start, and not by what is defined.

use serde::Serialize;

use crate::definition::Tenant;
use crate::policy::{Sort, Violation};
use crate::units::human;

/// Its key in a tenant's definition.
pub const KEY: &str = "traffic.month";

/// How many VEs are named; the others are put together.
const NAMED: usize = 6;

/// What has passed a VE's interfaces while it was the tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Its name.
    pub ve: String,
    /// Its number. It may be another's by now.
    pub id: u32,
    /// Bytes to it and from it, but for classes that hostel.toml names.
    pub bytes: u64,
}

/// All together.
pub fn sum(passed: &[Passed]) -> u64 {
    passed.iter().fold(0, |sum, one| sum.saturating_add(one.bytes))
}

/// Who has had how much, the most first.
fn users(passed: &[Passed]) -> String {
    let mut all: Vec<&Passed> = passed.iter().filter(|one| one.bytes > 0).collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.ve.cmp(&b.ve)));
    let mut named: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|one| format!("{} has had {}", one.ve, human(one.bytes)))
        .collect();
    if all.len() > NAMED {
        let rest = all[NAMED..]
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
        named.push(format!("{} more have had {}", all.len() - NAMED, human(rest)));
    }
    named.join(", ")
}

/// What stands against the start of a VE of this tenant. `month`: `2026-10`; `next`: the first day after it.
pub fn check(tenant: &Tenant, (month, next): (&str, &str), passed: &[Passed]) -> Option<Violation> {
    let (most, used) = (tenant.traffic?, sum(passed));
    (used >= most.get()).then(|| Violation {
        sort: Sort::Grant,
        key: KEY.to_owned(),
        problem: format!(
            "of the {most} of traffic that tenant \"{}\" may have in {month}, {} are used: {}",
            tenant.name,
            human(used),
            users(passed)
        ),
        instead: format!("wait for {next}, or raise {KEY} of the tenant"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tests::tenant;

    fn passed(ve: &str, bytes: u64) -> Passed {
        Passed {
            ve: ve.to_owned(),
            id: 101,
            bytes,
        }
    }

    fn said(text: &str, all: &[Passed]) -> Option<String> {
        check(&tenant(text), ("2026-10", "2026-11-01"), all).map(|v| v.to_string())
    }

    #[test]
    fn it_is_used_up_by_all() {
        let two = [passed("web1", 1 << 20), passed("db1", 2 << 20)];
        assert_eq!(said("", &two), None);
        assert_eq!(said("traffic.month = 3145729", &two), None);
        assert_eq!(
            said("traffic.month = \"3MiB\"", &two).unwrap(),
            "traffic.month: of the 3MiB of traffic that tenant \"acme\" may have in 2026-10, 3 MiB are used: \
             db1 has had 2 MiB, web1 has had 1 MiB; wait for 2026-11-01, or raise traffic.month of the tenant"
        );
        // Nothing at all may be had, by nobody yet.
        assert!(said("traffic.month = 0", &[]).is_some());
    }

    #[test]
    fn many_are_put_together() {
        let many: Vec<Passed> = (1..=8).map(|n| passed(&format!("web{n}"), n << 10)).collect();
        let text = said("traffic.month = 1", &many).unwrap();
        assert!(
            text.contains("web8 has had 8 KiB, ") && text.contains("web3 has had 3 KiB, 2 more have had 3 KiB;"),
            "{text}"
        );
    }
}
