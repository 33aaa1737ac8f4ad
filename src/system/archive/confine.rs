//! Landlock (landlock(7)): a thread, or a program we start, that can open, make and delete nothing but beneath one
//! directory. A second wall behind the placing by descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

// include/uapi/linux/landlock.h
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const RULE_PATH_BENEATH: libc::c_int = 1;
const CREATE_RULESET_VERSION: u32 = 1;
/// From this version on, hard links between directories can be allowed (Linux 5.19).
const ABI_REFER: i64 = 2;
/// From this version on, truncation is handled (Linux 6.2).
const ABI_TRUNCATE: i64 = 3;

/// All that changes a file system.
const CHANGES: u64 = WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_CHAR
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_BLOCK
    | MAKE_SYM
    | REFER
    | TRUNCATE;

/// The kernel's version of Landlock, or why what it has doesn't do.
fn version() -> std::result::Result<i64, String> {
    // SAFETY: with this flag the call takes no attributes and only tells the version.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    match io::Error::last_os_error().raw_os_error() {
        _ if abi >= ABI_REFER => Ok(abi),
        _ if abi >= 0 => Err("this kernel's Landlock is too old: Linux 5.19 or later has what is needed".into()),
        Some(libc::EOPNOTSUPP) => {
            Err("this kernel's Landlock is off: add landlock to lsm= of the kernel's command line".into())
        }
        _ => Err("this kernel was built without Landlock".into()),
    }
}

/// Why nothing that comes from strangers is confined while it is unpacked; `None`: it is.
pub fn why_unconfined() -> Option<String> {
    version().err()
}

/// A set of rules, ready to be put on.
#[derive(Debug)]
pub(super) struct Confinement {
    rules: OwnedFd,
}

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

impl Confinement {
    /// Nothing may be opened, made or deleted but beneath `dir`, and no device node there either. `None` if the
    /// kernel can't.
    pub(super) fn only(dir: BorrowedFd<'_>) -> Result<Option<Self>> {
        let allowed = (CHANGES | READ_FILE | READ_DIR) & !(MAKE_CHAR | MAKE_BLOCK | MAKE_SOCK);
        Self::new(CHANGES | READ_FILE | READ_DIR | EXECUTE, allowed, dir)
    }

    /// Everything may be read and run, but changed only beneath `dir`. `None` if the kernel can't.
    pub(super) fn changes_only(dir: BorrowedFd<'_>) -> Result<Option<Self>> {
        Self::new(CHANGES, CHANGES, dir)
    }

    fn new(handled: u64, allowed: u64, dir: BorrowedFd<'_>) -> Result<Option<Self>> {
        let Ok(abi) = version() else { return Ok(None) };
        let known = if abi < ABI_TRUNCATE { !TRUNCATE } else { !0 };
        let attr = RulesetAttr {
            handled_access_fs: handled & known,
        };
        let failed = |act| Error::os(act, "Landlock", io::Error::last_os_error());
        // SAFETY: `attr` lives through the call and the size is its own.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attr,
                size_of::<RulesetAttr>(),
                0u32,
            )
        };
        let fd = i32::try_from(fd)
            .ok()
            .filter(|fd| *fd >= 0)
            .ok_or_else(|| failed("set up"))?;
        // SAFETY: the kernel has just given us this descriptor (with O_CLOEXEC).
        let rules = unsafe { OwnedFd::from_raw_fd(fd) };
        let rule = PathBeneathAttr {
            allowed_access: allowed & handled & known,
            parent_fd: dir.as_raw_fd(),
        };
        // SAFETY: `rule` is the structure that this type of rule wants and lives through the call.
        let added = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                rules.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0u32,
            )
        };
        if added == 0 {
            Ok(Some(Self { rules }))
        } else {
            Err(failed("set up"))
        }
    }

    /// Puts the rules on the calling thread and all it will start, for ever. Only system calls: may stand between
    /// fork and exec.
    pub(super) fn apply(&self) -> io::Result<()> {
        // SAFETY: sets a flag of this thread; no memory is involved.
        let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is a ruleset that we hold open.
        match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.rules.as_raw_fd(), 0u32) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Does the work on a thread of its own that can touch nothing but what is beneath `dir`, and tells whether the
/// kernel could confine it.
pub(super) fn confined<T: Send>(dir: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<(T, bool)> {
    let rules = Confinement::only(dir)?;
    let run = || {
        if let Some(rules) = &rules {
            rules.apply().map_err(|e| Error::os("confine to", "the tree", e))?;
        }
        work()
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    match result {
        Ok(result) => result.map(|done| (done, rules.is_some())),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::Tree;
    use super::*;

    #[test]
    fn a_confined_thread_stays_in_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(&dir.path().join("tree")).unwrap();
        let (inside, outside) = (dir.path().join("tree/x"), dir.path().join("y"));
        let (could, confined) = confined(tree.fd().as_fd(), || {
            std::fs::write(&inside, "x").unwrap();
            let device = rustix::fs::mknodat(
                rustix::fs::CWD,
                dir.path().join("tree/null"),
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::RUSR,
                rustix::fs::makedev(1, 3),
            );
            Ok([
                std::fs::write(&outside, "x").is_ok(),
                std::fs::read("/etc/passwd").is_ok(),
                device.is_ok(),
            ])
        })
        .unwrap();
        assert_eq!(why_unconfined().is_none(), confined);
        if !confined {
            println!("skipped because this kernel has no Landlock");
            return;
        }
        assert_eq!(could, [false; 3]);
        std::fs::write(&outside, "this thread is free").unwrap();
    }
}
