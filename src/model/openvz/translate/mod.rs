//! From parameters to what a definition of Hostel's says: all of them together, as one change.

mod guest;
mod network;
mod value;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) use value::{weight_of_priority, weight_of_units};

use super::Remembered;
use super::code::{self, Code};
use super::key::{Act, Becomes, Group, Key};
use super::value::{BadValue, Unit, pair, truth};
use crate::definition::Network;
use crate::id::{NetworkName, PlanName, TemplateRef};

/// One parameter with its value.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Which.
    pub key: &'static Key,
    /// As it was written: `--numproc`, `NUMPROC`.
    pub named: &'a str,
    /// Its value; empty for an option without one.
    pub value: &'a str,
}

/// What a translation has to know.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// The host's processors.
    pub cpus: u32,
    /// Is the container made by this?
    pub creating: bool,
    /// What is remembered of it.
    pub remembered: &'a Remembered,
    /// Its limit of memory as it is, in bytes.
    pub memory_limit: Option<u64>,
    /// Its interfaces as they are.
    pub interfaces: Vec<Held>,
    /// All networks.
    pub networks: &'a [Network],
    /// The one that a new VE joins if nobody says else.
    pub default_network: Option<NetworkName>,
    /// Why the host can't hold weights of disk bandwidth; `None`: it can.
    pub no_io_weight: Option<String>,
}

/// An interface that a VE has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The network it is on.
    pub network: NetworkName,
    /// What it is called inside, or will be.
    pub name: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}

/// A password to set.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// Whose.
    pub user: String,
    /// The password; or a hash, if [`Translation::crypted`].
    pub text: String,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Password of {}", self.user)
    }
}

/// What parameters come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// Settings of the definition, in order; what is to be remembered is among them, as `openvz.KEY`.
    pub settings: Vec<(String, String)>,
    /// What was accepted and has no effect, with the reason.
    pub without_effect: Vec<(String, String)>,
    /// What else is worth a line.
    pub notes: Vec<String>,
    /// The name it is to have; empty: none.
    pub name: Option<String>,
    /// The template it is to be made from.
    pub template: Option<TemplateRef>,
    /// The plan it is to have.
    pub plan: Option<PlanName>,
    /// Passwords of users inside.
    pub passwords: Vec<Password>,
    /// The passwords are hashes.
    pub crypted: bool,
    /// What the settings are about.
    pub groups: Vec<Group>,
}

/// A parameter that can't be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What vzctl is to end with.
    pub code: Code,
    /// What is wrong with which, and what to do instead.
    pub message: String,
}

/// A translation under way.
struct Work<'a> {
    around: &'a Surroundings<'a>,
    out: Translation,
    /// Lists that are given piece by piece, by the setting.
    lists: BTreeMap<&'static str, Vec<String>>,
    network: network::Wishes,
    /// A limit of memory was given in the words that win over `privvmpages`.
    memory: Option<u64>,
    private_memory: Option<String>,
    guarantee: Option<u64>,
    rate: Option<String>,
    bound: Option<bool>,
}

/// Translates parameters, all or none.
pub fn translate<'a>(given: &[Given<'a>], around: &'a Surroundings<'a>) -> Result<Translation, Refused> {
    let mut work = Work {
        around,
        out: Translation::default(),
        lists: BTreeMap::new(),
        network: network::Wishes::default(),
        memory: None,
        private_memory: None,
        guarantee: None,
        rate: None,
        bound: None,
    };
    for one in given {
        work.take(one)?;
    }
    work.finish()
}

impl Work<'_> {
    fn take(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let refuse = |e: BadValue| Refused {
            code: bad_value(given.key),
            message: format!("{}: {e}", given.named),
        };
        match given.key.becomes {
            Becomes::Settings { keys, by, .. } => {
                self.about(given.key.group);
                self.value(given, keys, by).map_err(refuse)
            }
            Becomes::Act { act, .. } => self.act(given, act),
            Becomes::NoEffect(why) => {
                if let Some(unit) = given.key.counts {
                    pair(given.value, unit).map_err(refuse)?;
                }
                judge_word(given).map_err(refuse)?;
                self.without_effect(given, why);
                Ok(())
            }
            Becomes::Refused(why) => Err(Refused {
                code: refusal(given.key),
                message: format!("{}: {why}", given.named),
            }),
        }
    }

    fn act(&mut self, given: &Given<'_>, act: Act) -> Result<(), Refused> {
        let bad = |code: Code, e: &dyn std::fmt::Display| Refused {
            code,
            message: format!("{}: {e}", given.named),
        };
        let value = given.value.trim();
        match act {
            Act::Name => self.out.name = Some(value.to_owned()),
            Act::Template if self.around.creating => {
                self.out.template = Some(value.parse().map_err(|e| bad(code::NO_TEMPLATE, &e))?);
            }
            Act::Template => self.without_effect(given, "a VE stays what it was made from; make another one"),
            Act::Plan => self.out.plan = Some(value.parse().map_err(|e| bad(code::COPY_CONFIG, &e))?),
            Act::Password => {
                let (user, text) = given
                    .value
                    .split_once(':')
                    .filter(|(user, _)| is_user(user))
                    .ok_or_else(|| Refused {
                        code: code::VALUE,
                        message: format!("{}: write USER:PASSWORD", given.named),
                    })?;
                if text.is_empty() {
                    // Whoever reached a console or an SSH server of the guest's would be let in.
                    return Err(bad(code::VALUE, &"an empty password is none; write USER:PASSWORD"));
                }
                let (user, text) = (user.to_owned(), text.to_owned());
                self.out.passwords.push(Password { user, text });
            }
            Act::Crypted => self.out.crypted = true,
            Act::PrivateMemory => {
                pair(value, Unit::Pages).map_err(|e| bad(code::VALUE, &e))?;
                self.private_memory = Some(value.to_owned());
            }
            Act::MemoryGuarantee => self.guarantee(given, value).map_err(|e| bad(code::VALUE, &e))?,
            Act::Rate => self.rate = Some(value.to_owned()),
            Act::RateBound => {
                self.bound = Some(truth(value).map_err(|e| bad(code::VALUE, &e))?);
                self.remember(given, value);
            }
            Act::Inodes => return self.inodes(given),
            Act::LocalIds => match value {
                "0" => {
                    let why = "a VE without a user namespace would be root on the host; Hostel makes none";
                    return Err(bad(code::VALUE, &why));
                }
                _ => self.without_effect(given, "Hostel chooses the range of ids, and no two VEs share one"),
            },
            Act::Capabilities => return self.capabilities(given),
            Act::Features => return self.features(given),
            Act::DeviceNodes => return self.device_nodes(given),
            Act::DeviceNumbers => return self.device_numbers(given),
            act => {
                self.about(Group::Network);
                return self.network.take(given, act, self.around.networks);
            }
        }
        Ok(())
    }

    fn guarantee(&mut self, given: &Given<'_>, value: &str) -> Result<(), BadValue> {
        if value == "auto" {
            self.about(Group::Memory);
            self.set("memory.guarantee", "");
        } else {
            self.guarantee = Some(super::value::whole(value.trim_end_matches('%'), 0, 100)?);
        }
        self.remember(given, value);
        Ok(())
    }

    fn inodes(&mut self, given: &Given<'_>) -> Result<(), Refused> {
        let limit = pair(given.value, Unit::Count).map_err(|e| Refused {
            code: bad_value(given.key),
            message: format!("{}: {e}", given.named),
        })?;
        self.remember(given, given.value);
        match limit.limit.limit() {
            Some(most) if self.around.creating => self.set("disk.inodes", &most.to_string()),
            None if self.around.creating => {}
            _ => self.out.without_effect.push((
                given.named.to_owned(),
                "how many files a disk can hold is fixed when it is made, and grows only with --diskspace".into(),
            )),
        }
        Ok(())
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.out.settings.push((key.to_owned(), value.to_owned()));
    }

    fn about(&mut self, group: Group) {
        if !self.out.groups.contains(&group) {
            self.out.groups.push(group);
        }
    }

    /// Keeps it in the definition, by its name in a file.
    fn remember(&mut self, given: &Given<'_>, value: &str) {
        let config = given.key.config;
        let name = config
            .iter()
            .find(|name| **name == given.named)
            .or_else(|| config.first());
        if let Some(name) = name {
            self.set(&format!("openvz.{name}"), &one_line(value));
        }
    }

    /// Keeps parts of a list, each beside what is kept already and in the place of an older one of its name: `NAME:what`.
    fn remember_parts(&mut self, given: &Given<'_>, parts: &[String], separator: &str) {
        let Some(key) = given.key.name() else { return };
        let setting = format!("openvz.{key}");
        let before = self.out.settings.iter().rev().find(|(known, _)| *known == setting);
        let before = before
            .map(|(_, text)| text.as_str())
            .or(self.around.remembered.get(key));
        let name = |part: &str| {
            part.rsplit_once(':')
                .map_or(part, |(name, _)| name)
                .to_ascii_lowercase()
        };
        let all = before
            .into_iter()
            .flat_map(|text| super::value::list(text).map(str::to_owned).collect::<Vec<_>>());
        let mut kept: Vec<String> = all
            .filter(|old| parts.iter().all(|new| name(new) != name(old)))
            .collect();
        kept.extend(parts.iter().cloned());
        self.set(&setting, &one_line(&kept.join(separator)));
    }

    fn without_effect(&mut self, given: &Given<'_>, why: &str) {
        self.remember(given, given.value);
        self.out.without_effect.push((given.named.to_owned(), why.to_owned()));
    }
}

/// Is it a value that its parameter knows? What has no effect here is no reason to take a slip of the pen for it.
fn judge_word(given: &Given<'_>) -> Result<(), BadValue> {
    let value = given.value.trim();
    let counted =
        |text: &str| matches!(text.split_once(':'), Some(("pages" | "privvmpages", n)) if n.parse::<u64>().is_ok());
    let number = |text: &str| text.parse::<f64>().is_ok_and(|n| n.is_finite() && n >= 0.0);
    let layout = |text: &str| matches!(text.split(':').next(), Some("simfs" | "ploop" | "vzfs"));
    let (known, expected) = match given.key.name() {
        Some("VM_OVERCOMMIT") => (number(value), "a factor, such as 1.5"),
        Some("QUOTATIME" | "QUOTAUGIDLIMIT") => (value.parse::<u64>().is_ok(), "a whole number"),
        Some("NODEMASK") => return super::value::processors(value).map(drop),
        Some("VE_LAYOUT") => (layout(value), "simfs or ploop"),
        Some("NETFILTER") => (
            ["disabled", "stateless", "stateful", "full"].contains(&value),
            "disabled, stateless, stateful or full",
        ),
        Some("MEMINFO") => (
            value == "none" || counted(value),
            "none, pages:NUMBER or privvmpages:NUMBER",
        ),
        _ => return Ok(()),
    };
    match known {
        true => Ok(()),
        false => Err(BadValue::new(value, expected)),
    }
}

/// A text as a definition can hold it: what drives a terminal, or ends a line, becomes a blank.
pub fn one_line(text: &str) -> String {
    text.split(crate::definition::is_unfit)
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

/// Can it be a user's name? It is handed to a program inside.
fn is_user(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= 32 && !name.starts_with('-') && name.bytes().all(fit)
}

/// The code for a value that makes no sense.
fn bad_value(key: &Key) -> Code {
    match key.name() {
        Some("HOSTNAME") => code::HOSTNAME,
        Some("NAMESERVER") => code::NAME_SERVER,
        Some("SEARCHDOMAIN") => code::SEARCH_DOMAIN,
        Some("IP_ADDRESS") => code::ADDRESS,
        _ => code::VALUE,
    }
}

/// The code for a parameter that is refused whatever its value.
fn refusal(key: &Key) -> Code {
    match key.name() {
        Some("NETDEV") => code::NETDEV,
        Some("EXT_IP_ADDRESS") => code::NO_ADDRESS,
        Some("CPULIMIT_MHZ") => code::CPU,
        _ => code::DEVICE,
    }
}
