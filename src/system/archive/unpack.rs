//! Unpacking a tar archive into a tree.

use std::io::Read;

use super::compression::decompress;
use super::confine::confined;
use super::member::Members;
use super::place::Placer;
use super::{Limits, Report, Tree};
use crate::process::interrupt;
use crate::{Error, Result};

/// Unpacks a tar archive, plain or compressed by gzip, xz or zstd (told by its first bytes), into an empty tree.
///
/// Nothing outside the tree is touched. Refused, with the entry's name: absolute paths and `..`, anything below a
/// symbolic link, hard links to what isn't in the tree, a second entry for a path (a directory may be told twice),
/// headers that contradict each other, attributes that steer the host's overlay, and more than the limits allow.
/// After an error the tree holds a part; remove it.
pub fn unpack(input: impl Read + Send, dest: &Tree, limits: &Limits) -> Result<Report> {
    run(input, dest, limits, false)
}

/// Unpacks a layer of an OCI image over the layers before it: replaces what they have, and applies whiteouts
/// (`.wh.NAME`, `.wh..wh..opq`; OCI image-spec, layer.md). Otherwise as [`unpack`].
pub fn unpack_layer(input: impl Read + Send, dest: &Tree, limits: &Limits) -> Result<Report> {
    run(input, dest, limits, true)
}

fn run(input: impl Read + Send, dest: &Tree, limits: &Limits, layer: bool) -> Result<Report> {
    let unpacked = confined(dest.fd(), move || {
        let stream = decompress(Interruptible(input)).map_err(|e| Error::new("read", "the archive", e))?;
        let mut members = Members::new(stream);
        let mut placer = Placer::new(dest.fd(), limits, layer);
        while let Some(member) = members.next()? {
            interrupt::check("unpack", "the archive")?;
            placer.place(member, &mut members)?;
        }
        placer.finish()
    });
    // What was cut short in the middle of a file looks like a damaged archive.
    let (mut report, confined) = unpacked.map_err(|e| match interrupt::raised() {
        true => interrupt::given_up("unpack", "the archive"),
        false => e,
    })?;
    report.confined = confined;
    Ok(report)
}

/// An input that ends with an error when the work is given up, also in the middle of a large file.
struct Interruptible<R>(R);

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match interrupt::raised() {
            true => Err(std::io::Error::other("interrupted")),
            false => self.0.read(buffer),
        }
    }
}
