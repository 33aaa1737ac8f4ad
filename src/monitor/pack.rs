//! A file or a directory as a tar stream, while others may be at work in it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes what is at `from` as a stream in which it is called `name`: files, directories and links, none of which is
/// followed. Sockets, FIFOs and devices have no content and are left out.
///
/// A file has the length in the stream that it had when it was opened: of one that grows meanwhile, as a log does, that
/// is the beginning; one that is cut short is filled up with zeros. What has gone by the time that it is looked at isn't in
/// the stream, if it isn't `from` itself.
pub fn pack(to: impl Write, from: &Path, name: &str) -> io::Result<()> {
    let mut stream = tar::Builder::new(BufWriter::new(to));
    stream.follow_symlinks(false);
    let mut waiting = vec![(from.to_owned(), PathBuf::from(name))];
    while let Some((source, name)) = waiting.pop() {
        match append(&mut stream, &source, &name, &mut waiting) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && source != from => {}
            other => other?,
        }
    }
    stream.into_inner()?.flush()
}

fn append<W: Write>(
    stream: &mut tar::Builder<W>,
    source: &Path,
    name: &Path,
    waiting: &mut Vec<(PathBuf, PathBuf)>,
) -> io::Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_file() {
        return append_file(stream, source, name);
    }
    if kind.is_symlink() {
        return stream.append_path_with_name(source, name);
    }
    if !kind.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(source)?;
    stream.append_dir(name, source)?;
    for entry in entries {
        let entry = entry?;
        waiting.push((entry.path(), name.join(entry.file_name())));
    }
    Ok(())
}

fn append_file<W: Write>(stream: &mut tar::Builder<W>, source: &Path, name: &Path) -> io::Result<()> {
    // Something else may have taken its place: a link, or a FIFO, on which opening would wait.
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut file = options.open(source)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it was a file, and is something else now"));
    }
    if meta.blocks() * 512 < meta.len() {
        return stream.append_file(name, &mut file); // with its holes
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&meta);
    let size = meta.len();
    let content = file.take(size).chain(io::repeat(0)).take(size);
    stream.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that has something done when the first of it is written.
    struct Disturbed<F: FnMut()>(Vec<u8>, F);

    impl<F: FnMut()> Write for &mut Disturbed<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.1)();
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// All that is in a stream: names, and the contents of files.
    fn content(stream: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(stream);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        });
        let mut all: Vec<_> = entries.collect();
        all.sort();
        all
    }

    #[test]
    fn what_others_do_meanwhile_leaves_the_stream_whole() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("logs");
        fs::create_dir(&top).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(top.join(name), vec![b'x'; 100_000]).unwrap();
        }
        let mut turn = 0;
        let mut stream = Disturbed(Vec::new(), || {
            turn += 1;
            for name in ["a", "b", "c"] {
                let Ok(file) = File::options().append(true).open(top.join(name)) else {
                    continue;
                };
                match turn % 2 {
                    0 => file.set_len(50_000).unwrap(),
                    _ => (&file).write_all(&[b'y'; 150_000]).unwrap(),
                }
            }
        });
        pack(&mut stream, &top, "logs").unwrap();
        let all = content(&stream.0);
        let names: Vec<&str> = all.iter().map(|(name, _)| name.trim_end_matches('/')).collect();
        assert_eq!(names, ["logs", "logs/a", "logs/b", "logs/c"]);
    }

    #[test]
    fn what_has_gone_is_left_out_and_the_rest_comes_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        fs::create_dir_all(top.join("sub")).unwrap();
        for n in 0..50 {
            fs::write(top.join(format!("{n}")), vec![b'0' + (n % 10) as u8; 20_000]).unwrap();
        }
        std::os::unix::fs::symlink("0", top.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
        let holes = File::create(top.join("holes")).unwrap();
        holes.set_len(1 << 30).unwrap();
        let mut stream = Disturbed(Vec::new(), || {
            let _ = fs::remove_file(top.join("25")); // it may be gone already
        });
        pack(&mut stream, &top, "tree").unwrap();
        assert!(!top.join("25").exists());
        assert!(stream.0.len() < 3 << 20, "holes take no room");
        let mut archive = tar::Archive::new(stream.0.as_slice());
        archive.unpack(dir.path().join("came")).unwrap();
        let came = dir.path().join("came/tree");
        assert_eq!(fs::read(came.join("7")).unwrap(), vec![b'7'; 20_000]);
        assert_eq!(fs::read_link(came.join("link")).unwrap(), Path::new("0"));
        assert!(!came.join("socket").exists());
        assert!(came.join("sub").is_dir() && fs::metadata(came.join("holes")).unwrap().len() == 1 << 30);
        // That itself isn't there is an error.
        assert!(pack(io::sink(), &top.join("nothing"), "nothing").is_err());
    }
}
