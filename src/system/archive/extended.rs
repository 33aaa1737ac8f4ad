//! What an extended header of pax(1) says of a member: the keys of POSIX, and those of GNU tar and star that carry
//! holes, attributes and ACLs.

use std::collections::HashSet;

use super::attributes::{ACL_ACCESS, ACL_DEFAULT, Policy, acl_from_text, policy};
use super::member::damaged;
use super::sparse::Declared;
use super::{pax, refused, shown};
use crate::Result;

/// What an extended header says of the member that follows.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) sparse: Option<Declared>,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    pub(super) labels_left_out: u64,
    /// Why the member can't be taken; told when its name is known.
    pub(super) refusal: Option<String>,
}

impl Pax {
    /// Reads an extended header.
    pub(super) fn parse(data: &[u8]) -> Result<Self> {
        let records = pax::records(data).map_err(|_| damaged("an extended header is malformed"))?;
        let mut pax = Self::default();
        let mut libarchive_only = 0i64;
        let mut seen = HashSet::new();
        for (key, value) in records {
            // Readers differ in which of two they believe. Only the oldest map of holes repeats its keys.
            if !matches!(key, "GNU.sparse.offset" | "GNU.sparse.numbytes") && !seen.insert(key) {
                pax.refusal = Some(format!("its extended header tells \"{}\" twice", shown(key.as_bytes())));
            }
            let bad = || {
                damaged(format!(
                    "an extended header's \"{key}\" can't be read: \"{}\"",
                    shown(value)
                ))
            };
            let number = || pax::parse_number(value).map(Some).ok_or_else(bad);
            if let Some(key) = key.strip_prefix("GNU.sparse.") {
                if !pax.sparse.get_or_insert_default().take(key, value) {
                    return Err(bad());
                }
                continue;
            }
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                libarchive_only -= 1;
                pax.attribute(name, value);
                continue;
            }
            match key {
                "path" => pax.path = Some(value.to_vec()),
                "linkpath" => pax.link = Some(value.to_vec()),
                "size" => pax.size = number()?,
                "uid" => pax.uid = number()?,
                "gid" => pax.gid = number()?,
                "mtime" => pax.mtime = Some(pax::parse_time(value).ok_or_else(bad)?),
                "SCHILY.acl.access" => pax.acl(ACL_ACCESS, value),
                "SCHILY.acl.default" => pax.acl(ACL_DEFAULT, value),
                "SCHILY.acl.ace" => pax.refusal = Some("its ACL is one of NFSv4, which Linux can't keep".into()),
                "RHT.security.selinux" => pax.labels_left_out += 1,
                key if key.starts_with("LIBARCHIVE.xattr.") => libarchive_only += 1,
                // Names of owners, times that can't be set, comments, and what POSIX says to pass over.
                _ => {}
            }
        }
        if libarchive_only > 0 {
            return Err(damaged("it holds attributes in libarchive's own form only")
                .hint("pack it with bsdtar --options xattrheader=SCHILY, or with GNU tar --xattrs"));
        }
        Ok(pax)
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        match policy(name) {
            Policy::Keep => self.xattrs.push((name.to_owned(), value.to_vec())),
            Policy::LeaveOut => self.labels_left_out += 1,
            Policy::Refuse => {
                self.refusal = Some(format!(
                    "a root tree may not carry its attribute \"{}\"",
                    shown(name.as_bytes())
                ));
            }
        }
    }

    fn acl(&mut self, name: &str, text: &[u8]) {
        match std::str::from_utf8(text).ok().and_then(acl_from_text) {
            None => {
                let text = shown(text);
                self.refusal = Some(format!(
                    "its ACL \"{text}\" can't be read; pack it with --numeric-owner"
                ));
            }
            Some(acl) if !self.xattrs.iter().any(|(n, _)| n == name) => self.xattrs.push((name.to_owned(), acl)),
            Some(_) => {}
        }
    }
}

/// The largest size that the header's octal field can tell; above it only the extended header can.
const MAX_OCTAL_SIZE: u64 = 0o777_7777_7777;

/// How many bytes the member has in the archive. Two headers that tell different sizes would let two readers see
/// different members (CVE-2026-33055), so they must agree unless the first can't tell so large a number.
pub(super) fn stored_size(header: &tar::Header, pax: Option<u64>, path: &[u8]) -> Result<u64> {
    let field = header
        .entry_size()
        .map_err(|_| refused(path, "its size can't be read"))?;
    match pax {
        Some(size) if size != field && size <= MAX_OCTAL_SIZE => Err(refused(
            path,
            format!("one header says it has {field} bytes, another {size}"),
        )),
        Some(size) => Ok(size),
        None => Ok(field),
    }
}
