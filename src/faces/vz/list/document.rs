//! What docs/OPENVZ.md says of vzlist.

use super::super::document::table;
use super::super::fate::Fate;
use super::FIELDS;
use super::field::{Field, Note};

/// Fields and options.
pub fn sections() -> String {
    let (new, known): (Vec<&Field>, Vec<&Field>) = FIELDS.iter().partition(|f| matches!(f.note, Note::New(_)));
    let known = table(
        "## vzlist\n\nFields of both generations. In a column, what isn't known is `-` and no limit 9223372036854775807 (0 \
         where the dialect says so: cpulimit, iolimit, iopslimit); in JSON both are `null`, and numbers are numbers. A field \
         of several figures is an object there. `-j` without `-o` has every field but cpu_percent, which takes a moment. Numbers are never cut, and lists only between \
         their words; blanks at the end of a line are left out. A VE that is broken counts as stopped, and says why in `problem`.",
        &["field", "heading", "here"],
        known.into_iter().map(|field| {
            let fate = match field.note {
                Note::Differs(how) => Fate::Differs(how),
                Note::Nothing(why) => Fate::NoEffect(why),
                Note::Same | Note::New(_) => Fate::Same,
            };
            vec![names(field), field.header.to_owned(), fate.cell()]
        }),
    );
    let new = table(
        "### Fields that the original has not\n\nAmounts are plain numbers in columns as well as in JSON.",
        &["field", "heading", "what it is"],
        new.into_iter().map(|field| {
            let what = match field.note {
                Note::New(what) => what,
                _ => "",
            };
            vec![names(field), field.header.to_owned(), what.to_owned()]
        }),
    );
    let options = table(
        "### Options of vzlist",
        &["option", "here"],
        OPTIONS
            .iter()
            .map(|(option, fate)| vec![format!("`{option}`"), fate.cell()]),
    );
    format!("{known}\n{new}\n{options}")
}

/// With those of its parts.
fn names(field: &Field) -> String {
    let parts = field.parts().iter().skip(1).map(|part| format!("`.{}`", part.letter));
    let names = field.names.iter().map(|name| format!("`{name}`"));
    names.chain(parts).collect::<Vec<_>>().join(" ")
}

const OPTIONS: [(&str, Fate); 16] = [
    ("-a, --all", Fate::Same),
    (
        "-S, --stopped",
        Fate::Differs("all that don't run, suspended and mounted ones too"),
    ),
    ("-n, --name", Fate::Same),
    ("-H, --no-header", Fate::Same),
    ("-t, --no-trim", Fate::Same),
    ("-j, --json", Fate::Differs("texts are escaped, no limit is null")),
    (
        "-o, --output",
        Fate::Differs("an unknown field is code 1 before anything is looked at"),
    ),
    ("-1", Fate::Same),
    (
        "-s, --sort",
        Fate::Differs("by the field that is named; numbers as numbers, what is unknown last"),
    ),
    ("-h, --hostname", Fate::Same),
    ("-N, --name_filter", Fate::Same),
    ("-d, --description", Fate::Same),
    (
        "-L, --list",
        Fate::Differs("a third column says what is to be known of a field"),
    ),
    ("-i, --ifname", Fate::Same),
    ("--help", Fate::Same),
    (
        "--version",
        Fate::Differs("the version of this tool, which is Hostel's"),
    ),
];

/// A list of its own, as it says more: but none is missing, and none is there too much.
#[test]
fn every_option_has_a_row() {
    let mut typed: Vec<String> = Vec::new();
    for option in super::OPTIONS {
        let short = option.short.map(|letter| format!("-{letter}"));
        let long = Some(format!("--{}", option.long)).filter(|_| option.long.len() > 1);
        typed.push(short.into_iter().chain(long).collect::<Vec<_>>().join(", "));
    }
    let mut told: Vec<&str> = OPTIONS.iter().map(|(option, _)| *option).collect();
    typed.sort();
    told.sort_unstable();
    assert_eq!(typed, told);
}
