//! What docs/OPENVZ.md says of the small tools.

use super::super::document::table;
use super::super::fate::Fate;

/// A row for each, and what it takes.
const TOOLS: [(&str, Fate); 24] = [
    ("vzubc", Fate::Same),
    ("vzubc -w -q -v -qh -qm -f", Fate::Same),
    (
        "vzubc -r -i -c",
        Fate::Differs("the last time is kept in /run/vzubc, or in the directory of -d, for -r and -i each"),
    ),
    (
        "/proc/user_beancounters on the host",
        Fate::Differs(
            "`hostel beancounters` prints it, of all VEs that run or of those named; without a row of the host's",
        ),
    ),
    (
        "/proc/user_beancounters inside",
        Fate::Differs(
            "/dev/.hostel/user_beancounters, with `proc.beancounters = true` in hostel.toml, for VEs that are started from \
             then on: the kernel lets nobody make a file in /proc. It is read-only, made anew when it is opened, and tells \
             of that VE alone",
        ),
    ),
    ("vzpid [-p]", Fate::Same),
    (
        "vzps [-E CTID]",
        Fate::Differs("the host's ps with a column more; it must print PID"),
    ),
    (
        "vztop",
        Fate::Refused("there is none; `hostel top` shows VEs and their processes"),
    ),
    (
        "vzmemcheck [-v] [-A]",
        Fate::Differs(
            "a 64-bit kernel has no low memory of its own: there, it is the memory; what is guaranteed is committed",
        ),
    ),
    (
        "vzcalc",
        Fate::Refused("there is none; `hostel capacity` tells what is promised and used"),
    ),
    (
        "vzoversell",
        Fate::Refused("there is none; `hostel capacity` tells how far this host is oversold"),
    ),
    (
        "vzcpucheck [-v]",
        Fate::Differs("the power of the host is 25 units for each BogoMIPS; -x isn't known"),
    ),
    (
        "vzcfgvalidate [-r|-i] [-v yes|no]",
        Fate::Differs("values that have no effect here are checked for their form, and told with -v yes"),
    ),
    (
        "vzsplit -n [-f] [-s] [-v]",
        Fate::Differs("divides nine tenths of the host; -f makes a plan, without it a sample is printed"),
    ),
    (
        "vznetstat [-4|-6] [-v] [-c] [-a] [-t]",
        Fate::Differs("classes have names, of hostel.toml"),
    ),
    (
        "vznetstat -r",
        Fate::Refused("what was counted is what is billed, and can't be set back"),
    ),
    ("vzquota stat, show", Fate::Same),
    (
        "vzquota init, on, off, drop",
        Fate::NoEffect("a disk's limits always hold"),
    ),
    (
        "vzquota setlimit, setlimit2, reload2",
        Fate::Refused("give vzctl set --diskspace"),
    ),
    (
        "vzmigrate, vzmlocal",
        Fate::Refused(
            "there are none. Stop the VE and mount it, copy what is below its root and its CTID.conf to the other host, and there: \
             `hostel import openvz CTID.conf --private DIR`",
        ),
    ),
    (
        "vzpkg, vztmpl-dl",
        Fate::Refused("there are none; templates are made by `hostel template`"),
    ),
    (
        "prlctl, prlsrvctl, vztactl, vzcfgscale, vzcfgconvert",
        Fate::Refused("there are none; `hostel` does what they did, and `hostel import openvz` reads old files"),
    ),
    (
        "vzcptcheck, vznnc, vzfsync, arpsend, ndsend, vzifup-post",
        Fate::Refused("there are none: they were parts of migration and network setup, which Hostel does itself"),
    ),
    (
        "vzeventd, vcmmd",
        Fate::Refused("there are none: a VE's monitor hears of its reboot, and the kernel shares memory by the limits"),
    ),
];

/// All of them.
pub fn section() -> String {
    table(
        "## The small tools",
        &["tool", "here"],
        TOOLS.iter().map(|(tool, fate)| vec![format!("`{tool}`"), fate.cell()]),
    )
}
