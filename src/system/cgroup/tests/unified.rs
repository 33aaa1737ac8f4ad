//! The v2 tree with all controllers, played by a directory: every write is compared, in order.

use std::fs;
use std::sync::atomic::AtomicBool;

use hostel_model::limits::Limits;
use hostel_model::units::Bytes;

use super::*;
use crate::cgroup::{BlockDevice, Kind as Hierarchies, Limit, Support, files};

/// The play: a mount point, the table that says so, and a root whose VE has all files with a fresh group's values.
struct Play {
    dir: tempfile::TempDir,
    cgroups: Box<dyn Cgroups>,
}

const ALL: &str = "cpuset cpu io memory hugetlb pids rdma\n";
const FRESH: [(&str, &str); 17] = [
    ("cgroup.controllers", ALL),
    ("cgroup.subtree_control", "\n"),
    ("cgroup.max.descendants", "max\n"),
    ("cgroup.max.depth", "max\n"),
    ("cgroup.kill", ""),
    ("cgroup.events", "populated 0\nfrozen 0\n"),
    ("cpu.max", "max 100000\n"),
    ("cpu.weight", "100\n"),
    ("cpuset.cpus", "\n"),
    ("memory.max", "max\n"),
    ("memory.high", "max\n"),
    ("memory.min", "0\n"),
    ("memory.swap.max", "max\n"),
    ("memory.current", "4096\n"),
    ("pids.max", "max\n"),
    ("io.max", ""),
    ("io.weight", "default 100\n"),
];

fn fresh(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for (file, content) in FRESH {
        fs::write(dir.join(file), content).unwrap();
    }
}

impl Play {
    fn new() -> Self {
        Self::with("rw,nsdelegate,memory_recursiveprot", "[bfq] none")
    }

    fn with(options: &str, scheduler: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        for group in ["", "hostel", "hostel/101", "hostel/101/payload", "hostel/102"] {
            fresh(&top.join(group));
        }
        fs::write(top.join("cpuset.cpus.effective"), "0-3\n").unwrap();
        let queue = dir.path().join("sys/block/sda/queue");
        fs::create_dir_all(&queue).unwrap();
        fs::write(queue.join("scheduler"), scheduler).unwrap();
        let (tree, sys) = (top.display(), dir.path().join("sys"));
        let mounts = format!(
            "sysfs {} sysfs rw 0 0\ncgroup2 {tree} cgroup2 {options} 0 0\n",
            sys.display()
        );
        fs::write(dir.path().join("mounts"), mounts).unwrap();
        let cgroups = open(&dir.path().join("mounts"), Path::new("/proc/self/cgroup"), "hostel").unwrap();
        files::log::take(dir.path());
        Self { dir, cgroups }
    }

    fn put(&self, file: &str, content: &str) {
        fs::write(self.dir.path().join("tree").join(file), content).unwrap();
    }

    /// What was written since the last time.
    fn writes(&self) -> Vec<String> {
        files::log::take(&self.dir.path().join("tree"))
    }
}

fn limits() -> Limits {
    let mut l = Limits {
        processes: Some(500),
        ..Limits::default()
    };
    l.cpu.cap_milli = Some(1500);
    l.cpu.weight = Some(200);
    l.cpu.pin = Some("0-1,3".parse().unwrap());
    l.memory.limit = Some(Bytes::gib(2));
    l.memory.swap = Some(Bytes(0));
    l.memory.guarantee = Some(Bytes::mib(256));
    l.io.read_bytes = Some(Bytes::mib(100));
    l.io.write_ops = Some(500);
    l.io.weight = Some(5050);
    l
}

const SDA: BlockDevice = BlockDevice { major: 8, minor: 0 };

#[test]
fn all_limits_as_the_kernel_wants_them() {
    let p = Play::new();
    assert_eq!(p.cgroups.facts().kind, Hierarchies::V2);
    assert_eq!(p.cgroups.unenforceable(&limits()), []);
    p.put("hostel/102/memory.min", "1048576\n");
    p.put("hostel/101/io.bfq.weight", "default 100\n");
    p.cgroups.apply(ve(101), &limits(), &[SDA]).unwrap();
    assert_eq!(
        p.writes(),
        [
            "hostel/101/memory.max <- 2147483648",
            "hostel/101/memory.swap.max <- 0",
            "hostel/101/memory.min <- 268435456",
            "hostel/memory.min <- 269484032", // its VEs together
            "hostel/101/cpu.max <- 150000 100000",
            "hostel/101/cpu.weight <- 200",
            "hostel/101/cpuset.cpus <- 0-1,3",
            "hostel/101/pids.max <- 500",
            "hostel/101/io.max <- 8:0 rbps=104857600 wbps=max riops=max wiops=500",
            "hostel/101/io.weight <- default 5050",
            "hostel/101/io.bfq.weight <- default 1000",
        ]
    );
}

#[test]
fn nothing_is_written_twice() {
    let p = Play::new();
    p.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    assert_eq!(p.writes(), [""; 0], "a fresh group is without limits");
    p.cgroups.apply(ve(101), &limits(), &[SDA]).unwrap();
    assert!(!p.writes().is_empty());
    p.cgroups.apply(ve(101), &limits(), &[SDA]).unwrap();
    assert_eq!(p.writes(), [""; 0]);
}

#[test]
fn only_the_given_disks_are_limited() {
    let p = Play::new();
    p.put(
        "hostel/101/io.max",
        "8:0 rbps=104857600 wbps=max riops=max wiops=500\n7:3 rbps=1 wbps=max riops=max wiops=max\n",
    );
    let mut l = Limits::default();
    l.io.read_bytes = Some(Bytes(104_857_600));
    l.io.write_ops = Some(500);
    p.cgroups
        .apply(ve(101), &l, &[SDA, BlockDevice { major: 8, minor: 16 }])
        .unwrap();
    assert_eq!(
        p.writes(),
        [
            "hostel/101/io.max <- 7:3 rbps=max wbps=max riops=max wiops=max",
            "hostel/101/io.max <- 8:16 rbps=104857600 wbps=max riops=max wiops=500",
        ]
    );
}

#[test]
fn none_lifts() {
    let p = Play::new();
    p.cgroups.apply(ve(101), &limits(), &[SDA]).unwrap();
    p.put(
        "hostel/101/io.max",
        "8:0 rbps=104857600 wbps=max riops=max wiops=500\n7:3 rbps=1 wbps=max riops=max wiops=max\n",
    );
    p.writes();
    p.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    assert_eq!(
        p.writes(),
        [
            "hostel/101/memory.max <- max",
            "hostel/101/memory.swap.max <- max",
            "hostel/101/memory.min <- 0",
            "hostel/memory.min <- 0",
            "hostel/101/cpu.max <- max 100000",
            "hostel/101/cpu.weight <- 100",
            "hostel/101/cpuset.cpus <- \n",
            "hostel/101/pids.max <- max",
            "hostel/101/io.max <- 8:0 rbps=max wbps=max riops=max wiops=max",
            "hostel/101/io.max <- 7:3 rbps=max wbps=max riops=max wiops=max",
            "hostel/101/io.weight <- default 100",
        ]
    );
}

#[test]
fn controllers_go_down_the_path_and_the_payload_is_bounded() {
    let p = Play::new();
    p.put("cgroup.subtree_control", "cpu memory pids\n"); // as systemd leaves it
    p.cgroups.create(ve(101), 1_000_000).unwrap();
    assert_eq!(
        p.writes(),
        [
            "cgroup.subtree_control <- +cpuset +io",
            "hostel/cpu.weight <- 1000",
            "hostel/io.weight <- default 1000",
            "hostel/cgroup.subtree_control <- +cpu +cpuset +io +memory +pids",
            "hostel/101/cgroup.subtree_control <- +cpu +cpuset +io +memory +pids",
            "hostel/101/cgroup.max.descendants <- 10000",
            "hostel/101/cgroup.max.depth <- 32",
        ]
    );
    let tree = p.dir.path().join("tree");
    let place = p.cgroups.placement(ve(101));
    assert_eq!(place.join, [""; 0].map(PathBuf::from));
    assert_eq!(place.unified.as_deref(), Some(&*tree.join("hostel/101/payload")));
}

#[test]
fn freezing_waits_and_gives_up() {
    let p = Play::new();
    fs::write(p.dir.path().join("tree/hostel/101/cgroup.freeze"), "").unwrap();
    let error = p.cgroups.freeze(ve(101), Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind, crate::Kind::TimedOut);
    assert_eq!(
        p.writes(),
        ["hostel/101/cgroup.freeze <- 1", "hostel/101/cgroup.freeze <- 0"]
    );
    let interrupted = AtomicBool::new(true);
    let error = p
        .cgroups
        .freeze_unless(ve(101), Duration::from_secs(60), &interrupted)
        .unwrap_err();
    assert_eq!(error.kind, crate::Kind::Interrupted);
    assert_eq!(
        p.writes(),
        ["hostel/101/cgroup.freeze <- 1", "hostel/101/cgroup.freeze <- 0"],
        "they run on"
    );
    p.put("hostel/101/cgroup.events", "populated 1\nfrozen 1\n");
    p.cgroups.freeze(ve(101), Duration::ZERO).unwrap();
    assert_eq!(p.writes(), ["hostel/101/cgroup.freeze <- 1"]);
    assert!(p.cgroups.is_frozen(ve(101)).unwrap());
}

#[test]
fn memory_in_use_is_asked_for_before_it_is_refused() {
    let p = Play::new();
    p.put("hostel/101/memory.current", "50000000\n");
    let mut l = Limits::default();
    l.memory.limit = Some(Bytes::mib(16));
    let error = p.cgroups.apply(ve(101), &l, &[]).unwrap_err();
    assert_eq!(error.kind, crate::Kind::Busy);
    assert_eq!(error.hint.unwrap().split(',').next(), Some("in use: 48 MiB"));
    assert_eq!(
        p.writes(),
        ["hostel/101/memory.high <- 16777216", "hostel/101/memory.high <- max"]
    );
}

#[test]
fn who_was_killed_while_making_room_leaves_nobody_slowed_down() {
    let p = Play::new();
    p.put("hostel/101/memory.high", "16777216\n");
    p.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    assert_eq!(p.writes(), ["hostel/101/memory.high <- max"]);
}

#[test]
fn a_count_binds_to_the_processors_with_the_fewest_others() {
    let p = Play::new();
    p.put("hostel/102/cpuset.cpus", "0,2\n");
    let with = |count| {
        let mut l = Limits::default();
        l.cpu.count = count;
        p.cgroups.apply(ve(101), &l, &[]).unwrap();
        p.writes()
    };
    assert_eq!(with(Some(2)), ["hostel/101/cpuset.cpus <- 1,3"]);
    assert_eq!(with(Some(2)), [""; 0], "it keeps what it has");
    assert_eq!(with(Some(3)), ["hostel/101/cpuset.cpus <- 0-1,3"]);
    assert_eq!(with(Some(4)), ["hostel/101/cpuset.cpus <- \n"], "all there are");
}

#[test]
fn what_this_host_cannot_hold_is_said_with_the_reason() {
    let p = Play::with("rw", "[none] bfq");
    p.put("io.cost.qos", "8:0 enable=0 ctrl=auto\n");
    let all = p.cgroups.unenforceable(&limits());
    assert_eq!(
        all.iter().map(|u| u.limit.key()).collect::<Vec<_>>(),
        ["memory.guarantee", "io.weight"]
    );
    assert!(all[0].why.contains("memory_recursiveprot"), "{}", all[0].why);
    assert!(all[1].why.contains("BFQ"), "{}", all[1].why);
    let error = p.cgroups.apply(ve(101), &limits(), &[SDA]).unwrap_err();
    assert_eq!(error.kind, crate::Kind::Unsupported);
    assert_eq!(p.writes(), [""; 0], "refused before anything was touched");

    let mut l = Limits::default();
    l.cpu.pin = Some("2-5".parse().unwrap());
    assert!(p.cgroups.unenforceable(&l)[0].why.contains("0-3"));
    for (change, what) in [
        ((|l| l.cpu.cap_milli = Some(0)) as fn(&mut Limits), "cap"),
        (|l| l.cpu.count = Some(0), "count"),
        (|l| l.cpu.weight = Some(0), "weight"),
        (|l| l.io.write_bytes = Some(Bytes(0)), "io"),
    ] {
        let mut l = Limits::default();
        change(&mut l);
        assert_eq!(
            p.cgroups.apply(ve(101), &l, &[SDA]).unwrap_err().kind,
            crate::Kind::Invalid,
            "{what}"
        );
    }
}

#[test]
fn a_controller_or_swap_accounting_may_be_missing() {
    let p = Play::new();
    p.put("cgroup.controllers", "cpu memory\n");
    fs::remove_file(p.dir.path().join("tree/hostel/memory.swap.max")).unwrap();
    let again = open(&p.dir.path().join("mounts"), Path::new("/nowhere"), "hostel").unwrap();
    let missing: Vec<Limit> = again
        .facts()
        .limits
        .iter()
        .filter(|(_, s)| matches!(s, Support::No(_)))
        .map(|(l, _)| *l)
        .collect();
    use Limit::*;
    assert_eq!(
        missing,
        [
            CpuPin, CpuCount, Swap, Processes, ReadBytes, WriteBytes, ReadOps, WriteOps, IoWeight
        ]
    );
    assert!(again.facts().why_not(Swap).unwrap().contains("swapaccount=1"));
    // A limit whose controller is missing is lifted by doing nothing.
    again.apply(ve(101), &Limits::default(), &[]).unwrap();
}

#[test]
fn readings() {
    let p = Play::new();
    for (file, content) in [
        (
            "cpu.stat",
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 6\n",
        ),
        ("memory.peak", "8192\n"),
        (
            "memory.events",
            "low 0\nhigh 0\nmax 2\noom 1\noom_kill 1\noom_group_kill 0\n",
        ),
        ("pids.current", "12\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
        (
            "io.pressure",
            "some avg10=1.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
        ),
    ] {
        p.put(&format!("hostel/101/{file}"), content);
    }
    let u = p.cgroups.usage(ve(101)).unwrap();
    assert_eq!(
        (u.cpu.total_ns, u.cpu.user_ns, u.cpu.system_ns),
        (Some(5000), Some(3000), Some(2000))
    );
    assert_eq!(u.throttled.unwrap().ns, 6000);
    assert_eq!((u.memory, u.memory_peak, u.swap), (Some(4096), Some(8192), None));
    assert_eq!((u.oom_kills, u.processes), (Some(1), Some(12)));
    assert_eq!(u.io_on(&[SDA]).unwrap().write_ops, 4);
    assert_eq!((u.io_pressure.unwrap().full_us, u.memory_pressure), (Some(3), None));
    p.put("hostel/101/cpu.stat", "");
    assert_eq!(
        p.cgroups.usage(ve(101)).unwrap().cpu.total_ns,
        None,
        "unreadable is not zero"
    );
    assert_eq!(p.cgroups.usage(ve(555)).unwrap_err().kind, crate::Kind::NotFound);
    assert_eq!(p.cgroups.list().unwrap(), [ve(101), ve(102)]);
}
