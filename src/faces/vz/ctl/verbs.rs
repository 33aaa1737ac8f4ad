//! What vzctl can be told: its commands, their options, and how each differs from the original.

use super::options::{
    ALWAYS_LIMITED, COMPACT, CONSOLE, CONVERT, CREATE, ENTER, NO_IMAGES, NO_SNAPSHOTS, Opt, REGISTER, REINSTALL,
    RESTART, RESUME, SET, SNAPSHOT, SNAPSHOT_ID, SNAPSHOT_LIST, SNAPSHOT_MOUNT, SNAPSHOT_SWITCH, START, STOP, SUSPEND,
};
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
        Differs("its own action scripts become .destroyed, so that the next of its number runs none of them; nothing else is left"),
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
        Differs("a stopped one is started for it, services and all, and stopped again; a mounted one is unmounted first"),
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
    verb(&["snapshot-switch"], "", "go back to a snapshot", NO_SNAPSHOTS, SNAPSHOT_SWITCH, other::snapshot_switch),
    verb(
        &["snapshot-delete", "tsnapshot-delete"],
        "",
        "remove a snapshot",
        NO_SNAPSHOTS,
        SNAPSHOT_ID,
        other::snapshot_delete,
    ),
    verb(&["snapshot-mount"], "", "mount a snapshot", NO_SNAPSHOTS, SNAPSHOT_MOUNT, other::snapshot_mount),
    verb(&["snapshot-umount"], "", "unmount a snapshot", NO_SNAPSHOTS, SNAPSHOT_ID, other::snapshot_umount),
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
        Differs(
            "needs --skipbackup, as nothing of the old root is kept; its addresses, limits and action scripts stay; a suspended \
             one is refused",
        ),
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

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.names.contains(&name))
}
