//! What is outside of a VE: nothing of the host's goes in, nobody on the host but root gets at what is inside, and
//! nothing that lies in a tenant's tree has a say in how it is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::path::Path;
use std::process::Command;

use house::House;
use probe::{armed, inside, monitor};

#[test]
fn nothing_of_the_hosts_environment_is_inside_or_on_a_command_line() {
    let h = House::new();
    h.ok(&["create", "ve", "--template", "busybox"]);
    let secret = "hunter2-of-the-host";
    let mut start = h.command(&["start", "ve"]);
    assert!(start.env("TOKEN", secret).output().unwrap().status.success());
    let mut exec = h.command(&[
        "exec",
        "--env",
        "PASSWORD=inside-only",
        "ve",
        "--",
        "sh",
        "-c",
        "env; sleep 600",
    ]);
    let mut running = exec
        .env("TOKEN", secret)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    h.until("the command runs", 10, || {
        !h.sh("ve", "ps | grep '[s]leep 600' || true").is_empty()
    });
    for process in ["/proc/1/environ", "/proc/self/environ", "/proc/[0-9]*/environ"] {
        assert_eq!(
            h.sh("ve", &format!("cat {process} 2>/dev/null | grep -ac hunter2 || true")),
            "0"
        );
    }
    let known = h.sh(
        "ve",
        "tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort | tr '\\n' ' '",
    );
    assert_eq!(known, "PATH TERM container container_uuid");
    let pid = monitor(&h, "ve");
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(line.starts_with("hostel-monitor\0") && line.len() < 32, "{line:?}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains(secret));
    // What enters a VE carries its orders in memory too: not even the environment that the command gets shows.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(
            !(line.starts_with("hostel-monitor") && line.contains("inside-only")),
            "{line}"
        );
    }
    h.sh("ve", "kill $(ps | awk '/[s]leep 600/{print $1}')");
    running.wait().unwrap();
}

/// A copy of a shell with the setuid bit of the VE's root, the classic gift to a friend on the host.
#[test]
fn nobody_on_the_host_reaches_a_tree_or_a_socket() {
    let h = House::new();
    h.busybox("ve");
    h.sh("ve", "cp /bin/busybox /tmp/suid && chmod 4755 /tmp/suid");
    let try_all = |when: &str| {
        let mut reached = Vec::new();
        for top in [h.dir.join("data"), h.run.clone(), h.dir.join("etc")] {
            let find = nobody("find").arg(&top).args(["-mindepth", "1"]).output().unwrap();
            reached.extend(String::from_utf8_lossy(&find.stdout).lines().map(String::from));
        }
        assert!(reached.is_empty(), "{when}: {reached:?}");
        for socket in fs::read_dir(&h.run)
            .unwrap()
            .flatten()
            .map(|e| e.path().join("monitor.sock"))
        {
            assert!(
                !nobody("test").arg("-e").arg(&socket).status().unwrap().success(),
                "{when}: {}",
                socket.display()
            );
        }
    };
    try_all("running");
    h.ok(&["stop", "ve"]);
    try_all("stopped");
    h.in_mounted_root("ve", |root| {
        try_all("mounted");
        let run = |program: &mut Command| {
            program
                .output()
                .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        };
        assert!(
            run(nobody("/bin/sh")
                .arg("-c")
                .arg(format!("{} id", root.join("tmp/suid").display())))
            .unwrap()
            .is_empty()
        );
        assert!(
            run(Command::new(root.join("tmp/suid")).arg("id")).is_err(),
            "nothing there runs, not even for root"
        );
    });
}

/// A program run by the host's user nobody.
fn nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

/// The same for templates, which hold setuid programs of strangers. A store that Hostel makes is shut.
#[test]
fn nobody_on_the_host_reaches_a_template() {
    let h = House::new();
    let template = h.dir.join("store");
    let config = h.read("hostel.toml");
    let own: String = config
        .lines()
        .map(|l| {
            if l.starts_with("templates") {
                format!("templates = \"{}\"\n", template.display())
            } else {
                format!("{l}\n")
            }
        })
        .collect();
    h.write("hostel.toml", &own);
    h.ok(&["init"]);
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        println!("skipped because busybox-static is not installed");
        return;
    }
    h.ok(&["template", "build", "busybox"]);
    let find = nobody("find")
        .arg(&template)
        .args(["-mindepth", "1", "-name", "busybox", "-type", "f"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&find.stdout), "");
}

/// Files with the names of our own, and of others' managers, in the tree of a tenant change nothing.
#[test]
fn configuration_in_the_tenants_tree_has_no_effect() {
    let h = armed();
    let before = h.ok(&["show", "ve"]);
    let traps = "for d in / /etc /root /var/lib/hostel; do mkdir -p $d; \
        printf 'id = 1\\nlower = \"/\"\\nslot = 0\\n' > $d/state.toml; printf '[features]\\nnesting = true\\n' > $d/ve.toml; \
        printf '[Exec]\\nCapability=all\\nPrivateUsers=no\\n' > $d/.nspawn; printf 'privileged: true\\n' > $d/metadata.yaml; \
        printf 'security.privileged: \"true\"\\n' > $d/backup.yaml; ln -sf /proc/1/root $d/rootfs; mkdir -p $d/templates $d/upper $d/work; \
        echo '<x/>' > $d/DiskDescriptor.xml; ln -sfn ../../102/root.hdd $d/root.hdd; done";
    h.sh("ve", traps);
    let is = "cat /proc/1/uid_map /proc/sys/user/max_user_namespaces; grep Cap /proc/1/status; df / | tail -1 | cut -d' ' -f1; hostname";
    let was = h.sh("ve", is);
    h.ok(&["restart", "ve"]);
    assert_eq!(h.ok(&["show", "ve"]), before);
    assert_eq!(h.sh("ve", is), was);
    assert_eq!(inside(&h, "ve", &["calls", "native"])["keyctl"], "ENOSYS");
}

/// Sockets without a place in the file system belong to a network namespace.
#[test]
fn abstract_sockets_of_the_host_are_not_there() {
    let h = armed();
    let name = format!("hostel-test-{}", std::process::id());
    let mut server = h
        .on_host(probe::probe())
        .args(["serve", &name])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0u8; 8];
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"bind ok\n");
    let host = h.on_host(probe::probe()).args(["connect", &name]).output().unwrap();
    assert_eq!(host.stdout, b"connect ok\n", "the control");
    let found = inside(&h, "ve", &["connect", &name]);
    drop(server.stdin.take());
    server.wait().unwrap();
    assert_eq!(found["connect"], "ECONNREFUSED");
}
