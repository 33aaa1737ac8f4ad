//! docs/OPENVZ.md, from the tables in the code. Only tests make it: `UPDATE_GOLDEN=1 cargo test -p hostel-faces`.

use hostel_model::hook::{Event, Place};
use hostel_model::openvz::code::CODES;
use hostel_model::openvz::{Becomes, Group, Key, Since, table as parameters};

use super::ctl::options::{FLAGS, Opt};
use super::ctl::verbs::VERBS;
use super::fate::Fate;

const HEAD: &str = include_str!("document/head.md");
const SANE: &str = include_str!("document/sane.md");

/// The whole of it.
pub fn text() -> String {
    let lists = [super::list::document::sections(), super::tool::document::section()];
    let sections = [commands(), options(), all_parameters(), scripts(), files(), codes()]
        .into_iter()
        .chain(lists)
        .collect::<Vec<_>>();
    format!("{HEAD}\n{}\n{SANE}", sections.join("\n"))
}

/// A table with a heading; rows are cells.
pub fn table(heading: &str, titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let titles: Vec<String> = titles.iter().map(|t| (*t).to_owned()).collect();
    let rule = titles.iter().map(|_| "---".to_owned()).collect::<Vec<_>>();
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    format!("{heading}\n\n{}{}{rows}", line(&titles), line(&rule))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn commands() -> String {
    let rows = VERBS.iter().map(|verb| {
        let names: Vec<String> = verb.names.iter().map(|name| code(name)).collect();
        vec![names.join(", "), verb.help.to_owned(), verb.fate.cell()]
    });
    table("## Commands of vzctl", &["command", "what it does", "here"], rows)
}

fn options() -> String {
    let row = |of: &str, option: &Opt| vec![of.to_owned(), code(&option.typed()), option.fate.cell()];
    let flags = FLAGS.iter().map(|flag| row("(before the command)", flag));
    let of_verbs = VERBS
        .iter()
        .flat_map(|verb| verb.options.iter().map(|option| row(&code(verb.names[0]), option)));
    table(
        "### Their options\n\nWith two dashes an option may be cut short where no other begins so; with one it is written whole.",
        &["command", "option", "here"],
        flags.chain(of_verbs),
    )
}

fn scripts() -> String {
    let row = |event: &Event| {
        let here = match event {
            Event::Premount | Event::Postumount => "same",
            Event::Mount => "differs: VE_ROOT is a place of Hostel's own, and what is mounted below it the VE has",
            Event::Start => "same",
            Event::Stop => "differs: one that fails is told, with code 79, and doesn't keep it running",
            Event::Umount => "differs: the root is gone already, and what scripts have mounted is still there",
        };
        let place = match event.place() {
            Place::Host => "host",
            Place::Inside => "inside",
        };
        let names = format!("`vps.{event}`, `CTID.{event}`");
        vec![names, place.to_owned(), here.to_owned()]
    };
    table(
        "## Action scripts\n\nIn /etc/hostel/vz/conf, which /etc/vz/conf may lead to. [HOOKS.md](HOOKS.md) says more; \
         [IMPORT.md](IMPORT.md), how containers and samples are taken over from another host.",
        &["script", "runs", "here"],
        Event::EACH.iter().map(row),
    )
}

fn all_parameters() -> String {
    let mut text = String::from(
        "## Parameters\n\nOptions of `vzctl set` and `vzctl create`, and keys of CTID.conf: one table is behind both.\n",
    );
    for group in Group::ALL {
        let rows = parameters().filter(|key| key.group == group).map(parameter);
        let heading = format!("\n### {}", group.heading());
        text.push_str(&table(&heading, &["option", "in CTID.conf", "becomes", "here"], rows));
    }
    text
}

fn parameter(key: &'static Key) -> Vec<String> {
    let dashed = |name: &&str| {
        code(&if name.len() == 1 {
            format!("-{name}")
        } else {
            format!("--{name}")
        })
    };
    let options: Vec<String> = key.options.iter().map(dashed).collect();
    let config: Vec<String> = key.config.iter().map(|c| code(c)).collect();
    let newer = if key.since == Since::Vz7 {
        " (newer generation)"
    } else {
        ""
    };
    let becomes = match key.becomes {
        Becomes::Settings { keys, .. } => keys.iter().map(|k| code(k)).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    vec![
        options.join(" ") + newer,
        config.join(" "),
        becomes,
        Fate::from(key.becomes).cell(),
    ]
}

/// What clients read past the tools.
const FILES: [(&str, &str); 10] = [
    (
        "/etc/vz/conf/CTID.conf",
        "differs: written from the definition when it changes or the VE starts; changes in it have no effect. libvirt's line \
         `#UUID:` stays",
    ),
    (
        "/etc/vz/conf/ve-NAME.conf-sample",
        "none: a sample is a plan, which `--config` names; `hostel import openvz` makes plans of samples, and `vzsplit` \
         prints one",
    ),
    (
        "/etc/vz/conf/0.conf",
        "none: the host's own limits are not Hostel's to set; CTID 0 is code 21",
    ),
    ("/etc/vz/vz.conf", "none: what holds for all VEs is said by hostel.toml"),
    (
        "/etc/vz/names/NAME",
        "none: every tool takes a name, and `vzlist -o name` tells them",
    ),
    (
        "/etc/vz/dists, osrelease.conf, download.conf, oom-groups.conf, vznet.conf",
        "none: Hostel sets up what is inside by the template's family",
    ),
    (
        "/proc/vz, /proc/vz/vestat",
        "none: only OpenVZ's kernel has them. `vzlist -o ctid,cpu_ns` tells processor time. A client that looks for them \
         first, as libvirt's driver does, finds no OpenVZ here, though all that it calls works",
    ),
    (
        "/proc/bc/CTID/resources",
        "none: `hostel beancounters CTID` prints them; for /proc/user_beancounters see the small tools",
    ),
    (
        "/vz, /var/lib/vz: private, root, dump, lock, template",
        "none: `vzlist -o private,root` tells where a VE's are; what is saved of a suspended one lies in its directory; locks \
         are not files",
    ),
    (
        "/var/vzquota/quota.CTID, /var/log/vzctl.log",
        "none: a disk's limits are its own, and what was done is said on standard output",
    ),
];

fn files() -> String {
    table(
        "## Files that clients read",
        &["file", "here"],
        FILES.iter().map(|(file, here)| vec![code(file), (*here).to_owned()]),
    )
}

fn codes() -> String {
    let rows = CODES
        .iter()
        .map(|code| vec![code.number.to_string(), code.meaning.to_owned()]);
    table(
        "## Exit codes of vzctl\n\nThe older numbers, where a refusal of Hostel's has the same meaning; exec2, exec3, enter and \
         runscript end with the code of the command inside.",
        &["code", "meaning"],
        rows,
    )
}
