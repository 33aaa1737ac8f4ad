//! Which CRIU does for which kernel.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A version of CRIU, or of Linux: the first two numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl FromStr for Version {
    type Err = String;
    /// From "4.2.1", "6.1.0-31-cloud-amd64", "3.17".
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(format!("\"{text}\" is no version")),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a dump depends on besides CRIU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's features, as /proc/cpuinfo names them.
    pub features: BTreeSet<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> crate::Result<Self> {
        let kernel = crate::file::read(Path::new("/proc/sys/kernel/osrelease"))?
            .trim()
            .to_owned();
        let cpuinfo = crate::file::read(Path::new("/proc/cpuinfo"))?;
        let flags = cpuinfo
            .lines()
            .find(|l| l.starts_with("flags") || l.starts_with("Features"));
        let flags = flags.and_then(|l| l.split_once(':')).map(|(_, list)| list);
        let features = flags
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        Ok(Self { kernel, features })
    }
}

/// The least CRIU for a kernel. 3.14 freezes by cgroup v2; 4.1 knows the mapping vvar_vclock that Linux 6.13 has; from
/// 6.16 on TCP sockets refuse an option that earlier ones than 4.2 ask for (CRIU's release notes).
pub fn least(kernel: Version) -> Version {
    match kernel {
        k if k >= Version(6, 16) => Version(4, 2),
        k if k >= Version(6, 13) => Version(4, 1),
        _ => Version(3, 14),
    }
}

/// Does this CRIU bring back System V IPC objects of a VE on this kernel? Since Linux 5.19 a file of /proc/sys/kernel
/// belongs to the IPC namespace in which it was opened (commits 1f5c135ee5, 0889f44e28). CRIU opens the one that chooses
/// an object's id in the host's, and only from 3.18 on in the VE's (CRIU's commit 840735aa08).
pub fn keeps_ipc(criu: Version, kernel: Version) -> bool {
    criu >= Version(3, 18) || kernel < Version(5, 19)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_told() {
        for (text, version) in [
            ("4.2.1", Version(4, 2)),
            ("6.1.0-31-cloud-amd64", Version(6, 1)),
            ("3.17", Version(3, 17)),
        ] {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
        for text in ["", "4", "v4.2", "4.x"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert_eq!(least(Version(6, 18)), Version(4, 2));
        assert_eq!(least(Version(6, 15)), Version(4, 1));
        assert_eq!(least(Version(6, 1)), Version(3, 14));
        assert!(Version(3, 17) < Version(4, 0));
        assert!(!keeps_ipc(Version(3, 17), Version(6, 1)));
        assert!(keeps_ipc(Version(3, 17), Version(5, 10)) && keeps_ipc(Version(3, 18), Version(6, 1)));
    }
}
