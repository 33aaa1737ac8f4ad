//! Reading CTID.conf and its kin: what becomes of each line.

use std::path::Path;

use hostel_model::id::PlanName;
use hostel_model::openvz::{
    Act, Becomes, Conf, Given, Refused, Remembered, Surroundings, Translation, one_line, parameter, translate, with_id,
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

/// What a line came to by itself.
enum Fared<'a> {
    /// This, for good.
    Told(Fate, String),
    /// These settings, to be remembered only.
    Remembered((String, String), &'static str),
    /// It is one of those that are taken together.
    Taken(Given<'a>, Translation),
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
        let mut name = None;
        let fared: Vec<Fared<'_>> = entries
            .iter()
            .enumerate()
            .map(|(at, (_, key, value))| {
                let again = entries[at + 1..].iter().any(|(_, other, _)| other == key);
                match again {
                    true => Fared::Told(Fate::Lost, "it stands there again, and the last counts".to_owned()),
                    false => self.judge_line(key, value, &around, &mut name),
                }
            })
            .collect();
        let together = Together::of(&fared, &around).map_err(|e| {
            Error::new(
                Class::Usage,
                format!("{} can't be taken over as a whole", path.display()),
            )
            .because(e)
        })?;
        let mut lines = Vec::new();
        for ((line, key, value), fared) in entries.iter().zip(&fared) {
            let (fate, what, settings) = together.tell(fared, &around);
            lines.push(ImportLine {
                line: *line,
                key: key.clone(),
                value: value.clone(),
                fate,
                what,
                settings,
            });
        }
        // Those that aren't of the form of a parameter.
        let told = |line: usize| entries.iter().any(|(at, ..)| *at == line);
        lines.extend(
            problems
                .into_iter()
                .filter(|p| !told(p.line))
                .map(|p| ImportLine::lost(p.line, "", "", p.why)),
        );
        lines.sort_by_key(|line| line.line);
        let only_remembered = fared.iter().filter_map(|fared| match fared {
            Fared::Remembered(setting, _) => Some(setting.clone()),
            _ => None,
        });
        Ok(Read {
            lines,
            settings: only_remembered.chain(together.all.settings.iter().cloned()).collect(),
            name,
        })
    }

    /// One parameter by itself: one that can't be is lost, and the others are taken.
    fn judge_line<'a>(
        &self,
        key: &'a str,
        value: &'a str,
        around: &Surroundings<'_>,
        name: &mut Option<String>,
    ) -> Fared<'a> {
        let Some(known) = parameter(key) else {
            return Fared::Told(Fate::Lost, "there is no such parameter".to_owned());
        };
        let remember = |why| Fared::Remembered((format!("openvz.{key}"), one_line(value)), why);
        match known.becomes {
            Becomes::Act { act: Act::Name, .. } => {
                *name = Some(one_line(value)).filter(|name| !name.is_empty());
                return match name {
                    Some(_) => Fared::Told(Fate::Became, "its name".to_owned()),
                    None => Fared::Told(Fate::Kept, "it had none".to_owned()),
                };
            }
            Becomes::Act { act: Act::Template, .. } => {
                return remember("its own tree is on its disk, whatever it came from");
            }
            Becomes::Act { act: Act::Plan, .. } if !self.is_plan(value) => {
                return remember("there is no plan of this name; make it of its sample: hostel import openvz FILE");
            }
            _ => {}
        }
        let given = Given {
            key: known,
            named: key,
            value,
        };
        match translate(&[given], around) {
            Err(refused) => Fared::Told(Fate::Lost, refused.message),
            Ok(translation) => Fared::Taken(given, translation),
        }
    }

    fn is_plan(&self, name: &str) -> bool {
        let path = |plan: PlanName| self.host.dirs.definitions("plans").join(format!("{plan}.toml"));
        name.parse().is_ok_and(|plan| path(plan).exists())
    }
}

/// All that is taken, as one: some parameters are something only beside others, or nothing beside others.
struct Together<'a> {
    taken: Vec<Given<'a>>,
    all: Translation,
}

impl<'a> Together<'a> {
    fn of(fared: &[Fared<'a>], around: &Surroundings<'_>) -> std::result::Result<Self, Refused> {
        let taken: Vec<Given<'a>> = fared
            .iter()
            .filter_map(|fared| match fared {
                Fared::Taken(given, _) => Some(*given),
                _ => None,
            })
            .collect();
        let all = translate(&taken, around)?;
        Ok(Self { taken, all })
    }

    /// What became of a line, with the settings that it is.
    fn tell(&self, fared: &Fared<'a>, around: &Surroundings<'_>) -> (Fate, String, Vec<(String, String)>) {
        let (given, alone) = match fared {
            Fared::Told(fate, what) => return (*fate, what.clone(), Vec::new()),
            Fared::Remembered(_, why) => return (Fate::Kept, (*why).to_owned(), Vec::new()),
            Fared::Taken(given, alone) => (given, alone),
        };
        let in_force = in_force(&self.all);
        let by_itself = effects(alone);
        let settings: Vec<_> = match by_itself.iter().all(|setting| in_force.contains(setting)) {
            true if !by_itself.is_empty() => by_itself.clone(),
            _ => self.only_with(given, in_force, around),
        };
        let of_it = |(named, _): &&(String, String)| named == given.named;
        let mut why: Vec<&str> = self
            .all
            .without_effect
            .iter()
            .filter(of_it)
            .map(|(_, why)| why.as_str())
            .collect();
        if settings.is_empty() && why.is_empty() {
            why = match by_itself.is_empty() {
                true if alone.without_effect.is_empty() => vec!["it says what is so anyway"],
                true => alone.without_effect.iter().map(|(_, why)| why.as_str()).collect(),
                false => vec!["what another line says is in force instead"],
            };
        }
        let fate = if settings.is_empty() { Fate::Kept } else { Fate::Became };
        let shown = settings.iter().map(|(key, value)| format!("{key}={value}"));
        let notes = alone.notes.iter().filter(|_| fate == Fate::Became).cloned();
        let what: Vec<String> = shown.chain(notes).chain(why.into_iter().map(str::to_owned)).collect();
        (fate, what.join("; "), settings)
    }

    /// What is in force, and wouldn't be without this parameter.
    fn only_with(
        &self,
        given: &Given<'a>,
        mut in_force: Vec<(String, String)>,
        around: &Surroundings<'_>,
    ) -> Vec<(String, String)> {
        let others: Vec<Given<'_>> = self.taken.iter().filter(|g| g.named != given.named).copied().collect();
        // Were the others nothing without it, all would be its doing.
        let without = translate(&others, around)
            .map(|all| self::in_force(&all))
            .unwrap_or_default();
        in_force.retain(|setting| !without.contains(setting));
        in_force
    }
}

/// The settings that do something. A container without an address has no interface, whatever else it has.
fn effects(translation: &Translation) -> Vec<(String, String)> {
    let does = |(key, _): &&(String, String)| !key.starts_with("openvz.") && key != NO_INTERFACE;
    translation.settings.iter().filter(does).cloned().collect()
}

/// Those of them that hold: of several for one key the last.
fn in_force(translation: &Translation) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for setting in effects(translation) {
        all.retain(|(key, _)| *key != setting.0);
        all.push(setting);
    }
    all
}
