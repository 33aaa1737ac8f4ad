//! Ports of the host that lead to VEs: `hostel forward`. Each change is one of a VE's definition like any other, which
//! takes effect at once.

use hostel_model::definition::{ForwardKeys, Protocol, VeDefinition};
use hostel_model::edit::{EditError, add_forward, remove_forward};
use hostel_model::forward::{Listen, PortForward};
use hostel_model::id::{NetworkName, VeId, VeName};
use hostel_model::request::VeRef;
use hostel_model::state::State;
use serde::Serialize;

use super::{Engine, Progress};
use crate::error::{Class, Error, Result};
use crate::ve::record::VeState;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardReport {
    /// The VE's number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// TCP or UDP; `None` if none was named and there was nothing to remove.
    pub protocol: Option<Protocol>,
    /// The ports of the host.
    pub listen: Listen,
    /// The first port of the VE that they lead to.
    pub to: Option<u16>,
    /// False if nothing had to be done.
    pub changed: bool,
    /// In force in a VE that runs; false: at its next start.
    pub live: bool,
}

/// Ports of the host that lead to a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardState {
    /// The VE's name.
    pub ve: VeName,
    /// Its number.
    pub id: VeId,
    /// The forward, of one family.
    #[serde(flatten)]
    pub forward: PortForwardParts,
    /// The interface inside: "eth0".
    pub interface: String,
    /// The network that it is on.
    pub network: NetworkName,
    /// Does the firewall lead them there now?
    pub active: bool,
}

/// A forward, a field each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortForwardParts {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports of the host.
    pub listen: Listen,
    /// The VE's address.
    pub target: std::net::IpAddr,
    /// The port there that the first one leads to.
    pub to: u16,
}

impl From<PortForward> for PortForwardParts {
    fn from(forward: PortForward) -> Self {
        let PortForward {
            protocol,
            listen,
            target,
            to,
        } = forward;
        Self {
            protocol,
            listen,
            target,
            to,
        }
    }
}

/// A VE, and its definition's text.
struct Subject {
    state: VeState,
    text: String,
    file: String,
    definition: VeDefinition,
    running: bool,
}

impl Engine {
    /// Leads ports of the host to a VE.
    pub fn add_forward(&self, ve: &VeRef, forward: &ForwardKeys, progress: &dyn Progress) -> Result<ForwardReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "forward", progress)?;
        let subject = self.subject(ve)?;
        let report = |changed| subject.report(Some(forward), forward.listen, changed);
        if subject.definition.forwards.contains(forward) {
            return Ok(report(false));
        }
        let new = add_forward(&subject.file, &subject.text, forward);
        self.put(&subject, new, progress)?;
        Ok(report(true))
    }

    /// Leads them there no more: the forward with these very ports, of this protocol.
    pub fn remove_forward(
        &self,
        ve: &VeRef,
        listen: Listen,
        protocol: Option<Protocol>,
        progress: &dyn Progress,
    ) -> Result<ForwardReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "forward", progress)?;
        let subject = self.subject(ve)?;
        let all = subject.definition.forwards.iter().enumerate();
        let meant: Vec<(usize, &ForwardKeys)> = all
            .filter(|(_, f)| f.listen == listen && protocol.is_none_or(|p| p == f.protocol))
            .collect();
        match meant[..] {
            [] => Ok(ForwardReport {
                protocol,
                ..subject.report(None, listen, false)
            }),
            [(index, forward)] => {
                let new = remove_forward(&subject.file, &subject.text, index);
                self.put(&subject, new, progress)?;
                Ok(subject.report(Some(forward), listen, true))
            }
            _ => {
                let message = format!("{} has {listen} of both protocols", subject.state.name);
                Err(Error::new(Class::Usage, message).hint("say which: --protocol tcp or --protocol udp"))
            }
        }
    }

    /// All forwards, or a VE's: as they were given out, and whether each is in force.
    pub fn forwards(&self, ve: Option<&VeRef>) -> Result<Vec<ForwardState>> {
        let states: Vec<VeState> = match ve {
            Some(ve) => vec![self.host.find(ve)?],
            None => self
                .host
                .states()?
                .into_iter()
                .filter_map(|(_, state)| state.ok())
                .collect(),
        };
        let members = self.host.firewall.members(self.host.config.nft_table.as_str())?;
        let mut all = Vec::new();
        for state in states {
            let names = self.host.interface_names(state.id, state.interfaces.len());
            for (n, (own, interface)) in names.iter().zip(&state.interfaces).enumerate() {
                let there = members.iter().filter(|m| m.interface == *own);
                let there: Vec<PortForward> = there.flat_map(|m| m.forwards.clone()).collect();
                all.extend(interface.forwards.iter().map(|forward| ForwardState {
                    ve: state.name.clone(),
                    id: state.id,
                    forward: (*forward).into(),
                    interface: format!("eth{n}"),
                    network: interface.network.clone(),
                    active: forward.singles().all(|one| there.contains(&one)),
                }));
            }
        }
        Ok(all)
    }

    fn subject(&self, ve: &VeRef) -> Result<Subject> {
        let state = self.host.find(ve)?;
        let reality = self.host.reality(state.id)?;
        let name = &state.name;
        if reality.state == State::Suspended {
            let message = format!("the forwards of {name} can't be changed while it is suspended");
            return Err(Error::new(Class::Refused, message)
                .because("it goes on with the network that it had")
                .hint(format!("resume it first: hostel resume {name}")));
        }
        let definition = self.host.definition(name)?;
        let text = self.definition_text(ve)?;
        let file = self.host.dirs.definition(name).display().to_string();
        Ok(Subject {
            text,
            file,
            definition,
            running: reality.init.is_some(),
            state,
        })
    }

    /// Puts the changed definition in force.
    fn put(
        &self,
        subject: &Subject,
        new: std::result::Result<String, EditError>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let name = &subject.state.name;
        let new = new.map_err(|e| {
            let message = format!("the forwards of {name} can't be changed so");
            Error::new(Class::Usage, message).because(e)
        })?;
        let report = self.change(&subject.state, &subject.text, &new, false, progress)?;
        if report.waiting.iter().any(|(key, ..)| key.starts_with("forward.")) {
            progress.note(&format!(
                "{name} runs with other networks than its definition has: its forwards change with them, at its next start"
            ));
        }
        Ok(())
    }
}

impl Subject {
    fn report(&self, forward: Option<&ForwardKeys>, listen: Listen, changed: bool) -> ForwardReport {
        ForwardReport {
            id: self.state.id,
            name: self.state.name.clone(),
            protocol: forward.map(|f| f.protocol),
            listen,
            to: forward.map(|f| f.to),
            changed,
            live: self.running,
        }
    }
}
