//! What interfaces are called: as they are inside.

use super::{Planned, refuse};
use crate::id::NetworkName;
use crate::openvz::code;
use crate::openvz::translate::Refused;

/// What a new interface will be called inside, where that is not as it was asked for: one that is there keeps its name, a
/// new one has the lowest that is left.
pub(super) fn note_names(plan: &[Planned], notes: &mut Vec<String>) {
    let mut used: Vec<String> = plan.iter().filter_map(|p| p.name.clone()).collect();
    for planned in plan.iter().filter(|p| p.name.is_none()) {
        let mut names = (0..=plan.len()).map(|n| format!("eth{n}"));
        let name = names.find(|name| !used.contains(name)).unwrap_or_default();
        if let Some(asked) = planned.asked.as_ref().filter(|asked| **asked != name) {
            notes.push(format!("{asked}: its name inside is {name}, the first that is free"));
        }
        used.push(name);
    }
}

/// Where the interface stands that is called so inside, which must be on a bridge.
pub(super) fn place(plan: &[Planned], bridged: &dyn Fn(&NetworkName) -> bool, name: &str) -> Result<usize, Refused> {
    match plan.iter().position(|p| p.name.as_deref() == Some(name)) {
        Some(at) if bridged(&plan[at].network) => Ok(at),
        Some(at) => {
            let network = &plan[at].network;
            let why = format!(
                "{name} is on the routed network \"{network}\", with the addresses of --ipadd, and not on a bridge"
            );
            Err(refuse(code::VETH, why))
        }
        None => {
            let mut why = format!("there is no interface {name} on a bridge");
            let on_bridges = plan.iter().filter(|p| bridged(&p.network));
            let names: Vec<&str> = on_bridges.filter_map(|p| p.name.as_deref()).collect();
            if !names.is_empty() {
                why.push_str(&format!("; there are: {}", names.join(", ")));
            }
            Err(refuse(code::VETH, why))
        }
    }
}
