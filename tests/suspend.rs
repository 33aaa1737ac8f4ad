//! Suspending VEs to disk and resuming them, with a real CRIU.

#![allow(clippy::unwrap_used)]

mod house;

use std::time::Instant;

use house::House;

fn house() -> Option<House> {
    House::with_criu()
}

/// Counts up in a file, a few times a second.
const COUNTER: &str = "(i=0; while true; do i=$((i+1)); echo $i > /root/count.new; mv /root/count.new /root/count; \
                       sleep 0.1; done) </dev/null >/dev/null 2>&1 &";

fn count(h: &House, ve: &str) -> u32 {
    h.sh(ve, "cat /root/count").parse().unwrap()
}

fn counting(h: &House, ve: &str) {
    h.sh(ve, COUNTER);
    h.until("it counts", 10, || {
        h.run(&["exec", ve, "--", "cat", "/root/count"]).code == 0
    });
}

/// What of a process must be as it was.
fn restrictions(h: &House, ve: &str) -> String {
    let kept = "^(Uid|Gid|Groups|NSpid|Cap|NoNewPrivs|Seccomp|Umask|SigIgn|SigCgt)";
    let status = h.sh(ve, &format!("grep -E '{kept}' /proc/1/status"));
    let others = "cat /proc/1/limits /proc/1/oom_score_adj /proc/1/oom_adj; grep -r . /proc/sys/user /proc/sys/net/ipv4/conf/eth0 \
                  /proc/sys/net/ipv6/conf/eth0 2>/dev/null | grep -v -e mc_forwarding -e stable_secret; hostname; id; \
                  cat /proc/1/mountinfo | cut -d' ' -f4-6 | sort; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; \
                  busybox ip addr show eth0 | grep inet; busybox ip route; stat -c '%n %a %U %G' /dev/console /dev/null /dev/shm /run";
    format!("{status}\n{}", h.sh(ve, others))
}

#[test]
fn a_counter_goes_on_and_all_is_as_it_was() {
    let Some(h) = house() else { return };
    h.busybox_with("ve", &["cpu.count=1"]);
    counting(&h, "ve");
    h.sh(
        "ve",
        "echo kept > /dev/shm/kept; sysctl -w net.ipv4.ip_local_port_range='20000 30000' >/dev/null",
    );
    let own_addresses = || {
        let tentative = || h.sh("ve", "busybox ip addr show eth0").contains("tentative");
        h.until("nobody else has its addresses", 10, || !tentative());
    };
    own_addresses();
    let before = restrictions(&h, "ve");
    let limits = h.status("ve", "memory_limit");
    for _ in 0..3 {
        let (last, since) = (count(&h, "ve"), Instant::now());
        h.ok(&["suspend", "ve"]);
        assert_eq!(h.state("ve"), "suspended");
        assert_eq!(h.status("ve", "pid"), serde_json::Value::Null);
        // Nothing of it is left in the kernel.
        assert!(!h.host_sh("ip -o link").contains("hv101"));
        assert!(h.audit().is_empty(), "{:?}", h.audit());
        h.ok(&["resume", "ve"]);
        assert_eq!(h.state("ve"), "running");
        let next = count(&h, "ve");
        // Ten a second at most, from where it was.
        let most = last + 2 + u32::try_from(since.elapsed().as_millis() / 100).unwrap();
        assert!((last..=most).contains(&next), "{last} {next} {most}");
        h.until("it counts on", 5, || count(&h, "ve") > next);
    }
    own_addresses();
    assert_eq!(restrictions(&h, "ve"), before);
    assert_eq!(
        h.sh("ve", "cat /dev/shm/kept; cat /proc/sys/net/ipv4/ip_local_port_range"),
        "kept\n20000\t30000"
    );
    assert_eq!(h.status("ve", "memory_limit"), limits);
    assert_eq!(h.sh("ve", "nproc"), "1");
    // The limit is a real one: beyond it, processes die.
    let eaten = h.run(&[
        "exec",
        "ve",
        "--",
        "sh",
        "-c",
        "head -c 300M /dev/zero | tail -c 300M >/dev/null",
    ]);
    assert_ne!(eaten.code, 0, "{eaten:?}");
    assert!(!h.dir.join("data/ve/101/dump").exists() && !h.dir.join("data/ve/101/.resumed").exists());
    h.ok(&["stop", "ve"]);
    h.ok(&["start", "ve"]);
}

#[test]
fn start_goes_on_and_discard_does_not() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    h.ok(&["suspend", "ve"]);
    h.fails(4, &["mount", "ve"]);
    h.fails(4, &["compact", "ve"]);
    h.fails(4, &["restart", "ve"]);
    h.ok(&["stop", "ve"]);
    assert_eq!(h.state("ve"), "suspended");
    h.ok(&["start", "ve"]);
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    h.ok(&["suspend", "ve"]);
    h.ok(&["start", "--discard", "ve"]);
    let now = count(&h, "ve");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(count(&h, "ve"), now, "it counts, though it was booted anew");
    assert!(!h.dir.join("data/ve/101/dump").exists());
    h.ok(&["suspend", "ve"]);
    h.ok(&["destroy", "ve"]);
}

#[test]
fn the_console_is_there_before_and_after() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    h.ok(&["suspend", "ve"]);
    h.ok(&["resume", "ve"]);
    h.sh("ve", "echo said-after > /dev/console");
    h.until("the console's log has it", 10, || {
        h.ok(&["log", "ve"]).contains("said-after")
    });
}

#[test]
fn a_connection_survives() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    // A server that answers each line with the count of lines of this connection.
    h.sh(
        "ve",
        "nc -l -p 7000 -e sh -c 'n=0; while read l; do n=$((n+1)); echo $n; done' </dev/null >/dev/null 2>&1 &",
    );
    let address = h.status("ve", "addresses")[0].as_str().unwrap().to_owned();
    let script = "import socket,sys\ns=socket.create_connection((sys.argv[1],7000),timeout=120)\nf=s.makefile('rw')\n\
                  for line in sys.stdin:\n f.write(line);f.flush();print(f.readline().strip(),flush=True)\n";
    if h.on_host("python3").arg("--version").output().is_err() {
        println!("skipped because there is no python3 to connect with");
        return;
    }
    h.until("it listens", 10, || h.sh("ve", "netstat -tln").contains(":7000"));
    let client = h
        .on_host("python3")
        .args(["-c", script, &address])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = house::Talk::new(client);
    talk.say("one\n");
    talk.hear("1\n");
    for n in 2..=11 {
        h.ok(&["suspend", "ve"]);
        talk.say("more\n"); // while nobody is there
        h.ok(&["resume", "ve"]);
        talk.hear(&format!("\n{n}\n"));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_the_dump_is_kept() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    h.ok(&["suspend", "ve"]);
    let image = h.dir.join("data/ve/101/dump/pstree.img");
    let whole = std::fs::read(&image).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&image, changed).unwrap();
    let said = h.fails(4, &["resume", "ve"]);
    assert!(
        said.contains("damaged or changed") && said.contains("start --discard ve"),
        "{said}"
    );
    assert_eq!(h.state("ve"), "suspended");
    std::fs::write(&image, whole).unwrap();
    // A CRIU that is older than its own.
    let manifest = "data/ve/101/dump/manifest.toml";
    let text = h.read(manifest);
    let line = text.lines().find(|l| l.starts_with("criu = ")).unwrap();
    h.write(manifest, &text.replace(line, "criu = \"99.1\""));
    let said = h.fails(4, &["resume", "ve"]);
    assert!(
        said.contains("CRIU 99.1 has saved it") && said.contains("older"),
        "{said}"
    );
    h.write(manifest, &text);
    // A disk that isn't the one that it was noted of.
    let stamp = h.dir.join("data/ve/101/dump/disk.stamp");
    let right = std::fs::read_to_string(&stamp).unwrap();
    std::fs::write(&stamp, format!("{right}x")).unwrap();
    let said = h.fails(4, &["resume", "ve"]);
    assert!(said.contains("disk has been changed"), "{said}");
    std::fs::write(&stamp, right).unwrap();
    h.ok(&["resume", "ve"]);
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    // One that really was.
    h.ok(&["suspend", "ve"]);
    let disk = h.dir.join("data/ve/101/disk.img");
    let said = h.host_sh(&format!("debugfs -w -R 'mkdir /stranger' {} 2>&1", disk.display()));
    assert!(!said.contains("Filesystem not open"), "{said}");
    let said = h.fails(4, &["resume", "ve"]);
    assert!(said.contains("disk has been changed"), "{said}");
    assert_eq!(h.state("ve"), "suspended");
    h.ok(&["start", "--discard", "ve"]);
    assert_eq!(h.state("ve"), "running");
}

#[test]
fn what_stands_in_the_way_is_named_and_it_runs_on() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    h.sh("ve", "unshare -u sleep 1000 </dev/null >/dev/null 2>&1 &");
    h.until("it is there", 10, || h.sh("ve", "ps").contains("sleep 1000"));
    let pid = h.status("ve", "pid");
    let told = h.run(&["suspend", "--check", "ve"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(
        told.out.contains("ve: sleep (process") && told.out.contains("host name of its own"),
        "{told:?}"
    );
    let in_json = || {
        let ran = h.run(&["suspend", "--check", "ve", "--json"]);
        (ran.code, serde_json::from_str::<serde_json::Value>(&ran.out).unwrap())
    };
    let (code, told) = in_json();
    assert_eq!((code, &told["name"], &told["ok"]), (4, &"ve".into(), &false.into()));
    assert!(told["obstacles"].to_string().contains("host name of its own"), "{told}");
    let said = h.fails(1, &["suspend", "ve"]);
    assert!(
        said.contains("host name of its own") && said.contains("runs on"),
        "{said}"
    );
    assert_eq!((h.state("ve").as_str(), h.status("ve", "pid")), ("running", pid));
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    h.sh("ve", "killall sleep; echo said-after > /dev/console");
    assert_eq!(
        h.ok(&["suspend", "--check", "ve"]),
        "ve: nothing is seen that stands in the way\n"
    );
    let (code, told) = in_json();
    assert_eq!(
        (code, &told["ok"], &told["obstacles"]),
        (0, &true.into(), &serde_json::json!([]))
    );
    h.until("the console works", 10, || h.ok(&["log", "ve"]).contains("said-after"));
    h.ok(&["suspend", "ve"]);
    h.ok(&["resume", "ve"]);
}

/// Its limits can be changed while it is suspended, and what it held is not lost by it.
#[test]
fn what_has_too_little_memory_to_go_on_is_told_so() {
    let Some(h) = house() else { return };
    h.busybox_with("ve", &["memory.limit=400MiB", "memory.swap=0"]);
    counting(&h, "ve");
    h.sh(
        "ve",
        "(held=$(head -c 60000000 /dev/zero | tr '\\0' x); : > /ready; while :; do sleep 1000; done) </dev/null >/dev/null 2>&1 &",
    );
    h.until("it holds them", 30, || h.sh("ve", "ls /").contains("ready"));
    h.ok(&["suspend", "ve"]);
    h.ok(&["set", "ve", "memory.limit=40MiB"]);
    let said = h.fails(1, &["resume", "ve"]);
    assert!(
        said.contains("may have 40 MiB now") && said.contains("memory.limit="),
        "{said}"
    );
    assert_eq!(h.state("ve"), "suspended");
    h.ok(&["set", "ve", "memory.limit=400MiB"]);
    h.ok(&["resume", "ve"]);
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
}

/// What `exec` runs isn't below the VE's init: it is no obstacle, and isn't saved.
#[test]
fn a_command_from_outside_ends() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    let mut command = h.command(&["exec", "ve", "--", "sleep", "1000"]).spawn().unwrap();
    h.until("it is there", 10, || h.sh("ve", "ps").contains("sleep 1000"));
    let told = h.ok(&["suspend", "--check", "ve"]);
    assert!(told.contains("ve: note: it would end sleep (process"), "{told}");
    assert!(told.ends_with("ve: nothing is seen that stands in the way\n"), "{told}");
    let ran = h.run(&["suspend", "ve"]);
    assert!(ran.code == 0 && ran.err.contains("it ends sleep (process"), "{ran:?}");
    assert_ne!(command.wait().unwrap().code(), Some(0));
    h.ok(&["resume", "ve"]);
    assert!(!h.sh("ve", "ps").contains("sleep 1000"));
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    // A VE that was resumed is one like any other.
    let pid = h.status("ve", "pid");
    h.sh("ve", "reboot");
    h.until("it has rebooted", 20, || {
        h.state("ve") == "running" && h.status("ve", "pid") != pid
    });
    h.ok(&["stop", "ve"]);
}

/// The monitor hears that the command is gone, and has what it left undone put in order.
#[test]
fn a_suspend_that_is_killed_does_not_leave_the_ve_cut_off() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    h.slow_down_criu("sleep 2");
    let held = || h.host_sh("nft list tables").contains("_held_101");
    let mut suspend = h.spawn(&["suspend", "ve"]);
    h.until("it is cut off", 20, held);
    suspend.kill().unwrap();
    suspend.wait().unwrap();
    h.until("it is no more, and nobody came for it", 60, || !held());
    assert_eq!(h.state("ve"), "running");
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

/// One that hangs, or writes to a disk that is too slow, is nothing that a person has to wait for.
#[test]
fn a_suspend_can_be_given_up() {
    let Some(h) = house() else { return };
    h.busybox("ve");
    counting(&h, "ve");
    let settings = h.read("hostel.toml");
    h.slow_down_criu("sleep 600");
    let suspend = h.spawn(&["suspend", "ve"]);
    h.until("CRIU is asked", 20, || {
        h.dir.join("data/ve/101/.dump/criu.lock").exists()
    });
    let begun = Instant::now();
    house::signal(&suspend, rustix::process::Signal::INT);
    let ran = house::end_of(suspend);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(
        ran.err.contains("interrupted") && ran.err.contains("runs on"),
        "{ran:?}"
    );
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    let now = count(&h, "ve");
    h.until("it counts on", 5, || count(&h, "ve") > now);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.write("hostel.toml", &settings);
    h.ok(&["suspend", "ve"]);
    h.ok(&["resume", "ve"]);
}

#[test]
fn a_systemd_guest_goes_on() {
    let Some(h) = house() else { return };
    h.debian("deb", "debian-12");
    for _ in 0..3 {
        h.ok(&["suspend", "deb"]);
        h.ok(&["resume", "deb"]);
        assert_eq!(h.sh("deb", "systemctl is-system-running"), "running");
        h.sh("deb", "systemd-run --wait -q /bin/true");
        assert_eq!(h.status("deb", "booted"), serde_json::Value::Bool(true));
    }
    h.sh("deb", "systemctl restart cron");
    h.ok(&["stop", "deb"]);
}

/// A newer systemd holds what it has started by pidfds, and goes on without hearing of them.
#[test]
fn a_newer_systemd_is_refused_and_runs_on() {
    let Some(h) = house() else { return };
    h.debian("deb", "debian-13");
    let told = h.run(&["suspend", "--check", "deb"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(told.out.contains("would start no more"), "{told:?}");
    let said = h.fails(4, &["suspend", "deb"]);
    assert!(
        said.contains("would start no more") && said.contains("stop it instead"),
        "{said}"
    );
    assert_eq!(h.sh("deb", "systemctl is-system-running"), "running");
    h.sh("deb", "systemd-run --wait -q /bin/true");
}

#[test]
fn what_would_be_lost_is_refused() {
    let Some(h) = house() else { return };
    if !h.ok(&["info"]).contains("none that uses System V IPC") {
        println!("skipped because this host's CRIU keeps System V IPC");
        return;
    }
    h.debian("deb", "debian-12");
    h.sh("deb", "ipcmk -M 4096");
    let told = h.run(&["suspend", "--check", "deb"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(told.out.contains("System V shared memory"), "{told:?}");
    let said = h.fails(4, &["suspend", "deb"]);
    assert!(
        said.contains("System V shared memory") && said.contains("[criu]"),
        "{said}"
    );
    assert_eq!(h.state("deb"), "running");
    h.sh("deb", "ipcrm --all=shm");
    h.ok(&["suspend", "deb"]);
    h.ok(&["resume", "deb"]);
}

/// A program in a VE that is talked to.
fn talk(h: &House, ve: &str, line: &str) -> house::Talk {
    let mut command = h.command(&["exec", ve, "--", "/bin/bash", "-c", line]);
    let piped = std::process::Stdio::piped;
    house::Talk::new(command.stdin(piped()).stdout(piped()).spawn().unwrap())
}

#[test]
fn a_database_and_a_web_server_keep_their_clients() {
    let Some(h) = House::with_criu_from("3.18") else { return };
    let template = house::web_template();
    for name in ["server", "client"] {
        h.ok(&[
            "create",
            name,
            "--template",
            template,
            "--plan",
            "small",
            "--start",
            "--wait",
        ]);
    }
    h.sh(
        "server",
        "cd /etc/postgresql/*/main && echo \"listen_addresses = '*'\" >>postgresql.conf && \
         echo 'host all all all trust' >>pg_hba.conf && systemctl restart 'postgresql@*' && \
         runuser -u postgres -- psql -qc 'create table kept (n int)'",
    );
    let address = h.status("server", "addresses")[0].as_str().unwrap().to_owned();
    let mut database = talk(&h, "client", &format!("psql -qAt -h {address} -U postgres"));
    database.say("begin; insert into kept values (0); select 'rows=' || count(*) from kept;\n");
    database.hear("rows=1\n");
    // One connection for all requests: its number is in what the server's log says of each.
    let mut web = talk(
        &h,
        "client",
        &format!(
            "exec 3<>/dev/tcp/{address}/80; while read n; do printf 'HEAD / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; \
             read -u3 http code rest; while read -u3 line && [ \"$line\" != $'\\r' ]; do :; done; echo $n: $code; done"
        ),
    );
    web.say("0\n");
    web.hear("0: 200\n");
    for n in 1..=10 {
        h.ok(&["suspend", "server"]);
        assert_eq!(h.state("server"), "suspended");
        h.ok(&["resume", "server"]);
        database.say(&format!(
            "insert into kept values ({n}); select 'rows=' || count(*) from kept;\n"
        ));
        database.hear(&format!("rows={}\n", n + 1));
        web.say(&format!("{n}\n"));
        web.hear(&format!("{n}: 200\n"));
        let rows = h.sh("server", "runuser -u postgres -- psql -Atc 'select count(*) from kept'");
        assert_eq!(rows, "0", "the transaction is open still");
    }
    database.say("commit;\nselect 'done';\n");
    database.hear("done\n");
    let rows = h.sh("server", "runuser -u postgres -- psql -Atc 'select count(*) from kept'");
    assert_eq!(rows, "11");
    assert_eq!(h.sh("server", "systemctl is-system-running"), "running");
    h.sh("server", "systemd-run --wait -q /bin/true");
}

#[test]
fn without_a_criu_nothing_is_touched() {
    let h = House::new();
    let settings = h.read("hostel.toml");
    h.write(
        "hostel.toml",
        &format!("{settings}[criu]\nprogram = \"/nonexistent/criu\"\n"),
    );
    h.busybox("ve");
    let said = h.fails(4, &["suspend", "ve"]);
    assert!(said.contains("no such program") && said.contains("[criu]"), "{said}");
    assert_eq!(h.state("ve"), "running");
}
