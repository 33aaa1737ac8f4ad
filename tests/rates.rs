//! Limits of what a VE's network carries, by what comes through: set when it is made, and changed while it runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod house;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use house::{House, until};

const MBIT: f64 = 1e6;
/// A whole frame without its checksum, in bits. Streams are cut into these.
const FRAME: f64 = 1514.0 * 8.0;
/// Servers that take all they get, and that send without end.
const SINK: u16 = 7000;
const SOURCE: u16 = 7001;

/// A VE with these settings, and both servers.
#[track_caller]
fn ve(h: &House, name: &str, settings: &[&str]) {
    h.busybox_with(name, settings);
    serve(h, name);
}

#[track_caller]
fn serve(h: &House, name: &str) {
    h.sh(
        name,
        &format!(
            "(nc -ll -p {SINK} -e sh -c 'cat >/dev/null' & nc -ll -p {SOURCE} -e cat /dev/zero &) </dev/null >/dev/null 2>&1"
        ),
    );
    let listening = || h.sh(name, "cat /proc/net/tcp /proc/net/tcp6");
    until("its servers listen", 10, || {
        [SINK, SOURCE]
            .iter()
            .all(|port| listening().contains(&format!(":{port:04X} ")))
    });
}

/// A connection from the host to a VE.
fn connect(h: &House, address: &str, port: u16) -> TcpStream {
    let made = thread::scope(|scope| {
        let there = scope.spawn(|| {
            let network = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(h.as_fd(), network).unwrap();
            TcpStream::connect((address, port)).unwrap()
        });
        there.join().unwrap()
    });
    // So that nothing is under way any more a moment after it was last worked.
    rustix::net::sockopt::set_socket_send_buffer_size(&made, 32 << 10).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&made, 32 << 10).unwrap();
    made.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    made.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    made
}

/// The IPv4 packets that have come so far, as they were on the wire: of several in one piece, each is counted.
fn packets(netstat: &str) -> f64 {
    let mut lines = netstat.lines().filter(|l| l.starts_with("IpExt:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    pairs
        .find(|(name, _)| *name == "InNoECTPkts")
        .unwrap()
        .1
        .parse()
        .unwrap()
}

/// The rate in bits per second that comes through to the VE, seen inside. Whatever holds this up makes it seem less and
/// never more.
fn rate_in(h: &House, name: &str) -> f64 {
    let said = h.sh(
        name,
        "cat /proc/uptime /proc/net/netstat; echo =; sleep 1; cat /proc/net/netstat /proc/uptime",
    );
    let (before, after) = said.split_once('=').unwrap();
    let time = |line: Option<&str>| line.unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
    let (begun, ended) = (time(before.lines().next()), time(after.lines().last()));
    (packets(after) - packets(before)) * FRAME / (ended - begun)
}

/// And from it, seen on the host, where nothing else arrives.
fn rate_out(h: &House) -> f64 {
    let look = || packets(&h.host_sh("cat /proc/net/netstat"));
    let (begun, before) = (Instant::now(), look());
    thread::sleep(Duration::from_secs(1));
    let after = look();
    (after - before) * FRAME / begun.elapsed().as_secs_f64()
}

/// Never more than the limit; as much, as soon as the machine's other load lets it.
#[track_caller]
fn gets(what: &str, limit: f64, mut rate: impl FnMut() -> f64) {
    until(&format!("{what} gets {limit} bit/s"), 30, || {
        let share = rate() / limit;
        println!("{what}: {share:.3} of {limit} bit/s"); // what is shown if it doesn't come near
        assert!(share <= 1.05, "{what}: {share} of {limit} bit/s");
        share >= 0.95
    });
}

/// Works a connection in the one direction or the other, while something is looked at.
fn while_busy<T>(stream: &TcpStream, port: u16, look: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, mut buffer) = (stream, [0; 1 << 16]);
            while !done.load(Ordering::Relaxed) {
                let worked = match port {
                    SINK => stream.write(&buffer),
                    _ => stream.read(&mut buffer),
                };
                let late = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
                assert!(!matches!(worked, Ok(0)), "the connection has ended");
                assert!(worked.as_ref().err().is_none_or(late), "{worked:?}");
            }
        });
        let _end = End(&done);
        // What was let through at first, after a pause, doesn't count.
        thread::sleep(Duration::from_millis(500));
        look()
    })
}

#[track_caller]
fn set(h: &House, name: &str, setting: &str) {
    let said = h.ok(&["set", name, setting]);
    assert!(!said.contains("at restart"), "{setting} takes effect now:\n{said}");
}

fn address(h: &House, name: &str, n: usize) -> String {
    h.status(name, "addresses")[n].as_str().unwrap().to_owned()
}

fn queues(h: &House) -> String {
    h.host_sh("ip -br link show type ifb | cut -d' ' -f1 | xargs")
}

/// What `hostel show` tells of a setting.
#[track_caller]
fn shown(h: &House, name: &str, key: &str) -> String {
    let all = h.ok(&["show", name]);
    let line = all.lines().find(|l| l.split_whitespace().next() == Some(key));
    let words: Vec<&str> = line
        .unwrap_or_else(|| panic!("no {key} in\n{all}"))
        .split_whitespace()
        .skip(1)
        .collect();
    words.join(" ")
}

#[test]
fn a_running_ve_is_as_fast_as_its_limit() {
    let h = House::new();
    let plan = h.read("etc/plans/test.toml");
    h.write(
        "etc/plans/test.toml",
        &format!("{plan}[net]\nin = \"8Mbit\"\nout = \"4Mbit\"\n"),
    );
    ve(&h, "fast", &["net.out=16Mbit"]);
    assert_eq!(shown(&h, "fast", "net.in"), "8Mbit plan \"test\"");
    assert!(shown(&h, "fast", "net.out").starts_with("16Mbit override in "));
    assert_eq!(queues(&h), "hv101.i hv101.o");
    let at = address(&h, "fast", 0);
    let (to, from) = (connect(&h, &at, SINK), connect(&h, &at, SOURCE));
    while_busy(&to, SINK, || gets("in", 8.0 * MBIT, || rate_in(&h, "fast")));
    while_busy(&from, SOURCE, || gets("out", 16.0 * MBIT, || rate_out(&h)));
    // What is connected stays so.
    set(&h, "fast", "net.in=24Mbit");
    while_busy(&to, SINK, || gets("in, changed", 24.0 * MBIT, || rate_in(&h, "fast")));
    set(&h, "fast", "net.out=2Mbit");
    while_busy(&from, SOURCE, || {
        until("what had been sent before is through", 10, || rate_out(&h) < 3.0 * MBIT);
        gets("out, changed", 2.0 * MBIT, || rate_out(&h));
    });
    set(&h, "fast", "net.in=unlimited");
    assert_eq!(queues(&h), "hv101.o");
    while_busy(&to, SINK, || {
        until("without a limit it gets more", 20, || rate_in(&h, "fast") > 30.0 * MBIT);
    });
    drop((to, from));
    h.ok(&["stop", "fast"]);
    assert_eq!(queues(&h), "");
    h.ok(&["start", "fast"]);
    assert_eq!(queues(&h), "hv101.o");
    h.ok(&["kill", "fast"]);
    until("its monitor has cleared up", 20, || queues(&h).is_empty());
}

#[test]
fn interfaces_have_limits_of_their_own_on_bridges_too() {
    let h = House::new();
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nhost_addresses = [\"10.88.0.1\"]\n",
    );
    let own = [
        "network.0.network=private",
        "network.1.network=lan",
        "network.1.rate_in=3Mbit",
        "net.in=12Mbit",
    ];
    ve(&h, "two", &own);
    let (first, second) = (address(&h, "two", 0), "10.88.0.2");
    let (to, to_too) = (connect(&h, &first, SINK), connect(&h, second, SINK));
    let rate = || rate_in(&h, "two");
    while_busy(&to, SINK, || gets("the routed one", 12.0 * MBIT, rate));
    while_busy(&to_too, SINK, || gets("the bridged one", 3.0 * MBIT, rate));
    while_busy(&to, SINK, || {
        while_busy(&to_too, SINK, || gets("both", 12.0 * MBIT, rate))
    });
    set(&h, "two", "net.in=unlimited");
    while_busy(&to_too, SINK, || gets("the bridged one still", 3.0 * MBIT, rate));
    while_busy(&to, SINK, || {
        until("the routed one is free", 20, || rate() > 20.0 * MBIT);
    });
    set(&h, "two", "network.1.rate_in=");
    assert_eq!(queues(&h), "");
    set(&h, "two", "network.1.rate_out=5Mbit");
    let from = connect(&h, second, SOURCE);
    while_busy(&from, SOURCE, || {
        gets("from the bridged one", 5.0 * MBIT, || rate_out(&h))
    });
}

/// How many bytes, as frames, of a second's worth of datagrams come through at once after a pause, beside what the rate lets
/// pass meanwhile.
fn at_once(h: &House, name: &str, rate: f64) -> f64 {
    let to = address(h, name, 0);
    let look = || packets(&h.sh(name, "cat /proc/net/netstat"));
    let before = look();
    let begun = Instant::now();
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            let network = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(h.as_fd(), network).unwrap();
            let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
            for _ in 0..300 {
                socket.send_to(&[0; 1472], (to.as_str(), 9)).unwrap();
            }
        });
        there.join().unwrap();
    });
    let after = look();
    (after - before) * FRAME / 8.0 - rate / 8.0 * begun.elapsed().as_secs_f64()
}

#[test]
fn what_may_pass_at_once_after_a_pause() {
    const BURST: f64 = 256.0 * 1024.0;
    let h = House::new();
    h.busybox_with("all", &["net.in=1Mbit", "net.burst=256KiB"]);
    h.busybox_with("one", &["network.0.rate_in=1Mbit", "network.0.burst=256KiB"]);
    h.busybox_with("plain", &["net.in=1Mbit"]);
    assert!(h.ok(&["show", "one"]).contains("256KiB"));
    for (name, most) in [("all", BURST), ("one", BURST), ("plain", 16384.0)] {
        let came = at_once(&h, name, MBIT);
        assert!(came <= most * 1.05, "{name}: {came} of {most}");
        assert!(most < BURST || came >= most * 0.9, "{name}: {came} of {most}");
    }
    // It changes while the VE runs; what passed before has to be earned again.
    set(&h, "one", "network.0.burst=64KiB");
    thread::sleep(Duration::from_secs(1));
    let came = at_once(&h, "one", MBIT);
    assert!((56_000.0..=69_000.0).contains(&came), "{came}");
}

#[test]
fn a_resumed_ve_has_its_limits() {
    let Some(h) = House::with_criu() else { return };
    ve(&h, "ve", &["net.in=8Mbit"]);
    h.ok(&["suspend", "ve"]);
    assert_eq!(queues(&h), "");
    h.ok(&["set", "ve", "net.in=5Mbit"]);
    h.ok(&["resume", "ve"]);
    let to = connect(&h, &address(&h, "ve", 0), SINK);
    while_busy(&to, SINK, || gets("in", 5.0 * MBIT, || rate_in(&h, "ve")));
}

#[test]
fn mistakes_are_refused_and_orphans_found() {
    let h = House::new();
    h.busybox("ve");
    let before = h.read("etc/ve/ve.toml");
    for (setting, said) in [
        ("net.in=0Mbit", "bits per second"),
        ("net.in=100", "\"100Mbit\""),
        ("net.out=100MiB", "from 64kbit"),
        ("net.burst=1KiB", "4KiB"),
        ("network.0.burst=65MiB", "64MiB"),
        ("network.0.rate_in=fast", "unlimited"),
        ("net.up=1Mbit", "net."),
    ] {
        let ran = h.run(&["set", "ve", setting]);
        assert!(
            ran.code == 2 && ran.err.contains(said),
            "{setting}: {} {}",
            ran.code,
            ran.err
        );
    }
    assert_eq!(h.read("etc/ve/ve.toml"), before);
    let dry = h.ok(&["set", "ve", "net.in=1Mbit", "--dry-run"]);
    assert!(dry.contains("unlimited") && dry.contains("1Mbit"), "{dry}");
    assert_eq!(queues(&h), "");
    h.host_sh("ip link add hv555.o type ifb; ip link set hv555.o alias 'hostel VE 555'; ip link add hv556.o type ifb");
    let found = h.audit();
    assert_eq!(
        (found.len(), &found[0]["object"]),
        (1, &"hv555.o".into()),
        "the other isn't ours: {found:?}"
    );
    h.ok(&["audit", "--fix"]);
    assert_eq!(queues(&h), "hv556.o");
}
