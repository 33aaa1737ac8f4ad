//! The ioctls of btrfs (linux/btrfs.h and btrfs_tree.h) that subvolumes and their quota groups need.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use linux_raw_sys::btrfs::{
    BTRFS_FIRST_FREE_OBJECTID, BTRFS_QGROUP_LIMIT_MAX_RFER, BTRFS_QUOTA_CTL_ENABLE, BTRFS_ROOT_REF_KEY,
    BTRFS_ROOT_TREE_OBJECTID, BTRFS_SUBVOL_SPEC_BY_ID, btrfs_ioctl_fs_info_args, btrfs_ioctl_get_subvol_info_args,
    btrfs_ioctl_qgroup_create_args, btrfs_ioctl_qgroup_limit_args, btrfs_ioctl_quota_ctl_args, btrfs_ioctl_search_args,
    btrfs_ioctl_vol_args_v2,
};
use linux_raw_sys::ioctl as number;

/// The number of the directory that each subvolume begins with.
pub(super) const ROOT_INODE: u64 = BTRFS_FIRST_FREE_OBJECTID as u64;

fn ioctl<T>(file: &File, request: u32, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request used here reads or writes the one structure that is passed with it, and keeps no pointer.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(request), &raw mut *argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// All zeros, for structures of integers alone.
macro_rules! zeroed {
    ($type:ty) => {{
        // SAFETY: the structure consists of integers, arrays of such and plain unions; all zero bytes are a value of it.
        let zeroed: $type = unsafe { std::mem::zeroed() };
        zeroed
    }};
}

/// What identifies a file system: how sysfs calls it.
pub(super) fn fsid(file: &File) -> io::Result<String> {
    let mut info = zeroed!(btrfs_ioctl_fs_info_args);
    ioctl(file, number::BTRFS_IOC_FS_INFO, &mut info)?;
    let mut text = String::new();
    for (n, byte) in info.fsid.iter().enumerate() {
        if [4, 6, 8, 10].contains(&n) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}

/// A subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subvolume {
    pub id: u64,
    pub uuid: [u8; 16],
    /// The transaction that something in it was last changed in.
    pub changed: u64,
}

/// The subvolume that a file is in.
pub(super) fn subvolume(file: &File) -> io::Result<Subvolume> {
    let mut info = zeroed!(btrfs_ioctl_get_subvol_info_args);
    ioctl(file, number::BTRFS_IOC_GET_SUBVOL_INFO, &mut info)?;
    Ok(Subvolume {
        id: info.treeid,
        uuid: info.uuid,
        changed: info.ctransid,
    })
}

fn named(name: &CStr) -> io::Result<btrfs_ioctl_vol_args_v2> {
    let mut args = zeroed!(btrfs_ioctl_vol_args_v2);
    let name = name.to_bytes();
    // SAFETY: all members of the union are plain integers.
    let place = unsafe { &mut args.__bindgen_anon_2.name };
    if name.len() >= place.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in place.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    Ok(args)
}

/// Makes an empty subvolume in a directory.
pub(super) fn create(parent: &File, name: &CStr) -> io::Result<()> {
    ioctl(parent, number::BTRFS_IOC_SUBVOL_CREATE_V2, &mut named(name)?)
}

/// Deletes a subvolume by its name in a directory; it may have no others in it.
pub(super) fn destroy(parent: &File, name: &CStr) -> io::Result<()> {
    ioctl(parent, number::BTRFS_IOC_SNAP_DESTROY_V2, &mut named(name)?)
}

/// Deletes a subvolume wherever it lies on the file system; it may have no others in it.
pub(super) fn destroy_by_id(fs: &File, id: u64) -> io::Result<()> {
    let mut args = zeroed!(btrfs_ioctl_vol_args_v2);
    args.flags = u64::from(BTRFS_SUBVOL_SPEC_BY_ID);
    args.__bindgen_anon_2.subvolid = id;
    ioctl(fs, number::BTRFS_IOC_SNAP_DESTROY_V2, &mut args)
}

/// The subvolumes that lie in another, not those in these.
pub(super) fn children(fs: &File, id: u64) -> io::Result<Vec<u64>> {
    /// struct btrfs_ioctl_search_header: transaction, object, offset, type and length.
    const HEADER: usize = 32;
    let mut found = Vec::new();
    let mut from = 0u64;
    loop {
        let mut args = zeroed!(btrfs_ioctl_search_args);
        args.key.tree_id = u64::from(BTRFS_ROOT_TREE_OBJECTID);
        (args.key.min_objectid, args.key.max_objectid) = (id, id);
        (args.key.min_type, args.key.max_type) = (BTRFS_ROOT_REF_KEY, BTRFS_ROOT_REF_KEY);
        (args.key.min_offset, args.key.max_offset) = (from, u64::MAX);
        args.key.max_transid = u64::MAX;
        args.key.nr_items = 4096;
        ioctl(fs, number::BTRFS_IOC_TREE_SEARCH, &mut args)?;
        if args.key.nr_items == 0 {
            return Ok(found);
        }
        let bytes: Vec<u8> = args.buf.iter().map(|b| b.cast_unsigned()).collect();
        let mut rest = bytes.as_slice();
        for _ in 0..args.key.nr_items {
            let Some((header, after)) = rest.split_at_checked(HEADER) else {
                break;
            };
            let u64_at = |at: usize| {
                header
                    .get(at..at + 8)
                    .and_then(|b| b.try_into().ok())
                    .map(u64::from_ne_bytes)
            };
            let child = u64_at(16).unwrap_or(0);
            let length = header
                .get(28..32)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u32::from_ne_bytes);
            found.push(child);
            from = child.saturating_add(1);
            rest = after.get(length as usize..).unwrap_or_default();
        }
    }
}

/// Turns quotas on for the whole file system.
pub(super) fn enable_quotas(fs: &File) -> io::Result<()> {
    let mut args = btrfs_ioctl_quota_ctl_args {
        cmd: u64::from(BTRFS_QUOTA_CTL_ENABLE),
        status: 0,
    };
    ioctl(fs, number::BTRFS_IOC_QUOTA_CTL, &mut args)
}

/// Limits what a subvolume refers to, in bytes.
pub(super) fn limit(fs: &File, id: u64, bytes: u64) -> io::Result<()> {
    let mut args = zeroed!(btrfs_ioctl_qgroup_limit_args);
    args.qgroupid = id;
    args.lim.flags = u64::from(BTRFS_QGROUP_LIMIT_MAX_RFER);
    args.lim.max_rfer = bytes;
    ioctl(fs, number::BTRFS_IOC_QGROUP_LIMIT, &mut args)
}

/// Removes the quota group of a subvolume that is no more.
pub(super) fn remove_group(fs: &File, id: u64) -> io::Result<()> {
    let mut args = btrfs_ioctl_qgroup_create_args {
        create: 0,
        qgroupid: id,
    };
    ioctl(fs, number::BTRFS_IOC_QGROUP_CREATE, &mut args)
}
