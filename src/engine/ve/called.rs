//! What a VE is called, in lines of hosts(5), and what of that another may be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use hostel_model::id::{Hostname, TenantName, VeId, VeName};

/// The most that a VE is told, in bytes: its resolver reads all of it for each question.
const MOST: usize = 512 << 10;

/// Names that every system has for itself (RFC 6761, 6.3, and hosts(5) of Debian).
const ITSELF: [&str; 3] = ["localhost", "ip6-localhost", "ip6-loopback"];

/// What a VE is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Its name, which no other VE has.
    pub name: VeName,
    /// Its host name; others may have it too.
    pub hostname: Hostname,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Called {
    /// Reads what [`Called`] shows. `None`: it has no address, or the text is none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let mut called: Option<Self> = None;
        for line in text.lines() {
            let mut words = line.split(' ');
            let address = words.next()?.parse().ok()?;
            let (name, hostname) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let one = || Self {
                name,
                hostname,
                addresses: Vec::new(),
            };
            called.get_or_insert_with(one).addresses.push(address);
        }
        called
    }

    /// The same without its addresses.
    #[must_use]
    pub fn with_no_address(&self) -> Self {
        Self {
            addresses: Vec::new(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = format!("{} {}", self.name, self.hostname);
        self.addresses.iter().try_for_each(|a| writeln!(f, "{a} {names}"))
    }
}

/// The lines that a VE of this tenant is given, or that are for any (`None`). A host name that is another's name, or that two have, is left out: who is
/// asked for must not depend on an order. What other tenants' VEs are called counts only without dots, so that nobody's
/// VE takes the place of a host of the world.
pub fn lines(all: &BTreeMap<VeId, (TenantName, Called)>, tenant: Option<&TenantName>) -> String {
    let mut owners: BTreeMap<String, BTreeSet<VeId>> = BTreeMap::new();
    for (id, (_, called)) in all {
        for name in [called.name.as_str(), called.hostname.as_str()] {
            owners.entry(name.to_ascii_lowercase()).or_default().insert(*id);
        }
    }
    let mut text = String::new();
    for (whose, called) in all.values() {
        let (name, hostname) = (called.name.as_str(), called.hostname.as_str());
        let one_s_own = owners
            .get(&hostname.to_ascii_lowercase())
            .is_some_and(|ids| ids.len() == 1);
        let hostname = Some(hostname).filter(|h| one_s_own && *h != name);
        let fit = |n: &&str| !is_itself(n) && (Some(whose) == tenant || !n.contains('.'));
        let names: Vec<&str> = [name].into_iter().chain(hostname).filter(fit).collect();
        if names.is_empty() {
            continue;
        }
        let mut its = String::new();
        for address in &called.addresses {
            // It never fails: a String takes all.
            let _ = writeln!(its, "{address} {}", names.join(" "));
        }
        if text.len() + its.len() > MOST {
            text.push_str("# There are more VEs than fit in here.\n");
            break;
        }
        text.push_str(&its);
    }
    text
}

fn is_itself(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ITSELF.contains(&name.as_str()) || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[(u32, &str, &str, &str)]) -> BTreeMap<VeId, (TenantName, Called)> {
        list.iter()
            .map(|(id, tenant, name, hostname)| {
                let called = Called {
                    name: name.parse().unwrap(),
                    hostname: hostname.parse().unwrap(),
                    addresses: vec![IpAddr::from([10, 77, 0, u8::try_from(id - 100).unwrap()])],
                };
                (VeId::try_from(*id).unwrap(), (tenant.parse().unwrap(), called))
            })
            .collect()
    }

    fn told(list: &[(u32, &str, &str, &str)]) -> Vec<String> {
        let text = lines(&all(list), Some(&"acme".parse().unwrap()));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_ve_is_called_by_its_name_and_by_a_host_name_of_its_own() {
        let list = [
            (101, "acme", "web1", "web1"),
            (102, "acme", "web2", "www.acme.example"),
            (103, "acme", "db1", "web1"),
            (104, "acme", "db2", "Twice"),
            (105, "acme", "db3", "twice"),
        ];
        assert_eq!(
            told(&list),
            [
                "10.77.0.1 web1",
                "10.77.0.2 web2 www.acme.example",
                "10.77.0.3 db1",
                "10.77.0.4 db2",
                "10.77.0.5 db3"
            ]
        );
    }

    #[test]
    fn nobody_takes_a_name_of_the_world_or_of_the_system_itself() {
        let list = [
            (101, "other", "updates.example.org", "web"),
            (102, "other", "www.bank.example", "mail.bank.example"),
            (103, "acme", "localhost", "ip6-loopback"),
            (104, "acme", "deb.acme.example", "a.localhost"),
        ];
        assert_eq!(told(&list), ["10.77.0.1 web", "10.77.0.4 deb.acme.example"]);
    }

    #[test]
    fn it_never_grows_beyond_what_a_file_may_be() {
        let called = |n: u32| Called {
            name: format!("web{n}").parse().unwrap(),
            hostname: format!("web{n}").parse().unwrap(),
            addresses: vec![IpAddr::from(std::net::Ipv6Addr::from(u128::MAX - u128::from(n))); 8],
        };
        let tenant: TenantName = "acme".parse().unwrap();
        let all = (101..3000).map(|n| (VeId::try_from(n).unwrap(), (tenant.clone(), called(n))));
        let text = lines(&all.collect(), Some(&tenant));
        assert!(text.len() > MOST / 2 && text.len() < MOST + 100, "{}", text.len());
        assert!(text.ends_with("more VEs than fit in here.\n"));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let (_, (_, mut one)) = all(&[(101, "acme", "web1", "www.acme.example")]).pop_first().unwrap();
        one.addresses.push("fd77::1".parse().unwrap());
        let text = one.to_string();
        assert_eq!(text, "10.77.0.1 web1 www.acme.example\nfd77::1 web1 www.acme.example\n");
        assert_eq!(Called::read(&text), Some(one));
        for text in [
            "",
            "nonsense",
            "10.77.0.1 web1",
            "10.77.0.1 -x y\n",
            "10.77.0.300 a b\n",
        ] {
            assert_eq!(Called::read(text), None, "{text}");
        }
    }
}
