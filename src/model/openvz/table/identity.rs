//! Name, template and boot, and what was only noted of a container.

use crate::openvz::key::{Act, Becomes, By, Group, Key};

const OWN_IDS: &str = "every VE has a range of ids of its own, which Hostel chooses; 0, for none, is refused";
const NODES: &str = "which host a VE runs on is decided outside of Hostel";
const NOTED: &str = "it was a note of the tools that wrote it";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        &["onboot"],
        &["ONBOOT"],
        Group::Identity,
        Becomes::near(
            &["onboot"],
            By::OnBoot,
            "not set means no, whatever ran at the last shutdown; auto means yes",
        ),
    ),
    Key::new(
        &["bootorder"],
        &["BOOTORDER"],
        Group::Identity,
        Becomes::near(&["priority"], By::Whole(u16::MAX as u64), "0 to 65535; not set means 0"),
    ),
    Key::new(
        &["disabled"],
        &["DISABLED"],
        Group::Identity,
        Becomes::near(
            &["disabled"],
            By::Truth,
            "holds for hostel start, for the host's boot and for a reboot from inside as well",
        ),
    ),
    Key::new(
        &["stop-timeout"],
        &["STOP_TIMEOUT"],
        Group::Identity,
        Becomes::same(&["stop.timeout"], By::Seconds),
    ),
    Key::new(
        &["name"],
        &["NAME"],
        Group::Identity,
        Becomes::act(
            Act::Name,
            "at create it is the VE's name if it can be one; later it is an other name, which the dialect alone knows",
        ),
    ),
    Key::new(
        &["description"],
        &["DESCRIPTION"],
        Group::Identity,
        Becomes::near(&["description"], By::OneLine, "the ends of lines become blanks"),
    ),
    Key::new(
        &["ostemplate"],
        &["OSTEMPLATE"],
        Group::Identity,
        Becomes::act(
            Act::Template,
            "at create, the name of a template of Hostel's; later it is remembered, and has no effect",
        ),
    ),
    Key::new(
        &["config", "applyconfig"],
        &["ORIGIN_SAMPLE", "CONFIGFILE"],
        Group::Identity,
        Becomes::act(Act::Plan, "the name of a plan of Hostel's; explicit values win over it"),
    ),
    Key::new(
        &["userpasswd"],
        &[],
        Group::Identity,
        Becomes::act(
            Act::Password,
            "of a VE that runs, at once; of one that doesn't, root's from its next start on, and for another user's it is started \
             and stopped again; what is suspended stays so, and another user's is refused",
        ),
    ),
    Key::new(&["crypted"], &[], Group::Identity, Becomes::act(Act::Crypted, ""))
        .vz7()
        .flag(),
    Key::new(
        &["hostname"],
        &["HOSTNAME"],
        Group::Identity,
        Becomes::near(&["hostname"], By::Text, "a VE that runs has it from its next start on"),
    ),
    Key::new(
        &["autostop"],
        &["AUTOSTOP"],
        Group::Identity,
        Becomes::same(&["stop.mode"], By::StopMode),
    )
    .vz7(),
    Key::new(
        &["local_uid"],
        &["LOCAL_UID"],
        Group::Identity,
        Becomes::act(Act::LocalIds, OWN_IDS),
    ),
    Key::new(
        &["local_gid"],
        &["LOCAL_GID"],
        Group::Identity,
        Becomes::act(Act::LocalIds, OWN_IDS),
    ),
    Key::new(
        &["layout"],
        &["VE_LAYOUT"],
        Group::Identity,
        Becomes::NoEffect("what disks are made of is said by hostel.toml, the plan, or disk.driver"),
    ),
    Key::new(
        &["root"],
        &["VE_ROOT"],
        Group::Identity,
        Becomes::NoEffect("Hostel chooses where a root is mounted; vzlist tells it"),
    ),
    Key::new(
        &["private"],
        &["VE_PRIVATE"],
        Group::Identity,
        Becomes::NoEffect("Hostel chooses where a disk lies; vzlist tells it"),
    ),
    Key::new(
        &["mount_opts"],
        &["MOUNT_OPTS"],
        Group::Identity,
        Becomes::NoEffect("Hostel chooses how a disk is mounted"),
    ),
    Key::new(
        &["applyconfig_map"],
        &[],
        Group::Identity,
        Becomes::NoEffect("a name is in force as soon as it is set"),
    ),
    Key::new(
        &["distribution"],
        &["DISTRIBUTION"],
        Group::Identity,
        Becomes::NoEffect("Hostel sees what a template is from the template itself"),
    )
    .vz7(),
    Key::new(
        &[],
        &["TEMPLATES"],
        Group::Notes,
        Becomes::NoEffect("packages are installed inside the VE, by its own tools"),
    )
    .vz7(),
    Key::new(
        &[],
        &["CONFIG_CUSTOMIZED", "VE_TYPE", "UUID"],
        Group::Notes,
        Becomes::NoEffect(NOTED),
    )
    .vz7(),
    Key::new(
        &[],
        &["TECHNOLOGIES"],
        Group::Notes,
        Becomes::NoEffect("what a VE needs of a kernel is judged when it starts"),
    )
    .vz7(),
    Key::new(
        &[],
        &["VE_ENVIRONMENT"],
        Group::Notes,
        Becomes::NoEffect("init gets a clean environment"),
    )
    .vz7(),
    Key::new(
        &[],
        &["ALLOWREBOOT"],
        Group::Notes,
        Becomes::NoEffect("a VE that reboots itself comes up again"),
    )
    .vz7(),
    Key::new(
        &[],
        &["OSRELEASE"],
        Group::Notes,
        Becomes::NoEffect("a VE sees the host's kernel as it is"),
    )
    .vz7(),
    Key::new(&["ha_enable"], &["HA_ENABLE"], Group::Notes, Becomes::NoEffect(NODES)).vz7(),
    Key::new(&["ha_prio"], &["HA_PRIO"], Group::Notes, Becomes::NoEffect(NODES)).vz7(),
];
