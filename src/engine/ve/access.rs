//! Access rules of VEs on their way to the kernel. Those of a VE are there before its interfaces and until after them;
//! a VE that doesn't run has none. The addresses of peers by name follow the records.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hostel_model::definition::{Direction, MAX_INTERFACES, Peer};
use hostel_model::id::{VeId, VeName};
use hostel_model::resolve::{AccessRules, Effective};
use hostel_system::file;
use hostel_system::firewall::{Change, Guard, Loaded, Peers, outermost};
use ipnetwork::IpNetwork;

use super::record::{InterfaceState, VeState};
use super::registry::Catalogue;
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// What a start or a change tells when it has had to load everything anew.
const BY_HAND: &str = "the access rules had been changed by hand, or were of another version or limit of connections; they are \
                       as they should be again";

impl Host {
    /// The table of access rules.
    pub fn access_table(&self) -> String {
        format!("{}_acl", self.config.nft_table.as_str())
    }

    /// What the kernel is to have for a VE; `None`: it has no rules, or no interfaces.
    pub fn guard_of(&self, id: VeId, state: &VeState, rules: &AccessRules) -> Option<Guard> {
        if rules.is_open() || state.interfaces.is_empty() {
            return None;
        }
        let (ports, links): (Vec<_>, Vec<_>) = state.interfaces.iter().partition(|i| i.bridged.is_some());
        let bare = |list: Vec<&InterfaceState>| list.into_iter().map(|i| self.interface_name(id, i)).collect();
        Some(Guard {
            ve: id,
            links: bare(links),
            ports: bare(ports),
            rules: rules.clone(),
        })
    }

    /// Puts a VE's rules in force, or ends those that it had. Before its interfaces are made, and when they change.
    pub fn guard(&self, id: VeId, state: &VeState, rules: &AccessRules, verb: &str) -> Result<Vec<String>> {
        let (guard, table) = (self.guard_of(id, state, rules), self.access_table());
        self.keep_tenants(&state.tenant)?;
        if guard.is_none() && !self.access.exists(&table)? && !self.dirs.rules_due().exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock_firewall(verb)?;
        let loaded = self.access.loaded(&table)?;
        if loaded == Loaded::default() {
            let due = self.dirs.rules_due().exists();
            if !due && !self.access.exists(&table)? {
                return self.first_guard(&table, guard).map(|()| Vec::new());
            }
            // Somebody has removed the table.
            let by_hand = due.then(|| BY_HAND.to_owned());
            let told = self.reload_access(Some(id), guard)?;
            return Ok(by_hand.into_iter().chain(told).collect());
        }
        let named = guard.iter().flat_map(Guard::peers).collect();
        let change = Change {
            end: if guard.is_none() { vec![id] } else { Vec::new() },
            put: guard.clone().into_iter().collect(),
            peers: self.peers_with(state, loaded.peers, named)?,
        };
        if self.change_access(&change)? {
            return Ok(Vec::new());
        }
        let mut told = vec![BY_HAND.to_owned()];
        told.extend(self.reload_access(Some(id), guard)?);
        Ok(told)
    }

    /// Nobody has rules, also none that is ending and has let go of its own: not all are looked through.
    fn first_guard(&self, table: &str, guard: Option<Guard>) -> Result<()> {
        let Some(guard) = guard else { return Ok(()) };
        self.note_rules_due(true)?;
        let peers = self.peers(&guard.peers())?;
        Ok(self.access.replace(table, &[guard], &peers)?)
    }

    /// Ends a VE's rules, when its interfaces have gone.
    pub fn unguard(&self, id: VeId) -> Result<()> {
        let table = self.access_table();
        if !self.access.exists(&table)? && !self.dirs.rules_due().exists() {
            return Ok(());
        }
        let _lock = self.lock_firewall("stop")?;
        match (self.access.exists(&table)?, self.dirs.rules_due().exists()) {
            (true, _) => {}
            (false, true) => return self.reload_access(Some(id), None).map(drop),
            // Others' have ended meanwhile, and these were the last.
            (false, false) => return Ok(()),
        }
        let change = Change {
            end: vec![id],
            ..Change::default()
        };
        if !self.change_access(&change)? {
            self.reload_access(Some(id), None)?;
        }
        Ok(())
    }

    /// The peers that rules name have exactly the addresses of the records: call it when one of those has changed.
    pub fn refresh_peers(&self, verb: &str) -> Result<()> {
        self.refresh_peers_as(None, verb)
    }

    /// The same when one is about to change, to this.
    pub fn refresh_peers_as(&self, soon: Option<&VeState>, verb: &str) -> Result<()> {
        let table = self.access_table();
        if !self.access.exists(&table)? {
            return Ok(());
        }
        let _lock = self.lock_firewall(verb)?;
        let named: BTreeSet<Peer> = self.access.loaded(&table)?.peers.into_keys().collect();
        if named.is_empty() {
            return Ok(());
        }
        let change = Change {
            peers: self.peers_as(&named, soon)?,
            ..Change::default()
        };
        if !self.access.change(&table, &change)? {
            self.reload_access(None, None)?;
        }
        Ok(())
    }

    /// Loads the rules of all VEs that run, or are about to, in one transaction; of this one the ones that are given. The
    /// firewall must be locked.
    pub fn reload_access(&self, one: Option<VeId>, its: Option<Guard>) -> Result<Vec<String>> {
        let table = self.access_table();
        let mut also: BTreeSet<VeId> = self.access.loaded(&table)?.guards.into_keys().collect();
        also.extend(self.journals.pending()?);
        let (mut guards, mut told, mut catalogue) = (Vec::new(), Vec::new(), Catalogue::default());
        for (id, state) in self.states()? {
            // Of one that can't be told to have ended, the rules stay.
            let runs = !self.init(id).is_ok_and(|init| init.is_none());
            if Some(id) == one || !(runs || also.contains(&id)) {
                continue;
            }
            let Ok(state) = state else {
                told.push(format!("VE {id} is cut off until its record can be read again"));
                guards.push(Guard {
                    ve: id,
                    links: self.interface_names(id, &(0..MAX_INTERFACES).collect::<Vec<_>>()),
                    ports: Vec::new(),
                    rules: AccessRules::closed(),
                });
                continue;
            };
            let rules = match self.access_of(&state.name, &mut catalogue) {
                Ok(rules) => rules,
                // It could not be read now.
                Err(e) if e.class == Class::Failed && self.dirs.definition(&state.name).exists() => return Err(e),
                Err(_) => {
                    let name = &state.name;
                    told.push(format!("{name} is cut off until its definition can be read again"));
                    AccessRules::closed()
                }
            };
            guards.extend(self.guard_of(id, &state, &rules));
        }
        guards.extend(its);
        let named: BTreeSet<Peer> = guards.iter().flat_map(Guard::peers).collect();
        // Nothing is there, and nothing is to be: the usual, and not worth a transaction.
        self.note_rules_due(!guards.is_empty())?;
        if !guards.is_empty() || self.access.exists(&table)? {
            self.access.replace(&table, &guards, &self.peers(&named)?)?;
        }
        Ok(told)
    }

    /// Loads all rules anew if somebody has changed or removed them; else they stay as they are, with what they have counted.
    /// The firewall must be locked.
    pub fn mend_access(&self) -> Result<()> {
        let table = self.access_table();
        if self.access.exists(&table)? && !self.access.loaded(&table)?.changed_by_hand {
            return Ok(());
        }
        self.reload_access(None, None).map(drop)
    }

    /// As [`hostel_system::firewall::Access::change`], with a note of whether there are rules from then on.
    pub fn change_access(&self, change: &Change) -> Result<bool> {
        let table = self.access_table();
        if !change.put.is_empty() {
            self.note_rules_due(true)?;
        }
        let done = self.access.change(&table, change)?;
        if !change.end.is_empty() && !self.access.exists(&table)? {
            self.note_rules_due(false)?;
        }
        Ok(done)
    }

    /// So that who has no rules sees without looking at all others that somebody has removed theirs.
    fn note_rules_due(&self, due: bool) -> Result<()> {
        let path = self.dirs.rules_due();
        match due {
            true if path.exists() => Ok(()),
            true => Ok(file::replace(&path, b"")?),
            false => Ok(file::remove_file(&path)?),
        }
    }

    /// The rules of a VE. Nothing but its definition and its tenant's says them: a plan or a network that can't be read
    /// changes none.
    fn access_of(&self, name: &VeName, catalogue: &mut Catalogue) -> Result<AccessRules> {
        let definition = self.definition(name)?;
        let tenant = catalogue.tenant_in_force(self, &definition.tenant)?;
        Ok(AccessRules::of_both(&definition.access, &tenant.access))
    }

    /// The addresses of the peers that are loaded and of those that are named, with this VE's own. What is loaded is what
    /// the records of others say: whoever changes a record refreshes it. So only for a peer that nobody has named before
    /// all are read, which among a thousand takes longer than all else of a start.
    fn peers_with(&self, state: &VeState, loaded: Peers, named: BTreeSet<Peer>) -> Result<Peers> {
        let new = named.into_iter().filter(|p| !loaded.contains_key(p)).collect();
        let mut peers = self.peers(&new)?;
        peers.extend(loaded);
        let own = self.sources(state, &mut Catalogue::default());
        for peer in self.is_peer(state) {
            if let Some(addresses) = peers.get_mut(&peer) {
                addresses.extend(own.iter().copied());
                *addresses = outermost(std::mem::take(addresses));
            }
        }
        Ok(peers)
    }

    /// The addresses of peers by name.
    pub fn peers(&self, named: &BTreeSet<Peer>) -> Result<Peers> {
        self.peers_as(named, None)
    }

    /// The same when one VE's record says this.
    fn peers_as(&self, named: &BTreeSet<Peer>, soon: Option<&VeState>) -> Result<Peers> {
        let mut peers: Peers = named.iter().map(|p| (p.clone(), BTreeSet::new())).collect();
        if peers.is_empty() {
            return Ok(peers);
        }
        let mut catalogue = Catalogue::default();
        for state in &self.all_states()? {
            let state = soon.filter(|soon| soon.id == state.id).unwrap_or(state);
            for peer in self.is_peer(state) {
                if let Some(addresses) = peers.get_mut(&peer) {
                    addresses.extend(self.sources(state, &mut catalogue));
                }
            }
        }
        // Of a VE that is given others, what it had and what it will have may overlap.
        Ok(peers.into_iter().map(|(peer, all)| (peer, outermost(all))).collect())
    }

    /// By which names rules call a VE.
    fn is_peer(&self, state: &VeState) -> impl Iterator<Item = Peer> {
        let tenant = state.tenant.clone();
        let tenant = tenant.or_else(|| self.definition(&state.name).ok().map(|d| d.tenant));
        [Peer::Ve(state.name.clone())]
            .into_iter()
            .chain(tenant.map(Peer::Tenant))
    }

    /// All that a VE may send from: the addresses that were given to it, and on a bridge those that its kernel makes of its
    /// MAC address; and the prefixes that are routed to it.
    fn sources(&self, state: &VeState, catalogue: &mut Catalogue) -> Vec<IpNetwork> {
        let mut all: Vec<IpAddr> = state.addresses().collect();
        let local = IpNetwork::new(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 0_u16]), 64).ok();
        for interface in state.interfaces.iter().filter(|i| i.bridged.is_some()) {
            let mac = interface.mac;
            all.extend(local.and_then(|prefix| mac.announced(prefix)).map(IpAddr::from));
            let network = catalogue.network_in_force(self, &interface.network).ok();
            let heard = network.filter(|n| n.bridge.as_ref().is_some_and(|b| b.pass_ra));
            let pools = heard.into_iter().flat_map(|n| &n.pools);
            all.extend(pools.filter_map(|p| mac.announced(*p)).map(IpAddr::from));
        }
        all.into_iter().map(IpNetwork::from).chain(state.routes()).collect()
    }

    /// Rules that this kernel can't hold are refused; a peer that isn't there is told of.
    pub(super) fn judge_access(&self, ve: &Effective) -> Result<Vec<String>> {
        if ve.access.is_open() {
            return Ok(Vec::new());
        }
        let on_bridge = ve.interfaces.iter().find(|i| i.network.bridge.is_some());
        if let Some(interface) = on_bridge
            && !self.access.bears_ports(&self.access_table())?
        {
            let network = &interface.network.name;
            let message = format!("the access rules of {} can't be enforced on this host", ve.name);
            return Err(Error::new(Class::Limit, message)
                .because(format!(
                    "network {network} is of kind bridge, and this kernel can't track connections on bridges"
                ))
                .hint("it needs nf_conntrack_bridge, of Linux 5.3 and later")
                .hint("use a network of kind routed, or remove [firewall] from the VE and its tenant"));
        }
        let both = [Direction::In, Direction::Out];
        let peers: BTreeSet<&Peer> = both
            .iter()
            .flat_map(|d| ve.access.of(*d))
            .flat_map(|r| &r.peers)
            .collect();
        let missing = |peer: &&Peer| match peer {
            Peer::Network(_) => false,
            Peer::Ve(name) => *name != ve.name && !self.dirs.definition(name).exists(),
            Peer::Tenant(name) => !self.dirs.definitions("tenants").join(format!("{name}.toml")).exists(),
        };
        let tell =
            |peer: &Peer| format!("its access rules name {peer}, which doesn't exist: nobody is meant until it does");
        Ok(peers.into_iter().filter(missing).map(tell).collect())
    }
}
