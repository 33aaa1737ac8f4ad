//! docs/CLI.md, made from the command's own definitions.

use clap::Arg;

use crate::cli::field::FIELDS;
use crate::cli::reference::JSON;
use crate::cli::{args, exit};

/// The whole reference, docs/CLI.md.
pub fn markdown() -> String {
    let command = args::definitions();
    let mut out = String::from(
        "# The hostel command\n\n<!-- Generated from the command's own definitions by its tests: \
         UPDATE_GOLDEN=1 cargo test -p hostel-faces -->\n\n\
         Standard output carries results, standard error progress and errors. Nothing ever asks a question.\n\n",
    );
    for (heading, names) in args::GROUPS {
        out.push_str(&format!("**{heading}:** "));
        let links: Vec<String> = names.iter().map(|n| format!("[{n}](#hostel-{n})")).collect();
        out.push_str(&format!("{}\n\n", links.join(", ")));
    }
    out.push_str("## Global options\n\n");
    command
        .get_arguments()
        .filter(|a| a.is_global_set())
        .for_each(|a| out.push_str(&option(a)));
    for (_, names) in args::GROUPS {
        names
            .iter()
            .filter_map(|n| command.find_subcommand(n))
            .for_each(|c| section(c, 2, &mut out));
    }
    out.push_str("\n## Fields\n\n| field | about |\n|---|---|\n");
    for field in FIELDS {
        let short = field.alias.map(|a| format!(", `{a}`")).unwrap_or_default();
        out.push_str(&format!("| `{}`{short} | {} |\n", field.name, field.about));
    }
    out.push_str(&format!(
        "\n## JSON\n\n```text\n{JSON}```\n\n## Exit codes\n\n```text\n{}```\n",
        exit::table()
    ));
    out
}

fn section(command: &clap::Command, level: usize, out: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    out.push_str(&format!("\n{} {name}\n\n", "#".repeat(level)));
    let about = command
        .get_long_about()
        .or_else(|| command.get_about())
        .map(ToString::to_string);
    out.push_str(&format!("{}\n\n", about.unwrap_or_default().trim_end()));
    let usage = command.clone().render_usage().to_string();
    out.push_str(&format!(
        "```text\n{}\n```\n\n",
        usage.trim_start_matches("Usage: ").trim_end()
    ));
    let own = |a: &&Arg| !a.is_global_set() && a.get_id() != "help" && a.get_id() != "version";
    command
        .get_arguments()
        .filter(own)
        .for_each(|a| out.push_str(&option(a)));
    if let Some(examples) = command.get_after_long_help().map(ToString::to_string) {
        let lines: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
        out.push_str(&format!("\n```sh\n{}\n```\n", lines.join("\n")));
    }
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .for_each(|c| section(c, level + 1, out));
}

fn option(arg: &Arg) -> String {
    let flags = [
        arg.get_short().map(|s| format!("-{s}")),
        arg.get_long().map(|l| format!("--{l}")),
    ];
    let mut name = flags.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if let Some(values) = arg.get_value_names().filter(|_| arg.get_action().takes_values()) {
        let values: Vec<&str> = values.iter().map(|v| v.as_str()).collect();
        name = format!("{name} {}", values.join(" ")).trim_start().to_owned();
    }
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|v| format!("`{}`", v.get_name()))
        .collect();
    if !possible.is_empty() {
        help.push_str(&format!(" ({})", possible.join(", ")));
    }
    if let ([default], true) = (arg.get_default_values(), arg.get_action().takes_values()) {
        help.push_str(&format!(" (default `{}`)", default.to_string_lossy()));
    }
    if let Some(env) = arg.get_env() {
        help.push_str(&format!(" (environment `{}`)", env.to_string_lossy()));
    }
    format!("- `{name}`: {help}\n")
}
