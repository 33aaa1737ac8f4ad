//! Adding to and taking from a list in place: one line or many, with or without a last comma, comments kept with the
//! elements they stand behind.

use std::ops::Range;

use toml_edit::{Array, Value};

/// Adds elements, already in TOML, at the end.
pub(super) fn append(text: &str, array: &Array, elements: &[String]) -> String {
    let Some(span) = array.span().filter(|_| !elements.is_empty()) else {
        return text.to_owned();
    };
    let Some(last) = spans(array).pop() else {
        // Comments in an empty list stay, before the first element.
        let inside = &text[span.start + 1..span.end - 1];
        let inside = if inside.trim().is_empty() { "" } else { inside };
        return format!(
            "{}[{inside}{}]{}",
            &text[..span.start],
            elements.join(", "),
            &text[span.end..]
        );
    };
    let Some(indent) = own_line(text, &last) else {
        return format!("{}, {}{}", &text[..last.end], elements.join(", "), &text[last.end..]);
    };
    let comma = comma_after(text, last.end);
    let line_end = text[last.end..].find('\n').map_or(text.len(), |i| last.end + i);
    let behind = text[comma.unwrap_or(last.end)..line_end].trim();
    if !(behind.is_empty() || behind.starts_with('#')) {
        // The closing bracket is on the same line.
        let lines: String = elements.iter().map(|e| format!(",\n{indent}{e}")).collect();
        return format!("{}{lines}{}", &text[..last.end], &text[last.end..]);
    }
    let missing = if comma.is_some() { "" } else { "," };
    let mut lines = elements
        .iter()
        .map(|e| format!("\n{indent}{e}"))
        .collect::<Vec<_>>()
        .join(",");
    if comma.is_some() {
        lines.push(',');
    }
    format!(
        "{}{missing}{}{lines}{}",
        &text[..last.end],
        &text[last.end..line_end],
        &text[line_end..]
    )
}

/// Removes the elements of these indices, which are in order and not all, given where all elements are.
pub(super) fn remove(text: &str, spans: &[Range<usize>], indices: &[usize]) -> String {
    let mut text = text.to_owned();
    let mut kept: Vec<usize> = (0..spans.len()).collect();
    // From the end, so that the spans before stay true.
    for &index in indices.iter().rev() {
        let Some(position) = kept.iter().position(|k| *k == index) else {
            continue;
        };
        let next = kept.get(position + 1).map(|k| spans[*k].clone());
        let previous = position
            .checked_sub(1)
            .and_then(|p| kept.get(p))
            .map(|k| spans[*k].clone());
        let range = removal(&text, &spans[index], previous, next);
        text.replace_range(range, "");
        kept.remove(position);
    }
    text
}

/// The bytes to remove so that a list stays one without this element.
fn removal(
    text: &str,
    element: &Range<usize>,
    previous: Option<Range<usize>>,
    next: Option<Range<usize>>,
) -> Range<usize> {
    let end = comma_after(text, element.end).unwrap_or(element.end);
    let line_end = text[end..].find('\n').map_or(text.len(), |i| end + i);
    let behind = text[end..line_end].trim();
    if own_line(text, element).is_some() && (behind.is_empty() || behind.starts_with('#')) {
        let start = text[..element.start].rfind('\n').map_or(0, |i| i + 1);
        return start..(line_end + 1).min(text.len());
    }
    match (previous, next) {
        (_, Some(next)) if next.start < line_end => element.start..next.start,
        (Some(previous), _) => previous.end..element.end,
        _ => element.start..end,
    }
}

/// Where each element is.
pub(super) fn spans(array: &Array) -> Vec<Range<usize>> {
    array.iter().filter_map(Value::span).collect()
}

/// What stands before an element on its line, if that is nothing but blanks and it isn't the list's first line.
fn own_line<'t>(text: &'t str, element: &Range<usize>) -> Option<&'t str> {
    let (_, before) = text[..element.start].rsplit_once('\n')?;
    if before.trim().is_empty() { Some(before) } else { None }
}

/// The place behind the comma that follows an element, past blanks and comments.
fn comma_after(text: &str, end: usize) -> Option<usize> {
    let mut rest = &text[end..];
    loop {
        let trimmed = rest.trim_start();
        match trimmed.strip_prefix('#') {
            Some(comment) => rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
            None if trimmed.starts_with(',') => return Some(text.len() - trimmed.len() + 1),
            None => return None,
        }
    }
}
