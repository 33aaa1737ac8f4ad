//! OCI image layouts (image-spec 1.1: image-layout.md, image-index.md, manifest.md, layer.md): each blob is read
//! by the digest that the one before gave, and believed only if digest and size are right.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::import::open;
use super::manifest::hex;
use super::unpack::unpack_layer;
use super::{Limits, NAMES_KEPT, Report, Tree};
use crate::{Error, Kind, Result};

/// The most an index or a manifest may weigh.
const MAX_JSON: u64 = 1 << 20;
/// The most layers of an image; overlay file systems stop at 500.
const MAX_LAYERS: usize = 500;
/// An index may point to an index.
const MAX_NESTING: usize = 4;

/// What points to a blob (descriptor.md). Fields that aren't needed are passed over, as the specification says.
#[derive(Debug, Clone, Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// An index or a manifest: the one has `manifests`, the other `layers`.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Unpacks the image of this machine's architecture: its layers, one over the other.
pub(super) fn import(layout: &Path, root: &Tree, limits: &Limits) -> Result<Report> {
    let version: Layout = parse(&read_capped(&layout.join("oci-layout"))?, &layout.join("oci-layout"))?;
    if version.version != "1.0.0" {
        return Err(bad(
            &layout.join("oci-layout"),
            format!("its layout has version {:?}, not 1.0.0", version.version),
        ));
    }
    let index = layout.join("index.json");
    let mut document: Document = parse(&read_capped(&index)?, &index)?;
    let mut place = index;
    for _ in 0..MAX_NESTING {
        if let Some(layers) = document.layers {
            return apply(layout, &place, &layers, root, limits);
        }
        let chosen = choose(document.manifests.unwrap_or_default(), &place)?;
        place = blob_path(layout, &chosen)?;
        let data = read_capped(&place)?;
        let sum = hex(&Sha256::digest(&data));
        check(&place, &chosen, data.len() as u64, &sum)?;
        document = parse(&data, &place)?;
    }
    Err(bad(&place, "its indexes point to each other too deep"))
}

/// The only manifest, or the one for this machine.
fn choose(manifests: Vec<Descriptor>, place: &Path) -> Result<Descriptor> {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    let fits = |d: &&Descriptor| {
        d.platform
            .as_ref()
            .is_none_or(|p| p.os == "linux" && p.architecture == ours)
    };
    let mut fitting: Vec<&Descriptor> = manifests.iter().filter(fits).collect();
    // Signatures and attestations stand beside images, for the platform "unknown" or for none.
    if fitting.len() > 1 {
        fitting.retain(|d| d.platform.is_some());
    }
    match fitting.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(bad(place, format!("it holds no image for linux on {ours}"))),
        _ => Err(bad(place, "it holds several images").hint("copy the one you want into a layout of its own")),
    }
}

fn apply(layout: &Path, place: &Path, layers: &[Descriptor], root: &Tree, limits: &Limits) -> Result<Report> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(bad(
            place,
            format!("it has {} layers; 1 to {MAX_LAYERS} are allowed", layers.len()),
        ));
    }
    // All media types are judged before anything is unpacked.
    for layer in layers {
        if !is_layer(&layer.media_type) {
            return Err(bad(
                place,
                format!(
                    "a layer's media type is {:?}, which is no root tree's",
                    layer.media_type
                ),
            ));
        }
    }
    let mut all = Report {
        confined: true,
        ..Report::default()
    };
    for layer in layers {
        let path = blob_path(layout, layer)?;
        let file = open(&path)?;
        let mut input = Hashing {
            inner: file,
            sum: Sha256::new(),
            count: 0,
            most: layer.size,
        };
        let left = Limits {
            bytes: limits.bytes.saturating_sub(all.bytes),
            entries: limits.entries.saturating_sub(all.entries),
            ..*limits
        };
        let report = unpack_layer(&mut input, root, &left)?;
        io::copy(&mut input, &mut io::sink()).map_err(|e| Error::os("read", path.display(), e))?;
        check(&path, layer, input.count, &hex(&input.sum.finalize()))?;
        add(&mut all, report);
    }
    Ok(all)
}

fn is_layer(media_type: &str) -> bool {
    let oci = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ];
    let compressed = |base: &str| {
        media_type
            .strip_prefix(base)
            .is_some_and(|c| matches!(c, "" | "+gzip" | "+zstd"))
    };
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    let of_docker = media_type
        .strip_prefix(docker)
        .is_some_and(|c| matches!(c, "" | ".gzip" | ".zstd"));
    oci.iter().any(|base| compressed(base)) || of_docker
}

fn add(all: &mut Report, one: Report) {
    all.entries += one.entries;
    all.files += one.files;
    all.directories += one.directories;
    all.symlinks += one.symlinks;
    all.hard_links += one.hard_links;
    all.fifos += one.fifos;
    all.bytes += one.bytes;
    all.left_out_count += one.left_out_count;
    all.labels_left_out += one.labels_left_out;
    all.confined &= one.confined;
    let room = NAMES_KEPT.saturating_sub(all.left_out.len());
    all.left_out.extend(one.left_out.into_iter().take(room));
}

/// Where a blob lies. The digest becomes a file name only if it is 64 hexadecimal digits.
fn blob_path(layout: &Path, descriptor: &Descriptor) -> Result<PathBuf> {
    let digits = descriptor
        .digest
        .strip_prefix("sha256:")
        .filter(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    match digits {
        Some(digits) => Ok(layout.join("blobs/sha256").join(digits)),
        None => Err(bad(layout, format!("{:?} is no SHA-256 digest", descriptor.digest))),
    }
}

fn check(path: &Path, descriptor: &Descriptor, size: u64, sum: &str) -> Result<()> {
    if size != descriptor.size {
        return Err(bad(
            path,
            format!("it has {size} bytes or more, and should have {}", descriptor.size),
        ));
    }
    if descriptor.digest.strip_prefix("sha256:") != Some(sum) {
        return Err(bad(
            path,
            format!("its SHA-256 is {sum}, and should be {}", descriptor.digest),
        ));
    }
    Ok(())
}

fn read_capped(path: &Path) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    open(path)?
        .take(MAX_JSON + 1)
        .read_to_end(&mut data)
        .map_err(|e| Error::os("read", path.display(), e))?;
    if data.len() as u64 > MAX_JSON {
        Err(bad(path, format!("it is larger than {MAX_JSON} bytes")))
    } else {
        Ok(data)
    }
}

fn parse<T: for<'de> Deserialize<'de>>(data: &[u8], path: &Path) -> Result<T> {
    serde_json::from_slice(data).map_err(|e| Error::new("read", path.display(), e).kind(Kind::Invalid))
}

fn bad(path: &Path, why: impl Into<String>) -> Error {
    Error::new("import", path.display(), why.into()).kind(Kind::Invalid)
}

/// A reader that counts and hashes what passes, and gives no more than a byte beyond what was announced.
struct Hashing {
    inner: File,
    sum: Sha256,
    count: u64,
    most: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.count > self.most {
            return Err(io::Error::other("the layer is longer than its manifest says"));
        }
        let n = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..n).unwrap_or_default());
        self.count += n as u64;
        Ok(n)
    }
}
