//! What a parameter of a container is: its names, how it is written, and what it becomes in Hostel.

use super::value::Unit;

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Legacy vzctl, and mostly its successors too.
    Legacy,
    /// Only the newer generation.
    Vz7,
}

/// What it is about: a heading of the documentation, and what the exit code of a failure follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Name, template, boot order.
    Identity,
    /// venet and veth.
    Network,
    /// Memory, and what else beancounters counted.
    Memory,
    /// Processors.
    Cpu,
    /// Disk space and files.
    Disk,
    /// Disk bandwidth.
    Io,
    /// Capabilities, features, devices.
    Security,
    /// What is said of a container and changes nothing.
    Notes,
}

impl Group {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Network,
        Self::Memory,
        Self::Cpu,
        Self::Disk,
        Self::Io,
        Self::Security,
        Self::Notes,
    ];

    /// Its heading.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Identity => "Name, template and boot",
            Self::Network => "Network",
            Self::Memory => "Memory and what beancounters counted",
            Self::Cpu => "Processors",
            Self::Disk => "Disk",
            Self::Io => "Disk bandwidth",
            Self::Security => "Capabilities, features and devices",
            Self::Notes => "What was only noted of a container",
        }
    }
}

/// A parameter: an option of `vzctl set` and `create`, a key of CTID.conf, or both.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The options that mean it, without dashes: `numproc`, `p`. Empty: it stands in files only.
    pub options: &'static [&'static str],
    /// The keys of CTID.conf that mean it, the usual one first; empty: it is an option only. Where there is no option,
    /// they may be several of which the same is to be said.
    pub config: &'static [&'static str],
    /// What it is about.
    pub group: Group,
    /// Who has it.
    pub since: Since,
    /// Does the option take a value?
    pub valued: bool,
    /// In what its numbers count, if it is `barrier:limit` and has no effect.
    pub counts: Option<Unit>,
    /// What it becomes.
    pub becomes: Becomes,
}

impl Key {
    /// A parameter of both generations, the option of which takes a value.
    pub(super) const fn new(
        options: &'static [&'static str],
        config: &'static [&'static str],
        group: Group,
        becomes: Becomes,
    ) -> Self {
        Self {
            options,
            config,
            group,
            since: Since::Legacy,
            valued: true,
            counts: None,
            becomes,
        }
    }

    /// Of the newer generation only.
    pub(super) const fn vz7(mut self) -> Self {
        self.since = Since::Vz7;
        self
    }

    /// Its option takes no value.
    pub(super) const fn flag(mut self) -> Self {
        self.valued = false;
        self
    }

    /// A pair of numbers.
    pub(super) const fn counting(mut self, unit: Unit) -> Self {
        self.counts = Some(unit);
        self
    }

    /// Its usual name in a file.
    pub fn name(&self) -> Option<&'static str> {
        self.config.first().copied()
    }

    /// How a person finds it again: its first option, or its key.
    pub fn title(&self) -> String {
        match (self.options.first(), self.name()) {
            (Some(option), _) if option.len() == 1 => format!("-{option}"),
            (Some(option), _) => format!("--{option}"),
            (None, name) => name.unwrap_or_default().to_owned(),
        }
    }
}

/// What a parameter becomes.
#[derive(Debug, Clone, Copy)]
pub enum Becomes {
    /// Settings of a definition.
    Settings {
        /// Their keys.
        keys: &'static [&'static str],
        /// How its value is turned into theirs.
        by: By,
        /// What is different from the original; empty: nothing.
        differs: &'static str,
    },
    /// What takes more than the value: the container's interfaces, say.
    Act {
        /// What it is.
        act: Act,
        /// What is different from the original; empty: nothing.
        differs: &'static str,
    },
    /// It is accepted, remembered and reported. Why it does nothing.
    NoEffect(&'static str),
    /// It is refused, as ignoring it would be unsafe. Why, and what to do instead.
    Refused(&'static str),
}

impl Becomes {
    /// A setting that means the same.
    pub(super) const fn same(keys: &'static [&'static str], by: By) -> Self {
        Self::Settings { keys, by, differs: "" }
    }

    /// A setting that means nearly the same.
    pub(super) const fn near(keys: &'static [&'static str], by: By, differs: &'static str) -> Self {
        Self::Settings { keys, by, differs }
    }

    /// What takes more than the value.
    pub(super) const fn act(act: Act, differs: &'static str) -> Self {
        Self::Act { act, differs }
    }
}

/// How a value is turned into settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// As it is written.
    Text,
    /// Lines become blanks: a definition's texts have one line.
    OneLine,
    /// `yes` and `no`.
    Truth,
    /// `ONBOOT`, which knows `auto` too.
    OnBoot,
    /// A whole number up to the given one.
    Whole(u64),
    /// Seconds; 0 for the host's usual.
    Seconds,
    /// The limit of a pair.
    Limit(Unit),
    /// The barrier of a pair; 0 and no limit for none.
    Barrier(Unit),
    /// A limit of which 0 means none.
    OrNone(Unit),
    /// Weight of processors.
    CpuUnits,
    /// Percent of processors.
    CpuLimit,
    /// How many processors.
    Cpus,
    /// A list of processors.
    CpuList,
    /// 0 to 7, 4 being the usual.
    IoPriority,
    /// Addresses, or `inherit`.
    Inherited,
    /// `stop` or `suspend`.
    StopMode,
}

/// What takes more than a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The container's name.
    Name,
    /// The template it is made from.
    Template,
    /// A plan.
    Plan,
    /// `user:password`
    Password,
    /// Addresses to add.
    AddAddress,
    /// Addresses to take away, or `all`.
    RemoveAddress,
    /// An interface on a bridge, as `--netif_add` writes it.
    AddInterface,
    /// One to take away, or `all`.
    RemoveInterface,
    /// All interfaces, as CTID.conf writes them.
    Interfaces,
    /// Which interface the options after it are about.
    NameInterface,
    /// Of the interface named before: its hardware address.
    Mac,
    /// Of that: the bridge it is on.
    Bridge,
    /// Of that: may it send from its own hardware address only?
    MacFilter,
    /// Of that: the name of Hostel's network that it is on.
    Network,
    /// Of that: does it ask for an address?
    Dhcp,
    /// A limit of memory where there is no other.
    PrivateMemory,
    /// A guarantee in percent of the memory.
    MemoryGuarantee,
    /// `dev:class:kbit`
    Rate,
    /// Is that rate the most, too?
    RateBound,
    /// `NAME:on|off` of capabilities.
    Capabilities,
    /// `name:on|off` of features.
    Features,
    /// `device:rwq`
    DeviceNodes,
    /// `c:major:minor:rwq`
    DeviceNumbers,
    /// The most files, which only a new disk can be given.
    Inodes,
    /// Where the ids of the container's user namespace begin; 0 for none.
    LocalIds,
    /// That the password is a hash.
    Crypted,
}
