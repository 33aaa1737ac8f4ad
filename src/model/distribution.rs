//! Kinds of distributions and inits.

use crate::definition::value::words;

words! {
    /// A family of distributions that keep their identity in the same files; it decides how a guest is set up.
    Family, "debian, ubuntu, rhel, fedora, alpine, busybox or generic",
    /// Debian and what is made from it, except Ubuntu.
    Debian = "debian",
    /// Ubuntu and what is made from it: netplan over networkd.
    Ubuntu = "ubuntu",
    /// Red Hat Enterprise Linux and its rebuilds: NetworkManager.
    Rhel = "rhel",
    /// Fedora.
    Fedora = "fedora",
    /// Alpine.
    Alpine = "alpine",
    /// A root with little more than BusyBox.
    Busybox = "busybox",
    /// Everything else.
    Generic = "generic",
}

words! {
    /// The program that runs as process 1: it decides by which signals a guest is asked to halt.
    InitKind, "systemd, openrc, sysvinit or busybox",
    /// systemd.
    Systemd = "systemd",
    /// OpenRC: `openrc-init`, or started by another init.
    Openrc = "openrc",
    /// System V init.
    Sysvinit = "sysvinit",
    /// The `init` applet of BusyBox (Alpine's too, which runs OpenRC under it).
    Busybox = "busybox",
}

impl Family {
    /// The family that an os-release(5) text tells: its `ID`, else the first of its `ID_LIKE` that is known.
    pub fn from_os_release(text: &str) -> Self {
        let ids = field(text, "ID").into_iter().chain(field(text, "ID_LIKE"));
        ids.flat_map(str::split_ascii_whitespace)
            .find_map(Self::from_os_id)
            .unwrap_or(Self::Generic)
    }

    fn from_os_id(id: &str) -> Option<Self> {
        Some(match id {
            "debian" | "devuan" | "raspbian" => Self::Debian,
            "ubuntu" => Self::Ubuntu,
            "rhel" | "centos" | "almalinux" | "rocky" | "ol" | "amzn" => Self::Rhel,
            "fedora" => Self::Fedora,
            "alpine" => Self::Alpine,
            "busybox" | "buildroot" => Self::Busybox,
            _ => return None,
        })
    }
}

/// A value of os-release(5): the last assignment counts, as in a shell. Values we look for need no escapes.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    values.next_back().map(|value| value.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_tells_the_family() {
        for (text, family) in [
            ("ID=debian\n", Family::Debian),
            ("NAME=x\r\nID='debian'\r\n", Family::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Ubuntu),
            ("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\n", Family::Rhel),
            ("ID=\"virtuozzo\"\nID_LIKE=\"rhel centos fedora\"\n", Family::Rhel),
            ("ID=nobara\nID_LIKE=fedora\n", Family::Fedora),
            ("ID_LIKE=debian\nID=alpine\n", Family::Alpine),
            ("ID=debian\nID=fedora\n", Family::Fedora),
            ("ID=arch\n", Family::Generic),
            ("#ID=debian\nVERSION_ID=debian\n", Family::Generic),
            ("", Family::Generic),
            ("ID=\nID_LIKE=\"\"", Family::Generic),
        ] {
            assert_eq!(Family::from_os_release(text), family, "{text:?}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for family in Family::ALL {
            assert_eq!(family.as_str().parse(), Ok(*family));
        }
        assert!("Debian".parse::<Family>().unwrap_err().contains("debian, ubuntu"));
    }
}
