//! The options of vzctl's commands, and how each compares with the original.

use crate::vz::fate::Fate::{self, Differs, NoEffect, Refused, Same};

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Without dashes.
    pub name: &'static str,
    /// What its value is called; empty: it takes none.
    pub value: &'static str,
    /// How it compares.
    pub fate: Fate,
}

impl Opt {
    /// As it is typed: with one dash before a letter, and with two before a word.
    pub fn typed(&self) -> String {
        let dashes = if self.name.len() == 1 { "-" } else { "--" };
        let blank = if self.value.is_empty() { "" } else { " " };
        format!("{dashes}{}{blank}{}", self.name, self.value)
    }
}

const fn flag(name: &'static str, fate: Fate) -> Opt {
    Opt { name, value: "", fate }
}

const fn valued(name: &'static str, value: &'static str, fate: Fate) -> Opt {
    Opt { name, value, fate }
}

pub(super) const NO_FSCK: Fate = NoEffect("a disk is checked by whoever mounts it, as its file system asks");
pub(super) const FRESH_MOUNT: Fate = NoEffect("the root of a VE is put together anew at every start");
pub(super) const NO_ARP: Fate = NoEffect("whether the LAN is asked for an address is said by its network (probe)");
pub(super) const OWN_DUMP: Fate = Refused("Hostel keeps what ran in a VE itself, in the VE's own directory");
pub(super) const NO_SNAPSHOTS: Fate = Refused("Hostel has no snapshots");
const NOT_REGISTERED: Fate = Refused("containers are neither registered nor forgotten");
pub(super) const NO_IMAGES: Fate = NoEffect("what disks are made of is said by hostel.toml, the plan, or disk.driver");
pub(super) const ALWAYS_LIMITED: Fate = NoEffect("a VE's disk is always limited, and what it uses is always known");

pub(super) const START: &[Opt] = &[
    flag(
        "wait",
        Differs("if it doesn't say within start.timeout that it has booted: code 133, and it boots on"),
    ),
    flag(
        "force",
        Differs("starts one that is disabled; the suspension of its tenant stays in force"),
    ),
    flag("skip-fsck", NO_FSCK),
    flag("skip-remount", FRESH_MOUNT),
    flag(
        "skip_ve_setup",
        Refused("a VE without limits and addresses could harm others; mount it to repair it"),
    ),
    flag("repair", Refused("mount it: vzctl mount CTID, then look below VE_ROOT")),
    flag(
        "cloud-init",
        NoEffect("what a guest is told is written into its own files"),
    ),
    valued("osrelease", "VERSION", NoEffect("a VE sees the host's kernel as it is")),
];

pub(super) const STOP: &[Opt] = &[
    flag("fast", Same),
    flag(
        "skip-umount",
        NoEffect("the root of a VE is never mounted on the host while it runs"),
    ),
];

pub(super) const RESTART: &[Opt] = &[
    START[0],
    flag("force", Refused("stop it, then start it with --force")),
    START[2],
    START[3],
    START[4],
    START[5],
    START[6],
    START[7],
    STOP[0],
    STOP[1],
];

pub(super) const CREATE: &[Opt] = &[
    valued(
        "uuid",
        "UUID",
        NoEffect("a VE's number and name are what it is known by"),
    ),
    flag("no-hdd", Refused("a VE has the one disk that Hostel makes")),
    valued(
        "encryption-keyid",
        "ID",
        Refused("disks are not encrypted by Hostel; let the file system below be"),
    ),
    flag("expanded", NO_IMAGES),
    flag("preallocated", NO_IMAGES),
    flag("raw", NO_IMAGES),
    flag(
        "force",
        NoEffect("there is no least amount of free space: a new VE takes nearly none"),
    ),
    flag("skip_app_templates", NoEffect("there are no templates of applications")),
];

pub(super) const SET: &[Opt] = &[
    flag(
        "save",
        Differs("what is set is always saved; without this a line says so"),
    ),
    flag("force", NoEffect("a definition is never left broken")),
    valued(
        "setmode",
        "restart|ignore",
        Differs(
            "restart restarts it if something waits for that; ignore, and nothing, leave it waiting: saved, code 0",
        ),
    ),
    flag(
        "reset_ub",
        NoEffect("limits in force are those of the definition at any time"),
    ),
];

pub(super) const SUSPEND: &[Opt] = &[
    valued("dumpfile", "FILE", OWN_DUMP),
    flag("suspend", Differs("pause: it is frozen, in memory")),
    flag("dump", OWN_DUMP),
    flag("resume", Differs("unpause")),
    flag("kill", Differs("ends it at once")),
    valued(
        "flags",
        "FLAGS",
        NoEffect("CRIU finds out itself what the processor has"),
    ),
    valued("context", "ID", NoEffect("there is no context to name")),
    flag("skip_arpdetect", NO_ARP),
];

pub(super) const RESUME: &[Opt] = &[
    valued("dumpfile", "FILE", OWN_DUMP),
    flag("undump", Differs("resume, the whole of it")),
    flag("resume", Differs("unpause, if it is paused")),
    flag("kill", Differs("ends it at once")),
    valued(
        "flags",
        "FLAGS",
        NoEffect("CRIU finds out itself what the processor has"),
    ),
    valued("context", "ID", NoEffect("there is no context to name")),
    flag("skip_arpdetect", NO_ARP),
    flag("skip-remount", FRESH_MOUNT),
    flag("skip-fsck", NO_FSCK),
];

pub(super) const SNAPSHOT: &[Opt] = &[
    valued("id", "UUID", NO_SNAPSHOTS),
    valued("name", "NAME", NO_SNAPSHOTS),
    valued("description", "TEXT", NO_SNAPSHOTS),
    flag("skip-suspend", NO_SNAPSHOTS),
    flag("skip-config", NO_SNAPSHOTS),
];

pub(super) const SNAPSHOT_SWITCH: &[Opt] = &[
    SNAPSHOT[0],
    flag("skip-resume", NO_SNAPSHOTS),
    flag("must-resume", NO_SNAPSHOTS),
    SNAPSHOT[4],
    flag("skip_arpdetect", NO_SNAPSHOTS),
];

pub(super) const SNAPSHOT_ID: &[Opt] = &[SNAPSHOT[0]];
pub(super) const SNAPSHOT_MOUNT: &[Opt] = &[SNAPSHOT[0], valued("target", "DIR", NO_SNAPSHOTS)];

pub(super) const SNAPSHOT_LIST: &[Opt] = &[
    flag("H", Same),
    flag("no-header", Same),
    valued("o", "FIELD,...", Same),
    valued("output", "FIELD,...", Same),
    valued("id", "UUID", Same),
    flag("L", Same),
    flag("list", Same),
];

pub(super) const REINSTALL: &[Opt] = &[
    flag(
        "skipbackup",
        Differs("must be said: the files of the old root are not kept"),
    ),
    flag(
        "resetpwdb",
        Differs("passwords set from inside are never kept; root's of the definition is"),
    ),
    valued("ostemplate", "TEMPLATE", Same),
    valued("desc", "TEXT", NoEffect("there is nothing to describe")),
    flag("scripts", Refused("there are no scripts of reinstallation")),
    flag("skipscripts", NoEffect("there are no scripts of reinstallation")),
    flag("listscripts", NoEffect("there are no scripts of reinstallation")),
    valued(
        "vzpkg_opts",
        "TEXT",
        NoEffect("templates are made by hostel template build"),
    ),
];

pub(super) const COMPACT: &[Opt] = &[
    flag("defrag", NoEffect("freed blocks are given back; nothing is moved")),
    flag("dry", Differs("nothing is counted: a line says that nothing was done")),
    valued("threshold", "N", NoEffect("all freed blocks are given back")),
    valued("delta", "N", NoEffect("a disk is one piece")),
];

pub(super) const ENTER: &[Opt] = &[valued("exec", "COMMAND ARG...", Same)];
pub(super) const CONSOLE: &[Opt] = &[flag("s", NoEffect("what runs on the console is the guest's word"))];
pub(super) const CONVERT: &[Opt] = &[
    valued("layout", "LAYOUT", NO_IMAGES),
    valued("velayout", "LAYOUT", NO_IMAGES),
];
pub(super) const REGISTER: &[Opt] = &[
    flag("force", NOT_REGISTERED),
    flag("renew", NOT_REGISTERED),
    flag("start", NOT_REGISTERED),
    valued("id", "ID", NOT_REGISTERED),
    valued("name", "NAME", NOT_REGISTERED),
    flag("skip_cluster", NOT_REGISTERED),
];

/// Flags before the command.
pub const FLAGS: &[Opt] = &[
    flag("quiet", Differs("errors are told all the same, on standard error")),
    flag("verbose", Differs("tells the steps")),
    flag("skiplock", NoEffect("locks end with those who hold them")),
    flag("skipowner", NoEffect("a VE of this host is this host's")),
    flag(
        "ignore-ha-cluster",
        NoEffect("which host a VE runs on is decided outside of Hostel"),
    ),
    valued(
        "configure-timeout",
        "N",
        NoEffect("Hostel sets up what is inside while it starts"),
    ),
    flag("help", Same),
    flag("version", Same),
];
