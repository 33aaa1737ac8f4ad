//! Edits of text as bytes: a tenant's file need not be UTF-8. No I/O.

/// Can this block stand in a file and be found again?
pub(super) fn check_block(begin: &str, end: &str, content: &str, comment_out: &[String]) -> Result<(), &'static str> {
    let marker = |m: &str| m.starts_with('#') && m.trim_end() == m && !m.contains('\n');
    if !marker(begin) || !marker(end) || begin == end {
        return Err("the markers of the block are not two different comment lines");
    }
    if !content.is_empty() && !content.ends_with('\n') {
        return Err("the block does not end with a newline");
    }
    if content.lines().any(|line| [begin, end].contains(&line.trim_end())) {
        return Err("a line of the block equals one of its markers");
    }
    if comment_out
        .iter()
        .any(|start| start.is_empty() || start.starts_with('#'))
    {
        return Err("comments or empty lines can't be commented out");
    }
    Ok(())
}

/// Is it a hash that stays inside its field? crypt(5): printable ASCII without white space and without `:;*!\`.
pub(super) fn check_password(user: &str, hash: &str) -> Result<(), &'static str> {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if user.is_empty() || user.starts_with('-') || !user.bytes().all(name) {
        return Err("that is not a user's name");
    }
    if !hash.starts_with('$') || !hash.bytes().all(|b| b.is_ascii_graphic() && !b":;*!\\".contains(&b)) {
        return Err("that is not a password hash");
    }
    Ok(())
}

/// `old` with the block in it: where the first one was, else at the end. Further blocks go. A marker without its
/// partner goes alone, because the lines beside it may be the tenant's.
pub(super) fn merge_block(old: &[u8], begin: &str, end: &str, content: &str, comment_out: &[String]) -> Vec<u8> {
    let block = if content.is_empty() {
        Vec::new()
    } else {
        format!("{begin}\n{content}{end}\n").into_bytes()
    };
    let lines: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let mut out = Vec::with_capacity(old.len() + block.len());
    let mut placed = false;
    let mut i = 0;
    while let Some(line) = lines.get(i) {
        i += 1;
        let bare = line.trim_ascii_end();
        if bare == begin.as_bytes() {
            if let Some(length) = rest_of_block(lines.get(i..).unwrap_or_default(), begin, end) {
                i += length;
                if !placed {
                    out.extend_from_slice(&block);
                    placed = true;
                }
            }
        } else if bare != end.as_bytes() {
            if comment_out.iter().any(|start| line.starts_with(start.as_bytes())) {
                out.push(b'#');
            }
            out.extend_from_slice(line);
        }
    }
    if !placed && !block.is_empty() {
        if out.last().is_some_and(|b| *b != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(&block);
    }
    out
}

/// How many lines after a begin marker belong to its block, the end marker counted; `None` if there is none.
fn rest_of_block(lines: &[&[u8]], begin: &str, end: &str) -> Option<usize> {
    let marker = lines.iter().position(|l| {
        let bare = l.trim_ascii_end();
        bare == begin.as_bytes() || bare == end.as_bytes()
    })?;
    let bare = lines.get(marker)?.trim_ascii_end();
    (bare == end.as_bytes()).then_some(marker + 1)
}

/// shadow(5) with this hash for the user. The day is set only if the hash changes.
pub(super) fn set_shadow(old: &[u8], user: &str, hash: &str, day: u32) -> Vec<u8> {
    let day = day.to_string();
    let found = edit_line(old, user, |fields| {
        if fields.get(1).is_some_and(|f| *f == hash.as_bytes()) {
            return false;
        }
        if fields.len() < 9 {
            fields.resize(9, b"");
        }
        for (field, value) in fields.iter_mut().skip(1).zip([hash.as_bytes(), day.as_bytes()]) {
            *field = value;
        }
        true
    });
    found.unwrap_or_else(|| {
        let mut out = old.to_vec();
        if out.last().is_some_and(|b| *b != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("{user}:{hash}:{day}:0:99999:7:::\n").as_bytes());
        out
    })
}

/// passwd(5) with `x` as the user's password: "look into shadow". A user who isn't there is not added.
pub(super) fn point_to_shadow(old: &[u8], user: &str) -> Vec<u8> {
    let found = edit_line(old, user, |fields| match fields.get_mut(1) {
        Some(field) if *field != b"x" => {
            *field = b"x";
            true
        }
        _ => false,
    });
    found.unwrap_or_else(|| old.to_vec())
}

/// Edits the colon-separated fields of the user's first line (the one that counts); `None` if there is no line.
/// `edit` says if it changed something; if not, the text comes back byte for byte.
fn edit_line<'a>(old: &'a [u8], user: &str, edit: impl FnOnce(&mut Vec<&'a [u8]>) -> bool) -> Option<Vec<u8>> {
    let mut start = 0;
    for line in old.split_inclusive(|b| *b == b'\n') {
        let end = start + line.len();
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields: Vec<&[u8]> = bare.split(|b| *b == b':').collect();
        if fields.first().is_some_and(|f| *f == user.as_bytes()) {
            if !edit(&mut fields) {
                return Some(old.to_vec());
            }
            let (before, after) = (old.get(..start)?, old.get(end..)?);
            return Some([before, &fields.join(&b':'), b"\n", after].concat());
        }
        start = end;
    }
    None
}
