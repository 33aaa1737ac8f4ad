//! What VEs take of their tenant's budgets, and what is more than one of them holds.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::definition::{Addresses, Tenant};
use crate::id::VeName;
use crate::policy::{Sort, Violation};
use crate::quantity::Unit;
use crate::resolve::{Effective, Interface};
use crate::units::Bytes;

/// How many VEs are named that have of a budget; the others are counted.
const NAMED: usize = 6;

/// Something of which a tenant may have only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// VEs.
    Ves,
    /// Processor time, in thousandths of a processor.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// Disk, in bytes.
    Disk,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.key())
    }
}

impl Budget {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ves, Self::Cpu, Self::Memory, Self::Disk, Self::Ipv4, Self::Ipv6];
    /// Those that are judged once more at a start, among the VEs that run.
    pub const RUNNING: [Self; 2] = [Self::Cpu, Self::Memory];

    /// Its key in a tenant's definition.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ves => "max_ves",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Ipv4 => "addresses.ipv4",
            Self::Ipv6 => "addresses.ipv6",
        }
    }

    /// The setting of a VE that takes of it.
    const fn asked_by(self) -> &'static str {
        match self {
            Self::Ves => "tenant",
            Self::Cpu => "cpu.cap",
            Self::Memory => "memory.limit",
            Self::Disk => "disk.size",
            Self::Ipv4 | Self::Ipv6 => "network",
        }
    }

    /// What its amounts are counted in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Ves => Unit::Ves,
            Self::Cpu => Unit::Millis,
            Self::Memory | Self::Disk => Unit::Bytes,
            Self::Ipv4 | Self::Ipv6 => Unit::Addresses,
        }
    }

    /// How much of it a tenant may have; `None`: as much as there is.
    pub fn of(self, tenant: &Tenant) -> Option<u64> {
        match self {
            Self::Ves => tenant.max_ves.map(|n| n.get()),
            Self::Cpu => tenant.cpu.map(|cap| cap.milli().into()),
            Self::Memory => tenant.memory.map(Bytes::get),
            Self::Disk => tenant.disk.map(Bytes::get),
            Self::Ipv4 => tenant.ipv4.map(Into::into),
            Self::Ipv6 => tenant.ipv6.map(Into::into),
        }
    }

    /// An amount of it, as definitions write it.
    pub fn text(self, amount: u64) -> String {
        match self {
            _ if amount == u64::MAX => "unlimited".to_owned(),
            Self::Cpu => {
                let text = format!("{}.{:03}", amount / 1000, amount % 1000);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Self::Memory | Self::Disk => Bytes(amount).to_string(),
            Self::Ves | Self::Ipv4 | Self::Ipv6 => amount.to_string(),
        }
    }

    /// The same in a sentence, with what it is of.
    fn phrase(self, amount: u64) -> String {
        let text = self.text(amount);
        match self {
            _ if amount == u64::MAX => "all the memory of the host".to_owned(),
            Self::Ves => format!("{text} VEs"),
            Self::Cpu => format!("{text} processors"),
            Self::Memory => format!("{text} of memory"),
            Self::Disk => format!("{text} of disk"),
            Self::Ipv4 => format!("{text} IPv4 addresses"),
            Self::Ipv6 => format!("{text} IPv6 addresses"),
        }
    }

    /// What stands against one more VE that takes `asked` of it, and had `had` of it before: what doesn't grow is never
    /// too much. `others` have of it too, as `whose` says.
    fn violation(self, tenant: &Tenant, (asked, had): (u64, u64), others: &[Take], whose: &str) -> Option<Violation> {
        let budget = self.of(tenant)?;
        let used = sum(self, others);
        if asked <= had || asked.saturating_add(used) <= budget {
            return None;
        }
        let has = users(self, others);
        let taken = if has.is_empty() {
            String::new()
        } else {
            format!(": {has}")
        };
        let (left, all) = (self.text(budget.saturating_sub(used)), self.text(budget));
        let key = self.key();
        Some(Violation {
            sort: Sort::Grant,
            key: self.asked_by().to_owned(),
            problem: match self {
                Self::Ves => format!("{whose} has {used} of the {all} VEs that it may have{taken}"),
                _ => {
                    let asked = self.phrase(asked);
                    format!("it takes {asked}, and {whose} has {left} left of {all} ({key}){taken}")
                }
            },
            instead: match self {
                Self::Ves => format!("destroy one, or raise {key} of the tenant"),
                Self::Memory if asked == u64::MAX => format!("set a limit, or remove {key} of the tenant"),
                Self::Cpu => format!("set a lower cpu.cap, or raise {key} of the tenant"),
                _ => format!("take less, or raise {key} of the tenant"),
            },
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// What one VE takes of its tenant's budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Which VE.
    pub ve: VeName,
    /// Processor time, in thousandths of a processor.
    pub cpu: u64,
    /// Memory in bytes; `u64::MAX`: it has no limit.
    pub memory: u64,
    /// Disk in bytes.
    pub disk: u64,
    /// IPv4 addresses.
    pub ipv4: u64,
    /// IPv6 addresses.
    pub ipv6: u64,
}

impl Take {
    /// By its definition, on a host of so many processors: a VE without a cap takes all that it may run on.
    pub fn of(ve: &Effective, processors: u32) -> Self {
        let cpu = &ve.limits.cpu;
        let pinned = cpu.pin.as_ref().map_or(u64::from(processors), |pin| pin.len() as u64);
        let usable = cpu.count.map_or(pinned, |count| count.min(pinned)) * 1000;
        let (ipv4, ipv6) = ve
            .interfaces
            .iter()
            .map(addresses)
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        Self {
            ve: ve.name.clone(),
            cpu: cpu.cap_milli.map_or(usable, Into::into),
            memory: ve.limits.memory.limit.map_or(u64::MAX, Bytes::get),
            disk: ve.disk.size.get(),
            ipv4,
            ipv6,
        }
    }

    /// Of this budget.
    pub fn amount(&self, budget: Budget) -> u64 {
        match budget {
            Budget::Ves => 1,
            Budget::Cpu => self.cpu,
            Budget::Memory => self.memory,
            Budget::Disk => self.disk,
            Budget::Ipv4 => self.ipv4,
            Budget::Ipv6 => self.ipv6,
        }
    }
}

/// How many addresses of each family an interface takes; automatic ones are one of each family that its network has.
fn addresses(interface: &Interface) -> (u64, u64) {
    match &interface.addresses {
        Addresses::Fixed(list) => {
            let four = list.iter().filter(|a| a.is_ipv4()).count() as u64;
            (four, list.len() as u64 - four)
        }
        Addresses::Auto => {
            let has = |six: bool| interface.network.pools.iter().any(|pool| pool.is_ipv6() == six);
            (has(false).into(), has(true).into())
        }
    }
}

/// Who has how much of it, the most first.
fn users(budget: Budget, takes: &[Take]) -> String {
    let mut all: Vec<&Take> = takes.iter().filter(|take| take.amount(budget) > 0).collect();
    all.sort_by(|a, b| b.amount(budget).cmp(&a.amount(budget)).then_with(|| a.ve.cmp(&b.ve)));
    let one = |take: &&Take| match budget {
        Budget::Ves => take.ve.to_string(),
        _ => format!("{} has {}", take.ve, budget.text(take.amount(budget))),
    };
    let mut named: Vec<String> = all.iter().take(NAMED).map(one).collect();
    if all.len() > NAMED {
        named.push(format!("and {} more", all.len() - NAMED));
    }
    named.join(", ")
}

/// What stands against a VE that takes this much, beside the others of its tenant. `had`: what it has had of that
/// tenant's until now.
pub fn check(tenant: &Tenant, take: &Take, had: Option<&Take>, others: &[Take]) -> Vec<Violation> {
    let whose = format!("tenant \"{}\"", tenant.name);
    let amounts = |b: Budget| (take.amount(b), had.map_or(0, |had| had.amount(b)));
    let one = |b: &Budget| b.violation(tenant, amounts(*b), others, &whose);
    Budget::ALL.iter().filter_map(one).collect()
}

/// What stands against its start, beside those that run.
pub fn check_running(tenant: &Tenant, take: &Take, running: &[Take]) -> Vec<Violation> {
    let whose = format!("tenant \"{}\", by what runs,", tenant.name);
    let one = |b: &Budget| b.violation(tenant, (take.amount(*b), 0), running, &whose);
    Budget::RUNNING.iter().filter_map(one).collect()
}

/// The budgets of which there is more in use than the tenant may have: a line each.
pub fn passed(tenant: &Tenant, takes: &[Take]) -> Vec<String> {
    let line = |budget: &Budget| {
        let (most, used) = (budget.of(tenant)?, sum(*budget, takes));
        (used > most).then(|| {
            let (used, most) = (budget.text(used), budget.text(most));
            let has = users(*budget, takes);
            format!("{budget} is {most}, and {used} is in use ({has}): that stays, and can't grow")
        })
    };
    Budget::ALL.iter().filter_map(line).collect()
}

/// All that these have of it; `u64::MAX`: one of them has no limit.
pub fn sum(budget: Budget, takes: &[Take]) -> u64 {
    takes
        .iter()
        .fold(0, |sum, take| sum.saturating_add(take.amount(budget)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tests::{effective, tenant};

    fn take(ve: &str, memory: u64) -> Take {
        Take {
            ve: ve.parse().unwrap(),
            cpu: 500,
            memory,
            disk: 1 << 30,
            ipv4: 1,
            ipv6: 0,
        }
    }

    #[test]
    fn what_a_ve_takes() {
        let of = |ve: &str| Take::of(&effective("", ve), 4);
        let bare = of("");
        let (memory, disk) = (1 << 30, 10 << 30);
        assert_eq!((bare.cpu, bare.memory, bare.disk), (4000, memory, disk));
        assert_eq!((bare.ipv4, bare.ipv6), (0, 0));
        assert_eq!(of("[memory]\nlimit = \"unlimited\"").memory, u64::MAX);
        for (cpu, milli) in [
            ("cap = 1.5", 1500),
            ("cap = 16", 16_000),
            ("count = 2", 2000),
            ("count = 9", 4000),
            ("pin = \"0,2\"", 2000),
            ("pin = \"0,2\"\ncount = 1", 1000),
        ] {
            assert_eq!(of(&format!("[cpu]\n{cpu}")).cpu, milli, "{cpu}");
        }
        for (addresses, counts) in [
            ("\"auto\"", (1, 1)),
            ("[\"203.0.113.5\", \"203.0.113.6\", \"2001:db8::5\"]", (2, 1)),
        ] {
            let one = of(&format!("[[network]]\nnetwork = \"public\"\naddresses = {addresses}"));
            assert_eq!((one.ipv4, one.ipv6), counts, "{addresses}");
        }
    }

    #[test]
    fn only_what_grows_is_too_much() {
        let acme = tenant("memory = \"2GiB\"\ncpu = 1");
        let (gib, others) = (1 << 30, [take("web2", 1 << 30)]);
        let keys = |asked: u64, had: Option<u64>| -> Vec<String> {
            let had = had.map(|memory| take("web1", memory));
            let found = check(&acme, &take("web1", asked), had.as_ref(), &others);
            found.into_iter().map(|v| v.key).collect()
        };
        assert_eq!(keys(gib, None), [""; 0]);
        assert_eq!(keys(gib + 1, None), ["memory.limit"]);
        assert_eq!(keys(3 * gib, Some(3 * gib)), [""; 0]);
        assert_eq!(keys(2 * gib, Some(3 * gib)), [""; 0]);
        assert_eq!(keys(3 * gib + 1, Some(3 * gib)), ["memory.limit"]);
        assert_eq!(keys(u64::MAX, None), ["memory.limit"]);
        // At a start it counts whole, as it takes nothing before.
        let found = check_running(&acme, &take("web1", 3 * gib), &others);
        assert_eq!(
            found[0].to_string(),
            "memory.limit: it takes 3GiB of memory, and tenant \"acme\", by what runs, has 1GiB left of 2GiB (memory): \
             web2 has 1GiB; take less, or raise memory of the tenant"
        );
        assert!(check_running(&tenant("disk = \"1MiB\""), &take("web1", 1), &others).is_empty());
    }

    #[test]
    fn whoever_has_of_it_is_named() {
        let others: Vec<Take> = (1..=9).map(|n| take(&format!("web{n}"), n << 20)).collect();
        let acme = tenant("memory = \"45MiB\"\nmax_ves = 9\n[addresses]\nipv4 = 9\nipv6 = 0");
        let found = check(&acme, &take("new", 1 << 20), None, &others);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "tenant: tenant \"acme\" has 9 of the 9 VEs that it may have: web1, web2, web3, web4, web5, web6, \
                 and 3 more; destroy one, or raise max_ves of the tenant",
                "memory.limit: it takes 1MiB of memory, and tenant \"acme\" has 0 left of 45MiB (memory): web9 has 9MiB, \
                 web8 has 8MiB, web7 has 7MiB, web6 has 6MiB, web5 has 5MiB, web4 has 4MiB, and 3 more; \
                 take less, or raise memory of the tenant",
                "network: it takes 1 IPv4 addresses, and tenant \"acme\" has 0 left of 9 (addresses.ipv4): web1 has 1, \
                 web2 has 1, web3 has 1, web4 has 1, web5 has 1, web6 has 1, and 3 more; \
                 take less, or raise addresses.ipv4 of the tenant",
            ]
        );
        assert_eq!(
            passed(&tenant("cpu = 4"), &others),
            [
                "cpu is 4, and 4.5 is in use (web1 has 0.5, web2 has 0.5, web3 has 0.5, web4 has 0.5, web5 has 0.5, \
              web6 has 0.5, and 3 more): that stays, and can't grow"
            ]
        );
        assert!(passed(&acme, &others).is_empty());
    }
}
