//! vzlist and OpenVZ's small tools on real VEs, as monitors and panels call them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod house;

use house::{House, Ran, until};
use serde_json::Value;

/// A house that speaks the dialect.
struct Vz(House);

impl Vz {
    fn new() -> Self {
        Self::with("")
    }

    /// With these lines in its hostel.toml.
    fn with(settings: &str) -> Self {
        let house = House::with(settings);
        let dir = house.dir.join("sbin").display().to_string();
        house.ok(&["init", &format!("--vz={dir}")]);
        Self(house)
    }

    fn run(&self, tool: &str, args: &[&str]) -> Ran {
        let mut command = self.0.on_host(self.0.dir.join("sbin").join(tool));
        command.env("HOSTEL_CONFIG", self.0.dir.join("hostel.toml"));
        command.args(args).output().unwrap().into()
    }

    #[track_caller]
    fn ok(&self, tool: &str, args: &[&str]) -> String {
        let ran = self.run(tool, args);
        assert_eq!(ran.code, 0, "{tool} {args:?}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// One value, as a monitor asks for it.
    #[track_caller]
    fn value(&self, field: &str, id: &str) -> String {
        self.ok("vzlist", &["-a", "-H", "-o", field, id]).trim().to_owned()
    }

    #[track_caller]
    fn number(&self, field: &str, id: &str) -> u64 {
        let value = self.value(field, id);
        value.parse().unwrap_or_else(|_| panic!("{field} of {id} is {value:?}"))
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok("vzlist", args);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        value.as_array().unwrap().clone()
    }
}

#[test]
fn clients_find_what_they_parse() {
    let vz = Vz::new();
    let h = &vz.0;
    let none = vz.run("vzlist", &["-a"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.contains("not found"), "{}", none.err);
    assert_eq!(vz.ok("vzlist", &["-a", "-j"]).trim(), "[]");
    h.busybox_with("web1", &["memory.limit=64MiB", "processes=40", "hostname=web1.example"]);
    h.ok(&["create", "db1", "--template", "busybox"]);
    // libvirt reads "%d %s" of each line.
    let lines = vz.ok("vzlist", &["-a", "-ovpsid,status", "-H"]);
    let rows: Vec<(u32, &str)> = lines
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().parse().unwrap(), words.next().unwrap())
        })
        .collect();
    assert_eq!(rows, [(101, "running"), (102, "stopped")]);
    assert_eq!(vz.ok("vzlist", &["-ovpsid", "-H", "-S"]).trim(), "102");
    // OpenVZ Web Panel splits at blanks.
    let lines = vz.ok("vzlist", &["-a", "-H", "-o", "veid,hostname,ip,status"]);
    let first: Vec<&str> = lines.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        (first[0], first[1], first[first.len() - 1]),
        ("101", "web1.example", "running")
    );
    assert!(first[2].parse::<std::net::IpAddr>().is_ok(), "{first:?}");
    // Ansible and others read all.
    let all = vz.json(&["-a", "-j"]);
    assert_eq!(
        (all.len(), &all[0]["ctid"], &all[1]["status"]),
        (2, &101.into(), &"stopped".into())
    );
    assert_eq!(all[0]["physpages"]["limit"], 64 << 20 >> 12);
    assert!(all[0]["numproc"]["held"].as_u64().unwrap() >= 1 && all[1]["numproc"]["held"].is_null());
    assert_eq!(all[0]["privvmpages"]["limit"], Value::Null, "unlimited");
    assert!(all[0]["ip"].is_array() && all[0]["laverage"].is_null() && all[0]["uptime"].is_u64());
    assert!(all[0]["net_in"].is_u64() && all[0]["cpu_ns"].as_u64().unwrap() > 0 && all[0]["disk"].is_u64());
    assert!(all[0].get("cpu_percent").is_none(), "it would take 80 ms");
    assert!(vz.value("cpu_percent", "101").parse::<f64>().is_ok());
    // By the name that only the dialect knows.
    h.ok(&["set", "db1", "openvz.NAME=Data Base"]);
    assert_eq!(
        vz.ok("vzlist", &["-H", "-o", "ctid,name", "Data Base"]).trim(),
        "102 Data Base"
    );
    assert_eq!(vz.ok("vzlist", &["-H", "-o", "ctid", "web1"]).trim(), "101");
    // Others take numbers, one on a line.
    assert_eq!(
        vz.ok("vzlist", &["-a1"]).split_whitespace().collect::<Vec<_>>(),
        ["101", "102"]
    );
    assert_eq!(vz.ok("vzlist", &["-1"]), format!("{:>10}\n", 101));
    let usual = vz.ok("vzlist", &[]);
    assert!(
        usual.starts_with("      CTID      NPROC STATUS    IP_ADDR         HOSTNAME\n"),
        "{usual}"
    );
    let missing = vz.run("vzlist", &["-H", "-o", "ctid", "101", "999"]);
    assert_eq!((missing.code, missing.out.trim()), (1, "101"));
    assert!(missing.err.contains("999"), "{}", missing.err);
    assert_eq!(vz.run("vzlist", &["-o", "colour"]).code, 1);
}

#[test]
fn figures_are_those_of_the_guest_and_limits_that_were_hit_are_counted() {
    let vz = Vz::new();
    let h = &vz.0;
    h.busybox_with("web1", &["memory.limit=64MiB", "memory.swap=0", "processes=40"]);
    let inside: u64 = h.sh("web1", "ls -d /proc/[0-9]* | wc -l").parse().unwrap();
    let held = vz.number("numproc", "101");
    assert!(
        held >= 1 && held <= inside,
        "{held} of {inside}, the shell's own included"
    );
    assert_eq!((vz.number("numproc.l", "101"), vz.number("numproc.b", "101")), (40, 40));
    assert_eq!(vz.number("physpages.l", "101"), 64 << 20 >> 12);
    assert_eq!(vz.value("swappages.l", "101"), "0");
    assert_eq!(vz.value("kmemsize.l", "101"), "9223372036854775807");
    // More processes than it may have.
    let before = vz.number("numproc.f", "101");
    h.run(&[
        "exec",
        "web1",
        "--",
        "/bin/sh",
        "-c",
        "for i in $(seq 60); do sleep 5 & done; wait",
    ]);
    until("refused processes are counted", 20, || {
        vz.number("numproc.f", "101") > before
    });
    until("those that could be made have ended", 20, || {
        vz.number("numproc", "101") < 10
    });
    // More memory than it may have.
    let before = vz.number("physpages.f", "101");
    h.run(&[
        "exec",
        "web1",
        "--",
        "/bin/sh",
        "-c",
        "dd if=/dev/zero of=/dev/null bs=96M count=1",
    ]);
    until("refused memory is counted", 20, || {
        vz.number("physpages.f", "101") > before
    });
    assert!(vz.number("physpages.m", "101") > 4096, "more than 16 MiB were held");
    // What the disk holds is what its df says.
    let df = h.sh("web1", "df -k / | tail -n 1");
    let words: Vec<u64> = df.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    let (used, free) = (words[1], words[2]);
    let near = |a: u64, b: u64| a.abs_diff(b) <= 1024;
    assert!(near(vz.number("diskspace", "101"), used), "{df}");
    assert!(near(vz.number("diskspace.h", "101"), used + free), "{df}");
    // The same in the form of the file.
    let file = h.ok(&["beancounters", "web1"]);
    let row = |name: &str| -> Vec<u64> {
        let line = file.lines().find(|l| l.split_whitespace().any(|w| w == name)).unwrap();
        line.split_whitespace().filter_map(|w| w.parse().ok()).collect()
    };
    assert!(
        file.starts_with("Version: 2.5\n") && file.contains("      101:  kmemsize "),
        "{file}"
    );
    assert_eq!(row("numproc")[3], 40);
    assert!(row("numproc")[4] > 0 && row("physpages")[4] > 0, "{file}");
    let table = vz.ok("vzubc", &["-q"]);
    assert!(
        table.contains("numproc") && table.contains("physpages") && !table.contains("numfile"),
        "{table}"
    );
}

#[test]
fn small_tools_tell_of_ves() {
    let vz = Vz::new();
    let h = &vz.0;
    h.busybox_with("web1", &["memory.limit=64MiB"]);
    let pid = h.status("web1", "pid").to_string();
    let own = std::process::id().to_string();
    let told = vz.ok("vzpid", &[&pid, &own]);
    let rows: Vec<Vec<&str>> = told.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(
        (rows[0].as_slice(), rows[1][1], rows[2][1]),
        (["Pid", "CTID", "Name"].as_slice(), "101", "0")
    );
    let told = vz.ok("vzpid", &["-p", &pid]);
    assert!(
        told.lines().nth(1).unwrap().starts_with(&format!("{pid}\t1\t101\t")),
        "{told}"
    );
    assert_eq!(vz.run("vzpid", &["4194999"]).code, 1);
    let ps = vz.ok("vzps", &["-E", "101", "-eo", "pid,comm"]);
    assert!(
        ps.lines().count() >= 2 && ps.lines().skip(1).all(|l| l.trim_start().starts_with("101 ")),
        "{ps}"
    );
    assert!(ps.contains(&pid), "{ps}");
    let host = vz.ok("vzps", &["-E0", "-eo", "pid,comm"]);
    assert!(
        !host.lines().any(|l| l.split_whitespace().nth(1) == Some(&pid)),
        "{host}"
    );
    let memory = vz.ok("vzmemcheck", &["-v", "-A"]);
    assert!(
        memory.lines().any(|l| l.starts_with("101 ") && l.ends_with("64.00")),
        "{memory}"
    );
    assert!(
        vz.ok("vzmemcheck", &[])
            .lines()
            .last()
            .unwrap()
            .split_whitespace()
            .count()
            == 8
    );
    let cpu = vz.ok("vzcpucheck", &["-v"]);
    assert!(
        cpu.contains("Current CPU utilization: 2000\n") && cpu.contains("\n101 "),
        "{cpu}"
    );
    let quota = vz.ok("vzquota", &["stat", "101"]);
    assert!(
        quota.lines().nth(1).unwrap().trim_start().starts_with("1k-blocks"),
        "{quota}"
    );
    assert_eq!(vz.run("vzquota", &["on", "101"]).code, 0);
    assert_eq!(vz.run("vzquota", &["stat", "999"]).code, 11);
    assert_eq!(vz.run("vzquota", &["setlimit", "101", "-b", "1"]).code, 2);
    h.sh(
        "web1",
        "ping -c 2 -W 2 $(ip route | sed -n 's/.*via \\([0-9.]*\\).*/\\1/p' | head -n 1) || true",
    );
    let traffic = vz.ok("vznetstat", &["-v", "101"]);
    assert!(
        traffic.lines().count() >= 2 && traffic.lines().nth(1).unwrap().starts_with("101 "),
        "{traffic}"
    );
    assert_eq!(vz.run("vznetstat", &["-r"]).code, 1);
    // A plan from a part of this host, and a sample that is one.
    vz.ok("vzsplit", &["-n", "4", "-f", "quarter"]);
    assert!(h.read("etc/plans/quarter.toml").contains("[memory]\nlimit = "));
    h.ok(&["capacity", "quarter"]);
    assert_eq!(vz.run("vzsplit", &["-n", "4", "-f", "quarter"]).code, 1, "it is there");
    h.write("sample", &vz.ok("vzsplit", &["-n", "4"]));
    let sample = h.dir.join("sample").display().to_string();
    assert!(vz.ok("vzcfgvalidate", &[&sample]).contains("success"));
    h.write("sample", "DISKSPACE=\"2G:1G\"\n");
    assert_eq!(vz.run("vzcfgvalidate", &[&sample]).code, 2);
    assert_eq!(vz.run("vzcfgvalidate", &["-r", &sample]).code, 0);
}

/// The file of a VE that is asked inside.
const INSIDE: &str = "/dev/.hostel/user_beancounters";

/// Where the kernel can't do it, a start says so, and that is all.
fn is_there(h: &House) -> bool {
    let there = h.run(&["exec", "web1", "--", "test", "-e", INSIDE]).code == 0;
    if !there {
        println!("skipped because the kernel doesn't ask before a file is opened (CONFIG_FANOTIFY_ACCESS_PERMISSIONS)");
    }
    there
}

#[test]
fn a_ve_finds_its_own_beancounters_inside() {
    let vz = Vz::with("proc.beancounters = true\n");
    let h = &vz.0;
    h.busybox_with("web1", &["memory.limit=64MiB", "processes=40"]);
    h.busybox_with("web2", &["memory.limit=32MiB"]);
    if !is_there(h) {
        return;
    }
    let file = || h.sh("web1", &format!("cat {INSIDE}"));
    let row = |text: &str, name: &str| -> Vec<u64> {
        let line = text.lines().find(|l| l.split_whitespace().any(|w| w == name)).unwrap();
        line.split_whitespace().filter_map(|w| w.parse().ok()).collect()
    };
    let first = file();
    // The same as the host tells, and nobody else's.
    let told = h.ok(&["beancounters", "web1"]);
    let shape = |text: &str| {
        text.lines()
            .map(|l| l.replace(|c: char| c.is_ascii_digit(), "").trim().replace(' ', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(shape(&first), shape(&told));
    for name in ["numproc", "physpages", "swappages", "lockedpages", "vmguarpages"] {
        let (inside, outside) = (row(&first, name), row(&told, name));
        assert_eq!(inside[2..4], outside[2..4], "{name}\n{first}\n{told}");
    }
    assert_eq!(row(&first, "physpages")[3], 64 << 20 >> 12);
    assert!(
        row(&first, "physpages")[0] > 0 && row(&first, "numproc")[0] > 0,
        "{first}"
    );
    assert!(
        !first.contains("102:") && first.lines().filter(|l| l.contains(':')).count() == 2,
        "{first}"
    );
    assert!(h.sh("web2", &format!("cat {INSIDE}")).contains("102:"));
    // What happens is there at once.
    h.run(&[
        "exec",
        "web1",
        "--",
        "/bin/sh",
        "-c",
        "for i in $(seq 60); do sleep 5 & done; wait",
    ]);
    until("refused processes are counted inside", 20, || {
        row(&file(), "numproc")[4] > 0
    });
    h.ok(&["set", "web1", "memory.limit=80MiB"]);
    until("a new limit is told", 5, || {
        row(&file(), "physpages")[3] == 80 << 20 >> 12
    });
    // Nobody inside writes to it, not even root who mounts it anew.
    let write = format!("mount -o remount,bind,rw {INSIDE}; chmod 666 {INSIDE}; echo x > {INSIDE}");
    assert_ne!(h.run(&["exec", "web1", "--", "/bin/sh", "-c", &write]).code, 0);
    assert!(file().starts_with("Version: 2.5\n"));
    // A monitor that was killed leaves it as it was; the next goes on.
    let monitor = h.host_sh(&format!(
        "cat /proc/{}/status | sed -n 's/^PPid:\\t//p'",
        h.status("web1", "pid")
    ));
    h.host_sh(&format!("kill -9 {monitor}"));
    assert!(file().starts_with("Version: 2.5\n"));
    h.ok(&["status", "web1"]);
    h.ok(&["set", "web1", "memory.limit=96MiB"]);
    until("the next monitor answers", 20, || {
        row(&file(), "physpages")[3] == 96 << 20 >> 12
    });
    h.ok(&["stop", "web1"]);
    h.ok(&["start", "web1"]);
    assert!(file().contains("101:"));
}

#[test]
fn it_outlasts_a_suspension() {
    let Some(house) = House::with_criu() else { return };
    let settings = house.read("hostel.toml");
    house.write("hostel.toml", &format!("proc.beancounters = true\n{settings}"));
    house.busybox("web1");
    if is_there(&house) {
        house.ok(&["suspend", "web1"]);
        house.ok(&["resume", "web1"]);
        assert!(house.sh("web1", &format!("cat {INSIDE}")).contains("101:"));
    }
}
