//! What vzctl can be told: its commands, their options, and how each differs from the original.

use super::{Call, Done, create, inside, life, other, set, status};
use crate::vz::fate::Fate;
use Fate::{Differs, NoEffect, Refused, Same};

/// A command.
pub struct Verb {
    /// Its names.
    pub names: &'static [&'static str],
    /// What stands behind the container, for help; options aside.
    pub arguments: &'static str,
    /// A line of help.
    pub help: &'static str,
    /// How it compares.
    pub fate: Fate,
    /// Its options.
    pub options: &'static [Opt],
    /// Does it take those of the table of parameters too?
    pub parameters: bool,
    /// Does everything behind the container belong to a command inside?
    pub rest: bool,
    /// Does it.
    pub run: fn(&Call<'_>) -> Done,
}

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

const fn flag(name: &'static str, fate: Fate) -> Opt {
    Opt { name, value: "", fate }
}

const fn valued(name: &'static str, value: &'static str, fate: Fate) -> Opt {
    Opt { name, value, fate }
}

const NO_FSCK: Fate = NoEffect("a disk is checked by whoever mounts it, as its file system asks");
const FRESH_MOUNT: Fate = NoEffect("the root of a VE is put together anew at every start");
const NO_ARP: Fate = NoEffect("whether the LAN is asked for an address is said by its network (probe)");
const OWN_DUMP: Fate = Refused("Hostel keeps what ran in a VE itself, in the VE's own directory");
const NO_SNAPSHOTS: Fate = Refused("Hostel has no snapshots");
const NO_IMAGES: Fate = NoEffect("what disks are made of is said by hostel.toml, the plan, or disk.driver");
const ALWAYS_LIMITED: Fate = NoEffect("a VE's disk is always limited, and what it uses is always known");

const START: &[Opt] = &[
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

const STOP: &[Opt] = &[
    flag("fast", Same),
    flag(
        "skip-umount",
        NoEffect("the root of a VE is never mounted on the host while it runs"),
    ),
];

const RESTART: &[Opt] = &[
    START[0],
    flag("force", Refused("stop it, then start it with --force")),
    START[2],
    START[3],
    START[4],
    START[7],
    STOP[0],
    STOP[1],
];

const CREATE: &[Opt] = &[
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

const SET: &[Opt] = &[
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

const SUSPEND: &[Opt] = &[
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

const RESUME: &[Opt] = &[
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

const SNAPSHOT: &[Opt] = &[
    valued("id", "UUID", NO_SNAPSHOTS),
    valued("name", "NAME", NO_SNAPSHOTS),
    valued("description", "TEXT", NO_SNAPSHOTS),
    flag("skip-suspend", NO_SNAPSHOTS),
    flag("skip-config", NO_SNAPSHOTS),
    flag("skip-resume", NO_SNAPSHOTS),
    flag("must-resume", NO_SNAPSHOTS),
    flag("skip_arpdetect", NO_SNAPSHOTS),
    valued("target", "DIR", NO_SNAPSHOTS),
];

const SNAPSHOT_LIST: &[Opt] = &[
    flag("H", Same),
    flag("no-header", Same),
    valued("o", "FIELD,...", Same),
    valued("output", "FIELD,...", Same),
    valued("id", "UUID", Same),
    flag("L", Same),
    flag("list", Same),
];

const REINSTALL: &[Opt] = &[
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

const COMPACT: &[Opt] = &[
    flag("defrag", NoEffect("freed blocks are given back; nothing is moved")),
    flag("dry", Same),
    valued("threshold", "N", NoEffect("all freed blocks are given back")),
    valued("delta", "N", NoEffect("a disk is one piece")),
];

const ENTER: &[Opt] = &[valued("exec", "COMMAND ARG...", Same)];
const CONSOLE: &[Opt] = &[flag("s", NoEffect("what runs on the console is the guest's word"))];
const CONVERT: &[Opt] = &[
    valued("layout", "LAYOUT", NO_IMAGES),
    valued("velayout", "LAYOUT", NO_IMAGES),
];
const REGISTER: &[Opt] = &[
    flag("force", Same),
    flag("renew", Same),
    flag("start", Same),
    valued("id", "ID", Same),
    valued("name", "NAME", Same),
    flag("skip_cluster", Same),
];

const fn verb(
    names: &'static [&'static str],
    arguments: &'static str,
    help: &'static str,
    fate: Fate,
    options: &'static [Opt],
    run: fn(&Call<'_>) -> Done,
) -> Verb {
    Verb {
        names,
        arguments,
        help,
        fate,
        options,
        parameters: false,
        rest: false,
        run,
    }
}

impl Verb {
    const fn with_parameters(mut self) -> Self {
        self.parameters = true;
        self
    }
    const fn with_rest(mut self) -> Self {
        self.rest = true;
        self
    }
}

/// All commands, in the order of help.
pub const VERBS: &[Verb] = &[
    verb(
        &["create"],
        "",
        "make a container",
        Differs(
            "a template is a Hostel template, a sample a plan; its id is 101 to 999999; without --ipadd it has no address; \
             it shares its template's files, so it is made in an instant",
        ),
        CREATE,
        create::create,
    )
    .with_parameters(),
    verb(
        &["destroy", "delete"],
        "",
        "remove a container and all that is on its disk",
        Differs("nothing is left of it: no .destroyed files"),
        &[],
        life::destroy,
    ),
    verb(
        &["start"],
        "",
        "start a container",
        Differs("a suspended one goes on where it was; if that fails it stays suspended, and is not booted anew"),
        START,
        life::start,
    ),
    verb(&["stop"], "", "stop a container", Same, STOP, life::stop),
    verb(
        &["restart"],
        "",
        "stop and start a container",
        Differs("what can't be started again is not stopped"),
        RESTART,
        life::restart,
    ),
    verb(
        &["status"],
        "",
        "tell how a container is",
        Differs("a paused one is `paused` in the last word, as in the newer generation; a broken one is `down`"),
        &[],
        status::status,
    ),
    verb(
        &["set"],
        "",
        "change a container",
        Differs("all options are one change: all of them or none, applied and saved"),
        SET,
        set::set,
    )
    .with_parameters(),
    verb(
        &["exec"],
        "COMMAND",
        "run a command by a shell in a container; code 8 if it fails",
        Same,
        &[],
        inside::exec,
    )
    .with_rest(),
    verb(&["exec2"], "COMMAND", "the same, with the command's own code", Same, &[], inside::exec2).with_rest(),
    verb(
        &["exec3"],
        "COMMAND [ARG...]",
        "the same without a shell, arguments untouched",
        Same,
        &[],
        inside::exec3,
    )
    .with_rest(),
    verb(&["enter"], "", "open a shell in a container", Same, ENTER, inside::enter).with_rest(),
    verb(
        &["console"],
        "[N]",
        "join a container's console",
        Differs("there is one console; Ctrl-A q leaves it"),
        CONSOLE,
        inside::console,
    )
    .with_rest(),
    verb(
        &["runscript"],
        "FILE",
        "run a script of the host's in a container",
        Differs("a stopped one is started for it, services and all, and stopped again"),
        &[],
        inside::runscript,
    )
    .with_rest(),
    verb(
        &["mount"],
        "",
        "mount the root of a stopped container",
        Same,
        &[],
        life::mount,
    ),
    verb(&["umount"], "", "unmount it", Same, &[], life::umount),
    verb(
        &["suspend", "chkpnt"],
        "",
        "save what runs in a container, and stop it",
        Differs("where it is saved is Hostel's choice"),
        SUSPEND,
        life::suspend,
    ),
    verb(
        &["resume", "restore"],
        "",
        "let a suspended or paused container go on",
        Same,
        RESUME,
        life::resume,
    ),
    verb(&["pause"], "", "freeze a container", Same, &[], life::pause),
    verb(&["snapshot"], "", "take a snapshot", NO_SNAPSHOTS, SNAPSHOT, other::snapshot),
    verb(&["tsnapshot"], "", "take a temporary snapshot", NO_SNAPSHOTS, SNAPSHOT, other::snapshot),
    verb(&["snapshot-switch"], "", "go back to a snapshot", NO_SNAPSHOTS, SNAPSHOT, other::snapshot_switch),
    verb(
        &["snapshot-delete", "tsnapshot-delete"],
        "",
        "remove a snapshot",
        NO_SNAPSHOTS,
        SNAPSHOT,
        other::snapshot_delete,
    ),
    verb(&["snapshot-mount"], "", "mount a snapshot", NO_SNAPSHOTS, SNAPSHOT, other::snapshot_mount),
    verb(&["snapshot-umount"], "", "unmount a snapshot", NO_SNAPSHOTS, SNAPSHOT, other::snapshot_umount),
    verb(
        &["snapshot-list"],
        "",
        "list snapshots",
        Differs("there are none: the header alone"),
        SNAPSHOT_LIST,
        other::snapshot_list,
    ),
    verb(
        &["compact"],
        "",
        "give freed blocks of a disk back to the host",
        Same,
        COMPACT,
        other::compact,
    ),
    verb(&["convert"], "", "change the layout of a disk", NO_IMAGES, CONVERT, other::convert),
    verb(&["quotaon"], "", "begin to count a disk's use", ALWAYS_LIMITED, &[], other::quota),
    verb(&["quotaoff"], "", "end that", ALWAYS_LIMITED, &[], other::quota),
    verb(&["quotainit"], "", "count it anew", ALWAYS_LIMITED, &[], other::quota),
    verb(
        &["reinstall"],
        "",
        "make a stopped container anew from a template",
        Differs("needs --skipbackup, as nothing of the old root is kept"),
        REINSTALL,
        create::reinstall,
    ),
    verb(
        &["register"],
        "PATH [CTID]",
        "take over a private area",
        Refused("import it: hostel import openvz"),
        REGISTER,
        other::register,
    )
    .with_rest(),
    verb(
        &["unregister"],
        "",
        "forget a container, and leave its disk",
        Refused("a VE's disk without its record is of no use; stop it, and leave it stopped"),
        REGISTER,
        other::unregister,
    ),
    verb(
        &["setrate"],
        "",
        "apply rates again",
        NoEffect("rates are in force as soon as they are set"),
        &[],
        other::nothing_to_do,
    ),
    verb(
        &["execaction"],
        "ACTION",
        "run an action of the distribution's",
        Refused("Hostel sets up what is inside by itself"),
        &[],
        other::not_here,
    )
    .with_rest(),
    verb(
        &["unset"],
        "OPTION...",
        "drop a parameter",
        Refused("set it to what it should be, or: hostel set NAME KEY="),
        &[],
        other::not_here,
    )
    .with_rest(),
    verb(
        &["monitor"],
        "",
        "tell of changes of state",
        Refused("see how VEs are with vzlist, or with hostel metrics"),
        &[],
        other::not_here,
    ),
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

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.names.contains(&name))
}
