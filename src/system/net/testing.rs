//! Throw-away network namespaces for tests: one plays the host, others play VEs or the world outside. They live as
//! long as their descriptor and the processes in them, so nothing is left when a test fails.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Output};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::{Link, Network, RoutedNetwork};

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Space(OwnedFd);

impl Space {
    /// A new one with `lo` up; `None`, after saying so, if this process may not make one.
    pub fn new() -> Option<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)?;
            File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
        });
        match made.join().unwrap() {
            Ok(fd) => {
                let space = Self(fd);
                space.ip("link set lo up");
                Some(space)
            }
            Err(e) => {
                println!("skipped because network namespaces can't be made: {e}");
                None
            }
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `work` in this namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let enter = || {
                setns(self.fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            };
            scope
                .spawn(enter)
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program in this namespace.
    pub fn output(&self, program: &str, args: &str) -> Output {
        self.run(|| Command::new(program).args(args.split_whitespace()).output().unwrap())
    }

    /// Runs `ip` here; it must succeed.
    pub fn ip(&self, args: &str) -> String {
        let output = self.output("ip", args);
        assert!(
            output.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `ip -j` says.
    pub fn ip_json(&self, args: &str) -> serde_json::Value {
        let text = self.ip(&format!("-j {args}"));
        serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).unwrap()
    }

    /// The names of the interfaces here, without `lo`.
    pub fn interfaces(&self) -> Vec<String> {
        let links = self.ip_json("link");
        let names = links
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["ifname"].as_str().unwrap().to_owned());
        names.filter(|n| n != "lo").collect()
    }

    /// Does an echo request to `target` come back? Asks up to `tries` times, a second each.
    pub fn ping(&self, target: &str, tries: u32) -> bool {
        (0..tries).any(|_| self.output("ping", &format!("-n -c 1 -W 1 {target}")).status.success())
    }

    /// Does the answer to one echo request come? It may take its time on a machine that is busy.
    pub fn reaches(&self, target: &str) -> bool {
        self.output("ping", &format!("-n -c 1 -W 10 {target}")).status.success()
    }

    /// A value below /proc/sys/net, as this namespace sees it.
    pub fn sysctl(&self, key: &str) -> String {
        self.run(|| {
            std::fs::read_to_string(format!("/proc/sys/net/{key}"))
                .unwrap()
                .trim()
                .to_owned()
        })
    }

    /// Sets it.
    pub fn set_sysctl(&self, key: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/net/{key}"), value).unwrap());
    }
}

/// The real network, made from the namespace of the caller.
pub(crate) fn network() -> RoutedNetwork {
    RoutedNetwork::new("/proc")
}

/// The link of VE `id`, interface `n`.
pub(crate) fn link(id: u32, n: u32, addresses: &[&str]) -> Link {
    let [_, _, high, low] = id.to_be_bytes();
    Link {
        host_name: format!("hv{id}.{n}"),
        guest_name: format!("eth{n}"),
        number: n,
        mac: [0x02, 0, 0, high, low, u8::try_from(n).unwrap()],
        mtu: None,
        big_tcp: false,
        addresses: addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect(),
        routes: Vec::new(),
        alias: format!("hostel VE {id}"),
        port: None,
        proxy: None,
    }
}

/// A host, prepared, and a VE with these addresses.
pub(crate) fn host_and_ve(id: u32, addresses: &[&str]) -> Option<(Space, Space)> {
    let host = Space::new()?;
    host.run(|| network().prepare_host()).unwrap();
    let ve = add_ve(&host, id, addresses)?;
    Some((host, ve))
}

/// One more VE on this host.
pub(crate) fn add_ve(host: &Space, id: u32, addresses: &[&str]) -> Option<Space> {
    let ve = Space::new()?;
    host.run(|| network().attach(ve.fd(), &[link(id, 0, addresses)]))
        .unwrap();
    Some(ve)
}
