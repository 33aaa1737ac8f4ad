//! Making VEs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use hostel_model::definition::{Addresses, DriverName, VeDefinition};
use hostel_model::edit::{NewVe, edit, render_new};
use hostel_model::id::{VeId, VeName};
use hostel_model::request::{Action, Create as Request, VeRef};
use hostel_model::resolve::Effective;
use hostel_system::file;

use super::{Engine, Progress, VeHandle};
use crate::error::{Class, Error, Result};
use crate::lock::Subject;
use crate::op::create::{Create, Params};
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;
use crate::ve::taken::Taken;

/// How often a creation that lost a race for an id or an address draws anew.
const DRAWS: usize = 64;

impl Engine {
    /// Makes a VE.
    pub fn create(&self, request: &Request, progress: &dyn Progress) -> Result<VeHandle> {
        let mut draw = 0;
        let handle = loop {
            draw += 1;
            match self.try_create(request, progress) {
                // Somebody else took what we had drawn between our look and our reservation.
                Err(e) if e.class == Class::Busy && draw < DRAWS && !names_its_id(request) => continue,
                other => break other?,
            }
        };
        self.note_openvz(handle.id, progress);
        if let Some(options) = &request.start {
            let started = self.act(handle.id, &Action::Start(options.clone()), progress);
            started.map_err(|e| self.made_but(e, &handle))?;
        } else {
            self.host.keep_usage();
        }
        Ok(handle)
    }

    /// An error of the start of a VE that has just been made, with what has become of that.
    fn made_but(&self, mut error: Error, ve: &VeHandle) -> Error {
        // Nobody has heard of its number yet.
        error.message = error.message.replace(&format!("VE {}", ve.id), ve.name.as_str());
        match self.host.reality(ve.id) {
            Ok(reality) if reality.init.is_none() => error.hint(format!(
                "{0} is stopped; its creation is not undone: start it with: hostel start {0}",
                ve.name
            )),
            _ => error,
        }
    }

    /// The creation or destruction of a VE of the same name (or number, if it was asked for) that was cut short is
    /// ended first, as it is in the way. True if there was one.
    fn finish_unfinished(&self, ve: &VeDefinition, by_number: bool, progress: &dyn Progress) -> Result<bool> {
        let names = [
            Some(VeRef::Name(ve.name.clone())),
            by_number.then_some(VeRef::Id(ve.id)),
        ];
        let mut found = false;
        for unfinished in names.into_iter().flatten().filter_map(|r| self.unfinished(&r)) {
            drop(self.lock_ve(unfinished.id, "create", progress)?);
            found = true;
        }
        Ok(found)
    }

    fn try_create(&self, request: &Request, progress: &dyn Progress) -> Result<VeHandle> {
        let params = self.plan_create(request, progress)?;
        let handle = VeHandle {
            id: params.state.id,
            name: params.state.name.clone(),
        };
        let _lock = self.lock_ve(handle.id, "create", progress)?;
        self.runner(progress)
            .run::<Create>(&Arc::clone(&self.host), handle.id, &params)
            .map_err(|mut e| {
                // Nobody has heard of its number yet.
                e.message = e.message.replace(&format!("VE {}", handle.id), handle.name.as_str());
                e
            })?;
        Ok(handle)
    }

    /// Everything about the new VE is decided and judged here; nothing of it is made yet.
    pub(crate) fn plan_create(&self, request: &Request, progress: &dyn Progress) -> Result<Params> {
        let mut taken = self.host.taken(None)?;
        let mut defined = self.define(request, &taken)?;
        if self.finish_unfinished(&defined.definition, names_its_id(request), progress)? {
            taken = self.host.taken(None)?;
            defined = self.define(request, &taken)?;
        }
        let Defined {
            definition,
            text,
            found,
        } = defined;
        self.refuse_taken(&definition, &taken, found.is_some())?;
        let mut catalogue = Catalogue::default();
        let effective = self.host.resolve(&definition, &mut catalogue)?;
        let driver = effective.disk.driver.unwrap_or_else(|| self.host.usual_driver());
        // Lines are of use to whoever has written them.
        let written = (request.file.is_some() || found.is_some()).then_some(text.as_str());
        let judged = self.host.judge_text(&effective, driver, written).map_err(|e| {
            // Somebody took the number between our look and now: then it is drawn anew.
            let lost = !names_its_id(request) && self.host.taken(None).is_ok_and(|t| t.ids.contains(&effective.id));
            if lost { e.class(Class::Busy) } else { e }
        });
        for warning in judged? {
            progress.note(&warning);
        }
        self.host.check_driver(driver)?;
        taken.heard = self.host.heard_for(&effective, &[], &taken)?;
        let mut state = self.allocate(&effective, driver, &taken)?;
        // What is given to a fresh VE once it has long had.
        state.settled_in = request.tree.is_some();
        let limits_files = self.host.disks.get(driver).inodes(effective.disk.size.get()).is_some();
        Ok(Params {
            state,
            definition: text,
            found,
            disk_size: effective.disk.size.get(),
            inodes: effective.disk.inodes.filter(|_| limits_files),
            share: effective.share,
            tree: request.tree.clone(),
            heard: taken.heard,
        })
    }

    /// Judges what a request would make, and makes nothing: what it is to be called, and the size of its disk.
    pub(crate) fn judge_create(&self, request: &Request, progress: &dyn Progress) -> Result<(VeHandle, u64)> {
        let taken = self.host.taken(None)?;
        let Defined { definition, found, .. } = self.define(request, &taken)?;
        self.refuse_taken(&definition, &taken, found.is_some())?;
        let effective = self.host.resolve(&definition, &mut Catalogue::default())?;
        let driver = effective.disk.driver.unwrap_or_else(|| self.host.usual_driver());
        for warning in self.host.judge(&effective, driver)? {
            progress.note(&warning);
        }
        let (id, name) = (definition.id, definition.name);
        Ok((VeHandle { id, name }, effective.disk.size.get()))
    }

    /// The definition, from a file or from defaults, with the request's settings on top.
    fn define(&self, request: &Request, taken: &Taken) -> Result<Defined> {
        let name = self.name_of(request)?;
        let id = self.lowest_free(taken)?;
        let file = self.host.dirs.definition(&name).display().to_string();
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut found = None;
        let text = match &request.file {
            Some(path) => {
                let text = file::read(path).map_err(|e| Error::from(e).class(Class::NotFound))?;
                if !has_key(&text, "id") {
                    settings.push(("id".into(), id.to_string()));
                }
                settings.push(("name".into(), name.to_string()));
                if is_same_file(path, Path::new(&file)) {
                    found = Some(text.clone());
                }
                text
            }
            None => self.fresh_definition(&name, id, request)?,
        };
        settings.extend(request.settings.iter().cloned());
        let mistaken = |e: &dyn std::fmt::Display| {
            Error::new(Class::Usage, format!("the definition of {name} has mistakes")).because(e.to_string())
        };
        let text = edit(&file, &text, &settings).map_err(|e| mistaken(&e))?;
        let definition = VeDefinition::parse(&file, &text).map_err(|e| mistaken(&e))?;
        Ok(Defined {
            definition,
            text,
            found,
        })
    }

    /// The lowest id that nobody has, nor is about to take.
    fn lowest_free(&self, taken: &Taken) -> Result<VeId> {
        let held = |id: &VeId| matches!(self.host.locks.holder(Subject::Ve(*id)), Ok(Some(_)));
        (VeId::MIN..=VeId::MAX)
            .filter_map(|n| VeId::try_from(n).ok())
            .find(|id| !taken.ids.contains(id) && !held(id))
            .ok_or_else(|| Error::new(Class::Limit, "no VE id is free"))
    }

    fn name_of(&self, request: &Request) -> Result<VeName> {
        let text = match (&request.name, &request.file) {
            (Some(name), _) => name.clone(),
            (None, Some(path)) => stem(path),
            (None, None) => return Err(Error::new(Class::Usage, "a VE needs a name")),
        };
        text.parse()
            .map_err(|e: hostel_model::id::NameError| Error::new(Class::Usage, e.to_string()))
    }

    fn fresh_definition(&self, name: &VeName, id: VeId, request: &Request) -> Result<String> {
        let defaults = &self.host.config.defaults;
        let asked = |key: &str| {
            request
                .settings
                .iter()
                .rev()
                .find(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
        };
        let bad = |what: &str, e: &dyn std::fmt::Display| {
            Error::new(Class::Usage, format!("cannot make {name} from that {what}")).because(e.to_string())
        };
        let template = match asked("template") {
            Some(text) => text
                .parse()
                .map_err(|e: hostel_model::template::RefError| bad("template", &e))?,
            None => defaults.template.clone().ok_or_else(|| {
                Error::new(Class::Usage, format!("{name} needs a template"))
                    .hint("name one with --template, or set defaults.template in hostel.toml")
                    .hint("see what there is with: hostel template list")
            })?,
        };
        let asks_for_network = request.settings.iter().any(|(k, _)| k.starts_with("network"));
        let networks = match &defaults.network {
            Some(network) if !asks_for_network => vec![(network.clone(), Addresses::Auto)],
            _ => Vec::new(),
        };
        let mut text = render_new(&NewVe {
            id,
            name: name.clone(),
            tenant: defaults.tenant.clone(),
            template,
            plan: defaults.plan.clone(),
            onboot: false,
            hostname: None,
            share: None,
            description: None,
            networks,
        });
        if asks_for_network {
            // The settings name interfaces by number; the tables they go to have to be there.
            for n in 0..=highest_interface(request) {
                let network = asked(&format!("network.{n}.network")).map(str::to_owned);
                let network = network
                    .or_else(|| defaults.network.as_ref().map(ToString::to_string))
                    .ok_or_else(|| {
                        Error::new(Class::Usage, format!("interface {n} of {name} needs a network"))
                            .hint("name it with --network")
                    })?;
                text.push_str(&format!("\n[[network]]\nnetwork = {network:?}\naddresses = \"auto\"\n"));
            }
        }
        Ok(text)
    }

    fn refuse_taken(&self, definition: &VeDefinition, taken: &Taken, from_its_place: bool) -> Result<()> {
        let refuse = |what: String| {
            Err(Error::new(Class::Refused, what).hint("choose another one, or see all with: hostel list"))
        };
        if taken.names.contains(&definition.name) {
            return refuse(format!("there is a VE {} already", definition.name));
        }
        let path = self.host.dirs.definition(&definition.name);
        if path.exists() && !from_its_place {
            let (name, path) = (&definition.name, path.display());
            return Err(Error::new(
                Class::Refused,
                format!("there is a definition of {name} already, at {path}"),
            )
            .hint(format!("make the VE that it defines: hostel create --file {path}"))
            .hint("or choose another name"));
        }
        if taken.ids.contains(&definition.id) {
            return refuse(format!("there is a VE with id {} already", definition.id));
        }
        Ok(())
    }

    /// Everything that a new VE gets for life.
    fn allocate(&self, effective: &Effective, driver: DriverName, taken: &Taken) -> Result<VeState> {
        let store = self.host.templates();
        let template = store.resolve(&effective.template.to_string())?;
        Ok(VeState {
            version: VeState::version(),
            id: effective.id,
            name: effective.name.clone(),
            tenant: Some(effective.tenant.clone()),
            slot: self.host.free_slot(effective, taken)?,
            template: template.record.reference().to_string(),
            lower: template.root(),
            family: template.record.family,
            init: template.record.init.kind,
            driver,
            disk_size: effective.disk.size.get(),
            seed: random_seed()?,
            settled_in: false,
            password: None,
            overdue: BTreeSet::new(),
            waiting: BTreeSet::new(),
            interfaces: self.host.interfaces(effective, &[], taken)?,
            former: None,
            damaged: None,
        })
    }
}

/// What a new VE is to be.
struct Defined {
    definition: VeDefinition,
    text: String,
    /// What a person had put in the definition's place, if it comes from there.
    found: Option<String>,
}

/// One file, by whatever way.
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    identity(one).is_some_and(|id| identity(other) == Some(id))
}

/// 16 random bytes in hexadecimal digits.
pub(crate) fn random_seed() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Error::new(Class::Failed, "cannot draw random numbers").because(e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn names_its_id(request: &Request) -> bool {
    request.file.is_some() || request.settings.iter().any(|(key, _)| key == "id")
}

fn has_key(text: &str, key: &str) -> bool {
    toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key(key))
}

fn highest_interface(request: &Request) -> usize {
    let number = |key: &str| key.strip_prefix("network.")?.split('.').next()?.parse::<usize>().ok();
    let most = hostel_model::definition::MAX_INTERFACES - 1;
    request
        .settings
        .iter()
        .filter_map(|(key, _)| number(key))
        .max()
        .unwrap_or(0)
        .min(most)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}
