//! Manual pages and topics of help, from the same definitions as the command line itself.

use std::io::{self, Write};

use clap_mangen::Man;
use hostel_engine::{Class, Error};

use super::args;
use super::field::FIELDS;
use super::table::{Column, Table};

/// The shapes of all JSON; a promise.
pub const JSON: &str = "\
JSON goes to standard output; errors are told on standard error all the same.
Keys are only ever added. What is unknown is null, never 0.

list --json             an array of VEs, each an object of the fields of
                        `hostel help fields`, or of those of --output
status --json           an object of all fields for each VE, one a line
create --json           {id, name}
start, stop and all other verbs on VEs with --json: an object for each VE, one
a line, in the order in which they are done
  success               {id, name, ok: true, done, changed, path}
                        done: what became of it, in words; changed: false if
                        nothing had to be done; path: what mount gives, or null
  failure               {id, name, ok: false, error}
                        error: {class, message, because: [], also: [],
                        hints: []}
                        class: failed, usage, not_found, refused, busy, limit
                        or interrupted
show --json             an array of {key, value, source}
set --json              {dry_run, applied: [], waiting: []}, of {key, old, new}
network list --json     an array of what network show gives, without addresses
network show --json     {name, problem, description, kind, pools: [], dns: [],
                        search: [], masquerade, mtu, big_tcp, proxy, probe,
                        host_services: [], connections, names, names_shared,
                        quarantine, ves, addresses: []}
                        pools: of {pool, used, aside, left}, where left is at
                        most 18446744073709551615; addresses: of {address,
                        state, ve, id, interface, routed, admitted, left}
address add and remove, network attach and detach --json: {id, name,
                        interface, network, addresses: [], changed, live}
firewall show --json    {id, name, state, rules: []}, of {direction, from,
                        number, action, rule, comment, packets, bytes}
firewall apply --json   {dry_run, rules: [], ves: []}
                        rules: of {from, number, rule, ves: [], peers: []};
                        ves: of {name, state, problem}
forward add and remove --json: {id, name, protocol, listen, to, changed, live}
forward list --json     an array of {ve, id, protocol, listen, target, to,
                        interface, network, active}
tenant list --json      an array of what tenant show gives, without shares
tenant show --json      {name, state, problem, suspended, description, contact,
                        tags: [], share, plans, templates, networks, ves,
                        running, budgets: [], shares: []}
                        state: active, suspended or broken; plans, templates,
                        networks: arrays, or null for all; budgets: of {budget,
                        unit, used, running, limit}, null for no limit; shares:
                        of {id, name, state, cpu, memory, disk, ipv4, ipv6}
tenant set --json       what set gives
tenant suspend and unsuspend --json: as the verbs on VEs
schedule list --json    an array of what schedule show gives
schedule show --json    {name, state, problem, description, at, time_zone,
                        run: [], late, timeout, upcoming: [], last}
                        state: waiting, running, disabled or broken; late and
                        timeout: seconds; last: null, or {due, began, ended,
                        result, code, said}
info --json             an array of {what, value, why}
audit --json            an array of {kind, object, why, fixed, error}
template list --json    an array of what template show gives
template show --json    {name, version, family, init, size, created, source,
                        checksum, used_by: []}
template build and import --json: what template show gives
template verify --json  an array of {template, place, path, differences: []}
template remove --json  {template, ok, error} for each, one a line; error, as a
                        verb's, only if ok is false
suspend --check --json  {id, name, ok, obstacles: [], visitors: []} for each,
                        one a line; ok: nothing is seen that stands in the way
traffic --json          an array of {ve, id, class, in, out}; in and out: {ipv4,
                        ipv6}, of {bytes, packets}
";

/// The fields of a VE, for a person.
pub fn fields() -> Table {
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("ABOUT").wrap(24)]);
    for field in FIELDS {
        let short = field.alias.map(|a| format!(", or {a}")).unwrap_or_default();
        table.row(vec![format!("{}{short}", field.name).into(), field.about.into()]);
    }
    table
}

/// A page for the whole and one for each subcommand: file name and roff text.
pub fn man_pages() -> Result<Vec<(String, Vec<u8>)>, Error> {
    let command = args::definitions();
    let mut pages = Vec::new();
    man_page(&command, &mut pages)
        .map_err(|e| Error::new(Class::Failed, "cannot write the manual pages").because(e))?;
    Ok(pages)
}

fn man_page(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let version = concat!("hostel ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).section("8").source(version).manual("Hostel");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    literal(&mut page, "SYNOPSIS", usage.trim_start_matches("Usage:").trim())?;
    man.render_description_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    if let Some(extra) = command.get_after_long_help().map(ToString::to_string) {
        let (heading, text) = extra.split_once(":\n").unwrap_or(("Notes", &extra));
        literal(&mut page, &heading.to_uppercase(), text)?;
    }
    pages.push((format!("{name}.8"), page));
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .try_for_each(|c| man_page(c, pages))
}

/// A section whose lines stay as they are.
fn literal(page: &mut Vec<u8>, heading: &str, text: &str) -> io::Result<()> {
    // In roff, a backslash escapes, a hyphen may become another sign, and a dot or quote in front is a request.
    let escape = |line: &str| line.replace('\\', "\\e").replace('-', "\\-");
    let lines: String = text.lines().map(|l| format!("\\&{}\n", escape(l))).collect();
    write!(page, ".SH \"{heading}\"\n.nf\n{lines}.fi\n")
}
