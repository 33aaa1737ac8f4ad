//! Taking in a tree that somebody else has packed, in whichever form: told by what is in it, never by its name.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::tool::{Job, find_program};
use super::{Limits, Report, Tree, copy_tree, oci, refused, rename_new, unpack};
use crate::{Error, Kind, Result, file};

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory that is a root tree.
    Directory,
    /// A tar archive of a root tree.
    Tarball,
    /// A squashfs image of a root tree.
    Squashfs,
    /// An image of LXD or Incus in one tarball: `metadata.yaml` and `rootfs/`.
    LxdUnified,
    /// The same in two files, given as the directory that holds both.
    LxdSplit,
    /// An OCI image layout directory (image-spec, image-layout.md).
    OciLayout,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Directory => "directory",
            Self::Tarball => "tarball",
            Self::Squashfs => "squashfs image",
            Self::LxdUnified => "LXD image",
            Self::LxdSplit => "LXD image in two files",
            Self::OciLayout => "OCI image layout",
        })
    }
}

/// What an import needs besides what is imported.
pub struct Import<'a> {
    /// A private directory (0700) of the caller's. The tree becomes `root` in it; other names in it are used up.
    pub staging: &'a Path,
    /// The log of tools that are run.
    pub log: &'a Path,
    /// Told of every line that a tool says.
    pub line: &'a (dyn Fn(&str) + Sync),
    /// How much is taken.
    pub limits: Limits,
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("staging", &self.staging)
            .finish_non_exhaustive()
    }
}

/// What the metadata of an LXD image may weigh; none of it is read.
const METADATA_LIMITS: Limits = Limits {
    bytes: 16 << 20,
    entries: 1000,
    path_len: 1024,
    depth: 16,
};

impl Import<'_> {
    /// Takes in `from`: the tree is `root` in the staging directory afterwards.
    pub fn run(&self, from: &Path) -> Result<(Tree, Form, Report)> {
        let kind = std::fs::metadata(from).map_err(|e| Error::os("open", from.display(), e))?;
        if kind.is_file() {
            return self.take_file(from);
        }
        if !kind.is_dir() {
            return Err(unknown(from, "it is neither a file nor a directory"));
        }
        if from.join("oci-layout").is_file() {
            let root = self.root()?;
            let report = oci::import(from, &root, &self.limits)?;
            return Ok((root, Form::OciLayout, report));
        }
        if let Some((metadata, rootfs)) = split_image(from)? {
            let scratch = Tree::create(&self.staging.join("metadata"))?;
            unpack(open(&metadata)?, &scratch, &METADATA_LIMITS)?;
            if scratch.read("metadata.yaml", METADATA_LIMITS.bytes)?.is_none() {
                return Err(unknown(&metadata, "it holds no metadata.yaml"));
            }
            file::remove_tree(scratch.path())?;
            let (root, _, report) = self.take_file(&rootfs)?;
            return Ok((root, Form::LxdSplit, report));
        }
        if !["etc", "usr", "sbin", "bin"].iter().any(|d| from.join(d).is_dir()) {
            let why = "it is no root tree, no OCI layout, and no LXD image of two files";
            return Err(unknown(from, why));
        }
        let root = self.root()?;
        let report = copy_tree(&Tree::open(from)?, &root)?;
        Ok((root, Form::Directory, report))
    }

    fn root(&self) -> Result<Tree> {
        Tree::create(&self.staging.join("root"))
    }

    fn take_file(&self, from: &Path) -> Result<(Tree, Form, Report)> {
        let mut input = open(from)?;
        let mut start = Vec::new();
        input
            .by_ref()
            .take(4)
            .read_to_end(&mut start)
            .map_err(|e| Error::os("read", from.display(), e))?;
        match start.as_slice() {
            b"hsqs" => {
                let root = self.root()?;
                let report = self.squashfs(from, &root)?;
                return Ok((root, Form::Squashfs, report));
            }
            b"QFI\xfb" => return Err(unknown(from, "it is the disk of a virtual machine")),
            _ => input.rewind().map_err(|e| Error::os("read", from.display(), e))?,
        }
        let unpacked = Tree::create(&self.staging.join("unpacked"))?;
        let report = unpack(input, &unpacked, &self.limits)?;
        let root = self.staging.join("root");
        // metadata.yaml only tells the form; what it says is nobody's business here.
        if unpacked.resolve("metadata.yaml")?.is_some() && unpacked.resolve("sbin")?.is_none() {
            let inner = unpacked.subtree("rootfs")?;
            rename_new(inner.path(), &root)?;
            file::remove_tree(unpacked.path())?;
            return Ok((Tree::open(&root)?, Form::LxdUnified, report));
        }
        rename_new(unpacked.path(), &root)?;
        Ok((Tree::open(&root)?, Form::Tarball, report))
    }

    fn job<'j>(&'j self, argv: Vec<OsString>, package: &'j str, only: &'j Tree) -> Job<'j> {
        Job {
            confine_to: Some(only),
            ..Job::new(argv, package, self.staging, self.log, self.line)
        }
    }

    /// By sqfs2tar if it is there, so that every entry passes our own reader; else by unsquashfs.
    fn squashfs(&self, from: &Path, root: &Tree) -> Result<Report> {
        let from = std::path::absolute(from).map_err(|e| Error::os("find", from.display(), e))?;
        let scratch = Tree::create(&self.staging.join("squashfs"))?;
        let report = match find_program("sqfs2tar") {
            Some(program) => self.by_sqfs2tar(&program, &from, &scratch, root)?,
            None => self.by_unsquashfs(&from, &scratch, root)?,
        };
        file::remove_tree(scratch.path())?;
        Ok(report)
    }

    pub(super) fn by_sqfs2tar(&self, program: &Path, from: &Path, scratch: &Tree, root: &Tree) -> Result<Report> {
        // Without --root-becomes the owner and mode of the root itself would be lost.
        let argv = vec![
            program.into(),
            "--no-skip".into(),
            "--root-becomes".into(),
            ".".into(),
            from.into(),
        ];
        self.job(argv, "squashfs-tools-ng", scratch)
            .start(|out| unpack(out, root, &self.limits))
    }

    /// unsquashfs writes files itself: Landlock keeps it in a directory of its own, after its listing was held
    /// against the limits. Our own copy is taken from there.
    pub(super) fn by_unsquashfs(&self, from: &Path, scratch: &Tree, root: &Tree) -> Result<Report> {
        let listing = vec!["unsquashfs".into(), "-lln".into(), "-no-progress".into(), from.into()];
        self.job(listing, "squashfs-tools", scratch)
            .start(|out| within(out, &self.limits))?;
        let tree = scratch.path().join("tree");
        let argv = ["unsquashfs", "-no-progress", "-strict-errors", "-d"].map(OsString::from);
        let argv = argv.into_iter().chain([tree.clone().into(), from.into()]).collect();
        self.job(argv, "squashfs-tools", scratch).run()?;
        copy_tree(&Tree::open(&tree)?, root)
    }
}

/// Holds unsquashfs's long listing against the limits.
fn within(listing: impl Read, limits: &Limits) -> Result<()> {
    let (mut entries, mut bytes) = (0u64, 0u64);
    for line in BufReader::new(listing).split(b'\n') {
        let line = line.map_err(|e| Error::os("read", "the listing", e))?;
        // "-rw-r--r-- 0/0        1234 2026-11-22 19:00 squashfs-root/etc/passwd"
        if !line.first().is_some_and(|b| b"-dlcbps".contains(b)) {
            continue;
        }
        entries += 1;
        let text = String::from_utf8_lossy(&line);
        if text.starts_with('-') {
            let size = text.split_whitespace().nth(2).and_then(|s| s.parse::<u64>().ok());
            bytes = size
                .and_then(|s| bytes.checked_add(s))
                .ok_or_else(|| refused(&line, "its size can't be read"))?;
        }
        if entries > limits.entries || bytes > limits.bytes {
            let why = format!(
                "the image holds more than the {} entries or {} bytes allowed",
                limits.entries, limits.bytes
            );
            return Err(refused(&line, why));
        }
    }
    Ok(())
}

/// Opens a file to import. It may be a link; it may not be a FIFO or a device.
pub(super) fn open(path: &Path) -> Result<File> {
    let fail = |e| Error::os("open", path.display(), e);
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(fail)?;
    if file.metadata().map_err(fail)?.is_file() {
        Ok(file)
    } else {
        Err(unknown(path, "it is no regular file"))
    }
}

fn unknown(path: &Path, why: &str) -> Error {
    Error::new("import", path.display(), why.to_owned())
        .kind(Kind::Invalid)
        .hint(
            "give a root tree (a directory, a tarball or a squashfs image), an LXD or Incus image (its tarball, or the \
         directory of its two files), or an OCI image layout",
        )
}

/// The two files of a split LXD image in a directory: the metadata, and the root tree.
fn split_image(dir: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let fail = |e| Error::os("list", dir.display(), e);
    let (mut metadata, mut rootfs) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // A link may lead out of what was given.
        if !entry.file_type().map_err(fail)?.is_file() {
            continue;
        }
        let path = entry.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        // The names that image servers give them; what they are is told by their bytes.
        if name.ends_with(".squashfs") || name.starts_with("rootfs.") || name.starts_with("root.tar") {
            rootfs.push(path);
        } else if name.starts_with("meta") || name.starts_with("lxd.tar") || name.starts_with("incus.tar") {
            metadata.push(path);
        }
    }
    match (metadata.len(), rootfs.len()) {
        (1, 1) => Ok(metadata.pop().zip(rootfs.pop())),
        (0, _) | (_, 0) => Ok(None),
        _ => Err(unknown(
            dir,
            "it holds several root trees or several files of metadata; leave one of each",
        )),
    }
}
