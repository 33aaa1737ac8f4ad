//! The little that has to be known of a VE to end and remove it. It can be had for every VE, also for one whose record
//! is damaged: what is broken must never be what can't be got rid of.

use std::net::IpAddr;

use hostel_model::definition::MAX_INTERFACES;
use hostel_model::id::{TenantName, VeId, VeName};
use hostel_model::request::VeRef;

use super::record::VeState;
use crate::error::Result;
use crate::host::Host;

/// A VE in outline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Whose it is, as far as Hostel remembers.
    pub tenant: Option<TenantName>,
    /// The numbers of its interfaces; all that it may have if that can't be told.
    pub interfaces: Vec<usize>,
    /// Its addresses; none if they can't be told.
    pub addresses: Vec<IpAddr>,
    /// Its record can be read.
    pub whole: bool,
}

impl From<&VeState> for Outline {
    fn from(state: &VeState) -> Self {
        Self {
            id: state.id,
            name: state.name.clone(),
            tenant: state.tenant.clone(),
            interfaces: state.numbers(),
            addresses: state.addresses().collect(),
            whole: true,
        }
    }
}

impl Host {
    /// A VE in outline; `None` if there is none of that number.
    pub fn outline(&self, id: VeId) -> Option<Outline> {
        match self.state_of(id) {
            Ok(Some(state)) => Some(Outline::from(&state)),
            Ok(None) => None,
            Err(_) => Some(self.outline_of_broken(id)),
        }
    }

    /// The VE that a person means, in outline.
    pub fn locate(&self, ve: &VeRef) -> Result<Option<Outline>> {
        let id = match ve {
            VeRef::Id(id) => Some(*id),
            // A definition names its VE also when the VE's record can't be read.
            VeRef::Name(name) => match self.find(ve) {
                Ok(state) => Some(state.id),
                Err(_) => self
                    .states()?
                    .into_iter()
                    .filter(|(_, s)| s.is_err())
                    .map(|(id, _)| id)
                    .find(|id| self.outline_of_broken(*id).name == *name),
            },
        };
        Ok(id.and_then(|id| self.outline(id)))
    }

    /// Its definition says the number and so the name, if that can be read at least.
    fn outline_of_broken(&self, id: VeId) -> Outline {
        let names = self.names_of("ve").into_iter().filter_map(|n| n.parse::<VeName>().ok());
        let defined = names
            .into_iter()
            .find(|name| self.definition(name).is_ok_and(|d| d.id == id));
        Outline {
            id,
            name: defined.unwrap_or_else(|| substitute(id)),
            tenant: None,
            interfaces: (0..MAX_INTERFACES).collect(),
            addresses: Vec::new(),
            whole: false,
        }
    }
}

/// A name for a VE whose own is lost.
#[allow(clippy::expect_used)] // two letters and digits are a name; the test below tries the longest
fn substitute(id: VeId) -> VeName {
    format!("ve{id}").parse().expect("\"ve\" and a number are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_substitute_name() {
        for id in [VeId::MIN, VeId::MAX] {
            assert_eq!(substitute(id.try_into().unwrap()).as_str(), format!("ve{id}"));
        }
    }
}
