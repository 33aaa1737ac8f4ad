//! What is known of a VE, and what of it may stand in a guest's file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Class, Error, Result};

/// An interface of a VE. One with addresses is configured from outside before init runs, and the guest is told to
/// leave it alone; one without is the guest's own to configure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside: `eth0`.
    pub name: String,
    /// Its hardware address: `02:00:5e:10:00:01`.
    pub mac: String,
    /// Its addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Where IPv4 goes.
    pub gateway4: Option<Ipv4Addr>,
    /// Where IPv6 goes.
    pub gateway6: Option<Ipv6Addr>,
}

/// What a guest is told about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestFacts {
    /// What `hostname` shall say; it may have dots in it.
    pub hostname: String,
    /// The name with its domain, if that is another one.
    pub fqdn: Option<String>,
    /// Its interfaces, `lo` not among them.
    pub interfaces: Vec<Interface>,
    /// Name servers, three at most. None: the guest's resolver is its own affair.
    pub dns: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    pub search: Vec<String>,
    /// Root's new password, hashed as crypt(5) tells. None: leave it as it is. Give it when it is to be set, not
    /// at every start, or the guest's own change of it is lost.
    pub password_hash: Option<String>,
    /// Public keys that may log in as root; the guest's own keys stay beside them.
    pub ssh_keys: Vec<String>,
    /// Time zone: `Europe/Berlin`. None: leave it as it is.
    pub timezone: Option<String>,
    /// The first start of a new VE (or of a copy): it gets a machine id and host keys of its own. Implies `reset`.
    pub fresh: bool,
    /// Paths of which the first start made, or removed, the files, but could not.
    pub overdue: BTreeSet<String>,
    /// Rewrite what a guest's owner may have changed since: ifupdown's and the console's configuration.
    pub reset: bool,
    /// Days since 1970-01-01, for the password's last change.
    pub today: u32,
}

impl GuestFacts {
    /// Refuses what can't stand in a guest's file as exactly one value.
    pub fn check(&self) -> Result<()> {
        check_hostname("the hostname", &self.hostname, 64)?;
        if let Some(fqdn) = &self.fqdn {
            check_hostname("the full host name", fqdn, 253)?;
        }
        for domain in &self.search {
            check_hostname("the search domain", domain, 253)?;
        }
        if self.search.join(" ").len() > 255 {
            return Err(refuse(
                "the search domains",
                &self.search.join(" "),
                "together they pass 255 characters",
            ));
        }
        if self.dns.len() > 3 {
            return Err(Error::new(Class::Usage, "there are more than three name servers")
                .hint("a resolver reads three at most (resolv.conf(5)); give the three that count"));
        }
        for server in &self.dns {
            check_address("the name server", server, true)?;
        }
        self.check_interfaces()?;
        self.ssh_keys.iter().try_for_each(|key| check_ssh_key(key))?;
        if let Some(hash) = &self.password_hash {
            check_password_hash(hash, self.today)?;
        }
        self.timezone.as_deref().map_or(Ok(()), check_timezone)
    }

    fn check_interfaces(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for interface in &self.interfaces {
            check_interface_name(&interface.name)?;
            check_mac(&interface.mac)?;
            interface
                .addresses
                .iter()
                .try_for_each(|a| check_address("the address", a, false))?;
            if !names.insert(&interface.name) {
                return Err(refuse(
                    "the interface name",
                    &interface.name,
                    "there are two of this name",
                ));
            }
        }
        Ok(())
    }
}

fn refuse(what: &str, text: &str, why: &str) -> Error {
    Error::new(Class::Usage, format!("{what} {text:?} can't be used: {why}"))
}

/// Labels of letters, digits, `-` and `_` between dots (RFC 1123, and the `_` that many systems take).
fn check_hostname(what: &str, text: &str, most: usize) -> Result<()> {
    if text.is_empty() || text.len() > most {
        return Err(refuse(what, text, &format!("it must have 1 to {most} characters")));
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(inner) && !l.starts_with('-') && !l.ends_with('-');
    match text.split('.').all(label) {
        true => Ok(()),
        false => Err(refuse(
            what,
            text,
            "it must be labels of 1 to 63 letters, digits, '-' and '_' with dots between",
        )),
    }
}

fn check_interface_name(name: &str) -> Result<()> {
    let shape = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    // IFNAMSIZ is 16 with the zero byte.
    match (1..=15).contains(&name.len()) && shape && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != "lo"
    {
        true => Ok(()),
        false => Err(refuse(
            "the interface name",
            name,
            "it must be 1 to 15 letters, digits, '.', '-' and '_'",
        )),
    }
}

fn check_mac(mac: &str) -> Result<()> {
    let parts: Vec<&str> = mac.split(':').collect();
    match parts.len() == 6
        && parts
            .iter()
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        true => Ok(()),
        false => Err(refuse(
            "the hardware address",
            mac,
            "it must be six pairs of hexadecimal digits with ':' between",
        )),
    }
}

fn check_address(what: &str, address: &IpAddr, loopback_too: bool) -> Result<()> {
    let broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
    match address.is_unspecified() || address.is_multicast() || broadcast || (address.is_loopback() && !loopback_too) {
        true => Err(refuse(what, &address.to_string(), "it is not the address of one host")),
        false => Ok(()),
    }
}

/// A line of authorized_keys (sshd(8)): options perhaps, a key type, and the key.
fn check_ssh_key(key: &str) -> Result<()> {
    let bad = |why| Err(refuse("the SSH key", key, why));
    if key.chars().any(char::is_control) {
        return bad("there are control characters in it");
    }
    if key.len() > 16 * 1024 {
        return bad("it is longer than 16 KiB");
    }
    if key.trim() != key || key.starts_with('#') {
        return bad("it begins with '#', or there is white space around it");
    }
    let words: Vec<&str> = key.split_ascii_whitespace().collect();
    let is_key = |pair: &[&str]| match pair {
        [kind, blob] => is_key_type(kind) && blob.len() >= 32 && blob.bytes().all(is_base64),
        _ => false,
    };
    if words.windows(2).any(is_key) {
        Ok(())
    } else {
        bad("it is not a key type with a key after it")
    }
}

fn is_key_type(word: &str) -> bool {
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"]
        .iter()
        .any(|start| word.starts_with(start));
    known
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'@' | b'.'))
}

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
}

/// crypt(5): `$`, the method, `$`, then printable ASCII without white space and without `:;*!\`. The text is not
/// repeated in the error: it is a secret.
fn check_password_hash(hash: &str, today: u32) -> Result<()> {
    let method = hash.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    let known = method.is_some_and(|(id, rest)| {
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !rest.is_empty()
    });
    let clean = hash.len() < 384 && hash.bytes().all(|b| b.is_ascii_graphic() && !b":;*!\\".contains(&b));
    if !(known && clean) {
        return Err(
            Error::new(Class::Usage, "the password hash is not one that crypt(5) knows")
                .hint("make one with `mkpasswd` or `openssl passwd -6`"),
        );
    }
    if today == 0 {
        // shadow(5): 0 means that the password must be changed at the next login.
        return Err(Error::new(
            Class::Failed,
            "the day of the password's change is not known: the clock says 1970",
        ));
    }
    Ok(())
}

/// A name below /usr/share/zoneinfo.
fn check_timezone(zone: &str) -> Result<()> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+');
    match zone.len() <= 64 && zone.split('/').all(|part| !part.is_empty() && part.bytes().all(inner)) {
        true => Ok(()),
        false => Err(refuse("the time zone", zone, "it must be a name like Europe/Berlin")),
    }
}
