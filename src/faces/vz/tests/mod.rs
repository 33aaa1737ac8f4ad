//! A Hostel of fakes for tests of the dialect: real definitions, edited as the engine edits them, and states that change as
//! the model says they may. What it is asked is kept.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use hostel_engine::facade::{CommandEnd, Outcome, Progress, SetReport, VeHandle, VeStatus};
use hostel_engine::{Class, Detail, Error};
use hostel_model::definition::{HostConfig, Network, Plan, Tenant, VeDefinition};
use hostel_model::edit::{diff, edit};
use hostel_model::id::{NetworkName, PlanName, TemplateRef, VeId};
use hostel_model::openvz::Held;
use hostel_model::request::{Action, Create, Exec, VeRef};
use hostel_model::resolve::{Catalog, Effective};
use hostel_model::state::{State, Transition, judge};

use super::house::{House, Make};

type Result<T> = std::result::Result<T, Error>;

/// A VE of the fake.
#[derive(Debug, Clone)]
struct Ve {
    text: String,
    state: State,
    /// What waits for its next start.
    waiting: BTreeSet<String>,
}

/// The fake.
#[derive(Debug, Default)]
pub struct Fake {
    ves: RefCell<BTreeMap<VeId, Ve>>,
    /// What it was asked, a line each.
    pub asked: RefCell<Vec<String>>,
    /// How the next command inside ends.
    pub ends_with: RefCell<u8>,
    /// What stands in the way of the next request that changes something.
    pub refuses: RefCell<Option<(Class, Option<Detail>)>>,
    /// Its hostel.toml names no template.
    pub no_default_template: RefCell<bool>,
    /// Why it can't hold weights of disk bandwidth.
    pub no_io_weight: RefCell<Option<String>>,
}

pub type Shared = Rc<Fake>;

fn networks() -> Vec<Network> {
    [
        (
            "public",
            "kind = \"routed\"\npools = [\"203.0.113.0/24\", \"2001:db8::/64\"]",
        ),
        ("lan", "kind = \"bridge\"\nbridge = \"br0\"\npools = [\"10.1.0.0/24\"]"),
    ]
    .iter()
    .map(|(name, text)| Network::parse(&format!("networks/{name}.toml"), text).unwrap())
    .collect()
}

fn catalog() -> Catalog {
    let plan = |name: &str, memory: &str| {
        let text = format!("memory.limit = \"{memory}\"\nprocesses = 500\ndisk.size = \"10GiB\"\nfeatures.tun = true");
        Plan::parse(&format!("plans/{name}.toml"), &text).unwrap()
    };
    Catalog {
        host: HostConfig::default(),
        plans: vec![plan("small", "512MiB"), plan("large", "4GiB")],
        networks: networks(),
        tenants: vec![Tenant::parse("tenants/acme.toml", "").unwrap()],
    }
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.borrow_mut().push(what);
    }

    fn id(&self, ve: &VeRef) -> Option<VeId> {
        let ves = self.ves.borrow();
        let mut all = ves.keys().copied();
        match ve {
            VeRef::Id(id) => all.find(|known| known == id),
            VeRef::Name(name) => all.find(|id| self.definition_of(*id).name == *name),
        }
    }

    fn definition_of(&self, id: VeId) -> VeDefinition {
        let ves = self.ves.borrow();
        let text = &ves[&id].text;
        let name = text.lines().find_map(|l| l.strip_prefix("name = \"")).unwrap();
        VeDefinition::parse(&format!("ve/{}.toml", name.trim_end_matches('"')), text).unwrap()
    }

    fn found(&self, ve: &VeRef) -> Result<VeId> {
        self.id(ve)
            .ok_or_else(|| Error::new(Class::NotFound, format!("there is no VE {ve}")))
    }

    fn allowed(&self) -> Result<()> {
        match self.refuses.borrow_mut().take() {
            Some((class, None)) => Err(Error::new(class, "it was refused")),
            Some((class, Some(detail))) => Err(Error::new(class, "it was refused").detail(detail)),
            None => Ok(()),
        }
    }

    /// Puts a VE into a state.
    pub fn put(&self, id: u32, state: State) {
        self.ves.borrow_mut().get_mut(&id.try_into().unwrap()).unwrap().state = state;
    }

    fn change(&self, ve: &VeRef, settings: &[(String, String)]) -> Result<SetReport> {
        self.note(format!("set {ve}{}", shown(settings)));
        self.allowed()?;
        let id = self.found(ve)?;
        let old = self.definition_of(id);
        let text = self.ves.borrow()[&id].text.clone();
        let file = format!("ve/{}.toml", old.name);
        let text = edit(&file, &text, settings).map_err(|e| Error::new(Class::Usage, "mistakes").because(e))?;
        let new = VeDefinition::parse(&file, &text).unwrap();
        let new = catalog()
            .resolve(&new)
            .map_err(|e| Error::new(Class::NotFound, "no such plan").because(e))?;
        let before = catalog().resolve(&old).unwrap();
        let running = [State::Running, State::Suspended].contains(&self.ves.borrow()[&id].state);
        let mut report = SetReport::default();
        for change in diff(&before, &new) {
            let line = (change.key, change.old, change.new);
            match change.when {
                hostel_model::definition::When::Live => report.applied.push(line),
                _ if running && !line.0.starts_with("network") => report.waiting.push(line),
                _ => report.applied.push(line),
            }
        }
        let mut ves = self.ves.borrow_mut();
        let ve = ves.get_mut(&id).unwrap();
        ve.text = text;
        ve.waiting.extend(report.waiting.iter().map(|(key, ..)| key.clone()));
        Ok(report)
    }

    fn row(&self, id: VeId) -> VeStatus {
        let effective = catalog().resolve(&self.definition_of(id)).unwrap();
        let state = self.ves.borrow()[&id].state;
        VeStatus {
            id,
            name: effective.name.to_string(),
            tenant: "acme".into(),
            state: state.to_string(),
            problem: None,
            plan: effective.plan.to_string(),
            template: "tiny/1".into(),
            hostname: effective.hostname.to_string(),
            addresses: effective.fixed_addresses().collect(),
            memory: None,
            memory_limit: effective.limits.memory.limit.map(|b| b.get()),
            cpu_ns: None,
            cpu_cap_milli: None,
            processes: None,
            process_limit: effective.limits.processes,
            disk: None,
            disk_limit: Some(effective.disk.size.get()),
            uptime: None,
            booted: None,
            pid: None,
            onboot: effective.onboot,
        }
    }
}

fn pairs(settings: &[(String, String)]) -> String {
    settings.iter().map(|(k, v)| format!(" {k}={v}")).collect()
}

/// A hash is never the same twice.
fn shown(settings: &[(String, String)]) -> String {
    let hidden = |(k, v): &(String, String)| match k.as_str() {
        "guest.password_hash" => (k.clone(), v.chars().take(3).collect()),
        _ => (k.clone(), v.clone()),
    };
    pairs(&settings.iter().map(hidden).collect::<Vec<_>>())
}

impl House for Shared {
    fn status(&self, ve: &VeRef) -> Result<Option<VeStatus>> {
        Ok(self.id(ve).map(|id| self.row(id)))
    }
    fn named(&self, name: &str) -> Result<Option<VeId>> {
        let all: Vec<VeId> = self.ves.borrow().keys().copied().collect();
        Ok(all
            .into_iter()
            .find(|id| self.definition_of(*id).openvz.get("NAME") == Some(name)))
    }
    fn list(&self) -> Result<Vec<VeStatus>> {
        let all: Vec<VeId> = self.ves.borrow().keys().copied().collect();
        Ok(all.into_iter().map(|id| self.row(id)).collect())
    }
    fn is_suspended(&self, _: &str) -> bool {
        false
    }
    fn effective(&self, ve: &VeRef) -> Result<Effective> {
        Ok(catalog().resolve(&self.definition_of(self.found(ve)?)).unwrap())
    }
    fn interfaces(&self, ve: &VeRef) -> Result<Vec<Held>> {
        let held = |(n, i): (usize, hostel_model::definition::InterfaceKeys)| Held {
            name: format!("eth{n}"),
            network: i.network,
            addresses: match i.addresses {
                Some(hostel_model::definition::Addresses::Fixed(list)) => list,
                _ => Vec::new(),
            },
        };
        Ok(self
            .definition_of(self.found(ve)?)
            .interfaces
            .into_iter()
            .enumerate()
            .map(held)
            .collect())
    }
    fn waiting(&self, ve: &VeRef) -> Result<BTreeSet<String>> {
        Ok(self.ves.borrow()[&self.found(ve)?].waiting.clone())
    }
    fn reinstall(&self, ve: &VeRef, template: Option<&TemplateRef>, _: &dyn Progress) -> Result<()> {
        let from = template.map(|t| format!(" from {t}")).unwrap_or_default();
        self.note(format!("reinstall {ve}{from}"));
        self.allowed()?;
        let id = self.found(ve)?;
        match self.ves.borrow()[&id].state {
            State::Stopped => {}
            state => return Err(Error::new(Class::Refused, format!("it is {state}"))),
        }
        match template.and_then(|t| t.version.as_ref()) {
            Some(version) => Err(Error::new(Class::NotFound, format!("there is no version {version}"))),
            None => Ok(()),
        }
    }
    fn networks(&self) -> Vec<Network> {
        networks()
    }
    fn default_network(&self) -> Option<NetworkName> {
        Some("public".parse().unwrap())
    }
    fn no_io_weight(&self) -> Option<String> {
        self.no_io_weight.borrow().clone()
    }
    fn templates(&self) -> Result<Vec<String>> {
        Ok(vec!["tiny".to_owned()])
    }
    fn has_plan(&self, name: &PlanName) -> bool {
        catalog().plans.iter().any(|plan| plan.name == *name)
    }
    fn has_default_template(&self) -> bool {
        !*self.no_default_template.borrow()
    }
    fn create(&self, create: &Create, _: &dyn Progress) -> Result<VeHandle> {
        let name = create.name.clone().unwrap();
        self.note(format!("create {name}{}", shown(&create.settings)));
        self.allowed()?;
        if !self.has_default_template() && !create.settings.iter().any(|(key, _)| key == "template") {
            return Err(Error::new(Class::Usage, format!("{name} needs a template")));
        }
        let mut text = match &create.file {
            Some(file) => std::fs::read_to_string(file).unwrap(),
            None => format!("id = 101\nname = \"{name}\"\ntenant = \"acme\"\ntemplate = \"tiny\"\nplan = \"small\"\n"),
        };
        let mut interfaces = 0;
        for (key, value) in &create.settings {
            if let Some(network) = key
                .strip_suffix(".network")
                .filter(|k| k.starts_with("network."))
                .map(|_| value)
            {
                text.push_str(&format!("[[network]]\nnetwork = \"{network}\"\naddresses = \"auto\"\n"));
                interfaces += 1;
            }
        }
        let removal = |(key, _): &&(String, String)| key != "network-" || interfaces > 0;
        let settings: Vec<_> = create.settings.iter().filter(removal).cloned().collect();
        let file = format!("ve/{name}.toml");
        let text = edit(&file, &text, &settings).map_err(|e| Error::new(Class::Usage, "mistakes").because(e))?;
        let definition = VeDefinition::parse(&file, &text).unwrap();
        let resolved = catalog().resolve(&definition);
        resolved.map_err(|e| Error::new(Class::NotFound, "it names what isn't there").because(e))?;
        if self.list()?.iter().any(|ve| ve.name == name) {
            return Err(Error::new(Class::Refused, format!("there is a VE {name} already")));
        }
        let taken = self.list()?.into_iter().flat_map(|ve| ve.addresses).collect::<Vec<_>>();
        let mine = catalog()
            .resolve(&definition)
            .unwrap()
            .fixed_addresses()
            .collect::<Vec<_>>();
        if mine.iter().any(|a| taken.contains(a)) {
            return Err(Error::new(Class::Refused, "the address is taken"));
        }
        let (id, name) = (definition.id, definition.name);
        self.ves.borrow_mut().insert(
            id,
            Ve {
                text,
                state: State::Stopped,
                waiting: BTreeSet::new(),
            },
        );
        Ok(VeHandle { id, name })
    }
    fn set_made(&self, ve: &VeRef, make: Make<'_>, _: &dyn Progress) -> Result<SetReport> {
        let settings = make()?;
        match settings.is_empty() {
            true => Ok(SetReport::default()),
            false => self.change(ve, &settings),
        }
    }
    fn act(&self, id: VeId, action: &Action, _: &dyn Progress) -> Result<Outcome> {
        self.note(format!("{action:?} {id}"));
        self.allowed()?;
        let was = self.ves.borrow()[&id].state;
        let outcome = |done: &str, changed| Outcome {
            done: done.to_owned(),
            changed,
            path: None,
        };
        let disabled = catalog().resolve(&self.definition_of(id)).unwrap().disabled;
        match judge(was, action) {
            Err(refusal) => Err(Error::new(Class::Refused, refusal.to_string()).hint(refusal.instead)),
            Ok(_)
                if disabled
                    && matches!(action, Action::Start(o) | Action::Restart { start: o, .. } if !o.disabled_too) =>
            {
                Err(Error::new(Class::Refused, "it is disabled"))
            }
            Ok(Transition::AlreadyDone(why)) => Ok(outcome(why, false)),
            Ok(Transition::To(state)) => {
                let mut ves = self.ves.borrow_mut();
                let ve = ves.get_mut(&id).unwrap();
                ve.state = state;
                if was != State::Suspended && matches!(action, Action::Start(_) | Action::Restart { .. }) {
                    ve.waiting.clear();
                }
                Ok(outcome(&format!("is {state} now"), true))
            }
            Ok(Transition::Stay) => Ok(outcome("done", true)),
            Ok(Transition::Gone) => {
                self.ves.borrow_mut().remove(&id);
                Ok(outcome("destroyed", true))
            }
        }
    }
    fn exec(&self, ve: &VeRef, exec: &Exec) -> Result<CommandEnd> {
        let variables: String = exec.env.keys().map(|name| format!(" {name}")).collect();
        self.note(format!("exec {ve} {:?} with{variables}", exec.argv));
        let code = self.ends_with.take();
        Ok(CommandEnd { code, said: None })
    }
    fn runscript(&self, ve: &VeRef, script: &Path, args: &[String]) -> Result<CommandEnd> {
        self.note(format!("runscript {ve} {} {args:?}", script.display()));
        let code = self.ends_with.take();
        Ok(CommandEnd { code, said: None })
    }
    fn undoing(&self, _: bool) -> Result<bool> {
        Ok(false)
    }
    fn console(&self, ve: &VeRef) -> Result<()> {
        self.note(format!("console {ve}"));
        Ok(())
    }
}
