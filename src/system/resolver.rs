//! The host's own name servers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where this host's name servers stand, below its root: first resolv.conf(5); where that names only a stub on
/// loopback, what systemd-resolved or NetworkManager keep the real ones in.
pub fn files(root: &Path) -> Vec<PathBuf> {
    [
        "etc/resolv.conf",
        "run/systemd/resolve/resolv.conf",
        "run/NetworkManager/no-stub-resolv.conf",
    ]
    .iter()
    .map(|file| root.join(file))
    .collect()
}

/// The name servers in the first of these files that has any which another machine can reach.
pub fn name_servers(files: &[PathBuf]) -> Vec<IpAddr> {
    files
        .iter()
        // A host without this file has no name servers there.
        .filter_map(|file| std::fs::read(file).ok())
        .map(|text| reachable(&String::from_utf8_lossy(&text)))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

fn reachable(text: &str) -> Vec<IpAddr> {
    // An address with a scope ("fe80::1%eth0") means nothing elsewhere, and is no address to this parser.
    let addresses = text.lines().filter_map(server).filter_map(|word| word.parse().ok());
    addresses.filter(|address| !is_own(address)).collect()
}

/// What a line of resolv.conf(5) names as a server.
fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next())?
}

/// Does the address mean the machine itself, or its own wire?
fn is_own(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    address.is_loopback() || address.is_unspecified() || link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_a_guest_can_reach() {
        let text = "# nameserver 192.0.2.1\nsearch acme.example\nnameserver 127.0.0.53\n nameserver\t192.0.2.53 # ours\n\
                    nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1\nnameserver 2001:db8::53\nnameserver\n\
                    nameserver 0.0.0.0\nnameserver dns.example\noptions edns0\n";
        let expected: Vec<IpAddr> = ["192.0.2.53", "2001:db8::53"].map(|a| a.parse().unwrap()).to_vec();
        assert_eq!(reachable(text), expected);
    }

    #[test]
    fn a_stub_leads_to_the_real_ones() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        assert_eq!(name_servers(&files), Vec::<IpAddr>::new());
        for (file, text) in files.iter().zip(["nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n"]) {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        assert_eq!(name_servers(&files), ["192.0.2.53".parse::<IpAddr>().unwrap()]);
        std::fs::write(&files[0], "nameserver 192.0.2.54\n").unwrap();
        assert_eq!(name_servers(&files), ["192.0.2.54".parse::<IpAddr>().unwrap()]);
    }
}
