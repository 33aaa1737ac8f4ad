//! A /dev for commands that run inside a tree while a template is built.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::Tree;
use super::tree::open_beneath;
use crate::{Error, Result};

/// A /dev for commands inside a tree: a small tmpfs that nobody sees but they.
#[derive(Debug)]
pub(super) struct Devices {
    mount: OwnedFd,
    root: CString,
}

impl Devices {
    /// Makes it, seen by nobody yet.
    pub(super) fn prepare(tree: &Tree) -> Result<Self> {
        use rustix::fs::{FileType, Mode};
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
        tree.make_dir("/dev")?;
        tree.make_dir("/proc")?;
        let root = CString::new(tree.path().as_os_str().as_bytes())
            .map_err(|e| Error::new("make /dev for", tree.path().display(), e))?;
        let make = || {
            let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            rustix::mount::fsconfig_set_string(fs.as_fd(), "mode", "0755")?;
            rustix::mount::fsconfig_set_string(fs.as_fd(), "size", "1m")?;
            rustix::mount::fsconfig_create(fs.as_fd())?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
            for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
                let device = rustix::fs::makedev(1, minor);
                rustix::fs::mknodat(&mount, name, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, device)?;
                rustix::fs::chmodat(&mount, name, Mode::from_raw_mode(0o666), rustix::fs::AtFlags::empty())?;
            }
            Ok(mount)
        };
        let mount = make().map_err(|e: rustix::io::Errno| Error::os("make /dev for", tree.path().display(), e))?;
        Ok(Self { mount, root })
    }

    /// Goes into a mount namespace of its own and mounts it there. System calls only.
    pub(super) fn attach(&self) -> std::io::Result<()> {
        use rustix::fs::{Mode, OFlags};
        use rustix::mount::{MountPropagationFlags, MoveMountFlags};
        // SAFETY: gives this process, a fresh child with one thread, its own mount namespace; no memory is involved.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?;
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // A descriptor from before belongs to the old namespace, where nothing may be mounted from here.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.root.as_c_str(), flags, Mode::empty())?;
        let target = open_beneath(root.as_fd(), b"dev", flags)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.mount, c"", &target, c"", flags)?;
        Ok(())
    }
}
