//! Reading the members of a tar stream: one at a time, with all that its headers say of it, and its data.
//!
//! The crate `tar` reads the header blocks. The stream between them is walked here, because the crate's own walk
//! reads names of any length into memory and splits extended headers at newlines.

use std::io::{self, Read};

use super::extended::{Pax, stored_size};
use super::path::until_nul;
use super::sparse::{self, Declared, MAX_SEGMENTS, Segment};
use super::{pax, refused};
use crate::{Error, Result};

const BLOCK: usize = 512;
/// The longest extended header: attributes of 64 KiB and names of 4 KiB, several times over.
const MAX_EXTENSION: u64 = 1 << 20;
/// How much may follow the end mark: tar pads to its blocking factor.
const MAX_TAIL: u64 = 16 << 20;

/// The type of a member, with its target if it is a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    Fifo,
    Device,
}

/// What the headers say of a member. The path is as written: nothing in it has been judged.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// The file's size in bytes with its holes.
    pub(super) size: u64,
    /// Where the data goes, if the file has holes.
    pub(super) map: Option<Vec<Segment>>,
    /// Attributes that survive.
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    /// Labels that don't.
    pub(super) labels_left_out: u64,
}

/// What the extended headers before a member say.
#[derive(Debug, Default)]
struct Extended {
    gnu_name: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// A tar stream.
pub(super) struct Members<R> {
    input: R,
    /// Data of the current member that wasn't read yet.
    left: u64,
    /// What fills its last block.
    padding: u64,
}

/// The refusal of an archive as a whole.
pub(super) fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new("read", "the archive", source).hint("check that it is complete and a tar archive")
}

impl<R: Read> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next member; `None` at the end mark. What was not read of the one before is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut extended = Extended::default();
        loop {
            let Some(block) = self.header()? else {
                if extended.gnu_name.is_some() || extended.gnu_link.is_some() || extended.pax.is_some() {
                    return Err(damaged("an extended header has no member behind it"));
                }
                self.finish()?;
                return Ok(None);
            };
            let header = tar::Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(damaged)?;
            match header.entry_type().as_byte() {
                b'L' => set_once(&mut extended.gnu_name, until_nul(self.extension(size)?))?,
                b'K' => set_once(&mut extended.gnu_link, until_nul(self.extension(size)?))?,
                b'x' => {
                    let data = self.extension(size)?;
                    set_once(&mut extended.pax, Pax::parse(&data)?)?;
                }
                b'g' => {
                    let data = self.extension(size)?;
                    let records = pax::records(&data).map_err(|_| damaged("a global extended header is malformed"))?;
                    if let Some((key, _)) = records.iter().find(|(key, _)| *key != "comment") {
                        return Err(damaged(format!(
                            "a global extended header sets \"{key}\" for all members"
                        )));
                    }
                }
                _ => return self.member(header, extended).map(Some),
            }
        }
    }

    /// Reads data of the current member; 0 at its end.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..most).filter(|p| !p.is_empty()) else {
            return Ok(0);
        };
        match self.input.read(part)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends in the middle of a file",
            )),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }

    /// A header block whose checksum is right; `None` for a block of zeros.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0u8; BLOCK];
        self.input.read_exact(&mut block).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends without its end mark"),
            _ => damaged(e),
        })?;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let told = tar::Header::from_byte_slice(&block).cksum().map_err(damaged)?;
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(n, b)| {
                if (148..156).contains(&n) {
                    u32::from(b' ')
                } else {
                    u32::from(*b)
                }
            })
            .sum();
        if told == sum {
            Ok(Some(block))
        } else {
            Err(damaged("a header's checksum is wrong"))
        }
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(damaged(format!(
                "an extended header has {size} bytes; {MAX_EXTENSION} are allowed"
            )));
        }
        let mut data = Vec::new();
        self.input.by_ref().take(size).read_to_end(&mut data).map_err(damaged)?;
        if data.len() as u64 != size {
            return Err(damaged("it ends in the middle of an extended header"));
        }
        self.skip(padding(size))?;
        Ok(data)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink()).map_err(damaged)?;
        if skipped == count {
            Ok(())
        } else {
            Err(damaged("it ends in the middle of a file"))
        }
    }

    /// Reads what follows the end mark, so that a writer at the other end of a pipe can finish and checksums of
    /// the compressed stream are checked. Only zeros may stand there.
    fn finish(&mut self) -> Result<()> {
        let mut buffer = [0u8; 8192];
        let mut tail = 0u64;
        loop {
            let n = match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(damaged(e)),
            };
            tail += n as u64;
            if tail > MAX_TAIL || buffer.iter().take(n).any(|b| *b != 0) {
                return Err(damaged("there is data behind its end mark"));
            }
        }
    }

    fn member(&mut self, header: &tar::Header, extended: Extended) -> Result<Member> {
        let Extended {
            gnu_name,
            gnu_link,
            pax,
        } = extended;
        let pax = pax.unwrap_or_default();
        let declared = pax.sparse.unwrap_or_default();
        let told_twice = (gnu_name.is_some() && pax.path.is_some()) || (gnu_link.is_some() && pax.link.is_some());
        let path = declared
            .name
            .clone()
            .or(pax.path)
            .or(gnu_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        if told_twice {
            return Err(refused(&path, "its name is told twice"));
        }
        if let Some(why) = pax.refusal {
            return Err(refused(&path, why));
        }
        let size = stored_size(header, pax.size, &path)?;
        let uid = id(&path, "owner", pax.uid.map_or(header.uid(), Ok))?;
        let gid = id(&path, "group", pax.gid.map_or(header.gid(), Ok))?;
        let mtime = match pax.mtime {
            Some(time) => time,
            None => {
                let seconds = header.mtime().ok().and_then(|t| i64::try_from(t).ok());
                (seconds.ok_or_else(|| unreadable(&path, "time"))?, 0)
            }
        };
        let link = pax.link.or(gnu_link);
        let kind = kind_of(header, &path, link)?;
        if kind != Kind::File && size != 0 {
            return Err(refused(&path, "it has data, and its type has none"));
        }
        (self.left, self.padding) = (size, padding(size));
        let mode = header.mode().map_err(|_| unreadable(&path, "mode"))? & 0o7777;
        let (xattrs, labels_left_out) = (pax.xattrs, pax.labels_left_out);
        let mut member = Member {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime,
            size,
            map: None,
            xattrs,
            labels_left_out,
        };
        if member.kind == Kind::File {
            self.sparse(header, &declared, &mut member)?;
        }
        Ok(member)
    }

    /// Reads the map of a file with holes, in whichever of the four forms it has one.
    fn sparse(&mut self, header: &tar::Header, declared: &Declared, member: &mut Member) -> Result<()> {
        let bad = || refused(&member.path, "its map of holes is malformed");
        let (map, size) = if header.entry_type().as_byte() == b'S' {
            let gnu = header.as_gnu().ok_or_else(bad)?;
            (
                self.old_gnu_map(gnu).map_err(|_| bad())?,
                gnu.real_size().map_err(|_| bad())?,
            )
        } else if *declared == Declared::default() {
            return Ok(());
        } else {
            let map = match declared.map_in_data() {
                Some(true) => self.map_in_data().map_err(|_| bad())?,
                Some(false) => sparse::pairs(&declared.numbers).ok_or_else(bad)?,
                None => return Err(refused(&member.path, "its map of holes has an unknown version")),
            };
            (map, declared.size.ok_or_else(bad)?)
        };
        if !sparse::is_sound(&map, size, self.left) {
            return Err(bad());
        }
        (member.size, member.map) = (size, Some(map));
        Ok(())
    }

    fn old_gnu_map(&mut self, gnu: &tar::GnuHeader) -> io::Result<Vec<Segment>> {
        let mut map = Vec::new();
        let mut take = |entries: &[tar::GnuSparseHeader]| {
            for entry in entries.iter().filter(|e| !e.is_empty()) {
                map.push(Segment {
                    offset: entry.offset()?,
                    length: entry.length()?,
                });
            }
            if map.len() > MAX_SEGMENTS {
                Err(io::Error::other("too many"))
            } else {
                Ok(())
            }
        };
        take(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.input.read_exact(block.as_mut_bytes())?;
            take(block.sparse())?;
            more = block.is_extended();
        }
        Ok(map)
    }

    /// Version 1.0: decimal numbers, a line each, their count first, filled up to a block, in front of the data.
    fn map_in_data(&mut self) -> io::Result<Vec<Segment>> {
        let malformed = || io::Error::other("malformed");
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = None;
        let mut digits = Vec::new();
        while wanted.is_none_or(|w| numbers.len() < w) {
            let mut block = [0u8; BLOCK];
            self.input.read_exact(&mut block)?;
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(malformed)?;
            for byte in block {
                if wanted.is_some_and(|w| numbers.len() == w) {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(malformed());
                    }
                    continue;
                }
                let number = pax::parse_number(&digits).ok_or_else(malformed)?;
                digits.clear();
                match wanted {
                    Some(_) => numbers.push(number),
                    None if number <= MAX_SEGMENTS as u64 => wanted = Some(2 * number as usize),
                    None => return Err(malformed()),
                }
            }
        }
        sparse::pairs(&numbers).ok_or_else(malformed)
    }
}

fn unreadable(path: &[u8], what: &str) -> Error {
    refused(path, format!("its {what} can't be read"))
}

/// An owner or a group.
fn id(path: &[u8], what: &str, told: io::Result<u64>) -> Result<u32> {
    let id = told.ok().and_then(|id| u32::try_from(id).ok());
    id.filter(|id| *id != u32::MAX).ok_or_else(|| unreadable(path, what))
}

/// The type of a member. `link`: where it leads, if extended headers say so.
fn kind_of(header: &tar::Header, path: &[u8], link: Option<Vec<u8>>) -> Result<Kind> {
    let target = || {
        link.or_else(|| header.link_name_bytes().map(|l| l.into_owned()))
            .ok_or_else(|| unreadable(path, "link target"))
    };
    Ok(match header.entry_type().as_byte() {
        // Before POSIX a directory was told by the slash at its end only.
        0 | b'0' if path.last() == Some(&b'/') => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink(target()?),
        b'2' => Kind::Symlink(target()?),
        b'3' | b'4' => Kind::Device,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(refused(path, format!("its type {:?} is unknown", char::from(other)))),
    })
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(damaged("two extended headers of one kind stand before one member")),
    }
}

/// What fills the last block of `size` bytes.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
