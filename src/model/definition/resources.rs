//! The keys that plans and VEs share: a plan sets them, a VE overrides them.

use serde::Serialize;

use super::count::Count;
use super::field::{Field, When, fields};
use super::value::words;
use crate::bandwidth::{Bandwidth, Burst};
use crate::limits::{Cap, CpuSet, Max, Weight};
use crate::units::{Bytes, Rate};

words! {
    /// What a VE's disk is made of.
    DriverName, "\"project\", \"btrfs\" or \"image\"",
    /// A directory with a project quota of ext4 or XFS.
    Project = "project",
    /// A btrfs subvolume with a quota group.
    Btrfs = "btrfs",
    /// A sparse file with an ext4 on a loop device.
    Image = "image",
}

/// What a plan grants, or a VE overrides. `None`: the key isn't there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// `[cpu]`
    pub cpu: CpuKeys,
    /// `[memory]`
    pub memory: MemoryKeys,
    /// `processes`: the most processes and threads at once.
    pub processes: Option<Max<Count>>,
    /// `[disk]`
    pub disk: DiskKeys,
    /// `[io]`
    pub io: IoKeys,
    /// `[net]`
    pub net: NetKeys,
    /// `[features]`
    pub features: FeatureKeys,
}

/// `[cpu]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpuKeys {
    /// The most processor time.
    pub cap: Option<Max<Cap>>,
    /// The share under contention.
    pub weight: Option<Weight>,
    /// The processors it may run on.
    pub pin: Option<Max<CpuSet>>,
    /// On how many processors it runs.
    pub count: Option<Max<Count>>,
}

/// `[memory]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemoryKeys {
    /// The most memory.
    pub limit: Option<Max<Bytes>>,
    /// The most swap besides.
    pub swap: Option<Max<Bytes>>,
    /// Memory that is never reclaimed.
    pub guarantee: Option<Bytes>,
}

/// `[disk]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiskKeys {
    /// Its size.
    pub size: Option<Bytes>,
    /// The most files.
    pub inodes: Option<Max<Count>>,
    /// What it is made of.
    pub driver: Option<DriverName>,
}

/// `[io]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IoKeys {
    /// Bytes read per second.
    pub read: Option<Max<Rate>>,
    /// Bytes written per second.
    pub write: Option<Max<Rate>>,
    /// Read operations per second.
    pub read_ops: Option<Max<Count>>,
    /// Write operations per second.
    pub write_ops: Option<Max<Count>>,
    /// The share under contention.
    pub weight: Option<Weight>,
}

/// `[net]`: of all its interfaces together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetKeys {
    /// To the VE.
    #[serde(rename = "in")]
    pub inward: Option<Max<Bandwidth>>,
    /// From the VE.
    #[serde(rename = "out")]
    pub outward: Option<Max<Bandwidth>>,
    /// What may pass at once after a pause.
    pub burst: Option<Burst>,
}

/// Builds the switches as the definition has them (`FeatureKeys`) and as they come out (`Features`) from one list.
macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $line:literal;)+) => {
        /// `[features]`: what the kernel's attack surface is opened for. A missing switch is closed.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct FeatureKeys {
            $($(#[$doc])* pub $name: Option<bool>,)+
        }

        /// The switches as they are in force.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct Features {
            $($(#[$doc])* pub $name: bool,)+
        }

        impl FeatureKeys {
            /// Each switch with its key, `features.nesting`.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<bool>)> {
                [$(($key, self.$name),)+].into_iter()
            }

            /// Those that are said to be open, and no others.
            pub fn granted(&self) -> Features {
                Features { $($name: self.$name == Some(true),)+ }
            }
        }

        impl Features {
            /// Each switch with its key, `features.nesting`.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$(($key, self.$name),)+].into_iter()
            }

            /// These, where `keys` says nothing else.
            #[must_use]
            pub fn overridden_by(self, keys: &FeatureKeys) -> Self {
                Self { $($name: keys.$name.unwrap_or(self.$name),)+ }
            }
        }

        const FEATURE_FIELDS: &[Field<Resources>] = fields! {
            $($key: bool => features.$name, $line, "true", When::Restart;)+
        };
    };
}

features! {
    /// User namespaces inside, so containers in the VE.
    nesting = "features.nesting", "user namespaces inside, for containers in the VE";
    /// The io_uring system calls. What they do passes no filter of system calls.
    io_uring = "features.io_uring", "io_uring (some databases), and by it sockets of all families";
    /// The kernel keyring.
    keyring = "features.keyring", "the kernel keyring (keyctl; some Kerberos set-ups)";
    /// The /dev/fuse device.
    fuse = "features.fuse", "the /dev/fuse device (sshfs, AppImages, fuse-overlayfs)";
    /// The /dev/net/tun device.
    tun = "features.tun", "the /dev/net/tun device (OpenVPN and other VPNs)";
    /// 32-bit programs.
    compat32 = "features.compat32", "32-bit programs on a 64-bit host";
    /// IPsec by the kernel.
    ipsec = "features.ipsec", "IPsec by the kernel (XFRM netlink sockets)";
}

const NEVER_INODES: When = When::Never(
    "it is fixed when the disk is made (an image's file system has its room for files laid out then), and grows only with disk.size; keep the value it has",
);

const LIMIT_FIELDS: &[Field<Resources>] = fields! {
    "cpu.cap": Max<Cap> => cpu.cap, "most processor time, in processors or percent of one", "1.5";
    "cpu.weight": Weight => cpu.weight, "share of the processors under contention; 100 is everybody's default", "200";
    "cpu.pin": Max<CpuSet> => cpu.pin, "the only processors it runs on", "\"0-3\"";
    "cpu.count": Max<Count> => cpu.count, "how many processors it runs on and sees; Hostel chooses the least taken", "2";
    "memory.limit": Max<Bytes> => memory.limit, "most memory; above it the VE's own OOM killer acts", "\"2GiB\"";
    "memory.swap": Max<Bytes> => memory.swap, "most swap besides the memory; none if not set, all if memory is unlimited", "\"512MiB\"";
    "memory.guarantee": Bytes => memory.guarantee, "memory never taken from it while others are short", "\"256MiB\"";
    "processes": Max<Count> => processes, "most processes and threads at once", "1000";
    "disk.size": Bytes => disk.size, "size of its disk; grows at once, shrinks only while stopped", "\"20GiB\"";
    "disk.inodes": Max<Count> => disk.inodes, "most files and directories; fixed when it is made, grows with disk.size",
        "1000000", NEVER_INODES;
    "disk.driver": DriverName => disk.driver, "what its disk is made of; changes only while it is stopped",
        "\"project\"";
    "io.read": Max<Rate> => io.read, "most bytes read from disk per second", "\"50MiB\"";
    "io.write": Max<Rate> => io.write, "most bytes written to disk per second", "\"50MiB\"";
    "io.read_ops": Max<Count> => io.read_ops, "most read operations per second", "1000";
    "io.write_ops": Max<Count> => io.write_ops, "most write operations per second", "1000";
    "io.weight": Weight => io.weight, "share of the disk under contention; 100 is everybody's default", "200";
    "net.in": Max<Bandwidth> => net.inward, "most bits per second to it, all interfaces together", "\"100Mbit\"";
    "net.out": Max<Bandwidth> => net.outward, "most bits per second from it, all interfaces together", "\"100Mbit\"";
    "net.burst": Burst => net.burst, "bytes that may pass these at once after a pause; 10 ms if not set", "\"256KiB\"";
};

/// All of them.
pub(crate) static RESOURCE_FIELDS: std::sync::LazyLock<Vec<&'static Field<Resources>>> =
    std::sync::LazyLock::new(|| LIMIT_FIELDS.iter().chain(FEATURE_FIELDS).collect());
