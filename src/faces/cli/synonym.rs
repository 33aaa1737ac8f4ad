//! Pointing an unknown subcommand to the one that was likely meant.

use clap::error::{ContextKind, ContextValue};

use super::args::GROUPS;

/// What people type who come from other houses, and what it is here.
const SYNONYMS: &[(&[&str], &str)] = &[
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
    (&["check", "fsck", "doctor", "gc"], "audit"),
    (&["setup", "install"], "init"),
    (&["tenants", "customer", "project", "projects"], "tenant"),
];

/// The same behind `hostel template`.
const OF_TEMPLATES: &[(&[&str], &str)] = &[
    (&["delete", "destroy"], "remove"),
    (&["info", "status", "inspect"], "show"),
    (&["create", "make", "new"], "build"),
    (&["add", "load", "pull"], "import"),
];

/// One tip at most, and none to a subcommand that is hidden.
pub fn pointed(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let of_templates = matches!(error.get(ContextKind::Usage),
        Some(ContextValue::StyledStr(usage)) if usage.to_string().contains("hostel template"));
    let synonyms = if of_templates { OF_TEMPLATES } else { SYNONYMS };
    let synonym = synonyms.iter().find(|(words, _)| words.contains(&typed.as_str()));
    let similar = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names,
        Some(ContextValue::String(name)) => vec![name],
        _ => Vec::new(),
    };
    let shown = |name: &String| of_templates || GROUPS.iter().any(|(_, names)| names.contains(&name.as_str()));
    // clap puts the nearest last.
    let meant = synonym
        .map(|(_, name)| (*name).to_owned())
        .or_else(|| similar.into_iter().rev().find(shown));
    if let Some(name) = meant {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(name));
    }
    error
}
