//! Reading the command line.

use hostel_model::openvz::code::{self, Code};
use hostel_model::openvz::{option, table};

use super::Parameter;
use super::options::{FLAGS, Opt};
use super::verbs::{Verb, find};

/// A command line.
#[derive(Default)]
pub struct Line {
    pub quiet: bool,
    pub verbose: bool,
    /// The version alone is asked for.
    pub version: bool,
    /// `None`: help.
    pub asked: Option<Asked>,
}

/// What is asked for.
pub struct Asked {
    pub verb: &'static Verb,
    pub called: String,
    pub ve: String,
    pub options: Vec<(&'static str, String)>,
    pub parameters: Vec<Parameter>,
    pub rest: Vec<String>,
}

/// What is wrong with it.
#[derive(Debug)]
pub struct Wrong {
    pub code: Code,
    pub text: String,
}

fn wrong<T>(code: Code, text: String) -> Result<T, Wrong> {
    Err(Wrong { code, text })
}

/// Reads `[flags] command CTID [options]`.
pub fn parse(words: &[String]) -> Result<Line, Wrong> {
    let mut line = Line::default();
    let mut words = words.iter();
    let verb = loop {
        let Some(word) = words.next() else {
            return match line.version {
                true => Ok(line),
                false => wrong(code::SYNTAX, "Say a command; vzctl --help tells them".to_owned()),
            };
        };
        let name = match word.as_str() {
            "-h" | "help" => "help",
            word => match word.strip_prefix("--") {
                Some(name) => name,
                None => break word,
            },
        };
        match name {
            "help" => return Ok(line),
            "version" => {
                line.version = true;
                return Ok(line);
            }
            "quiet" => line.quiet = true,
            "verbose" => line.verbose = true,
            other => match FLAGS.iter().find(|f| f.name == other) {
                Some(known) if !known.value.is_empty() => drop(words.next()),
                Some(_) => {}
                None => {
                    return wrong(
                        code::SYNTAX,
                        format!("There is no flag {word}; vzctl --help tells them"),
                    );
                }
            },
        }
    };
    let Some(found) = find(verb) else {
        return wrong(
            code::SYNTAX,
            format!("There is no command \"{verb}\"; vzctl --help tells them"),
        );
    };
    let ve = words.next();
    if ve.is_some_and(|ve| ve == "--help") {
        return Ok(line);
    }
    let Some(ve) = ve.filter(|ve| !ve.starts_with('-') && !ve.is_empty()) else {
        return wrong(
            code::VALUE,
            format!("vzctl {verb}: say which container, by CTID or name"),
        );
    };
    let mut asked = Asked {
        verb: found,
        called: verb.to_owned(),
        ve: ve.clone(),
        options: Vec::new(),
        parameters: Vec::new(),
        rest: Vec::new(),
    };
    match found.rest {
        true => asked.rest = words.cloned().collect(),
        false => options(&mut asked, words)?,
    }
    line.asked = Some(asked);
    Ok(line)
}

/// Reads the options behind the container.
fn options<'w>(asked: &mut Asked, mut words: impl Iterator<Item = &'w String>) -> Result<(), Wrong> {
    while let Some(word) = words.next() {
        let Some(typed) = word.strip_prefix('-').filter(|t| !t.is_empty()) else {
            return wrong(code::VALUE, format!("vzctl {}: \"{word}\" is no option", asked.called));
        };
        let short = !typed.starts_with('-');
        let (name, given) = match typed.trim_start_matches('-').split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (typed.trim_start_matches('-'), None),
        };
        let Some(known) = known(asked.verb, name, short) else {
            return wrong(
                code::VALUE,
                format!(
                    "vzctl {}: there is no option {word}; vzctl --help tells them",
                    asked.called
                ),
            );
        };
        let mut value = |valued: bool, attached: Option<String>| match (valued, given.clone().or(attached)) {
            (true, Some(value)) => Ok(value),
            (true, None) => words.next().cloned().ok_or_else(|| Wrong {
                code: code::VALUE,
                text: format!("vzctl {}: {word} needs a value", asked.called),
            }),
            (false, None) => Ok(String::new()),
            (false, Some(_)) => wrong(code::VALUE, format!("vzctl {}: {word} takes no value", asked.called)),
        };
        match known {
            Known::Own(option) => {
                let value = value(!option.value.is_empty(), None)?;
                asked.options.push((option.name, value));
            }
            Known::Parameter(name, attached) => {
                let Some(key) = option(name) else { continue };
                let value = value(key.valued, attached)?;
                let named = if name.len() == 1 {
                    format!("-{name}")
                } else {
                    format!("--{name}")
                };
                asked.parameters.push(Parameter { key, named, value });
            }
        }
    }
    Ok(())
}

/// What an option is.
enum Known {
    /// Of the command itself.
    Own(&'static Opt),
    /// Of the table of parameters, by its name, with a value that hangs on it: `-p100`.
    Parameter(&'static str, Option<String>),
}

/// Finds an option by its name; by the beginning of it, if no other begins so.
fn known(verb: &'static Verb, name: &str, short: bool) -> Option<Known> {
    if let Some(own) = verb.options.iter().find(|o| o.name == name) {
        return Some(Known::Own(own));
    }
    let names = || {
        table()
            .filter(|_| verb.parameters)
            .flat_map(|key| key.options.iter().copied())
    };
    if let Some(name) = names().find(|known| *known == name) {
        return Some(Known::Parameter(name, None));
    }
    if short {
        let first = name.get(..1)?;
        let letter = names().find(|known| *known == first)?;
        return Some(Known::Parameter(letter, name.get(1..).map(str::to_owned)));
    }
    let mut own = verb.options.iter().filter(|o| o.name.starts_with(name));
    let mut of_table = names().filter(|known| known.len() > 1 && known.starts_with(name));
    match (own.next(), own.next(), of_table.next(), of_table.next()) {
        (Some(own), None, None, _) => Some(Known::Own(own)),
        (None, _, Some(name), None) => Some(Known::Parameter(name, None)),
        _ => None,
    }
}
