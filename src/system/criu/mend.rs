//! What a CRIU that was killed leaves in the processes that it was saving, as far as it can be taken back.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;

use crate::helper::confined;
use crate::namespace::within;
use crate::{Error, Result};

/// Where iptables may be; the caller's PATH isn't trusted.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// As often as it may have been killed while it held a network.
const MOST: usize = 16;

/// TCP_REPAIR of linux/tcp.h. While it is on, a connection sends nothing and drops what comes.
const TCP_REPAIR: i32 = 19;

/// Takes back the rules by which a CRIU before 3.19 holds a network, in that of this process: a chain of its own in the
/// tables of iptables, and a jump to it from two others. A host without iptables has none.
pub fn unlock(init: u32) -> Result<()> {
    let Ok(network) = fs::File::open(format!("/proc/{init}/ns/net")) else {
        return Ok(()); // it has ended
    };
    let work = || {
        for program in ["iptables", "ip6tables"] {
            for from in ["INPUT", "OUTPUT"] {
                (0..MOST).find(|_| !run(program, &["-w", "-D", from, "-j", "CRIU"]));
            }
            run(program, &["-w", "-F", "CRIU"]);
            run(program, &["-w", "-X", "CRIU"]);
        }
        Ok(())
    };
    within(network.as_fd(), CloneFlags::CLONE_NEWNET, work)
}

/// Did it do that? Not, if there was nothing to be done.
fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", PATH).env("LC_ALL", "C");
    confined(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Lets the connections of these processes go on. One that ends meanwhile needs nothing.
pub fn mend(processes: &[u32]) -> Result<()> {
    for pid in processes {
        let numbers = descriptors(*pid, b"socket:");
        if numbers.is_empty() {
            continue;
        }
        let Some(process) = open(*pid) else { continue };
        for number in numbers {
            if let Some(socket) = get(&process, number)
                && is_in_repair(&socket)
            {
                set(&socket, TCP_REPAIR, 0)
                    .map_err(|e| Error::os("let go on", format!("a connection of process {pid}"), e))?;
            }
        }
    }
    Ok(())
}

/// The descriptors of a process that are of this kind, by what their links begin with; none if it has ended.
pub(super) fn descriptors(pid: u32, kind: &[u8]) -> Vec<i32> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    all.filter(|d| fs::read_link(d.path()).is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(kind)))
        .filter_map(|d| d.file_name().to_str()?.parse().ok())
        .collect()
}

pub(super) fn open(pid: u32) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// A copy of a descriptor of another process's; `None` if it is gone.
pub(super) fn get(process: &OwnedFd, number: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_getfd(process, number, rustix::process::PidfdGetfdFlags::empty()).ok()
}

/// False of what is no TCP socket.
fn is_in_repair(socket: &OwnedFd) -> bool {
    let (mut value, mut size) = (0i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `size` bytes to `value`; both live through the call.
    let told = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_REPAIR,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    told == 0 && value != 0
}

fn set(socket: &OwnedFd, option: i32, value: i32) -> std::io::Result<()> {
    // SAFETY: the kernel reads four bytes of `value`, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_that_was_left_in_repair_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = OwnedFd::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (mut theirs, _) = listener.accept().unwrap();
        if let Err(e) = set(&ours, TCP_REPAIR, 1) {
            println!("skipped because no connection can be put in repair here: {e}");
            return;
        }
        assert!(is_in_repair(&ours));
        mend(&[std::process::id()]).unwrap();
        assert!(!is_in_repair(&ours));
        TcpStream::from(ours).write_all(b"word").unwrap();
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"word");
        assert!(get(&open(std::process::id()).unwrap(), 1 << 20).is_none());
    }
}
