//! Changing the text of a VE's definition without losing what a person wrote in it: comments, order and layout stay.

mod change;
mod forward;
mod list;
mod place;
mod plan;
mod render;
mod splice;
mod tenant;
#[cfg(test)]
mod tests;

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, TomlError, value};

use crate::definition::{
    Diagnostics, DriverName, HostConfig, KeyDoc, Shape, VeDefinition, is_unfit, key, keys, nearest, one_of,
};
pub use change::{Change, diff};
pub use forward::{add_forward, remove_forward};
pub use place::line_of;
pub use plan::edit_plan;
pub use render::{NewVe, render_new};
pub use tenant::{edit_tenant, suspend_tenant};

/// A change that can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EditError {
    /// There is no such key.
    #[error("unknown key \"{key}\"; {instead}")]
    UnknownKey {
        /// What was asked for.
        key: String,
        /// The key that was likely meant, or the keys there are.
        instead: String,
    },
    /// The change makes no sense for this key or this value.
    #[error("cannot change {key}: {why}")]
    Impossible {
        /// The key.
        key: String,
        /// Why not, and what to do instead.
        why: String,
    },
    /// The text, or what it would become, is no right definition.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
    /// More than one of these.
    #[error("{}", lines(.0))]
    Several(Vec<EditError>),
}

fn lines(errors: &[EditError]) -> String {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// Splits what a person types, `memory.limit=2GiB`, `dns+=9.9.9.9`, at its first `=`. The operator stays with the key:
/// `dns+`.
pub fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim_end_matches(['+', '-']).is_empty() => {
            Ok((key.trim().into(), value.trim().into()))
        }
        _ => Err(format!(
            "\"{text}\" is not a setting; write KEY=VALUE, such as memory.limit=2GiB"
        )),
    }
}

/// Changes the text of the definition `file` (`…/ve/<name>.toml`), one setting after the other:
///
/// - `key` and a value set it; the value is written as the key's type wants it (`onboot` `yes`, lists with commas),
/// - `key` and nothing removes it, so that the plan's or the default value is in force again,
/// - `key+` adds to a list, `key-` removes from one,
/// - `network+` NAME adds an interface on that network, `network-` NAME removes it.
///
/// The result is read again as a definition; if anything in it is wrong, nothing is changed and every mistake is told.
pub fn edit<K: AsRef<str>, V: AsRef<str>>(file: &str, text: &str, settings: &[(K, V)]) -> Result<String, EditError> {
    let one = |text: &str, key: &str, value: &str| apply(file, text, key, value);
    all_or_nothing(text, settings, one, &|text| VeDefinition::parse(file, text).err())
}

/// One setting after the other, and then a look at the whole.
fn all_or_nothing<K: AsRef<str>, V: AsRef<str>>(
    text: &str,
    settings: &[(K, V)],
    one: impl Fn(&str, &str, &str) -> Result<String, EditError>,
    mistakes: &dyn Fn(&str) -> Option<Diagnostics>,
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    let mut wrong: Vec<EditError> = Vec::new();
    for (key, value) in settings {
        match one(&text, key.as_ref(), value.as_ref().trim()) {
            Ok(changed) => text = changed,
            Err(e) if wrong.contains(&e) => {}
            Err(e) => wrong.push(e),
        }
    }
    match mistakes(&text).map(EditError::Wrong) {
        Some(e) if !wrong.contains(&e) => wrong.push(e),
        _ => {}
    }
    match wrong.pop() {
        None => Ok(text),
        Some(only) if wrong.is_empty() => Err(only),
        Some(last) => {
            wrong.push(last);
            Err(EditError::Several(wrong))
        }
    }
}

/// The text of hostel.toml with its `[disk]` table naming this driver; comments, order and layout stay. A text that
/// names one already stays as it is.
pub fn choose_driver(file: &str, text: &str, driver: DriverName) -> Result<String, Diagnostics> {
    if HostConfig::parse(file, text)?.says("disk.driver") {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: TomlError| Diagnostics::of_syntax(file, text, e.span().unwrap_or(0..0), e.message()))?;
    let table = document.entry("disk").or_insert_with(|| Item::Table(Table::new()));
    if let Some(table) = table.as_table_like_mut() {
        table.insert("driver", value(driver.as_str()));
    }
    Ok(document.to_string())
}

/// What is to become of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Set,
    Unset,
    Add,
    Remove,
}

/// The key and what is to become of it, by what was typed.
fn asked<'t>(typed: &'t str, value: &str) -> Result<(&'t str, Act), EditError> {
    let (path, act) = match (typed.strip_suffix('+'), typed.strip_suffix('-')) {
        (Some(path), _) => (path, Act::Add),
        (_, Some(path)) => (path, Act::Remove),
        _ => (typed, if value.is_empty() { Act::Unset } else { Act::Set }),
    };
    if value.chars().any(|c| is_unfit(c) && c != '\n') {
        return Err(impossible(path, "control characters may not stand in the value"));
    }
    if value.is_empty() && act != Act::Unset {
        return Err(impossible(path, "say what to add or remove"));
    }
    Ok((path, act))
}

fn impossible(key: &str, why: &str) -> EditError {
    EditError::Impossible {
        key: key.to_owned(),
        why: why.to_owned(),
    }
}

/// There is no such key. There are many: all of them are told only where none is near.
fn unknown(path: &str, known: &[KeyDoc]) -> EditError {
    let known = || known.iter().map(|k| k.key.as_str());
    let instead = match nearest(path, known()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("expected {}", one_of(path, known())),
    };
    EditError::UnknownKey {
        key: path.to_owned(),
        instead,
    }
}

fn apply(file: &str, text: &str, typed: &str, value: &str) -> Result<String, EditError> {
    let (path, act) = asked(typed, value)?;
    let impossible = |why: &str| impossible(path, why);
    let document = splice::Text::parse(file, text)?;
    if let Some(index) = path.strip_prefix("network.").and_then(|i| i.parse::<usize>().ok()) {
        return match act {
            Act::Unset => document
                .remove_interface(index)
                .ok_or_else(|| impossible("there is no such interface")),
            _ => Err(impossible(
                "set its .network or .addresses, or remove it with an empty value",
            )),
        };
    }
    if path == "forward" || path.starts_with("forward.") {
        return Err(impossible(
            "write: hostel forward add NAME LISTEN, or hostel forward remove NAME LISTEN",
        ));
    }
    let Some(doc) = key(path) else {
        return Err(unknown(path, keys()));
    };
    match (act, doc.shape) {
        (_, Shape::Tables) if doc.key != "network" => Err(impossible(&format!(
            "write its [[{}]] tables with: hostel edit",
            doc.key
        ))),
        (Act::Add, Shape::Tables) => Ok(document.add_interface(value)),
        (Act::Remove, Shape::Tables) => {
            let index = document
                .interface_on(value)
                .ok_or_else(|| impossible("it has no interface on that network"))?;
            document
                .remove_interface(index)
                .ok_or_else(|| impossible("there is no such interface"))
        }
        (_, Shape::Tables) => Err(impossible(
            "write network+=NAME or network-=NAME, or network.0.addresses=… and the like",
        )),
        _ => change_value(&document, doc, path, act, value),
    }
}

/// The same for a key that is no list of tables.
fn change_value(
    document: &splice::Text<'_>,
    doc: &KeyDoc,
    path: &str,
    act: Act,
    value: &str,
) -> Result<String, EditError> {
    let lists = matches!(doc.shape, Shape::List | Shape::Lines | Shape::WordOrList);
    let changed = match act {
        Act::Set => document.set(path, &literal(doc, value)),
        Act::Unset => Ok(document.unset(path)),
        Act::Add if lists => document.add(path, &elements(doc, value)),
        Act::Remove if lists => document.take(path, &elements(doc, value), doc.shape),
        Act::Add | Act::Remove => Err("it is no list; set it with =".to_owned()),
    };
    changed.map_err(|why| impossible(path, &why))
}

/// A value as TOML writes it for this key. What doesn't fit the key's type becomes a string, and reading the result
/// says what was expected.
fn literal(doc: &KeyDoc, value: &str) -> String {
    match doc.shape {
        Shape::Bool => match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => "true".to_owned(),
            "false" | "no" | "off" | "0" => "false".to_owned(),
            _ => quote(value),
        },
        Shape::Number if is_number(value) => value.to_owned(),
        Shape::WordOrList if value == "auto" => quote(value),
        Shape::List | Shape::Lines | Shape::WordOrList => {
            let all: Vec<String> = elements(doc, value).iter().map(|e| quote(e)).collect();
            format!("[{}]", all.join(", "))
        }
        Shape::Text | Shape::Number | Shape::Tables => quote(value),
    }
}

/// Would TOML read it as a decimal number?
fn is_number(value: &str) -> bool {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |d: &str| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction) && whole.len() <= 18 && (whole == "0" || !whole.starts_with('0'))
}

/// The elements that a value names: SSH keys a line each (they may hold commas), all else between commas.
fn elements(doc: &KeyDoc, value: &str) -> Vec<String> {
    let separator = if doc.shape == Shape::Lines { '\n' } else { ',' };
    let plain = value.trim().trim_start_matches('[').trim_end_matches(']');
    let value = if doc.shape == Shape::Lines { value } else { plain };
    let all = value
        .split(separator)
        .map(str::trim)
        .filter(|e| !e.is_empty() && !e.starts_with('#'));
    all.map(|e| {
        if doc.shape == Shape::Lines {
            e
        } else {
            e.trim_matches(['"', '\''])
        }
        .to_owned()
    })
    .collect()
}

/// A string as TOML writes it.
fn quote(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
