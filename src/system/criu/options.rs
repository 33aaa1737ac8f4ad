//! What CRIU is told for a VE, in its own terms (criu(8); numbers of fields as in images/rpc.proto).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use super::Version;
use super::wire::Message;

/// Devices of the host's that every VE has bound in, below /dev.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// The largest file without a name that is saved, in bytes.
pub(super) const GHOST_LIMIT: u64 = 256 << 20;
/// How long freezing may take, in seconds.
const TIMEOUT: u64 = 60;
/// `FULL` of criu_cg_mode: all groups below the VE's own are made again as they were.
const CGROUPS_FULL: u64 = 4;
/// `SKIP` of criu_network_lock_method: the host's side is held by us. Images tell a restore of it.
const LOCK_SKIP: u64 = 3;
/// The first CRIU that knows it. Earlier ones hold the network by rules inside the VE, which does no harm.
pub(super) const KNOWS_SKIP: Version = Version(3, 19);
/// Enough for its errors to be understood; they name paths and descriptors.
const LOG_LEVEL: u64 = 4;

/// What a dump and its restore share. `images` is a descriptor of whoever made CRIU's socket.
fn common(images: i32, log: &str) -> Message {
    let options = Message::default()
        .number(1, images.unsigned_abs().into())
        .number(5, 1) // established TCP connections
        .number(8, 1) // file locks
        .number(9, LOG_LEVEL)
        .bytes(10, log.as_bytes())
        .number(12, 1) // notifications
        .number(18, 1) // files that have lost their name get one for the time
        .number(34, CGROUPS_FULL)
        .number(35, GHOST_LIMIT)
        .number(46, 1) // connections that are just being made are left out
        .number(50, 1); // the console's master is ours
    ["hugetlbfs", "tracefs"]
        .iter()
        .fold(options, |o, fs| o.bytes(32, fs.as_bytes()))
}

/// For a dump by this version of CRIU of the tree below `init`, whose processes are stopped by this control group.
pub fn dump(version: Version, init: u32, images: BorrowedFd<'_>, freezer: Option<&Path>) -> Message {
    let mut options = common(images.as_raw_fd(), super::DUMP_LOG)
        .number(2, init.into())
        .number(45, TIMEOUT);
    if version >= KNOWS_SKIP {
        options = options.number(64, LOCK_SKIP);
    }
    if let Some(group) = freezer {
        options = options.bytes(44, group.as_os_str().as_encoded_bytes());
    }
    let bound = DEVICES.iter().chain(&["fuse", "net/tun"]);
    bound.fold(options, |o, d| o.bytes(37, format!("mnt[/dev/{d}]:{d}").as_bytes()))
}

/// For a restore whose root is mounted at `root`, with these other devices and their nodes, and these interfaces
/// of the VE and the ends of pairs that are to become them.
pub fn restore(images: i32, root: &str, devices: &[(String, String)], links: &[(String, String)]) -> Message {
    let mut options = common(images, super::RESTORE_LOG)
        .bytes(13, root.as_bytes())
        .number(26, 1) // init becomes a child of CRIU's parent
        // A console that is nobody's controlling terminal is passed on too.
        .number(7, 1);
    for name in DEVICES {
        options = options.bytes(37, format!("mnt[{name}]:/dev/{name}").as_bytes());
    }
    for (name, node) in devices {
        options = options.bytes(37, format!("mnt[{name}]:{node}").as_bytes());
    }
    for (inside, end) in links {
        options = options.bytes(37, format!("netdev[{inside}]:{end}").as_bytes());
    }
    options
}
