//! What of the host's a container may have.

use crate::openvz::key::{Act, Becomes, Group, Key};

const ONE_DISK: &str = "a VE has the one disk that Hostel makes, and no other";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        &["capability"],
        &["CAPABILITY"],
        Group::Security,
        Becomes::act(
            Act::Capabilities,
            "a VE has all powers over what is its own and none over the host: `on` for the former and `off` for the latter \
             say what is so, all else is refused",
        ),
    ),
    Key::new(
        &["features"],
        &["FEATURES"],
        Group::Security,
        Becomes::act(
            Act::Features,
            "fuse, tun, nesting and the other switches of Hostel's are set (the plan must grant them); those of old are remembered",
        ),
    ),
    Key::new(
        &["devnodes"],
        &["DEVNODES"],
        Group::Security,
        Becomes::act(
            Act::DeviceNodes,
            "net/tun and fuse are features.tun and features.fuse; what every VE has is accepted; all else is refused",
        ),
    ),
    Key::new(
        &["devices"],
        &["DEVICES"],
        Group::Security,
        Becomes::act(
            Act::DeviceNumbers,
            "c:10:200 and c:10:229 are features.tun and features.fuse; what every VE has is accepted; all else is refused",
        ),
    ),
    Key::new(
        &["pci_add"],
        &["PCI"],
        Group::Security,
        Becomes::Refused("no device of the host is given to a VE"),
    ),
    Key::new(
        &["pci_del"],
        &[],
        Group::Security,
        Becomes::NoEffect("no VE has a device of the host"),
    ),
    Key::new(
        &["bindmount_add"],
        &["BINDMOUNT"],
        Group::Security,
        Becomes::Refused("no directory of the host is mounted in a VE; copy files with hostel push"),
    )
    .vz7(),
    Key::new(
        &["bindmount_del"],
        &[],
        Group::Security,
        Becomes::NoEffect("no directory of the host is mounted in a VE"),
    )
    .vz7(),
    Key::new(&["device-add"], &["DISK"], Group::Security, Becomes::Refused(ONE_DISK)).vz7(),
    Key::new(&["device-set"], &[], Group::Security, Becomes::Refused(ONE_DISK)).vz7(),
    Key::new(&["device-del"], &[], Group::Security, Becomes::NoEffect(ONE_DISK)).vz7(),
];
