//! The ext4 tools that every distribution has (e2fsprogs): how we call them and what their answers mean.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::disk::{DiskSpec, FsckOutcome};
use crate::helper::confined;
use crate::{Error, Kind, Result};

/// Where the tools lie; root's PATH doesn't always name the sbin directories.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The tools that the image driver calls.
pub(super) const ALL: [&str; 4] = ["mke2fs", "e2fsck", "resize2fs", "e2undo"];
/// Features of the file systems, spelt out so that the host's mke2fs.conf and version don't matter: all of them are
/// known to kernels since 4.4, so that a disk can move to any host.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
    large_file,huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed";
pub(super) const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// A tool with a fixed locale and environment, in a process group of its own: Ctrl-C is for us, not for a resize
/// that is half done. `image`, which the caller has locked, is its standard input, so that the lock lives as long
/// as the tool does even if this process is killed.
fn tool(name: &'static str, image: &File) -> Result<Command> {
    let stdin = image.try_clone().map_err(|e| Error::os("hand the disk to", name, e))?;
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", PATH)
        .env("MKE2FS_CONFIG", "/dev/null");
    confined(&mut command)
        .env("E2FSCK_CONFIG", "/dev/null")
        .stdin(Stdio::from(stdin));
    Ok(command)
}

/// Where a tool lies.
pub(super) fn find(name: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(PATH)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn run(mut command: Command, act: &'static str, disk: &Path) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let error = Error::new(
            act,
            disk.display(),
            std::io::Error::new(e.kind(), format!("{name}: {e}")),
        );
        if missing {
            error.kind(Kind::Unsupported).hint("install the package e2fsprogs")
        } else {
            error
        }
    })
}

/// What a tool said, as the cause of an error.
fn failed(act: &'static str, disk: &Path, name: &str, output: &Output) -> Error {
    let said = words(output);
    let full = said.contains("No space left on device") || said.contains("Disk quota exceeded");
    let error = Error::new(act, disk.display(), format!("{name}: {} ({said})", output.status));
    if full {
        error
            .kind(Kind::NoSpace)
            .hint("the host's file system is full: free some space there, or make the disk elsewhere")
    } else {
        error
    }
}

/// The output's lines that say something, in one.
fn words(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&both);
    let lines = text.lines().map(str::trim).filter(|l| {
        let banner = l
            .split_once(' ')
            .is_some_and(|(tool, rest)| ALL.contains(&tool) && rest.starts_with("1."));
        !l.is_empty() && !banner
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Makes an ext4 on `image`, which is a sparse file of the right size at `path`, with what lies in the directory `content`.
///
/// The discard that mke2fs does first tells it that the file reads as zeros: it then marks the inode tables as
/// zeroed, and the kernel's background job has nothing to write when the disk is mounted for the first time.
pub(super) fn make(image: &File, path: &Path, spec: &DiskSpec, label: &str, content: BorrowedFd<'_>) -> Result<()> {
    const ACT: &str = "make a file system on";
    // A journal takes space from what the guest paid for: a 64th, within what is useful.
    let journal = (spec.size / 64 / MIB).clamp(4, 64);
    // Room for group descriptors, so that it can grow while mounted: cheap, and far enough.
    let grow_to = (spec.size.saturating_mul(64)).clamp(TIB, 15 * TIB).max(spec.size) / BLOCK;
    let mut command = tool("mke2fs", image)?;
    command.args([
        "-F", "-q", "-T", "default", "-b", "4096", "-I", "256", "-m", "0", "-O", FEATURES, "-L", label,
    ]);
    command.args(["-J", &format!("size={journal}"), "-E"]);
    command.arg(format!(
        "discard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,resize={grow_to}"
    ));
    match spec.inodes {
        Some(n) => command.args(["-N", &n.to_string()]),
        None => command.args(["-i", "16384"]),
    };
    // The directory may lie in no tree, so it is entered by its descriptor, which is closed when the tool is run.
    command.current_dir(format!("/proc/self/fd/{}", content.as_raw_fd()));
    let whole = std::path::absolute(path).map_err(|e| Error::os(ACT, path.display(), e))?;
    command.args(["-d", "."]).arg(whole);
    let output = run(command, ACT, path)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(ACT, path, "mke2fs", &output))
    }
}

/// Checks and mends (e2fsck(8): exit codes). `force`: even if it is marked clean.
pub(super) fn check(image: &File, path: &Path, force: bool) -> Result<FsckOutcome> {
    const ACT: &str = "check the file system on";
    let mut command = tool("e2fsck", image)?;
    command.arg("-p").args(force.then_some("-f")).arg(path);
    let output = run(command, ACT, path)?;
    match output.status.code() {
        Some(0) => Ok(FsckOutcome::Clean),
        Some(1..=3) => Ok(FsckOutcome::Corrected(words(&output))),
        Some(code @ 4..=7) if code & 4 != 0 => Ok(FsckOutcome::NeedsHand(words(&output))),
        _ => Err(failed(ACT, path, "e2fsck", &output)),
    }
}

/// The least size in bytes that a clean file system can be shrunk to.
pub(super) fn least_size(image: &File, path: &Path) -> Result<u64> {
    const ACT: &str = "find the least size of the file system on";
    let mut command = tool("resize2fs", image)?;
    command.arg("-P").arg(path);
    let output = run(command, ACT, path)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let blocks = text.rsplit(':').next().and_then(|n| n.trim().parse::<u64>().ok());
    match blocks {
        Some(blocks) if output.status.success() => Ok(blocks * BLOCK),
        _ => Err(failed(ACT, path, "resize2fs", &output)),
    }
}

/// Changes the size of an unmounted, clean file system. What was there before goes to `undo` first, so that
/// [`undo`] can bring it back if this is killed.
pub(super) fn resize(image: &File, path: &Path, size: u64, undo: &Path) -> Result<()> {
    const ACT: &str = "resize the file system on";
    let mut command = tool("resize2fs", image)?;
    command.arg("-z").arg(undo).arg(path).arg((size / BLOCK).to_string());
    let output = run(command, ACT, path)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(ACT, path, "resize2fs", &output))
    }
}

/// Was the header of an undo file written whole (magic, keys, offsets, block sizes: struct undo_header of e2fsprogs)?
/// The tool writes it before it first touches the disk, so without one there is nothing to take back.
pub(super) fn undo_has_begun(head: &[u8; 40]) -> bool {
    let filled = |from: usize, to: usize| head[from..to].iter().any(|b| *b != 0);
    head.starts_with(b"E2UNDO02") && filled(8, 16) && filled(32, 36) && filled(36, 40)
}

/// Brings back what [`resize`] has saved.
pub(super) fn undo(image: &File, path: &Path, undo: &Path) -> Result<()> {
    const ACT: &str = "take back the unfinished resize of";
    let mut command = tool("e2undo", image)?;
    // -f: the file was not closed in order, that is why we are here.
    command.arg("-f").arg(undo).arg(path);
    let output = run(command, ACT, path)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(ACT, path, "e2undo", &output))
    }
}
