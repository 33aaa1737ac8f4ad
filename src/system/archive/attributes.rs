//! Which extended attributes a root tree may carry, and ACLs told as text.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The kernel's name of the ACL of a file.
pub(super) const ACL_ACCESS: &str = "system.posix_acl_access";
/// The kernel's name of the ACL that new files of a directory get.
pub(super) const ACL_DEFAULT: &str = "system.posix_acl_default";

/// What is done with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// It survives.
    Keep,
    /// A label of one host's security module: left out and counted.
    LeaveOut,
    /// It could change what the host makes of the tree.
    Refuse,
}

/// Judges an attribute by its name.
pub(super) fn policy(name: &str) -> Policy {
    match name.split_once('.') {
        Some(("user", rest)) if !rest.is_empty() && name.len() <= 255 => Policy::Keep,
        Some(("security", "capability")) => Policy::Keep,
        Some(("security", _)) => Policy::LeaveOut,
        Some(("system", "posix_acl_access" | "posix_acl_default")) => Policy::Keep,
        // trusted.overlay.* steers the overlay that Hostel itself mounts; the rest means nothing in a guest.
        _ => Policy::Refuse,
    }
}

/// The tags of ACL entries that name a user or a group (include/uapi/linux/posix_acl.h).
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

/// The users and groups that an attribute names, if it is an ACL.
pub(super) fn ids_in_acl(name: &str, value: &[u8]) -> Vec<u32> {
    let entries = match name {
        ACL_ACCESS | ACL_DEFAULT => value.get(4..).unwrap_or_default(),
        _ => &[],
    };
    // Tag, permissions, id: 2, 2 and 4 bytes, the lowest first.
    let id = |entry: &[u8; 8]| {
        let [t0, t1, _, _, id @ ..] = *entry;
        [ACL_USER, ACL_GROUP]
            .contains(&u16::from_le_bytes([t0, t1]))
            .then(|| u32::from_le_bytes(id))
    };
    entries.as_chunks::<8>().0.iter().filter_map(id).collect()
}

/// An ACL in the text form of acl(5), ids as numbers, as the kernel wants it in the attribute
/// (include/uapi/linux/posix_acl_xattr.h). `None` if it can't be read that way.
pub(super) fn acl_from_text(text: &str) -> Option<Vec<u8>> {
    const NO_ID: u32 = u32::MAX;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']).map(str::trim).filter(|e| !e.is_empty()) {
        let mut fields = entry.split('#').next()?.trim().split(':');
        let (tag, who, perms) = (fields.next()?, fields.next()?, fields.next()?);
        // star adds the id as a fourth field behind a name.
        let id = || fields.clone().next().unwrap_or(who).parse::<u32>().ok();
        let (tag, id) = match (tag, who) {
            ("user" | "u", "") => (0x01u16, NO_ID),
            ("user" | "u", _) => (ACL_USER, id()?),
            ("group" | "g", "") => (0x04, NO_ID),
            ("group" | "g", _) => (ACL_GROUP, id()?),
            ("mask" | "m", "") => (0x10, NO_ID),
            ("other" | "o", "") => (0x20, NO_ID),
            _ => return None,
        };
        let mut bits = 0u16;
        for (letter, wanted, bit) in perms
            .chars()
            .zip(['r', 'w', 'x'])
            .zip([4u16, 2, 1])
            .map(|((l, w), b)| (l, w, b))
        {
            match letter {
                l if l == wanted => bits |= bit,
                '-' => {}
                _ => return None,
            }
        }
        if perms.len() != 3 {
            return None;
        }
        entries.push((tag, id, bits));
    }
    entries.sort_unstable();
    let mut out = 2u32.to_le_bytes().to_vec();
    for (tag, id, bits) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    Some(out)
}

/// A way to name a file by its directory's descriptor for calls that know only paths. It follows no link but
/// procfs's own; the last part is for calls that don't follow links (the `l…` ones).
fn by_parent(parent: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    [
        format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(),
        name.to_bytes(),
    ]
    .concat()
}

/// Sets an attribute of a name in a directory, not following a link.
pub(super) fn set_at(parent: BorrowedFd<'_>, name: &CStr, attribute: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(by_parent(parent, name), attribute, value, XattrFlags::empty())
}

/// All attributes of a name in a directory, not following a link, sorted. A file system without attributes has
/// none.
pub(super) fn list_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    let path = by_parent(parent, name);
    let mut list = vec![0u8; 1024];
    let length = loop {
        match rustix::fs::llistxattr(&path, &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < 1 << 20 => list.resize(list.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        }
    };
    let mut found = Vec::new();
    for attribute in list
        .get(..length)
        .unwrap_or_default()
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
    {
        let mut value = vec![0u8; 256];
        let length = loop {
            match rustix::fs::lgetxattr(&path, attribute, &mut value[..]) {
                Ok(length) => break length,
                Err(Errno::RANGE) if value.len() < 1 << 20 => value.resize(value.len() * 16, 0),
                Err(e) => return Err(e),
            }
        };
        value.truncate(length);
        found.push((String::from_utf8_lossy(attribute).into_owned(), value));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for keep in [
            "user.x",
            "user.overlay.x",
            "security.capability",
            ACL_ACCESS,
            ACL_DEFAULT,
        ] {
            assert_eq!(policy(keep), Policy::Keep, "{keep}");
        }
        for label in ["security.selinux", "security.ima", "security.SMACK64"] {
            assert_eq!(policy(label), Policy::LeaveOut, "{label}");
        }
        for bad in [
            "trusted.overlay.redirect",
            "trusted.x",
            "system.x",
            "user.",
            "user",
            "",
            "USER.x",
            "os2.x",
        ] {
            assert_eq!(policy(bad), Policy::Refuse, "{bad}");
        }
    }

    #[test]
    fn acls_as_text() {
        let acl = acl_from_text("user::rw-,user:1000:r--,group::r-x,mask::r-x,other::---").unwrap();
        assert_eq!(acl.len(), 4 + 5 * 8);
        assert_eq!(ids_in_acl(ACL_ACCESS, &acl), [1000]);
        assert!(ids_in_acl("user.acl", &acl).is_empty());
        assert!(ids_in_acl(ACL_DEFAULT, b"\x02\0\0").is_empty());
        assert_eq!(acl.get(..12), Some(&[2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255][..]));
        assert_eq!(acl.get(12..20), Some(&[2, 0, 4, 0, 0xe8, 3, 0, 0][..]));
        assert_eq!(
            acl_from_text("group:adm:r-x:4,other::r--").unwrap().get(4..12),
            Some(&[8, 0, 5, 0, 4, 0, 0, 0][..])
        );
        for bad in [
            "user:alice:rwx",
            "user::rwxx",
            "user::rz-",
            "what::rwx",
            "mask:3:rwx",
            "user",
        ] {
            assert_eq!(acl_from_text(bad), None, "{bad}");
        }
    }
}
