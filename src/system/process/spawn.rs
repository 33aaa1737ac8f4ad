//! Making a process that runs hostel-monitor. The standard library can't have it born in a control group, and moving
//! there later takes the kernel's lock on all forks of the host, behind an RCU grace period of milliseconds
//! (kernel/cgroup/cgroup.c, cgroup_procs_write_start).

use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use hostel_monitor::sys::{Cloned, clone3};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What is to be run.
#[derive(Debug)]
pub struct Program<'a> {
    /// The program's file.
    pub file: BorrowedFd<'a>,
    /// Its name and arguments.
    pub argv: &'a [&'a CStr],
    /// Its environment, `NAME=value` each.
    pub env: &'a [&'a CStr],
    /// Standard input, output and error; `None`: ours.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// Does it get a session of its own, away from our terminal?
    pub own_session: bool,
    /// Descriptors that it gets under the same numbers.
    pub passed: &'a [RawFd],
    /// The group of the v2 tree that it is born in; `None`: ours.
    pub group: Option<BorrowedFd<'a>>,
}

/// A process that we have made.
#[derive(Debug)]
pub struct Spawned {
    pidfd: OwnedFd,
    failure: PipeReader,
}

impl Program<'_> {
    /// Runs it. Whether it could be executed is told later, by [`Spawned::failure`].
    pub fn spawn(&self) -> io::Result<Spawned> {
        let (failure, report) = io::pipe()?;
        let path = CString::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        let (argv, env) = (pointers(self.argv), pointers(self.env));
        let report = report.as_raw_fd(); // of the original, which lives to the end of this function
        match clone3(0, self.group)? {
            Cloned::Parent(_, pidfd) => Ok(Spawned { pidfd, failure }),
            Cloned::Child => {
                let errno = match self.detach().and_then(|()| self.streams()).and_then(|()| self.pass()) {
                    Err(e) => e.raw_os_error(),
                    Ok(()) => {
                        // SAFETY: both arrays end with a null pointer; they and their strings were made before the
                        // clone and live in this process's copy of the memory.
                        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
                        io::Error::last_os_error().raw_os_error()
                    }
                };
                let errno = errno.unwrap_or(libc::EIO).to_ne_bytes();
                // SAFETY: `errno` lives through the write; _exit runs nothing of this copy of the program.
                unsafe {
                    libc::write(report, errno.as_ptr().cast(), errno.len());
                    libc::_exit(127)
                }
            }
        }
    }

    /// In the child. Like all that it does, this allocates nothing and takes no lock: other threads may have held some
    /// when it was cloned (signal-safety(7)).
    fn detach(&self) -> io::Result<()> {
        if self.own_session {
            rustix::process::setsid()?;
        }
        Ok(())
    }

    fn streams(&self) -> io::Result<()> {
        for (number, stream) in (0..).zip(&self.streams) {
            if let Some(stream) = stream {
                // SAFETY: no memory arguments.
                check(unsafe { libc::dup2(stream.as_raw_fd(), number) })?;
            }
        }
        Ok(())
    }

    fn pass(&self) -> io::Result<()> {
        for fd in self.passed {
            // SAFETY: no memory arguments.
            check(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
        }
        Ok(())
    }
}

fn check(result: i32) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn pointers(list: &[&CStr]) -> Vec<*const libc::c_char> {
    list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

impl Spawned {
    /// Why the program could not be executed. To be asked when the process has ended or says no more; waits until it
    /// has been executed, or could not be.
    pub fn failure(&mut self) -> Option<io::Error> {
        let mut errno = [0; 4];
        let told = self.failure.read_exact(&mut errno).is_ok();
        told.then(|| io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
    }

    /// Waits for its end. Its exit code; 128 + n if signal n killed it.
    pub fn wait(&self) -> io::Result<u8> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
                Ok(status) => {
                    let code = status.and_then(|s| s.exit_status().or(s.terminating_signal().map(|n| 128 + n)));
                    return Ok(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(125));
                }
            }
        }
    }
}

impl AsFd for Spawned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
