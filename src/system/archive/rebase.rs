//! Letting an overlay's upper layer stand on another copy of the tree below it.
//!
//! Overlayfs notes in the upper layer where in the lower one each thing comes from: as a file handle, in the attribute
//! `trusted.overlay.origin`, and in the names of the index of files that have several names (kernel:
//! fs/overlayfs/overlayfs.h, `struct ovl_fb`; fs/overlayfs/copy_up.c and namei.c). Where a directory's note doesn't fit,
//! what lies below it is hidden, so each has to be put right. In a copy every path has another handle.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{list_at, set_at};
use super::walk::{names, walk};
use super::{Tree, shown};
use crate::remove::remove_at;
use crate::{Error, Kind, Result};

/// The attribute with the handle.
const ORIGIN: &str = "trusted.overlay.origin";
/// What stands before a handle in such a note: version, magic, length, flags, type, and the file system's UUID.
const HEADER: usize = 21;
/// Where in that the handle's type stands.
const TYPE: usize = 4;
/// The longest handle (include/linux/exportfs.h, `MAX_HANDLE_SZ`).
const LONGEST: usize = 128;

/// A file handle: its type, and the file system's own words for an inode.
type Handle = (u8, Vec<u8>);

/// Rewrites the notes of the layers (`upper`, `work`) on a disk that lay on `old`, so that they fit `new`: a copy of that
/// tree on the same file system. Done twice, or cut short and done again either way, it comes to the same. All of it is
/// on the disk when this returns.
pub fn rebase(disk: BorrowedFd<'_>, old: &Tree, new: &Tree) -> Result<()> {
    let device = |tree: &Tree| {
        let stat = rustix::fs::fstat(tree.fd()).map_err(|e| Error::os("read", tree.path().display(), e))?;
        Ok::<_, Error>(stat.st_dev)
    };
    if device(old)? != device(new)? {
        let why = format!("it lies on another file system than {}", old.path().display());
        return Err(Error::new("let a disk stand on", new.path().display(), why).kind(Kind::Invalid));
    }
    let mut handles = HashMap::new();
    pair(old.fd(), new.fd(), &mut Vec::new(), &mut handles)?;
    for top in names(disk).map_err(|e| Error::os("read", "the disk", e))? {
        if top.to_bytes() == b"upper" {
            note(disk, &top, b"upper", &handles)?;
            let upper = open_dir(disk, &top).map_err(|e| Error::os("open", "the upper layer", e))?;
            walk(upper.as_fd(), &mut |node| {
                note(node.parent, node.name, node.path, &handles)
            })?;
        }
    }
    reindex(disk, &handles)?;
    rustix::fs::syncfs(disk).map_err(|e| Error::os("sync", "the disk", e))
}

/// What the handle of each path of the old tree is in the new one.
fn pair(
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    path: &mut Vec<u8>,
    handles: &mut HashMap<Handle, Handle>,
) -> Result<()> {
    let fail = |path: &[u8], e: Errno| Error::os("read", format!("\"{}\" of the copies of a template", shown(path)), e);
    let mut both = |path: &[u8], name: &CStr| {
        let pair = handle(old, name).and_then(|was| Ok((was, handle(new, name)?)));
        pair.map(|(was, is)| handles.insert(was, is)).map_err(|e| fail(path, e))
    };
    if path.is_empty() {
        both(b"/", c"")?;
    }
    let length = path.len();
    let mut directories: Vec<CString> = Vec::new();
    for name in names(old).map_err(|e| fail(path, e))? {
        path.truncate(length);
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        both(path, &name)?;
        let stat = rustix::fs::statat(old, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| fail(path, e))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            directories.push(name);
        }
    }
    for name in directories {
        path.truncate(length);
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        let inner = open_dir(old, &name).and_then(|inner| Ok((inner, open_dir(new, &name)?)));
        let (old, new) = inner.map_err(|e| fail(path, e))?;
        pair(old.as_fd(), new.as_fd(), path, handles)?;
    }
    path.truncate(length);
    Ok(())
}

fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The note with the handle of the same path in the other tree; `None` if it is of neither kind that is known here, or
/// fits already.
fn translated(note: &[u8], handles: &HashMap<Handle, Handle>) -> Option<Vec<u8>> {
    let (header, id) = note.split_at_checked(HEADER)?;
    let (kind, other) = handles.get(&(*header.get(TYPE)?, id.to_vec()))?;
    // The note says its own length, and what is of one file system has handles of one length.
    if other.len() != id.len() {
        return None;
    }
    let mut new = header.to_vec();
    *new.get_mut(TYPE)? = *kind;
    new.extend_from_slice(other);
    Some(new)
}

fn note(dir: BorrowedFd<'_>, name: &CStr, path: &[u8], handles: &HashMap<Handle, Handle>) -> Result<()> {
    let fail = |e| Error::os("rewrite what overlayfs has noted of", format!("\"{}\"", shown(path)), e);
    let all = list_at(dir, name).map_err(fail)?;
    let old = all.iter().find(|(attribute, _)| attribute == ORIGIN);
    match old.and_then(|(_, value)| translated(value, handles)) {
        Some(new) => set_at(dir, name, ORIGIN, &new).map_err(fail),
        None => Ok(()),
    }
}

/// Renames what the index holds of files. Directories there say where on the disk another one is, by the handle of what
/// it comes from; overlayfs does without.
fn reindex(disk: BorrowedFd<'_>, handles: &HashMap<Handle, Handle>) -> Result<()> {
    let fail = |e| Error::os("rewrite the index of", "the disk", e);
    let index = match open_dir(disk, c"work").and_then(|work| open_dir(work.as_fd(), c"index")) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(fail)?,
    };
    for name in names(index.as_fd()).map_err(fail)? {
        let stat = rustix::fs::statat(&index, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            remove_at(index.as_fd(), &name).map_err(fail)?;
        } else if let Some(new) = from_hex(name.to_bytes()).and_then(|note| translated(&note, handles)) {
            rustix::fs::renameat(&index, &name, &index, to_hex(&new)).map_err(fail)?;
        }
    }
    Ok(())
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The handle of a name in a directory, not following a link; of the directory itself if the name is empty
/// (name_to_handle_at(2)).
fn handle(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Handle, Errno> {
    #[repr(C)]
    struct Room {
        bytes: libc::c_uint,
        kind: libc::c_int,
        id: [u8; LONGEST],
    }
    let mut room = Room {
        bytes: LONGEST as libc::c_uint,
        kind: 0,
        id: [0; LONGEST],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: `name` ends with a NUL; `room` begins as a `struct file_handle` and has as many bytes behind that as it
    // says; the kernel writes no more than those and one int to `mount`, and keeps none of the pointers.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut room,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done != 0 {
        let code = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(code.unwrap_or(libc::EIO)));
    }
    let id = room.id.get(..room.bytes as usize).ok_or(Errno::OVERFLOW)?;
    let kind = u8::try_from(room.kind).map_err(|_| Errno::OVERFLOW)?;
    Ok((kind, id.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;
    use crate::archive::copy_tree;

    fn note_of(path: &Path) -> Vec<u8> {
        let (kind, id) = handle(File::open(path).unwrap().as_fd(), c"").unwrap();
        let mut note = vec![0, 0xfb, (HEADER + id.len()) as u8, 0, kind];
        note.extend([7; 16]);
        note.extend(id);
        note
    }

    #[test]
    fn every_note_fits_the_copy_and_back() {
        // Handles are what a file system gives that can be exported: not every /tmp.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let [old, new, disk] = ["old", "new", "disk"].map(|name| place.path().join(name));
        fs::create_dir_all(old.join("etc/deep")).unwrap();
        fs::write(old.join("etc/one"), "1").unwrap();
        fs::hard_link(old.join("etc/one"), old.join("etc/deep/two")).unwrap();
        fs::create_dir_all(&disk).unwrap();
        let from = Tree::open(&old).unwrap();
        let to = Tree::create(&new).unwrap();
        copy_tree(&from, &to).unwrap();
        let (upper, index) = (disk.join("upper"), disk.join("work/index"));
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::create_dir_all(index.join("00directory")).unwrap();
        fs::write(upper.join("etc/one"), "2").unwrap();
        fs::write(upper.join("etc/own"), "3").unwrap();
        let set =
            |path: &Path, value: &[u8]| rustix::fs::lsetxattr(path, ORIGIN, value, rustix::fs::XattrFlags::empty());
        if let Err(e) = set(&upper, &note_of(&old)) {
            return println!("skipped because trusted attributes can't be set here: {e}");
        }
        set(&upper.join("etc"), &note_of(&old.join("etc"))).unwrap();
        set(&upper.join("etc/one"), &note_of(&old.join("etc/one"))).unwrap();
        fs::hard_link(
            upper.join("etc/one"),
            index.join(to_hex(&note_of(&old.join("etc/deep/two")))),
        )
        .unwrap();
        let told = || -> Vec<Vec<u8>> {
            let get = |path: &Path| {
                let mut value = vec![0; 256];
                let n = rustix::fs::lgetxattr(path, ORIGIN, &mut value[..]).unwrap();
                value.truncate(n);
                value
            };
            let entries = fs::read_dir(&index).unwrap().map(|e| e.unwrap().file_name());
            let names = entries.map(|name| from_hex(name.as_encoded_bytes()).unwrap());
            [&upper, &upper.join("etc"), &upper.join("etc/one")]
                .into_iter()
                .map(|p| get(p))
                .chain(names)
                .collect()
        };
        let of = |tree: &Path| {
            ["", "etc", "etc/one", "etc/deep/two"]
                .map(|p| note_of(&tree.join(p)))
                .to_vec()
        };
        let root = File::open(&disk).unwrap();
        for _ in 0..2 {
            rebase(root.as_fd(), &from, &Tree::open(&new).unwrap()).unwrap();
            assert_eq!(told(), of(&new));
        }
        assert_ne!(of(&new), of(&old));
        rebase(root.as_fd(), &Tree::open(&new).unwrap(), &from).unwrap();
        assert_eq!(told(), of(&old));
        // A disk that no VE has used has nothing to note.
        let empty = tempfile::tempdir_in("/var/tmp").unwrap();
        rebase(
            File::open(empty.path()).unwrap().as_fd(),
            &from,
            &Tree::open(&new).unwrap(),
        )
        .unwrap();
    }
}
