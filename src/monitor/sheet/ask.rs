//! Being asked by the kernel before a file is opened: fanotify(7), as far as a sheet needs it.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The size of a question.
const EVENT: usize = mem::size_of::<libc::fanotify_event_metadata>();
/// Where in it the descriptor of the file stands.
const FD: usize = mem::offset_of!(libc::fanotify_event_metadata, fd);
/// The most questions that are heard at once.
const MOST: usize = 16;

/// The kernel's questions. Who has asked waits until it is answered, or until this is closed.
#[derive(Debug)]
pub struct Questions(OwnedFd);

impl Questions {
    /// Has the kernel ask before this file is opened (fanotify_init(2), fanotify_mark(2)).
    pub fn of(file: &Path) -> io::Result<Self> {
        let path = CString::new(file.as_os_str().as_bytes())?;
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        let of_files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
        // SAFETY: plain call without memory arguments.
        let fd = unsafe { libc::fanotify_init(flags, of_files as u32) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        let group = unsafe { OwnedFd::from_raw_fd(fd) };
        let (mark, mask) = (libc::FAN_MARK_ADD | libc::FAN_MARK_DONT_FOLLOW, libc::FAN_OPEN_PERM);
        // SAFETY: the path is a valid C string that lives through the call.
        match unsafe { libc::fanotify_mark(group.as_raw_fd(), mark, mask, libc::AT_FDCWD, path.as_ptr()) } {
            done if done < 0 => Err(io::Error::last_os_error()),
            _ => Ok(Self(group)),
        }
    }

    /// Those that wait for an answer, each as the file that is to be opened. Doesn't wait for more.
    pub fn hear(&self) -> Vec<OwnedFd> {
        let mut buffer = [0_u8; MOST * EVENT];
        let length = rustix::io::read(&self.0, &mut buffer).unwrap_or(0);
        let questions = buffer.get(..length).unwrap_or_default().chunks_exact(EVENT);
        let fds = questions.filter_map(|event| Some(RawFd::from_ne_bytes(event.get(FD..FD + 4)?.try_into().ok()?)));
        // An event without a file tells that some were lost.
        fds.filter(|fd| *fd >= 0)
            // SAFETY: the kernel has made it for us with the question that was just read.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect()
    }

    /// Lets it be opened.
    pub fn allow(&self, asked: &OwnedFd) {
        // struct fanotify_response: the descriptor, and the word.
        let mut answer = [0; 8];
        answer[..4].copy_from_slice(&asked.as_raw_fd().to_ne_bytes());
        answer[4..].copy_from_slice(&libc::FAN_ALLOW.to_ne_bytes());
        // If it can't be said, whoever asked has gone.
        let _ = rustix::io::write(&self.0, &answer);
    }
}

impl AsFd for Questions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn whoever_opens_waits_for_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "old").unwrap();
        let questions = match Questions::of(&file) {
            Ok(questions) => questions,
            Err(why) => {
                println!("skipped because the kernel doesn't ask here: {why}");
                return;
            }
        };
        let (said, heard) = mpsc::channel();
        let path = file.clone();
        let reader = std::thread::spawn(move || said.send(std::fs::read_to_string(path).unwrap()).unwrap());
        poll(&mut [PollFd::new(&questions, PollFlags::IN)], None).unwrap();
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "it didn't wait");
        let asked = questions.hear();
        assert_eq!(asked.len(), 1);
        questions.allow(&asked[0]);
        assert_eq!(heard.recv_timeout(Duration::from_secs(10)).unwrap(), "old");
        reader.join().unwrap();
        // With nobody to ask there is nothing to wait for.
        drop(questions);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    }
}
