//! What the engine tells the monitor: everything a start or an entry needs, decided beforehand. The monitor reads
//! no configuration and decides nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::guest;

/// How many ids a VE's user namespace maps.
pub const ID_RANGE: u32 = 65_536;

/// What a hostel-monitor process is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Start a VE and stay as its init's parent.
    Start(Box<Start>),
    /// Bring back a VE that was suspended, and stay as its init's parent.
    Resume(Box<Resume>),
    /// Watch over a running VE whose monitor was killed.
    Adopt(Adopt),
    /// Run a command inside a running VE.
    Enter(Box<Enter>),
}

/// Where in the cgroup trees a process is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `tasks` files of cgroup v1 groups, joined by writing "0".
    pub tasks: Vec<PathBuf>,
    /// The group's directory in the v2 tree.
    pub unified: Option<PathBuf>,
}

/// Switches of a plan that widen what the guest may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// User namespaces, so containers, inside.
    pub nesting: bool,
    /// io_uring, and with it sockets of every family.
    pub io_uring: bool,
    /// The kernel's key rings.
    pub keyring: bool,
    /// /dev/fuse.
    pub fuse: bool,
    /// /dev/net/tun.
    pub tun: bool,
    /// 32-bit programs.
    pub compat32: bool,
    /// IPsec: netlink XFRM and key sockets.
    pub ipsec: bool,
}

/// A VE's storage, to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// A block device with a file system.
    Device {
        /// Its node.
        node: PathBuf,
        /// Its file system.
        fs: String,
        /// Mount options for it, as `key` or `key=value`.
        options: Vec<String>,
    },
    /// A directory.
    Directory(PathBuf),
}

/// What outlives a start: who the monitor is and what it does in the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// The VE's number, for names and messages.
    pub id: u32,
    /// The VE's directory below /run: sockets, console log, exit record.
    pub run_dir: PathBuf,
    /// Where the monitor itself lives, outside all limits.
    pub place: Place,
    /// The console log is rotated when it has this many bytes.
    pub console_log_size: u64,
    /// Where lxcfs is mounted, if the VE is to see its own figures in /proc.
    #[serde(default)]
    pub view: Option<PathBuf>,
    /// A file in the VE that tells what its control groups tell.
    #[serde(default)]
    pub sheet: Option<Box<Sheet>>,
    /// What the monitor becomes when the VE has ended; the exit reason is added as the last argument.
    pub after: Vec<String>,
}

/// A file in the VE whose text is made when somebody there opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// Its path there.
    pub path: String,
    /// The text before its lines.
    pub head: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How it begins.
    pub name: String,
    /// Numbers, each in a column of twenty characters with a blank before it.
    pub cells: Vec<Cell>,
}

/// A number of a sheet: the greatest of some, in some unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Those of which it is the greatest.
    pub any: Vec<Sum>,
    /// The unit.
    pub divide: u64,
    /// What is begun of a unit counts as one.
    pub round_up: bool,
    /// What stands there if none of them can be read, or none is a number.
    pub otherwise: u64,
}

/// Numbers added up, less others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// What is added.
    pub plus: Vec<Source>,
    /// What is taken off.
    pub minus: Vec<Source>,
}

/// Where a number stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The word before it on its line; `None`: it is all there is.
    pub key: Option<String>,
}

/// A start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// What stays.
    pub watch: Watch,
    /// The first host id of the VE's range.
    pub id_base: u32,
    /// The user whom the kernel counts the VE's namespaces against: `id_base`, so that no VE starves the next, or root
    /// where a namespace of another's could not be suspended.
    pub owner: u32,
    /// The template's tree.
    pub lower: PathBuf,
    /// Where the guest lives.
    pub payload: Place,
    /// The initial host name.
    pub hostname: String,
    /// Programs to try as init, in order.
    pub init: Vec<String>,
    /// Init's environment, `KEY=value`.
    pub env: Vec<String>,
    /// Does init tell on NOTIFY_SOCKET when it has booted?
    pub notifies: bool,
    /// Files to be put right before init runs.
    pub identity: Vec<guest::Op>,
    /// What the plan allows.
    pub switches: Switches,
    /// Bytes for each of /run and /dev/shm.
    pub tmpfs_size: u64,
}

/// A resume: what CRIU can't make by itself. What it restores it is told by the engine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resume {
    /// What stays.
    pub watch: Watch,
    /// The first host id of the VE's range.
    pub id_base: u32,
    /// The template's tree.
    pub lower: PathBuf,
    /// What the plan allows.
    pub switches: Switches,
    /// The CRIU program.
    pub criu: PathBuf,
    /// The directory of its images.
    pub images: PathBuf,
    /// Had init told that it has booted? `None`: it is not one that says so.
    pub booted: Option<bool>,
}

/// Which process is a VE's init, for certain: a number alone may have been given to another since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Process id on the host.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
}

/// A VE that lost its monitor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Adopt {
    /// What stays.
    pub watch: Watch,
    /// Its init.
    pub init: Init,
}

/// A command inside a running VE.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enter {
    /// The VE's init, whose namespaces are joined.
    pub init: Init,
    /// Where the guest lives.
    pub payload: Place,
    /// What the plan allows.
    pub switches: Switches,
    /// What to run there.
    pub task: Task,
    /// `user` or `user:group`, names of the VE's or numbers; root if `None`.
    pub user: Option<String>,
    /// Environment besides the default one, `KEY=value`.
    pub env: Vec<String>,
    /// The working directory; the user's home if `None`.
    pub cwd: Option<String>,
    /// Rows and columns of the terminal to give it, if it is to have one.
    pub pty: Option<(u16, u16)>,
}

/// What an entry does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Runs a program; an empty list means the user's login shell.
    Run(Vec<String>),
    /// Runs a script by the interpreter its first line names.
    Script {
        /// Its bytes.
        content: Vec<u8>,
        /// Its arguments, its own name first.
        argv: Vec<String>,
    },
    /// Ends with code 0 if this is a directory, else with 1.
    Test {
        /// The path.
        directory: String,
    },
    /// Unpacks a tar stream from standard input into this directory.
    Unpack(String),
    /// Packs this file or directory as a tar stream to standard output; its entries' names begin with `name`.
    Pack {
        /// What to pack.
        path: String,
        /// The name it gets.
        name: String,
    },
    /// Makes these changes to files. Ends with code 1 if what the VE holds was in the way of one.
    Edit(Vec<guest::Op>),
}
