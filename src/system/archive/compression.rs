//! Compressed streams, told by their first bytes and never by a name. Several members or frames in a row are one
//! stream, as gzip(1), xz(1) and zstd(1) have it.

use std::io::{self, Cursor, Read};

/// The most memory a decoder may take, in bytes: what `xz -9` and `zstd --ultra` need, and no more.
const DECODER_MEMORY: u64 = 160 << 20;
/// The largest window of zstd, as a power of two (128 MiB).
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// Tells it from the first bytes of a stream.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first (RFC 8878, 3.1.2); pzstd writes one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The decompressed stream.
pub(super) fn decompress<'r>(mut input: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let mut start = Vec::with_capacity(6);
    input.by_ref().take(6).read_to_end(&mut start)?;
    let kind = Compression::of(&start);
    let whole = Cursor::new(start).chain(input);
    Ok(match kind {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::read::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(Cursor::new(bytes)).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn several_members_are_one_stream() {
        let gz = |text: &str| {
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(text.as_bytes()).unwrap();
            e.finish().unwrap()
        };
        let xz = |text: &str| {
            let mut e = liblzma::write::XzEncoder::new(Vec::new(), 1);
            e.write_all(text.as_bytes()).unwrap();
            e.finish().unwrap()
        };
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(plain([gz("one "), gz("two")].concat()), b"one two");
        assert_eq!(plain([xz("one "), xz("two")].concat()), b"one two");
        assert_eq!(plain([zstd("one "), zstd("two")].concat()), b"one two");
        assert_eq!(plain(b"ab".to_vec()), b"ab");
        assert_eq!(plain(Vec::new()), b"");
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        let whole = zstd::encode_all(&[7u8; 100_000][..], 1).unwrap();
        let mut out = Vec::new();
        assert!(
            decompress(&whole[..whole.len() - 4])
                .unwrap()
                .read_to_end(&mut out)
                .is_err()
        );
    }
}
