//! Reading ahead what a start is about to read of a disk: all at once, where the kernel would read one block after the other.
//!
//! Whoever mounts an ext4 reads its superblock, group descriptors, first inodes and the journal's head, and an overlay on it
//! the directories that it began with and the bitmaps of their group. Where these lie is in the superblock and the first
//! group descriptors (the kernel's Documentation/filesystems/ext4). All of it is a hint: what makes no sense is left out.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, fadvise};

use super::MAX_SIZE;
use crate::disk::ext4::{INCOMPAT_64BIT, MAGIC};
use crate::disk::tools::BLOCK;

/// What holds the superblock, and the first group descriptors, in an ext4 as Hostel makes it.
const HEAD: usize = 8192;
const SUPERBLOCK: usize = 1024;
const DESCRIPTORS: usize = 4096;
const EXTENTS: u16 = 0xf30a;

/// How many blocks are read of the first inodes, and of the first directories and files.
const INODES: u64 = 4;
const DATA: u64 = 32;

/// Has the kernel read those blocks of the file system in `image` through `device`, the loop device over it, and waits for
/// none of them.
pub(super) fn read_ahead(image: &File, device: &File) {
    let mut head = [0; HEAD];
    if image.read_exact_at(&mut head, 0).is_err() {
        return; // whoever mounts it tells why
    }
    for blocks in places(&head).into_iter().flatten() {
        let length = NonZeroU64::new((blocks.end - blocks.start) * BLOCK);
        let _ = fadvise(device, blocks.start * BLOCK, length, Advice::WillNeed);
    }
}

/// The places, in blocks; `None` if it isn't an ext4 of such blocks.
fn places(head: &[u8; HEAD]) -> Option<Vec<Range<u64>>> {
    let superblock = Numbers(head.get(SUPERBLOCK..)?);
    let made_so = superblock.u16(0x38)? == MAGIC && superblock.u32(0x18)? == 2;
    let wide = superblock.u32(0x60)? & INCOMPAT_64BIT != 0;
    let high = if wide { superblock.u32(0x150)? } else { 0 };
    let blocks = (u64::from(high) << 32 | u64::from(superblock.u32(0x04)?)).min(MAX_SIZE / BLOCK);
    let (per_group, inode_size) = (u64::from(superblock.u32(0x28)?), u64::from(superblock.u16(0x58)?));
    let descriptor = if wide { usize::from(superblock.u16(0xfe)?) } else { 32 };
    if !made_so || !(32..=1024).contains(&descriptor) {
        return None;
    }
    // Groups that keep their bitmaps and inodes together: after the last one's begins what files and directories have.
    let together = 1_usize.checked_shl(superblock.byte(0x174)?.into())?;
    let group = |number: usize| {
        let all = Numbers(head.get(DESCRIPTORS + number * descriptor..)?);
        let at = |low: usize| {
            let high = if wide { all.u32(low + 0x20)? } else { 0 };
            Some(u64::from(high) << 32 | u64::from(all.u32(low)?))
        };
        Some([at(0x00)?, at(0x04)?, at(0x08)?]).filter(|[.., inodes]| *inodes != 0)
    };
    let [block_bitmap, inode_bitmap, inodes] = group(0)?;
    let last = (0..together).map_while(group).map(|[.., inodes]| inodes).max()?;
    let data = last.checked_add(per_group.checked_mul(inode_size)?.div_ceil(BLOCK))?;
    let wanted = [
        Some((0, 3)),
        Some((block_bitmap, 2)),
        Some((inode_bitmap, 1)),
        Some((inodes, INODES)),
        Some((data, DATA)),
        journal(&superblock).map(|first| (first, 1)),
    ];
    let inside = |(first, count): (u64, u64)| {
        first
            .checked_add(count)
            .filter(|end| *end <= blocks)
            .map(|end| first..end)
    };
    Some(wanted.into_iter().flatten().filter_map(inside).collect())
}

/// The first block of the journal: the superblock keeps a copy of where its inode says that it begins.
fn journal(superblock: &Numbers<'_>) -> Option<u64> {
    const COPY: usize = 0x10c;
    const EXTENT: usize = COPY + 12;
    let leaf = superblock.u16(COPY)? == EXTENTS && superblock.u16(COPY + 6)? == 0;
    let high = u64::from(superblock.u16(EXTENT + 6)?);
    leaf.then_some(high << 32 | u64::from(superblock.u32(EXTENT + 8)?))
}

/// Bytes that hold numbers, the least byte first.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::image::file::make_image;
    use crate::disk::{DiskSpec, Disks as _, ImageDisks, tools};

    fn made(size: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        let spec = DiskSpec {
            size,
            inodes: None,
            key: 0,
        };
        make_image(&path, &spec, "ahead").unwrap();
        (dir, path)
    }

    /// Of e2fsprogs, as the driver's own tools.
    fn debugfs(path: &std::path::Path, request: &str) -> Vec<u64> {
        let output = Command::new(tools::find("debugfs").unwrap())
            .args(["-R", request])
            .arg(path)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// What debugfs(8) says of where they lie is among what is read. (On the very smallest disks the journal lies between.)
    #[test]
    fn the_places_are_those_of_the_file_system() {
        if let Err(why) = ImageDisks.probe(&std::env::temp_dir()) {
            println!("skipped because {why}");
            return;
        }
        for size in [256 << 20, 1 << 30, 300 << 30] {
            let (_dir, path) = made(size);
            let mut head = [0; HEAD];
            File::open(&path).unwrap().read_exact_at(&mut head, 0).unwrap();
            let read: BTreeSet<u64> = places(&head).unwrap().into_iter().flatten().collect();
            for directory in ["/", "/upper", "/work"] {
                let blocks = debugfs(&path, &format!("blocks {directory}"));
                assert!(
                    !blocks.is_empty() && blocks.iter().all(|b| read.contains(b)),
                    "{directory} {blocks:?} {read:?}"
                );
            }
            let journal = debugfs(&path, "blocks <8>");
            assert!(read.contains(&journal[0]), "{size}: {journal:?} {read:?}");
            // "Inode 12 is part of block group 0 / located at block 161, offset 0x0b00"
            for inode in ["<2>", "<8>", "/upper", "/work"] {
                let at = debugfs(&path, &format!("imap {inode}").replace("block ", ""));
                assert!(at.iter().any(|n| read.contains(n)), "{inode} {at:?} {read:?}");
            }
            assert!(read.len() < 64, "{read:?}");
        }
    }

    #[test]
    fn what_is_no_ext4_is_not_read() {
        assert_eq!(places(&[0; HEAD]), None);
        assert_eq!(places(&[0xff; HEAD]), None);
    }

    proptest! {
        #[test]
        fn no_numbers_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), HEAD), real in any::<bool>()) {
            let mut head = [0; HEAD];
            head.copy_from_slice(&bytes);
            if real {
                head[SUPERBLOCK + 0x38..SUPERBLOCK + 0x3a].copy_from_slice(&MAGIC.to_le_bytes());
                head[SUPERBLOCK + 0x18..SUPERBLOCK + 0x1c].copy_from_slice(&2_u32.to_le_bytes());
                head[SUPERBLOCK + 0xfe..SUPERBLOCK + 0x100].copy_from_slice(&64_u16.to_le_bytes());
            }
            places(&head);
        }
    }
}
