//! Edits at the very bytes that mean a key, found by the parser's spans: all else stays as it is.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::quote;
use crate::definition::{Diagnostics, Shape, VeDefinition};

/// A definition's text and what the parser made of it.
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    document: Document<&'a str>,
}

/// Why an element of a list of tables can't be changed: it isn't there.
fn missing(path: &str) -> String {
    match path.starts_with("network.") {
        true => "there is no such interface; add one with network+=NAME".to_owned(),
        false => "there is no such rule; write one with: hostel edit".to_owned(),
    }
}

/// A place in the tree: the value, and the table around it.
struct Place<'d> {
    item: &'d Item,
    table: &'d dyn TableLike,
    /// The table around it is written in braces, on the same line as others.
    inline: bool,
    /// The key as the table has it.
    name: String,
}

impl<'a> Text<'a> {
    pub(super) fn parse(file: &str, text: &'a str) -> Result<Self, Diagnostics> {
        match Document::parse(text) {
            Ok(document) => Ok(Self { text, document }),
            // Our own reader tells the mistake better, and all of them.
            Err(error) => match VeDefinition::parse(file, text) {
                Err(diagnostics) => Err(diagnostics),
                Ok(_) => Err(Diagnostics::of_syntax(
                    file,
                    text,
                    error.span().unwrap_or(0..0),
                    error.message(),
                )),
            },
        }
    }

    /// The value at a dotted path; numbers step into lists of tables.
    fn find(&self, path: &str) -> Option<Place<'_>> {
        let mut table: &dyn TableLike = self.document.as_table();
        let mut inline = false;
        let mut steps = path.split('.').peekable();
        loop {
            let name = steps.next()?;
            let item = table.get(name)?;
            if steps.peek().is_none() {
                return Some(Place {
                    item,
                    table,
                    inline,
                    name: name.to_owned(),
                });
            }
            match item {
                Item::ArrayOfTables(tables) => table = tables.get(steps.next()?.parse().ok()?)?,
                Item::Value(Value::Array(array)) => {
                    table = array.get(steps.next()?.parse().ok()?)?.as_inline_table()?;
                    inline = true;
                }
                _ => {
                    table = item.as_table_like()?;
                    inline |= item.is_inline_table();
                }
            }
        }
    }

    /// Where the value of a key begins, in bytes.
    pub(super) fn start_of(&self, path: &str) -> Option<usize> {
        Some(self.find(path)?.item.span()?.start)
    }

    /// Writes a value: over the old one, or as a new line of its table.
    pub(super) fn set(&self, path: &str, literal: &str) -> Result<String, String> {
        if let Some(span) = self.find(path).and_then(|p| p.item.as_value()?.span()) {
            return Ok(replace(self.text, span, literal));
        }
        self.insert(path, literal)
    }

    fn insert(&self, path: &str, literal: &str) -> Result<String, String> {
        let value: Value = literal.parse().map_err(|_| format!("{literal} is no value"))?;
        let mut document: DocumentMut = self.document.clone().into_mut();
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        if let Some((_, last)) = self.inline_table(parents).and_then(|t| pairs(t).pop()) {
            return Ok(replace(self.text, last.end..last.end, &format!(", {name} = {literal}")));
        }
        let mut table: &mut dyn TableLike = document.as_table_mut();
        let mut steps = parents.split('.').filter(|s| !s.is_empty());
        let mut fresh = false;
        while let Some(step) = steps.next() {
            fresh = table.get(step).is_none();
            let item = table.entry(step).or_insert_with(|| Item::Table(new_table()));
            let list = matches!(item, Item::ArrayOfTables(_)) || item.is_array();
            if !list {
                table = item.as_table_like_mut().ok_or_else(|| format!("{step} is no table"))?;
                continue;
            }
            let index: usize = steps.next().and_then(|i| i.parse().ok()).unwrap_or(usize::MAX);
            let missing = || missing(path);
            table = match item {
                Item::ArrayOfTables(tables) => tables.get_mut(index).ok_or_else(missing)?,
                other => {
                    let array = other.as_array_mut().ok_or_else(missing)?;
                    array
                        .get_mut(index)
                        .and_then(Value::as_inline_table_mut)
                        .ok_or_else(missing)?
                }
            };
        }
        if (path.starts_with("network.") || path.starts_with("firewall.rule.")) && fresh {
            return Err(missing(path));
        }
        table.insert(name, Item::Value(value));
        Ok(document.to_string())
    }

    /// Removes a key with its line, and its table if nothing is left in that.
    pub(super) fn unset(&self, path: &str) -> String {
        let Some(place) = self.find(path) else {
            return self.text.to_owned();
        };
        let span = place
            .table
            .key(&place.name)
            .and_then(|k| k.span())
            .zip(place.item.span());
        let Some((key, value)) = span.filter(|_| !place.inline) else {
            return self.unset_inline(path);
        };
        let without = remove_lines(self.text, key.start..value.end);
        match path.rsplit_once('.') {
            Some((parent, _)) => remove_empty_table(&without, parent),
            None => without,
        }
    }

    /// The same where the table is written in braces.
    fn unset_inline(&self, path: &str) -> String {
        let Some((parent, name)) = path.rsplit_once('.') else {
            return self.text.to_owned();
        };
        let Some(table) = self.inline_table(parent) else {
            return self.text.to_owned();
        };
        let pairs = pairs(table);
        match pairs.iter().position(|(key, _)| *key == name) {
            Some(_) if pairs.len() == 1 && !parent.contains('.') => self.unset(parent),
            Some(index) => {
                let spans: Vec<Range<usize>> = pairs.into_iter().map(|(_, span)| span).collect();
                super::list::remove(self.text, &spans, &[index])
            }
            None => self.text.to_owned(),
        }
    }

    /// The table in braces at `memory` or `network.0`.
    fn inline_table(&self, path: &str) -> Option<&InlineTable> {
        let root = self.document.as_table();
        match path.split_once('.') {
            Some((name, index)) => root.get(name)?.as_array()?.get(index.parse().ok()?)?.as_inline_table(),
            None => root.get(path)?.as_inline_table(),
        }
    }

    /// Adds elements to a list, or makes it.
    pub(super) fn add(&self, path: &str, elements: &[String]) -> Result<String, String> {
        let Some(place) = self.find(path) else {
            let all: Vec<String> = elements.iter().map(|e| quote(e)).collect();
            return self.set(path, &format!("[{}]", all.join(", ")));
        };
        let Some(array) = place.item.as_array() else {
            return Err("it is no list now; set the whole list with =".to_owned());
        };
        let present = |e: &&String| !array.iter().any(|v| v.as_str() == Some(e.as_str()));
        let new: Vec<String> = elements.iter().filter(present).map(|e| quote(e)).collect();
        Ok(super::list::append(self.text, array, &new))
    }

    /// Takes elements out of a list, and removes the list if nothing is left in it.
    pub(super) fn take(&self, path: &str, elements: &[String], shape: Shape) -> Result<String, String> {
        let array = self.find(path).and_then(|p| p.item.as_array());
        let Some(array) = array else {
            return Err("it is no list now, so nothing can be removed from it".to_owned());
        };
        let mut gone = Vec::new();
        for element in elements {
            let found = array
                .iter()
                .position(|v| v.as_str().is_some_and(|v| is_meant(v, element, shape)));
            let Some(index) = found else {
                let there: Vec<&str> = array.iter().filter_map(Value::as_str).collect();
                return Err(format!("\"{element}\" is not in it; it has {}", there.join(", ")));
            };
            gone.push(index);
        }
        gone.sort_unstable();
        gone.dedup();
        if gone.len() < array.len() {
            return Ok(super::list::remove(self.text, &super::list::spans(array), &gone));
        }
        if shape == Shape::WordOrList {
            return Err("nothing would be left; set it to auto, or remove the interface".to_owned());
        }
        Ok(self.unset(path))
    }

    /// The index of the interface on a network.
    pub(super) fn interface_on(&self, network: &str) -> Option<usize> {
        let on = |table: &dyn TableLike| table.get("network").and_then(Item::as_str) == Some(network);
        match self.document.as_table().get("network")? {
            Item::ArrayOfTables(tables) => tables.iter().position(|t| on(t)),
            item => item
                .as_array()?
                .iter()
                .position(|v| v.as_inline_table().is_some_and(|t| on(t))),
        }
    }

    /// Adds an interface with automatic addresses.
    pub(super) fn add_interface(&self, network: &str) -> String {
        self.add_table("network", &[("network", quote(network)), ("addresses", quote("auto"))])
    }

    /// Adds a table to a list of tables: its keys with their values in TOML.
    pub(super) fn add_table(&self, name: &str, keys: &[(&str, String)]) -> String {
        let lines = |between: &str| {
            let all: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            all.join(between)
        };
        if let Some(array) = self.document.as_table().get(name).and_then(Item::as_array) {
            return super::list::append(self.text, array, &[format!("{{ {} }}", lines(", "))]);
        }
        let mut text = self.text.trim_end().to_owned();
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text + &format!("[[{name}]]\n{}\n", lines("\n"))
    }

    /// Removes an interface; `None` if there is none of that index.
    pub(super) fn remove_interface(&self, index: usize) -> Option<String> {
        self.remove_table("network", index)
    }

    /// Removes a table from a list of tables; `None` if there is none of that index.
    pub(super) fn remove_table(&self, name: &str, index: usize) -> Option<String> {
        match self.document.as_table().get(name)? {
            Item::ArrayOfTables(tables) => {
                let table = tables.get(index)?;
                let values = table.iter().filter_map(|(_, item)| item.span()).map(|s| s.end);
                let header = table.span()?;
                let end = values.max().unwrap_or(header.end).max(header.end);
                Some(remove_lines(self.text, header.start..end))
            }
            item => {
                let array = item.as_array()?;
                match array.len() {
                    n if index >= n => None,
                    1 => Some(self.unset(name)),
                    _ => Some(super::list::remove(self.text, &super::list::spans(array), &[index])),
                }
            }
        }
    }
}

/// The keys of a table in braces, each with the bytes of key and value, in their order.
fn pairs(table: &InlineTable) -> Vec<(&str, Range<usize>)> {
    let pair = |key: &str, value: &Value| Some(table.key(key)?.span()?.start..value.span()?.end);
    let mut all: Vec<(&str, Range<usize>)> = table.iter().filter_map(|(k, v)| Some((k, pair(k, v)?))).collect();
    all.sort_by_key(|(_, span)| span.start);
    all
}

/// Is an element of a list the one that a person means? An SSH key may be named by its comment or its base64.
fn is_meant(element: &str, typed: &str, shape: Shape) -> bool {
    let mut words = element.splitn(3, ' ').skip(1);
    let mut named = |typed| words.any(|w| w == typed);
    match shape {
        Shape::Lines => element == typed || named(typed),
        // 2001:db8::1 and 2001:0db8:0:0::1 are the same.
        _ => element == typed || matches!((parse_ip(element), parse_ip(typed)), (Some(a), Some(b)) if a == b),
    }
}

fn parse_ip(text: &str) -> Option<std::net::IpAddr> {
    text.parse().ok()
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    table
}

fn replace(text: &str, span: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..span.start], &text[span.end..])
}

/// Removes the lines that a range touches, and a blank line that would then follow another.
fn remove_lines(text: &str, span: Range<usize>) -> String {
    let start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |i| span.end + i + 1);
    let (before, after) = (&text[..start], &text[end..]);
    let blank_before = before.is_empty() || before.ends_with("\n\n");
    match after.strip_prefix('\n') {
        Some(rest) if blank_before => format!("{before}{rest}"),
        None if after.is_empty() && before.ends_with("\n\n") => before.trim_end_matches('\n').to_owned() + "\n",
        _ => format!("{before}{after}"),
    }
}

/// Removes a table's header if the table is empty and no comment stands in it.
fn remove_empty_table(text: &str, path: &str) -> String {
    let Ok(document) = Document::parse(text) else {
        return text.to_owned();
    };
    let table = document.as_table().get(path).and_then(Item::as_table);
    let Some(header) = table.filter(|t| t.is_empty()).and_then(Table::span) else {
        return text.to_owned();
    };
    let body = text[header.end..].split_once('\n').map_or("", |(_, body)| body);
    let comment = body
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .is_some_and(|l| l.starts_with('#'));
    if comment {
        text.to_owned()
    } else {
        remove_lines(text, header)
    }
}
