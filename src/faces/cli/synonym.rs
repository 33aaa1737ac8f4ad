//! Pointing an unknown subcommand to the one that was likely meant.

use clap::error::{ContextKind, ContextValue};

use super::args::GROUPS;

/// What people type who come from other houses, and what it is here.
const SYNONYMS: Synonyms = &[
    (&["delete", "remove", "rm", "purge"], "destroy"),
    (&["ps", "top"], "list"),
    (&["shell", "attach", "login", "ssh"], "enter"),
    (&["run", "launch", "new", "add", "clone"], "create"),
    (&["boot", "up"], "start"),
    (&["shutdown", "halt", "poweroff", "down"], "stop"),
    (&["reboot"], "restart"),
    (&["freeze"], "pause"),
    (&["unfreeze", "thaw"], "unpause"),
    (&["hibernate", "checkpoint", "save"], "suspend"),
    (&["continue", "restore"], "resume"),
    (&["config", "get", "inspect", "cat"], "show"),
    (&["update", "modify", "change"], "set"),
    (&["logs"], "log"),
    (&["cp", "copy", "upload"], "push"),
    (&["download"], "pull"),
    (&["image", "images", "templates"], "template"),
    (&["net", "networks", "pool", "pools"], "network"),
    (&["acl", "access", "rules", "iptables", "nft"], "firewall"),
    (&["ip", "ipadd", "ipdel", "addresses"], "address"),
    (&["nat", "dnat", "port", "ports", "publish", "forwards"], "forward"),
    (&["stats", "usage", "zonestat"], "stat"),
    (&["ulimit"], "limits"),
    (&["ubc", "user_beancounters"], "beancounters"),
    (&["check", "fsck", "doctor", "gc"], "audit"),
    (&["setup", "install"], "init"),
    (&["tenants", "customer", "project", "projects"], "tenant"),
];

/// The same behind a subcommand that has some of its own.
const NESTED: &[(&str, Synonyms)] = &[
    (
        "template",
        &[
            (&["delete", "destroy"], "remove"),
            (&["info", "status", "inspect"], "show"),
            (&["create", "make", "new"], "build"),
            (&["add", "load", "pull"], "import"),
        ],
    ),
    (
        "network",
        &[
            (&["add", "join", "connect"], "attach"),
            (&["remove", "delete", "rm", "del", "leave", "disconnect"], "detach"),
            (&["info", "status", "inspect"], "show"),
        ],
    ),
    ("address", GIVE_AND_TAKE),
    ("forward", GIVE_AND_TAKE),
    (
        "firewall",
        &[
            (&["reload", "update", "sync", "load"], "apply"),
            (&["list", "ls", "status", "info"], "show"),
        ],
    ),
];

const GIVE_AND_TAKE: Synonyms = &[
    (&["delete", "del", "detach"], "remove"),
    (&["create", "new", "attach", "assign"], "add"),
    (&["show"], "list"),
];

/// Words, and the subcommand that is meant by them.
type Synonyms = &'static [(&'static [&'static str], &'static str)];

/// Behind which subcommand something was mistyped: clap says how that one is used, "hostel forward [OPTIONS] <COMMAND>".
fn parent(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return None;
    };
    let usage = usage.to_string();
    let (_, behind) = usage.split_once("hostel ")?;
    let word = behind.split_whitespace().next()?;
    let known = GROUPS.iter().any(|(_, names)| names.contains(&word));
    known.then(|| word.to_owned())
}

/// One tip at most, and none to a subcommand that is hidden or isn't there.
pub fn pointed(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let typed = &typed.clone();
    let parent = parent(&error);
    let own = |parent: &String| NESTED.iter().find(|(name, _)| name == parent).map(|(_, s)| *s);
    let synonyms = match &parent {
        None => SYNONYMS,
        Some(parent) => own(parent).unwrap_or_default(),
    };
    let all = super::args::definitions();
    let there = match &parent {
        None => Some(&all),
        Some(parent) => all.find_subcommand(parent),
    };
    let shown = |name: &String| {
        let found = there.and_then(|command| command.find_subcommand(name));
        found.is_some_and(|command| !command.is_hide_set())
    };
    let synonym = synonyms.iter().find(|(words, _)| words.contains(&typed.as_str()));
    let similar = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names,
        Some(ContextValue::String(name)) => vec![name],
        _ => Vec::new(),
    };
    // Letters that have changed places are the likeliest slip ("strat" is start and not stat); of the others clap puts
    // the nearest last.
    let swapped = similar.iter().find(|name| letters(name) == letters(typed)).cloned();
    let meant = synonym
        .map(|(_, name)| (*name).to_owned())
        .into_iter()
        .chain(swapped)
        .chain(similar.into_iter().rev())
        .find(shown);
    if let Some(name) = meant {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(name));
    }
    error
}

/// The letters of a word, whatever their order.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}
