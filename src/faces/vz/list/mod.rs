//! `vzlist`: a line for each VE, of the fields that a client asks for.

#[cfg(test)]
pub mod document;
mod field;
mod read;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::process::ExitCode;

use hostel_engine::facade::{Aspects, VeLook};
use hostel_model::state::State;

use self::field::{Column, Field};
use self::table::FIELDS;
#[cfg(test)]
pub use self::tests::house;
use super::options::{self, Opt, flag, valued};
use super::word::{Stop, Tool, print};
use crate::cli::glob;

const VZLIST: Tool = Tool("vzlist");

/// What is shown if no fields were asked for.
const USUAL: &str = "ctid,numproc,status,ip,hostname";
/// The same with names instead of numbers.
const BY_NAME: &str = "smart_name,numproc,status,ip,hostname";

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    All,
    Stopped,
    Names,
    NoHeader,
    NoTrim,
    Json,
    Output,
    OnlyIds,
    Sort,
    Hostname,
    Name,
    Description,
    Fields,
    Interface,
    Help,
    Version,
}

const OPTIONS: &[Opt<Is>] = &[
    flag(Is::All, 'a', "all"),
    flag(Is::Stopped, 'S', "stopped"),
    flag(Is::Names, 'n', "name"),
    flag(Is::NoHeader, 'H', "no-header"),
    flag(Is::NoTrim, 't', "no-trim"),
    flag(Is::Json, 'j', "json"),
    valued(Is::Output, 'o', "output"),
    flag(Is::OnlyIds, '1', "1"),
    valued(Is::Sort, 's', "sort"),
    valued(Is::Hostname, 'h', "hostname"),
    valued(Is::Name, 'N', "name_filter"),
    valued(Is::Description, 'd', "description"),
    flag(Is::Fields, 'L', "list"),
    valued(Is::Interface, 'i', "ifname"),
    Opt {
        is: Is::Help,
        short: None,
        long: "help",
        value: false,
    },
    Opt {
        is: Is::Version,
        short: None,
        long: "version",
        value: false,
    },
];

const HELP: &str = "\
Usage:  vzlist [-a | -S] [-n] [-H] [-t] [-j] [-o FIELD[,FIELD...] | -1] [-s [-]FIELD]
               [-h PATTERN] [-N PATTERN] [-d PATTERN] [-i IFNAME] [CTID...]
        vzlist -L

  -a, --all            all, not only those that run
  -S, --stopped        only those that don't run
  -n, --name           names in the place of numbers
  -H, --no-header      without the line of headings
  -t, --no-trim        don't cut long values
  -j, --json           an array of objects; every field but cpu_percent unless -o names some
  -o, --output FIELDS  these fields
  -1                   only numbers, one on a line
  -s, --sort FIELD     sort by it; with - before it the largest first
  -h, --hostname PAT   only those whose host name matches
  -N, --name_filter PAT, -d, --description PAT
                       only those whose name or description matches
  -i, --ifname IFNAME  of interfaces only this one
  -L, --list           list the fields
";

/// What `diskspace` and `diskinodes` say of a VE: usage, soft limit, hard limit.
pub fn disk(ve: &VeLook) -> [[String; 3]; 2] {
    [self::read::space(ve), self::read::inodes(ve)].map(|parts| parts.map(|value| value.shown()))
}

/// What is wanted.
#[derive(Debug, Clone, Default)]
struct Query {
    all: bool,
    stopped: bool,
    headless: bool,
    whole: bool,
    json: bool,
    columns: Vec<Column>,
    sort: Option<(Column, bool)>,
    hostname: Option<String>,
    name: Option<String>,
    description: Option<String>,
    interface: Option<String>,
    /// Those that were named.
    ves: Vec<String>,
}

/// What the options ask for instead of a list.
#[derive(Debug)]
enum Ask {
    List(Query),
    Text(String),
}

/// The tool.
pub fn main() -> ExitCode {
    VZLIST.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let query = match parse(words).map_err(|line| Stop::Said(line, 1))? {
        Ask::List(query) => query,
        Ask::Text(text) => {
            print(&text)?;
            return Ok(0);
        }
    };
    let engine = Tool::engine()?;
    let (mut ves, mut missing) = (Vec::new(), Vec::new());
    for word in &query.ves {
        match Tool::refer(&engine, word)? {
            Some(ve) => ves.push(ve),
            None => missing.push(word.clone()),
        }
    }
    let named = !query.ves.is_empty();
    let (looks, others) = engine.look(named.then_some(&ves), query.aspects())?;
    missing.extend(others.iter().map(ToString::to_string));
    for ve in &missing {
        VZLIST.say(&format!("Container {ve} not found"));
    }
    let ves = query.pick(looks, named);
    if ves.is_empty() && missing.is_empty() {
        VZLIST.say("Container(s) not found");
    }
    print(&query.text(&ves))?;
    Ok(u8::from(!missing.is_empty()))
}

/// Reads the options. The error is for standard error.
fn parse(words: &[String]) -> Result<Ask, String> {
    let typed = options::read(OPTIONS, words)?;
    let mut query = Query::default();
    let (mut fields, mut sort, mut names) = (None, None, false);
    for (is, value) in typed.options {
        match is {
            Is::All => query.all = true,
            Is::Stopped => query.stopped = true,
            Is::Names => names = true,
            Is::NoHeader => query.headless = true,
            Is::NoTrim => query.whole = true,
            Is::Json => query.json = true,
            Is::Output => fields = Some(value),
            Is::OnlyIds => {
                query.headless = true;
                fields = Some("ctid".to_owned());
            }
            Is::Sort => sort = Some(value),
            Is::Hostname => query.hostname = Some(value),
            Is::Name => query.name = Some(value),
            Is::Description => query.description = Some(value),
            Is::Interface => query.interface = Some(value),
            Is::Fields => return Ok(Ask::Text(show::fields())),
            Is::Help => return Ok(Ask::Text(HELP.to_owned())),
            Is::Version => return Ok(Ask::Text(format!("vzlist version {}\n", env!("CARGO_PKG_VERSION")))),
        }
    }
    query.columns = match &fields {
        Some(fields) => fields.split(',').map(column).collect::<Result<_, _>>()?,
        // All fields, each once.
        None if query.json => FIELDS.iter().filter(|field| field.always).map(whole).collect(),
        None => {
            let usual = if names { BY_NAME } else { USUAL };
            usual.split(',').map(column).collect::<Result<_, _>>()?
        }
    };
    if let Some(part) = query.columns.iter().find(|column| query.json && column.part > 0) {
        return Err(format!(
            "{} is part of an object in JSON; ask for {}",
            part.full_name(),
            part.name
        ));
    }
    if let Some(sort) = sort {
        let (name, reverse) = sort.strip_prefix('-').map_or((&*sort, false), |name| (name, true));
        query.sort = Some((column(name)?, reverse));
    }
    query.ves = typed.operands;
    Ok(Ask::List(query))
}

/// A field with its first name and all of its parts.
fn whole(field: &'static Field) -> Column {
    Column {
        field,
        name: field.names[0],
        part: 0,
    }
}

/// The field of a name: `physpages`, `physpages.l`.
fn column(name: &str) -> Result<Column, String> {
    let unknown = || format!("Unknown field: {name}");
    let (base, letter) = name.split_once('.').unwrap_or((name, ""));
    let field = FIELDS
        .iter()
        .find(|field| field.names.contains(&base))
        .ok_or_else(unknown)?;
    let part = match letter.is_empty() && !name.contains('.') {
        true => 0,
        false => {
            let at = field.parts().iter().position(|part| part.letter == letter);
            at.filter(|part| *part > 0).ok_or_else(unknown)?
        }
    };
    let name = field.names.iter().find(|known| **known == base).copied();
    Ok(Column {
        field,
        name: name.unwrap_or(field.names[0]),
        part,
    })
}

impl Query {
    /// What has to be looked at.
    fn aspects(&self) -> Aspects {
        let columns = self.columns.iter().chain(self.sort.iter().map(|(column, _)| column));
        let mut aspects = columns.fold(Aspects::NONE, |sum, column| sum | column.field.needs);
        if !self.all || self.stopped {
            aspects = aspects | Aspects::STATE;
        }
        if self.name.is_some() || self.hostname.is_some() || self.description.is_some() {
            aspects = aspects | Aspects::DEFINITION;
        }
        aspects
    }

    /// Those that are wanted, in order. `named`: they were asked for by name, in whatever state they are.
    fn pick(&self, mut ves: Vec<VeLook>, named: bool) -> Vec<VeLook> {
        ves.retain(|ve| self.wants(ve, named));
        if let Some(interface) = &self.interface {
            for record in ves.iter_mut().filter_map(|ve| ve.record.as_mut()) {
                record.interfaces.retain(|port| port.inside == *interface);
            }
        }
        ves.sort_by(|a, b| {
            let order = self.sort.as_ref().map(|(column, reverse)| {
                let (a, b) = (column.value(a), column.value(b));
                let order = a.compare(&b);
                let order = if *reverse { order.reverse() } else { order };
                a.is_unknown().cmp(&b.is_unknown()).then(order)
            });
            order.unwrap_or(std::cmp::Ordering::Equal).then(a.id.cmp(&b.id))
        });
        ves
    }

    fn wants(&self, ve: &VeLook, named: bool) -> bool {
        let runs = matches!(ve.state, Some(State::Running | State::Paused));
        let by_state = match (self.stopped, self.all || named) {
            (true, _) => !runs,
            (false, true) => true,
            (false, false) => runs,
        };
        let fits = |pattern: &Option<String>, text: Option<&str>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| text.is_some_and(|text| glob::matches(pattern, text)))
        };
        let definition = ve.definition.as_ref();
        by_state
            && fits(&self.name, read::name(ve).as_deref())
            && fits(&self.hostname, definition.map(|d| d.hostname.as_str()))
            && fits(&self.description, definition.and_then(|d| d.description.as_deref()))
    }

    /// The list.
    fn text(&self, ves: &[VeLook]) -> String {
        match self.json {
            true => show::json(ves, &self.columns),
            false => show::columns(ves, self),
        }
    }
}
