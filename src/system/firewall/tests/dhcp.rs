//! Real DHCP: a client of one VE, and a server of its neighbour.

use std::process::{Child, Command, Stdio};

use super::bridge::{on_side, port, spoofed, two_ports};
use super::*;
use crate::firewall::PortRules;

/// A busybox udhcpd that ends with the test, and the directory with its files.
struct Server(Child, std::path::PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Gives away addresses that nobody has given it.
fn serve(space: &Space, name: &str) -> Server {
    let dir = std::env::temp_dir().join(format!("hostel-dhcp-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (config, leases) = (dir.join("udhcpd.conf"), dir.join("leases"));
    std::fs::write(&leases, "").unwrap();
    let text = format!(
        "start 192.0.2.77\nend 192.0.2.77\ninterface eth0\nlease_file {}\npidfile {}\nopt router 192.0.2.10\n",
        leases.display(),
        dir.join("pid").display(),
    );
    std::fs::write(&config, text).unwrap();
    let run = || {
        let mut command = Command::new("busybox");
        command.arg("udhcpd").arg("-f").arg(&config);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    Server(space.run(run), dir)
}

/// What a client is given there; nothing if nobody answers it within some seconds.
fn ask(space: &Space) -> Option<String> {
    let asked = space.output("busybox", "udhcpc -f -n -q -t 3 -T 1 -i eth0 -s /bin/true");
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    let rest = said.split("lease of ").nth(1)?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[test]
fn a_rogue_server_is_not_heard_and_one_that_is_allowed_is() {
    if Command::new("busybox").arg("udhcpd").arg("--help").output().is_err() {
        println!("skipped because there is no busybox");
        return;
    }
    let client = || PortRules {
        dhcp_client: true,
        ..on_side(7)
    };
    for allowed in [false, true] {
        let server = PortRules {
            dhcp_server: allowed,
            ..on_side(7)
        };
        let Some((host, one, two)) = two_ports(server, client()) else {
            return;
        };
        let _server = serve(&one, if allowed { "allowed" } else { "rogue" });
        let before = spoofed(&host);
        let given = ask(&two);
        if allowed {
            assert_eq!(given.as_deref(), Some("192.0.2.77"));
        } else {
            assert_eq!(given, None);
            assert!(spoofed(&host) > before, "it answered");
            continue;
        }
        // Who isn't allowed doesn't even get to ask.
        let members = [
            port(
                101,
                PortRules {
                    dhcp_server: true,
                    ..on_side(7)
                },
            ),
            port(102, on_side(7)),
        ];
        host.run(|| firewall().admit(TABLE, &members)).unwrap();
        assert_eq!(ask(&two), None);
    }
}
