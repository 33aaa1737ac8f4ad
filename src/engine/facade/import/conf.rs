//! Reading CTID.conf and its kin: what becomes of each line.

use std::path::Path;

use hostel_model::id::PlanName;
use hostel_model::openvz::{
    Act, Becomes, Conf, Given, Remembered, Surroundings, Translation, parameter, translate, with_id,
};
use hostel_system::file;

use super::{Engine, Fate, ImportLine};
use crate::error::{Class, Error, Result};

/// The setting that takes away the interface that a new VE gets if nobody says else.
pub(super) const NO_INTERFACE: &str = "network-";

/// What a file says, as far as it could be understood.
pub(super) struct Read {
    pub(super) lines: Vec<ImportLine>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) name: Option<String>,
}

impl Engine {
    /// Reads a file, and says of each line what becomes of it.
    pub(super) fn read_conf(&self, path: &Path, ctid: &str) -> Result<Read> {
        let text = file::read(path).map_err(|e| Error::from(e).class(Class::NotFound))?;
        let (conf, problems) = Conf::parse(&text);
        let (remembered, networks) = (Remembered::default(), self.network_definitions());
        let around = Surroundings {
            cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            creating: true,
            remembered: &remembered,
            memory_limit: None,
            interfaces: Vec::new(),
            networks: &networks,
            default_network: self.default_network(),
            no_io_weight: self.no_io_weight(),
        };
        let entries: Vec<(usize, String, String)> = conf
            .entries()
            .map(|e| (e.line, e.name.clone(), with_id(&e.value, ctid)))
            .collect();
        let mut read = Read {
            lines: Vec::new(),
            settings: Vec::new(),
            name: None,
        };
        let mut taken: Vec<Given<'_>> = Vec::new();
        for (at, (line, key, value)) in entries.iter().enumerate() {
            let again = entries[at + 1..].iter().any(|(_, other, _)| other == key);
            let (fate, what) = match parameter(key) {
                _ if again => (Fate::Lost, "it stands there again, and the last counts".to_owned()),
                None => (Fate::Lost, "there is no such parameter".to_owned()),
                Some(known) => {
                    let given = Given {
                        key: known,
                        named: key,
                        value,
                    };
                    self.judge_line(&given, &around, &mut taken, &mut read)
                }
            };
            read.lines.push(ImportLine {
                line: *line,
                key: key.clone(),
                value: value.clone(),
                fate,
                what,
            });
        }
        // Those that aren't of the form of a parameter.
        let told = |line: usize| entries.iter().any(|(at, ..)| *at == line);
        read.lines
            .extend(problems.into_iter().filter(|p| !told(p.line)).map(|p| ImportLine {
                line: p.line,
                key: String::new(),
                value: String::new(),
                fate: Fate::Lost,
                what: p.why,
            }));
        read.lines.sort_by_key(|line| line.line);
        let all = translate(&taken, &around).map_err(|e| {
            Error::new(
                Class::Usage,
                format!("{} can't be taken over as a whole", path.display()),
            )
            .because(e)
        })?;
        read.settings.extend(all.settings);
        Ok(read)
    }

    /// One parameter by itself: so each has its own answer.
    fn judge_line<'a>(
        &self,
        given: &Given<'a>,
        around: &Surroundings<'_>,
        taken: &mut Vec<Given<'a>>,
        read: &mut Read,
    ) -> (Fate, String) {
        let remember = |read: &mut Read, why: &str| {
            read.settings
                .push((format!("openvz.{}", given.named), given.value.to_owned()));
            (Fate::Kept, why.to_owned())
        };
        match given.key.becomes {
            Becomes::Act { act: Act::Name, .. } => {
                read.name = Some(given.value.to_owned()).filter(|name| !name.is_empty());
                return (Fate::Became, "its name, or remembered as one".to_owned());
            }
            Becomes::Act { act: Act::Template, .. } => {
                return remember(read, "its own tree is on its disk, whatever it came from");
            }
            Becomes::Act { act: Act::Plan, .. } => {
                let plan: Option<PlanName> = given.value.parse().ok();
                let there = |plan: &PlanName| {
                    self.host
                        .dirs
                        .definitions("plans")
                        .join(format!("{plan}.toml"))
                        .exists()
                };
                if !plan.as_ref().is_some_and(there) {
                    return remember(
                        read,
                        "there is no plan of this name; make it of its sample: hostel import openvz FILE",
                    );
                }
            }
            _ => {}
        }
        match translate(std::slice::from_ref(given), around) {
            Err(refused) => (Fate::Lost, refused.message),
            Ok(translation) => {
                taken.push(*given);
                became(&translation)
            }
        }
    }
}

/// What a translated parameter became, to be told.
fn became(translation: &Translation) -> (Fate, String) {
    let settings: Vec<String> = translation
        .settings
        .iter()
        // A container without an address has no interface, whatever else it has.
        .filter(|(key, _)| !key.starts_with("openvz.") && key != NO_INTERFACE)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let why: Vec<&str> = translation.without_effect.iter().map(|(_, why)| why.as_str()).collect();
    let notes = translation.notes.iter().map(String::as_str);
    match settings.is_empty() {
        false => {
            let all: Vec<&str> = settings.iter().map(String::as_str).chain(notes).chain(why).collect();
            (Fate::Became, all.join("; "))
        }
        true if why.is_empty() => (Fate::Kept, "it says what is so anyway".to_owned()),
        true => (Fate::Kept, why.join("; ")),
    }
}
