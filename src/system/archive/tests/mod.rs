//! Archives made by hand, good and hostile, unpacked for real; copies and imports of real trees.

mod copies;
mod hostile;
mod imports;
mod survival;

use std::path::{Path, PathBuf};

use super::{Limits, Report, Tree, unpack, unpack_layer};
use crate::Result;

/// Makes tar archives with headers of any content.
#[derive(Default)]
pub(super) struct Maker(pub(super) Vec<u8>);

impl Maker {
    /// A member with data; `with` may change its header before its checksum is made.
    fn raw(mut self, kind: u8, path: &[u8], link: &[u8], data: &[u8], with: impl Fn(&mut [u8; 512])) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        let block = header.as_mut_bytes();
        block[156] = kind;
        block[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        block[157..157 + link.len()].copy_from_slice(link);
        with(block);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, path: &str, data: &[u8]) -> Self {
        self.raw(b'0', path.as_bytes(), b"", data, |_| {})
    }

    pub(super) fn dir(self, path: &str) -> Self {
        self.raw(b'5', path.as_bytes(), b"", b"", |_| {})
    }

    fn link(self, kind: u8, path: &str, target: &str) -> Self {
        self.raw(kind, path.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.link(b'2', path, target)
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(b'1', path, target)
    }

    fn node(self, kind: u8, path: &str) -> Self {
        self.raw(kind, path.as_bytes(), b"", b"", |_| {})
    }

    /// An extended header for the member that follows.
    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| pax_record(k, v)).collect();
        self.raw(b'x', b"pax", b"", &data, |_| {})
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while body + length.to_string().len() != length {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A tree in a directory that has a neighbour which nothing may touch.
pub(super) struct Place {
    dir: tempfile::TempDir,
    pub(super) tree: Tree,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), "untouched").unwrap();
        let tree = Tree::create(&dir.path().join("tree")).unwrap();
        Self { dir, tree }
    }

    fn unpack(&self, archive: &[u8]) -> Result<Report> {
        unpack(archive, &self.tree, &Limits::default())
    }

    pub(super) fn layer(&self, archive: &[u8]) -> Result<Report> {
        unpack_layer(archive, &self.tree, &Limits::default())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.tree.path().join(name)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything beside the tree is as it was.
    fn assert_untouched(&self) {
        let names = |p: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(p).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.dir.path()), ["outside", "tree"]);
        assert_eq!(names(&self.beside("outside")), ["secret"]);
        assert_eq!(
            std::fs::read_to_string(self.beside("outside/secret")).unwrap(),
            "untouched"
        );
        use std::os::unix::fs::MetadataExt;
        assert_eq!(self.beside("outside/secret").metadata().unwrap().nlink(), 1);
    }
}

/// The error with its causes.
pub(super) fn chain(error: &crate::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
