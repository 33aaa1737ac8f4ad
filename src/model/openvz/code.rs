//! The exit codes of vzctl: the older numbers, which are what scripts test. 129 to 131 were given other meanings later.

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The number.
    pub number: u8,
    /// What it means.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: Code = Code { number: $number, meaning: $meaning };)+
        /// All that Hostel's vzctl ends with, beside those of commands inside, by their numbers.
        pub const CODES: &[Code] = &[$($name),+];
    };
}

codes! {
    OK = 0, "done, or nothing had to be done";
    UBC = 1, "a limit of memory or processes could not be set";
    CPU = 2, "a limit of processor time could not be set";
    SYSTEM = 3, "tried and failed";
    RESOURCES = 6, "a limit, quota or budget would be passed";
    EXEC = 8, "exec: the command inside ended with another code than 0";
    LOCKED = 9, "another operation holds the container";
    NO_HOST_CONFIG = 10, "hostel.toml is missing or has mistakes";
    PERMISSION = 12, "not root";
    CAPABILITY = 13, "a capability that no container gets";
    NOT_FOUND = 14, "no such container";
    SUSPEND = 16, "suspend failed; the container runs on";
    RESUME = 17, "resume failed; the container stays suspended";
    SYNTAX = 20, "no such command, or a command line that makes no sense";
    VALUE = 21, "an unknown option, or a value that makes no sense";
    NO_TEMPLATE_NAMED = 29, "no template is named, and hostel.toml has none";
    NOT_RUNNING = 31, "the container is not running";
    RUNNING = 32, "the container is running";
    STOP = 33, "stop failed";
    NOT_MOUNTED = 40, "the container is not mounted";
    MOUNTED = 41, "the container is mounted";
    NO_PRIVATE = 43, "the container's disk or record is missing or broken";
    EXISTS = 44, "there is such a container already";
    DISK_FULL = 46, "no room on the host's disk";
    MOUNT = 50, "mount failed";
    UMOUNT = 51, "umount failed";
    DESTROY = 52, "destroy failed";
    DISK_QUOTA = 62, "a limit of the disk could not be set";
    HOSTNAME = 70, "a host name that makes no sense";
    ADDRESS = 71, "an address that makes no sense";
    NAME_SERVER = 72, "a name server that makes no sense";
    SEARCH_DOMAIN = 73, "a search domain that makes no sense";
    PASSWORD = 74, "the password could not be set";
    ADDRESS_USED = 78, "another container has that address";
    ACTION_SCRIPT = 79, "an action script failed";
    COPY_CONFIG = 82, "no such sample: Hostel has no plan by that name";
    BAD_CONFIG = 85, "the container's definition has mistakes";
    DEVICE = 86, "a device that no container gets";
    NO_ADDRESS = 89, "no network of Hostel's has that address, or it can't be given";
    NO_TEMPLATE = 91, "no such template";
    REINSTALL = 94, "reinstall failed, or would lose what it should keep";
    NETDEV = 104, "an interface of the host, which no container gets";
    DISABLED = 105, "the container is disabled, or its tenant is suspended";
    APPLY_CONFIG = 109, "that plan can't be applied to it";
    VETH = 130, "the interface could not be added, changed or removed";
    NAME = 131, "a name that can't be had";
    WAIT = 133, "it was started, and has not said that it has booted; it boots on";
    REGISTER = 140, "private areas are imported, not registered";
    UNREGISTER = 142, "a container can't be forgotten and its disk left";
    IO = 148, "a limit of disk bandwidth could not be set";
    SNAPSHOT = 156, "there are no snapshots: none can be taken";
    SNAPSHOT_DELETE = 158, "there are no snapshots: none can be removed";
    SNAPSHOT_SWITCH = 159, "there are no snapshots: none can be gone back to";
    SNAPSHOT_MOUNT = 160, "there are no snapshots: none can be mounted";
    SNAPSHOT_UMOUNT = 161, "there are no snapshots: none is mounted";
    COMPACT = 166, "compact failed";
}

/// The code of a number.
pub fn code(number: u8) -> Option<Code> {
    CODES.iter().copied().find(|code| code.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_found() {
        assert!(CODES.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(code(105), Some(DISABLED));
        assert_eq!(code(19), None);
    }
}
