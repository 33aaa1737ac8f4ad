//! The firewall in the kernel: the table by `nft`, the members by netlink.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::keys::{self, Family, Key, Set};
use super::standing::{mark_rules, standings};
use super::{Firewall, Member, Ruleset, Standing, ruleset, wire};
use crate::error::{Error, Kind, Result};
use crate::helper::confined;
use crate::net::check;
use crate::net::netlink::{Netlink, Refusal, Request};

/// Where nft may be; the caller's PATH isn't trusted.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// The kernel's limit for all connections that it tracks; there when it tracks some.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// How often to look again when the members changed between looking and deleting.
const TRIES: u32 = 5;

/// nf_tables of the calling thread's network namespace.
#[derive(Debug, Clone)]
pub struct Nftables {
    program: PathBuf,
}

impl Default for Nftables {
    fn default() -> Self {
        Self::with_program("nft")
    }
}

impl Nftables {
    /// With another `nft` than the one in the usual directories.
    pub fn with_program(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    pub(super) fn load(&self, table: &str, text: &str) -> Result<()> {
        let fail = |e: io::Error| {
            let missing = e.kind() == io::ErrorKind::NotFound;
            let error = Error::os("run", self.program.display(), e);
            if missing {
                error.hint("install the package nftables")
            } else {
                error
            }
        };
        let output = self.run(text).map_err(fail)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() {
            output.status.to_string()
        } else {
            said
        };
        Err(Error::new("load firewall table", table, said).hint(
            "the kernel needs nf_tables with the families inet, arp and nat, and bridge if a network is of that kind; \
             \"hostel network show NAME --rules\" prints the table",
        ))
    }

    /// Loads the tables of these families in one transaction, and marks each with what the kernel made of it.
    fn load_tables(&self, ruleset: &Ruleset, families: &[Family]) -> Result<()> {
        let table = &ruleset.table;
        self.load(table, &ruleset::text(ruleset, families)?)?;
        let mut netlink = open()?;
        families
            .iter()
            .try_for_each(|family| mark_rules(&mut netlink, *family, table))
    }

    fn run(&self, text: &str) -> io::Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(["-f", "-"]).env("PATH", PATH).env("LC_ALL", "C");
        // Ctrl-C is for us, not for a table that is half loaded.
        confined(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let written = match child.stdin.take() {
            Some(mut stdin) => stdin.write_all(text.as_bytes()),
            None => Ok(()),
        };
        let output = child.wait_with_output()?;
        // If nft ended early, what it said tells more than the broken pipe.
        match written {
            Err(e) if output.status.success() => Err(e),
            _ => Ok(output),
        }
    }
}

pub(super) fn open() -> Result<Netlink> {
    Netlink::netfilter().map_err(|e| Error::os("open a socket to", "the kernel's netfilter (netlink)", e))
}

pub(super) fn commit(netlink: &mut Netlink, messages: Vec<Request>) -> std::result::Result<(), Refusal> {
    if messages.is_empty() {
        Ok(())
    } else {
        netlink.apply(&wire::transaction(messages))
    }
}

type Interfaces<'a> = BTreeSet<&'a str>;

/// The keys of these interfaces, or of all, in these sets; `None` if there is no table (or one without our sets). The
/// table of ports is there only where there are bridges.
fn read_keys(
    netlink: &mut Netlink,
    table: &str,
    sets: impl Iterator<Item = Set>,
    of: Option<&Interfaces<'_>>,
) -> Result<Option<BTreeSet<Key>>> {
    let mut keys = BTreeSet::new();
    for set in sets {
        match netlink.dump(&wire::list(table, set)) {
            Ok(answers) => keys.extend(answers.iter().flat_map(|body| wire::read_keys(set, body, of))),
            Err(refusal) if refusal.errno() == libc::ENOENT && set.family() == Family::Bridge => break,
            // Of a version that had none, or removed by hand: what is in the others is to be found all the same.
            Err(refusal) if refusal.errno() == libc::ENOENT && (set.family() == Family::Arp || set == Set::VeMacs) => {}
            Err(refusal) if refusal.errno() == libc::ENOENT => return Ok(None),
            Err(refusal) => return Err(refusal.into_error("read the members of firewall table", table)),
        }
    }
    Ok(Some(keys))
}

pub(super) fn exists(netlink: &mut Netlink, table: &str, request: &Request) -> Result<Option<Vec<u8>>> {
    match netlink.get(request) {
        Ok(body) => Ok(Some(body)),
        Err(refusal) if refusal.errno() == libc::ENOENT => Ok(None),
        Err(refusal) => Err(refusal.into_error("look at firewall table", table)),
    }
}

/// Elements of others in the place of such as are wanted. No two VEs that are there lead the same port to them (their
/// records are judged before): these are left of one that is gone.
fn usurped(netlink: &mut Netlink, table: &str, own: &BTreeSet<Key>, wanted: &BTreeSet<Key>) -> Result<Vec<Key>> {
    let maps: BTreeSet<Set> = wanted.iter().map(|k| k.set).filter(|s| s.has_owners()).collect();
    let all = read_keys(netlink, table, maps.into_iter(), None)?.unwrap_or_default();
    let places: BTreeSet<(Set, &[u8])> = wanted.iter().map(|k| (k.set, &k.bytes[..])).collect();
    let in_place = |key: &&Key| places.contains(&(key.set, &key.bytes[..]));
    let others = all.difference(own).filter(|key| !wanted.contains(key));
    Ok(others.filter(in_place).cloned().collect())
}

/// Elements that lead ports somewhere and belong to nobody.
fn stray_keys(netlink: &mut Netlink, table: &str) -> Result<Vec<Key>> {
    let maps = Set::all().filter(|set| set.is_forward());
    let keys = read_keys(netlink, table, maps, None)?.unwrap_or_default();
    Ok(keys.into_iter().filter(Key::is_stray).collect())
}

/// Gives each interface exactly the keys it shall have. Interfaces that aren't named stay as they are.
fn set_keys(netlink: &mut Netlink, table: &str, interfaces: &Interfaces<'_>, wanted: &BTreeSet<Key>) -> Result<()> {
    let act = "change the members of firewall table";
    let mut refused = None;
    for _ in 0..TRIES {
        let Some(found) = read_keys(netlink, table, Set::all(), Some(interfaces))? else {
            return Err(no_table(table));
        };
        let mut stale: Vec<Key> = found.difference(wanted).cloned().collect();
        stale.extend(usurped(netlink, table, &found, wanted)?);
        let missing: Vec<Key> = wanted.difference(&found).cloned().collect();
        let mut messages = wire::delete(table, &stale);
        messages.extend(wire::add(table, &missing));
        match commit(netlink, messages) {
            Ok(()) => return Ok(()),
            // Somebody else deleted one of them: look again.
            Err(refusal) if refusal.errno() == libc::ENOENT && !stale.is_empty() => refused = Some(refusal),
            Err(refusal) => return Err(refusal.into_error(act, table)),
        }
    }
    Err(refused.map_or_else(|| no_table(table), |r| r.into_error(act, table)))
}

fn set_members(netlink: &mut Netlink, table: &str, members: &[Member]) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let interfaces: Interfaces<'_> = members.iter().map(|m| m.interface.as_str()).collect();
    let wanted: BTreeSet<Key> = members.iter().flat_map(keys::keys).collect();
    set_keys(netlink, table, &interfaces, &wanted)
}

/// Admits interfaces none of which is a member, as at a VE's start; false if one is. Who has an element in any set has
/// one in `links` (they come and go in one transaction), so that a part of the elements needs reading. Where ports of the
/// host lead to one, all are read.
fn admit_new(netlink: &mut Netlink, table: &str, members: &[Member]) -> Result<bool> {
    if members.iter().any(|m| !m.forwards.is_empty()) {
        return Ok(false);
    }
    let interfaces: Interfaces<'_> = members.iter().map(|m| m.interface.as_str()).collect();
    let ports = members.iter().any(|m| m.port.is_some());
    let sets = [Set::Links].into_iter().chain(ports.then_some(Set::PortLinks));
    match read_keys(netlink, table, sets, Some(&interfaces))? {
        None => Err(no_table(table)),
        Some(found) if !found.is_empty() => Ok(false),
        Some(_) => {
            let wanted: Vec<Key> = members.iter().flat_map(keys::keys).collect();
            let done = commit(netlink, wire::add(table, &wanted));
            match done {
                Ok(()) => Ok(true),
                Err(refusal) if refusal.errno() == libc::ENOENT => Err(no_table(table)),
                Err(refusal) => Err(refusal.into_error("change the members of firewall table", table)),
            }
        }
    }
}

fn no_table(table: &str) -> Error {
    Error::new("change the members of firewall table", table, "there is no such table")
        .kind(Kind::NotFound)
        .hint("somebody removed it; \"hostel audit --fix\" loads it again")
}

/// The rules that hold interfaces: before all else where packets come in, after all else where they leave. A port's
/// packets pass the hooks of the bridge and no others.
fn holding(held: &str, interfaces: &[String], bridged: bool) -> String {
    let list: Vec<String> = interfaces.iter().map(|i| format!("\"{i}\"")).collect();
    let list = list.join(", ");
    let table = |family: &str| {
        format!(
            "table {family} {held}\ndelete table {family} {held}\ntable {family} {held} {{\n\
             \tchain from {{\n\t\ttype filter hook prerouting priority -500; policy accept;\n\
             \t\tiifname {{ {list} }} drop\n\t}}\n\
             \tchain to {{\n\t\ttype filter hook postrouting priority 500; policy accept;\n\
             \t\toifname {{ {list} }} drop\n\t}}\n}}\n"
        )
    };
    let families = ["inet"].into_iter().chain(bridged.then_some("bridge"));
    families.map(table).collect()
}

impl Firewall for Nftables {
    fn tracked(&self) -> Result<Option<u32>> {
        let text = crate::file::read_opt(Path::new(TRACKED))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    fn hold(&self, held: &str, interfaces: &[String], bridged: bool) -> Result<()> {
        interfaces.iter().try_for_each(|name| check::interface_name(name))?;
        if interfaces.is_empty() {
            return Ok(());
        }
        self.load(held, &holding(held, interfaces, bridged))
    }

    fn release(&self, held: &str) -> Result<()> {
        self.remove(held)
    }

    fn tables(&self, prefix: &str) -> Result<Vec<String>> {
        let told = open()?.dump(&wire::list_tables(Family::Inet));
        let answers = told.map_err(|refusal| refusal.into_error("list", "the firewall's tables"))?;
        let names = answers.iter().filter_map(|body| wire::table_name(body));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn replace(&self, ruleset: &Ruleset) -> Result<()> {
        self.load_tables(ruleset, &ruleset::families(ruleset))
    }

    fn standing(&self, ruleset: &Ruleset) -> Result<Standing> {
        let of_each = standings(&mut open()?, ruleset)?;
        Ok(Standing::of_all(of_each.into_iter().map(|(_, standing)| standing)))
    }

    fn generation(&self) -> Result<u32> {
        let told = open()?.get(&wire::get_generation());
        let body = told.map_err(|refusal| refusal.into_error("ask for", "the generation of the packet filter"))?;
        let none = || Error::new("read", "the generation of the packet filter", "the kernel told none");
        wire::read_generation(&body).ok_or_else(none)
    }

    fn ensure(&self, ruleset: &Ruleset) -> Result<bool> {
        let mut netlink = open()?;
        let mut of_each = standings(&mut netlink, ruleset)?;
        let all = of_each.len();
        of_each.retain(|(_, standing)| *standing != Standing::Current);
        let stale: Vec<Family> = of_each.into_iter().map(|(family, _)| family).collect();
        if !stale.is_empty() {
            self.load_tables(ruleset, &stale)?;
        }
        // What was loaded has them.
        if stale.len() < all {
            set_members(&mut netlink, &ruleset.table, &ruleset.members)?;
        }
        Ok(!stale.is_empty())
    }

    fn admit(&self, table: &str, members: &[Member]) -> Result<()> {
        ruleset::check_table(table)?;
        ruleset::check_members(members)?;
        let mut netlink = open()?;
        if admit_new(&mut netlink, table, members)? {
            Ok(())
        } else {
            set_members(&mut netlink, table, members)
        }
    }

    fn expel(&self, table: &str, interface: &str) -> Result<()> {
        ruleset::check_table(table)?;
        check::interface_name(interface)?;
        match set_keys(&mut open()?, table, &BTreeSet::from([interface]), &BTreeSet::new()) {
            Err(e) if e.kind == Kind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn members(&self, table: &str) -> Result<Vec<Member>> {
        ruleset::check_table(table)?;
        let keys = read_keys(&mut open()?, table, Set::all(), None)?.unwrap_or_default();
        Ok(keys::members(&keys))
    }

    fn deviating(&self, table: &str, members: &[Member]) -> Result<BTreeSet<String>> {
        ruleset::check_table(table)?;
        let has = read_keys(&mut open()?, table, Set::all(), None)?.unwrap_or_default();
        let wanted: BTreeSet<Key> = members.iter().flat_map(keys::keys).collect();
        let differ = has.symmetric_difference(&wanted).filter(|key| !key.is_stray());
        Ok(differ.map(Key::interface).collect())
    }

    fn strays(&self, table: &str, prefix: &str) -> Result<Vec<String>> {
        check::prefix(prefix)?;
        let (mut netlink, mut found) = (open()?, BTreeSet::new());
        for family in [Family::Inet, Family::Bridge, Family::Arp] {
            let told = netlink.dump(&wire::list_tables(family));
            let answers = told.map_err(|refusal| refusal.into_error("list", "the firewall's tables"))?;
            let names = answers.iter().filter_map(|body| wire::table_name(body));
            for name in names.filter(|name| name != table) {
                let whose = wire::get_chain(family, &name, &ruleset::chain_of(prefix));
                if exists(&mut netlink, &name, &whose)?.is_some() {
                    found.insert(name);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn stray_forwards(&self, table: &str) -> Result<Vec<String>> {
        ruleset::check_table(table)?;
        let keys = stray_keys(&mut open()?, table)?;
        Ok(keys
            .iter()
            .map(|key| format!("{} in {}", key.text(), key.set.name()))
            .collect())
    }

    fn remove_stray_forwards(&self, table: &str) -> Result<()> {
        ruleset::check_table(table)?;
        let mut netlink = open()?;
        let keys = stray_keys(&mut netlink, table)?;
        commit(&mut netlink, wire::delete(table, &keys))
            .map_err(|refusal| refusal.into_error("remove ports from firewall table", table))
    }

    fn text(&self, ruleset: &Ruleset) -> Result<String> {
        ruleset::text(ruleset, &ruleset::families(ruleset))
    }

    fn remove(&self, table: &str) -> Result<()> {
        ruleset::check_table(table)?;
        for family in [Family::Bridge, Family::Arp, Family::Inet] {
            match commit(&mut open()?, vec![wire::delete_table(family, table)]) {
                Err(refusal) if refusal.errno() != libc::ENOENT => {
                    return Err(refusal.into_error("remove firewall table", table));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
