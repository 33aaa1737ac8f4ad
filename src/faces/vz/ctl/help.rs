//! `--help` and `--version`.

use hostel_model::openvz::{Becomes, Group, table};

use super::options::{FLAGS, Opt};
use super::verbs::VERBS;
use crate::vz::VERSION;
use crate::vz::fate::Fate;

/// The first line is the one that clients look for.
pub fn text(version_only: bool) -> String {
    let mut text = format!("vzctl version {VERSION}\n");
    if version_only {
        return text;
    }
    text.push_str(&format!(
        "\nThis is Hostel {}, which speaks the dialect of vzctl.\n\nUsage: vzctl [FLAGS] COMMAND CTID|NAME [OPTIONS]\n\nFlags:\n",
        env!("CARGO_PKG_VERSION")
    ));
    for flag in FLAGS {
        text.push_str(&format!("  {}\n", flag.typed()));
    }
    text.push_str("\nCommands:\n");
    for verb in VERBS {
        let arguments = argument(verb.arguments);
        let refused = if matches!(verb.fate, Fate::Refused(_)) {
            " (not here)"
        } else {
            ""
        };
        text.push_str(&format!(
            "  {}{arguments}: {}{refused}\n",
            verb.names.join(", "),
            verb.help
        ));
        let options: Vec<String> = verb.options.iter().map(Opt::typed).collect();
        if !options.is_empty() {
            text.push_str(&format!("      {}\n", options.join(" ")));
        }
        if verb.parameters {
            text.push_str("      and the parameters below\n");
        }
    }
    text.push_str("\nParameters (those in brackets have no effect here or are refused):\n");
    for group in Group::ALL {
        let of_group = table().filter(|key| key.group == group && !key.options.is_empty());
        let names: Vec<String> = of_group
            .map(|key| {
                let names: Vec<String> = key.options.iter().map(|o| dashed(o)).collect();
                let names = names.join(" ");
                match key.becomes {
                    Becomes::NoEffect(_) | Becomes::Refused(_) => format!("[{names}]"),
                    _ => names,
                }
            })
            .collect();
        if !names.is_empty() {
            text.push_str(&format!("  {}: {}\n", group.heading(), names.join(" ")));
        }
    }
    text
}

fn argument(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" {name}")
    }
}

fn dashed(name: &str) -> String {
    if name.len() == 1 {
        format!("-{name}")
    } else {
        format!("--{name}")
    }
}
