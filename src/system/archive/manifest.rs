//! The manifest of a tree: a line for everything in it, in the manner of mtree(5), so that a tree can be told from
//! any other and every change be named.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FileType, OFlags};
use sha2::{Digest, Sha256};

use super::attributes::list_at;
use super::tree::open_beneath;
use super::walk::{Node, walk};
use super::{Tree, shown};
use crate::process::interrupt;
use crate::{Error, Result};

/// How many threads read files. Hashing is bound by the processor, so two pay on any machine that has them.
const READERS: usize = 2;

/// A tree's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// A line for everything in the tree, sorted.
    pub text: String,
    /// SHA-256 of the text, in hexadecimal.
    pub checksum: String,
    /// Sum of the sizes of all regular files in bytes, each hard-linked file counted once.
    pub size: u64,
    /// How many names there are.
    pub files: u64,
}

/// SHA-256 in hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
            // Writing to a String can't fail.
            let _ = write!(text, "{b:02x}");
            text
        })
}

/// Makes the manifest of a tree: path, type, mode, owner, group, size, SHA-256 of the content, link target, which
/// files are one (hard links), and extended attributes. Times are not in it.
pub fn manifest(tree: &Tree) -> Result<Manifest> {
    let mut lines: Vec<String> = Vec::new();
    let mut contents: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut linked: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let mut size = 0;
    walk(tree.fd(), &mut |node| {
        let mut line = describe(node)?;
        if node.kind() == FileType::RegularFile {
            let inode = (node.stat.st_dev, node.stat.st_ino);
            let first = if node.stat.st_nlink > 1 {
                linked.get(&inode)
            } else {
                None
            };
            if let Some(first) = first {
                let _ = write!(line, " hardlink={}", escaped(first));
            } else {
                if node.stat.st_nlink > 1 {
                    linked.insert(inode, node.path.to_vec());
                }
                size += u64::try_from(node.stat.st_size).unwrap_or(0);
                contents.push((lines.len(), node.path.to_vec()));
            }
        }
        lines.push(line);
        Ok(())
    })?;
    for (index, hash) in hashes(tree.fd(), &contents)? {
        if let Some(line) = lines.get_mut(index) {
            let _ = write!(line, " sha256digest={hash}");
        }
    }
    let mut text = String::from("#mtree\n");
    for line in &lines {
        text.push_str(line);
        text.push('\n');
    }
    Ok(Manifest {
        checksum: sha256(text.as_bytes()),
        text,
        size,
        files: lines.len() as u64,
    })
}

/// Compares a tree with the manifest that was made of it: a line for every difference, none if there is none.
pub fn verify(tree: &Tree, recorded: &str) -> Result<Vec<String>> {
    let now = manifest(tree)?.text;
    let by_path = |text: &str| -> BTreeMap<String, String> {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split_once(' '))
            .map(|(path, rest)| (path.to_owned(), rest.to_owned()))
            .collect()
    };
    let (before, mut after) = (by_path(recorded), by_path(&now));
    let mut found = Vec::new();
    for (path, was) in before {
        match after.remove(&path) {
            None => found.push(format!("{path}: is gone")),
            Some(is) if is != was => {
                let changed = |a: &str, b: &str| {
                    a.split(' ')
                        .filter(|field| !b.split(' ').any(|f| f == *field))
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                found.push(format!("{path}: was {}, is {}", changed(&was, &is), changed(&is, &was)));
            }
            Some(_) => {}
        }
    }
    found.extend(after.into_keys().map(|path| format!("{path}: is new")));
    Ok(found)
}

/// A node's line without what needs its content.
fn describe(node: &Node<'_>) -> Result<String> {
    let stat = &node.stat;
    let kind = match node.kind() {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Unknown => "unknown",
    };
    let fail = |e| Error::os("read", format!("\"{}\"", shown(node.path)), e);
    let mut line = format!(
        "./{} type={kind} mode={:04o} uid={} gid={}",
        escaped(node.path),
        stat.st_mode & 0o7777,
        stat.st_uid,
        stat.st_gid
    );
    let mut add = |key: &str, value: &str| {
        let _ = write!(line, " {key}={value}");
    };
    match node.kind() {
        FileType::RegularFile => add("size", &stat.st_size.to_string()),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(node.parent, node.name, Vec::new()).map_err(fail)?;
            add("link", &escaped(target.to_bytes()));
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            add("device", &format!("{major},{minor}"));
        }
        _ => {}
    }
    for (name, value) in list_at(node.parent, node.name).map_err(fail)? {
        // Labels belong to the host, not to the tree.
        if super::attributes::policy(&name) != super::attributes::Policy::LeaveOut {
            add(&format!("xattr.{}", escaped(name.as_bytes())), &hex(&value));
        }
    }
    Ok(line)
}

/// The hashes of files, read by several threads.
fn hashes(root: BorrowedFd<'_>, files: &[(usize, Vec<u8>)]) -> Result<Vec<(usize, String)>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        let mut buffer = vec![0u8; 256 << 10];
        while let Some((index, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            interrupt::check("list", "the tree")?;
            let hash =
                hash(root, path, &mut buffer).map_err(|e| Error::os("read", format!("\"{}\"", shown(path)), e))?;
            done.push((*index, hash));
        }
        Ok(done)
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(files.len());
        for reader in readers {
            all.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn hash(root: BorrowedFd<'_>, path: &[u8], buffer: &mut [u8]) -> io::Result<String> {
    let mut file = File::from(open_beneath(
        root,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )?);
    let mut sum = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hex(&sum.finalize())),
            Ok(n) => sum.update(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Bytes as mtree(5) writes names: what is no visible ASCII, and `\`, `#`, `=`, as `\` and three octal digits.
fn escaped(name: &[u8]) -> String {
    name.iter().fold(String::with_capacity(name.len()), |mut text, b| {
        match b {
            b'!'..=b'~' if !matches!(b, b'\\' | b'#' | b'=') => text.push(char::from(*b)),
            _ => {
                let _ = write!(text, "\\{b:03o}");
            }
        }
        text
    })
}
