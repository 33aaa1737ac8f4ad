//! What differs between two effective definitions, and when each difference takes effect.

use serde::Serialize;

use crate::definition::{Allowances, ForwardKeys, When, key, keys};
use crate::resolve::{BURST_UNSAID, Effective};

/// A setting that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The dotted key.
    pub key: String,
    /// Its value until now, as `hostel show` has it.
    pub old: String,
    /// Its value from now on.
    pub new: String,
    /// When it takes effect on a running VE.
    pub when: When,
}

/// The settings that differ, in the order of the documentation. Where a value comes from doesn't matter.
pub fn diff(old: &Effective, new: &Effective) -> Vec<Change> {
    let (before, after) = (old.values(), new.values());
    let most = old.interfaces.len().max(new.interfaces.len());
    let plain = keys()
        .iter()
        .map(|k| k.key.clone())
        .filter(|k| k != "network" && k != "forward" && k != "openvz.KEY" && !k.contains(".N."));
    let of_each = ["network", "addresses", "routes", "mac", "rate_in", "rate_out", "burst"];
    let allowed = Allowances::default().by_key().map(|(key, _)| key);
    let of_each = of_each.into_iter().chain(allowed);
    let networks = (0..most).flat_map(|i| of_each.clone().map(move |name| format!("network.{i}.{name}")));
    let mut changes = Vec::new();
    let forwards = 0..old.forwards.len().max(new.forwards.len());
    let forwards = forwards.flat_map(|i| ForwardKeys::NAMES.map(|name| format!("forward.{i}.{name}")));
    let remembered = before
        .keys()
        .chain(after.keys())
        .filter(|key| key.starts_with("openvz."));
    let remembered: std::collections::BTreeSet<String> = remembered.cloned().collect();
    for key in plain.chain(networks).chain(forwards).chain(remembered) {
        let get = |values: &std::collections::BTreeMap<String, String>| {
            // What an interface that isn't there would have if nobody said else.
            let absent = match &key {
                rate if rate.contains(".rate_") => "unlimited",
                burst if burst.ends_with(".burst") => BURST_UNSAID,
                allowed if allowed.contains(".allow_") => "false",
                _ => "none",
            };
            values.get(&key).cloned().unwrap_or_else(|| absent.to_owned())
        };
        let (from, mut to) = (get(&before), get(&after));
        if key == "guest.password_hash" && from == to && old.guest.password_hash != new.guest.password_hash {
            "(changed)".clone_into(&mut to);
        }
        if from != to {
            let when = when(&key, old, new);
            changes.push(Change {
                key,
                old: from,
                new: to,
                when,
            });
        }
    }
    changes
}

fn when(name: &str, old: &Effective, new: &Effective) -> When {
    // A file system in use can grow, but not shrink.
    if name == "disk.size" && new.disk.size < old.disk.size {
        return When::Restart;
    }
    key(name).map_or(When::Restart, |k| k.when)
}
