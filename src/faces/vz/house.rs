//! What the dialect asks of a Hostel: the requests that every face makes.

use std::collections::BTreeSet;
use std::path::Path;

use hostel_engine::facade::{CommandEnd, Outcome, Progress, SetReport, VeHandle, VeStatus};
use hostel_engine::{Engine, Error, interrupt};
use hostel_model::definition::Network;
use hostel_model::id::{NetworkName, PlanName, TemplateRef, VeId};
use hostel_model::openvz::Held;
use hostel_model::request::{Action, Create, Exec, VeRef};
use hostel_model::resolve::Effective;

type Result<T> = std::result::Result<T, Error>;

/// Makes settings.
pub type Make<'m> = &'m mut dyn FnMut() -> Result<Vec<(String, String)>>;

/// A Hostel.
pub trait House {
    /// A VE's status; `None` if there is no such VE.
    fn status(&self, ve: &VeRef) -> Result<Option<VeStatus>>;
    /// The VE that is remembered under a name that is not its own.
    fn named(&self, name: &str) -> Result<Option<VeId>>;
    /// All VEs.
    fn list(&self) -> Result<Vec<VeStatus>>;
    /// Is a tenant suspended?
    fn is_suspended(&self, tenant: &str) -> bool;
    /// What it is to be.
    fn effective(&self, ve: &VeRef) -> Result<Effective>;
    /// The interfaces and addresses that it is to have.
    fn interfaces(&self, ve: &VeRef) -> Result<Vec<Held>>;
    /// Settings that were changed and wait for its next start.
    fn waiting(&self, ve: &VeRef) -> Result<BTreeSet<String>>;
    /// Gives one that is stopped a new disk, from this template or its own.
    fn reinstall(&self, ve: &VeRef, template: Option<&TemplateRef>, progress: &dyn Progress) -> Result<()>;
    /// All networks.
    fn networks(&self) -> Vec<Network>;
    /// The one that a new VE joins if nobody says else.
    fn default_network(&self) -> Option<NetworkName>;
    /// Why the host can't hold weights of disk bandwidth; `None` if it can.
    fn no_io_weight(&self) -> Option<String>;
    /// Names of templates, each once.
    fn templates(&self) -> Result<Vec<String>>;
    /// Is there a plan of this name?
    fn has_plan(&self, name: &PlanName) -> bool;
    /// Is a VE made from some template if nobody says else?
    fn has_default_template(&self) -> bool;
    /// Makes a VE.
    fn create(&self, create: &Create, progress: &dyn Progress) -> Result<VeHandle>;
    /// Changes one by settings that depend on how it is: they are made while nobody else can change it.
    fn set_made(&self, ve: &VeRef, make: Make<'_>, progress: &dyn Progress) -> Result<SetReport>;
    /// Acts on one.
    fn act(&self, id: VeId, action: &Action, progress: &dyn Progress) -> Result<Outcome>;
    /// Runs a command inside.
    fn exec(&self, ve: &VeRef, exec: &Exec) -> Result<CommandEnd>;
    /// Runs a script of the host's inside.
    fn runscript(&self, ve: &VeRef, script: &Path, args: &[String]) -> Result<CommandEnd>;
    /// Joins this terminal to its console.
    fn console(&self, ve: &VeRef) -> Result<()>;
    /// From now on Ctrl-C undoes what is under way; or it ends this program again. Has one come meanwhile?
    fn undoing(&self, on: bool) -> Result<bool>;
}

impl House for Engine {
    fn status(&self, ve: &VeRef) -> Result<Option<VeStatus>> {
        match Self::status(self, ve) {
            Ok(status) => Ok(Some(status)),
            Err(e) if e.class == hostel_engine::Class::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
    fn named(&self, name: &str) -> Result<Option<VeId>> {
        self.openvz_named(name)
    }
    fn list(&self) -> Result<Vec<VeStatus>> {
        Self::list(self)
    }
    fn is_suspended(&self, tenant: &str) -> bool {
        let tenant = tenant.parse().ok().and_then(|name| self.tenant(&name).ok());
        tenant.is_some_and(|(status, _)| status.suspended.is_some())
    }
    fn effective(&self, ve: &VeRef) -> Result<Effective> {
        Self::effective(self, ve)
    }
    fn interfaces(&self, ve: &VeRef) -> Result<Vec<Held>> {
        Self::interfaces(self, ve)
    }
    fn waiting(&self, ve: &VeRef) -> Result<BTreeSet<String>> {
        Self::waiting(self, ve)
    }
    fn reinstall(&self, ve: &VeRef, template: Option<&TemplateRef>, progress: &dyn Progress) -> Result<()> {
        Self::reinstall(self, ve, template, progress)
    }
    fn networks(&self) -> Vec<Network> {
        self.network_definitions()
    }
    fn default_network(&self) -> Option<NetworkName> {
        Self::default_network(self)
    }
    fn no_io_weight(&self) -> Option<String> {
        Self::no_io_weight(self)
    }
    fn templates(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.template_list()?.into_iter().map(|t| t.name.to_string()).collect();
        names.dedup();
        Ok(names)
    }
    fn has_plan(&self, name: &PlanName) -> bool {
        Self::has_plan(self, name)
    }
    fn has_default_template(&self) -> bool {
        Self::has_default_template(self)
    }
    fn create(&self, create: &Create, progress: &dyn Progress) -> Result<VeHandle> {
        Self::create(self, create, progress)
    }
    fn set_made(&self, ve: &VeRef, make: Make<'_>, progress: &dyn Progress) -> Result<SetReport> {
        Self::set_made(self, ve, make, progress)
    }
    fn act(&self, id: VeId, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        Self::act(self, id, action, progress)
    }
    fn exec(&self, ve: &VeRef, exec: &Exec) -> Result<CommandEnd> {
        Self::exec(self, ve, exec)
    }
    fn runscript(&self, ve: &VeRef, script: &Path, args: &[String]) -> Result<CommandEnd> {
        Self::runscript(self, ve, script, args)
    }
    fn undoing(&self, on: bool) -> Result<bool> {
        match on {
            true => interrupt::watch().map(|()| false),
            false => interrupt::unwatch(),
        }
    }
    fn console(&self, ve: &VeRef) -> Result<()> {
        Self::console(self, ve, |_| ())
    }
}
