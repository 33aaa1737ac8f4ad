//! What the kernel does to real processes.

use std::io::{BufRead, BufReader, Read};

use hostel_model::limits::Limits;
use hostel_model::units::Bytes;

use super::*;
use crate::cgroup::{BlockDevice, Kind as Hierarchies, Limit, Version};

const BURN: &str = "while :; do :; done";

/// Whether this host has the controller, in either version.
fn has(g: &Ground, controller: &str) -> bool {
    let found = version(g, controller).is_some();
    if !found {
        println!("skipped because the controller {controller} isn't to be had here");
    }
    found
}

fn version(g: &Ground, controller: &str) -> Option<Version> {
    g.cgroups
        .facts()
        .controllers
        .iter()
        .find(|c| c.name == controller)
        .map(|c| c.version)
}

/// Content of the control file that is `one` in v1 and `two` in v2.
fn content(g: &Ground, controller: &str, one: &str, two: &str) -> String {
    let file = if version(g, controller) == Some(Version::V1) {
        one
    } else {
        two
    };
    g.read(controller, ve(101), file)
}

fn memory(limit: Option<u64>, swap: Option<u64>) -> Limits {
    let mut l = Limits::default();
    l.memory.limit = limit.map(Bytes::mib);
    l.memory.swap = swap.map(Bytes::mib);
    l
}

/// Swap for a limit, if this host can hold one.
fn no_swap(g: &Ground) -> Option<u64> {
    g.cgroups.facts().why_not(Limit::Swap).is_none().then_some(0)
}

#[test]
fn a_memory_hog_is_killed() {
    let Some(g) = Ground::new().filter(|g| has(g, "memory")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    g.cgroups.apply(ve(101), &memory(Some(24), no_swap(&g)), &[]).unwrap();
    let mut hog = g.shell(ve(101), "exec tail /dev/zero");
    assert!(!hog.ended().success());
    let u = g.cgroups.usage(ve(101)).unwrap();
    assert!(u.oom_kills.unwrap() >= 1, "{u:?}");
    let peak = u.memory_peak.unwrap();
    assert!((8 << 20..=24 << 20).contains(&peak), "{peak}");
}

#[test]
fn a_burner_stays_at_its_cap() {
    let Some(g) = Ground::new().filter(|g| has(g, "cpu")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let mut l = Limits::default();
    l.cpu.cap_milli = Some(200);
    g.cgroups.apply(ve(101), &l, &[]).unwrap();
    let begin = Instant::now();
    let _two = [g.shell(ve(101), BURN), g.shell(ve(101), BURN)];
    let usage = || g.cgroups.usage(ve(101)).unwrap();
    let u = until("it was stopped in 8 periods", || {
        Some(usage()).filter(|u| u.throttled.unwrap().throttled >= 8)
    });
    let share = u.cpu.total_ns.unwrap() as f64 / begin.elapsed().as_nanos() as f64;
    // One period's budget may be used before the first full period has gone by, and each processor may run over by
    // a clock tick before it notices; without a cap the two would use 1 to 2.
    assert!(share < 0.4, "{share}");
    assert_eq!(u.processes, Some(2));
    // What they began with, in the kernel, is soon the smaller part.
    until("it burns in user mode", || {
        let cpu = usage().cpu;
        (cpu.user_ns? > cpu.system_ns?).then_some(())
    });
    // Lifted on the running VE, they get a multiple.
    g.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    let before = usage();
    until("they have run for 100 ms more", || {
        (usage().cpu.total_ns? > before.cpu.total_ns? + 100_000_000).then_some(())
    });
    assert!(["-1", "max 100000"].contains(&&*content(&g, "cpu", "cpu.cfs_quota_us", "cpu.max")));
}

#[test]
fn forks_beyond_the_limit_are_refused() {
    let Some(g) = Ground::new().filter(|g| has(g, "pids")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    g.cgroups
        .apply(
            ve(101),
            &Limits {
                processes: Some(4),
                ..Limits::default()
            },
            &[],
        )
        .unwrap();
    let mut bomb = g.shell(ve(101), "for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; wait");
    assert!(
        !bomb.ended().success(),
        "the shell gives up at the fork that is refused"
    );
    let mut said = String::new();
    // Its sleeping children hold the pipe: read a line, not to the end.
    BufReader::new(bomb.0.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert!(said.contains("fork"), "{said}");
    assert_eq!(
        g.cgroups.usage(ve(101)).unwrap().processes,
        Some(3),
        "the shell itself was the fourth"
    );
    assert_eq!(g.cgroups.processes(ve(101)).unwrap().len(), 3);
    g.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    assert_eq!(g.read("pids", ve(101), "pids.max"), "max");
}

#[test]
fn memory_and_swap_move_in_any_direction() {
    let Some(g) = Ground::new().filter(|g| has(g, "memory")) else {
        return;
    };
    if no_swap(&g).is_none() {
        println!("skipped because swap isn't counted here");
        return;
    }
    let two = version(&g, "memory") == Some(Version::V2);
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let steps: &[(Option<u64>, Option<u64>)] = &[
        (Some(64), Some(0)),
        (Some(256), Some(64)),
        (Some(256), None),
        (Some(32), Some(0)),
        (Some(40), Some(500)),
        (Some(500), Some(0)),
        (None, None),
        (Some(16), Some(16)),
        (Some(16), Some(16)),
        (None, None),
    ];
    for (limit, swap) in steps {
        g.cgroups.apply(ve(101), &memory(*limit, *swap), &[]).unwrap();
        let none = if two {
            "max".to_owned()
        } else {
            (i64::MAX as u64 / 4096 * 4096).to_string()
        };
        let show = |mib: Option<u64>| mib.map_or(none.clone(), |m| (m << 20).to_string());
        let now = content(&g, "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(now, show(*limit), "{limit:?} {swap:?}");
        let beside = if two {
            *swap
        } else {
            limit.zip(*swap).map(|(l, s)| l + s)
        };
        let now = content(&g, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        assert_eq!(now, show(beside), "{limit:?} {swap:?}");
    }
    let alone = g
        .cgroups
        .apply(ve(101), &memory(None, Some(5)), &[])
        .map_err(|e| e.kind);
    assert_eq!(
        alone,
        if two { Ok(()) } else { Err(crate::Kind::Unsupported) },
        "v1 has no limit on swap alone"
    );
}

#[test]
fn memory_in_use_is_not_taken_away() {
    let Some(g) = Ground::new().filter(|g| has(g, "memory")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let before = memory(Some(256), no_swap(&g));
    g.cgroups.apply(ve(101), &before, &[]).unwrap();
    let mut guest = g.shell(
        ve(101),
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo filled; read y",
    );
    let mut line = String::new();
    BufReader::new(guest.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "filled\n");
    let error = g
        .cgroups
        .apply(ve(101), &memory(Some(8), no_swap(&g)), &[])
        .unwrap_err();
    assert_eq!(error.kind, crate::Kind::Busy);
    assert!(error.hint.as_ref().unwrap().contains("in use: "), "{:?}", error.hint);
    for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
        assert_eq!(
            content(&g, "memory", file, "memory.max"),
            (256u64 << 20).to_string(),
            "{file} is as before"
        );
    }
    if version(&g, "memory") == Some(Version::V2) {
        assert_eq!(
            g.read("memory", ve(101), "memory.high"),
            "max",
            "it isn't slowed down for good"
        );
    }
    assert!(guest.0.try_wait().unwrap().is_none(), "and nobody was killed");
}

#[test]
fn pins_move_while_it_runs() {
    let Some(g) = Ground::new().filter(|g| has(g, "cpuset")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let effective = || content(&g, "cpuset", "payload/cpuset.cpus", "payload/cpuset.cpus.effective");
    let all = effective();
    if all != "0-1" {
        println!("skipped because this test knows what to expect on two processors only, not on {all}");
        return;
    }
    let guest = g.shell(ve(101), BURN);
    for (pin, want) in [
        (Some("0"), "0"),
        (Some("1"), "1"),
        (None, "0-1"),
        (Some("0-1"), "0-1"),
        (Some("1"), "1"),
    ] {
        let mut l = Limits::default();
        l.cpu.pin = pin.map(|p| p.parse().unwrap());
        g.cgroups.apply(ve(101), &l, &[]).unwrap();
        assert_eq!(content(&g, "cpuset", "cpuset.cpus", "cpuset.cpus.effective"), want);
        assert_eq!(effective(), want);
        let status = std::fs::read_to_string(format!("/proc/{}/status", guest.0.id())).unwrap();
        assert!(status.contains(&format!("Cpus_allowed_list:\t{want}\n")), "{pin:?}");
    }
    let mut l = Limits::default();
    l.cpu.pin = Some("0,7".parse().unwrap());
    assert_eq!(g.cgroups.unenforceable(&l)[0].limit, Limit::CpuPin);
}

/// Nanoseconds of processor time that a process has had.
fn ran(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn all_ves_together_outweigh_a_process_of_the_host() {
    let Some(g) = Ground::new().filter(|g| has(g, "cpu")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    // Where they meet: on one processor.
    // Bounded, as nobody ends it should this test be killed.
    let burn = format!("ulimit -t 60; taskset -pc 0 $$ >/dev/null; {BURN}");
    let inside = g.shell(ve(101), &burn);
    // A session of its own: the kernel may weigh a session's processes as one (sched_autogroup_enabled), and this
    // one's are other tests.
    let host = Guest(Command::new("setsid").args(["sh", "-c", &burn]).spawn().unwrap());
    let used = || (ran(inside.0.id()), ran(host.0.id()));
    let mut last = used();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = used();
        let (ve, own) = (now.0 - last.0, now.1 - last.1);
        if ve + own > 1_000_000_000 {
            // One busy process of a host that is left alone gets as much as all VEs: 1. Weighed, it is ten and more.
            let ratio = ve as f64 / own.max(1) as f64;
            println!("the VE had {ratio:.1} times the processor time of the host's process");
            if ratio > 5.0 && own > 0 {
                break;
            }
            last = now;
        }
        assert!(Instant::now() < deadline, "the host's process gets as much as the VE");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn weights_are_relative_to_a_hundred() {
    let Some(g) = Ground::new().filter(|g| has(g, "cpu")) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    for (weight, shares, same) in [(Some(300), "3072", "300"), (Some(1), "10", "1"), (None, "1024", "100")] {
        let mut l = Limits::default();
        l.cpu.weight = weight;
        g.cgroups.apply(ve(101), &l, &[]).unwrap();
        let now = content(&g, "cpu", "cpu.shares", "cpu.weight");
        assert_eq!(
            now,
            if version(&g, "cpu") == Some(Version::V1) {
                shares
            } else {
                same
            }
        );
    }
    let mut l = Limits::default();
    l.cpu.weight = Some(10_001);
    assert_eq!(
        g.cgroups.apply(ve(101), &l, &[]).unwrap_err().kind,
        crate::Kind::Invalid
    );
}

/// Frozen processes use no processor time; killed ones end though frozen.
fn freezes_and_kills(g: &Ground) {
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let mut guest = g.shell(ve(101), "echo up; while :; do (:); done");
    let mut up = [0; 3];
    guest.0.stdout.take().unwrap().read_exact(&mut up).unwrap();
    let wait = Duration::from_secs(5);
    for _ in 0..3 {
        assert!(!g.cgroups.is_frozen(ve(101)).unwrap());
        g.cgroups.freeze(ve(101), wait).unwrap();
        g.cgroups.freeze(ve(101), wait).unwrap();
        assert!(g.cgroups.is_frozen(ve(101)).unwrap());
        let used = || g.cgroups.usage(ve(101)).unwrap().cpu.total_ns.unwrap();
        let stopped = used();
        std::thread::sleep(Duration::from_millis(30)); // a time of which it would have run the most
        // The last steps into the freezer are still counted after the kernel calls the group frozen.
        assert!(used() - stopped < 3_000_000, "{} ns", used() - stopped);
        g.cgroups.thaw(ve(101)).unwrap();
        g.cgroups.thaw(ve(101)).unwrap();
        until("it runs again", || (used() > stopped + 10_000_000).then_some(()));
    }
    g.cgroups.freeze(ve(101), wait).unwrap();
    g.cgroups.kill(ve(101)).unwrap();
    assert!(!guest.ended().success());
    until("the group is empty", || {
        g.cgroups.processes(ve(101)).unwrap().is_empty().then_some(())
    });
    g.cgroups.kill(ve(101)).unwrap();
    assert!(
        !g.cgroups.is_frozen(ve(101)).unwrap(),
        "a killed VE can be started again"
    );
    g.cgroups.remove(ve(101), wait).unwrap();
}

#[test]
fn freezes_and_kills_here() {
    let Some(g) = Ground::new() else { return };
    freezes_and_kills(&g);
}

#[test]
fn freezes_and_kills_on_v1_alone() {
    let Some(g) = Ground::on("/proc/self/mounts", |l| !l.contains(" cgroup2 ")) else {
        return;
    };
    if !has(&g, "freezer") {
        return;
    }
    assert_eq!(g.cgroups.facts().kind, Hierarchies::V1);
    freezes_and_kills(&g);
    g.cgroups.create(ve(102), 1).unwrap();
    let u = g.cgroups.usage(ve(102)).unwrap();
    assert_eq!(u.cpu_pressure, None, "v1 has no pressure files: unknown, not zero");
    // Twenty shells that fork without a pause, and no cgroup.kill.
    let mut limits = Limits::default();
    limits.cpu.cap_milli = Some(1000);
    g.cgroups.apply(ve(102), &limits, &[]).unwrap();
    let twenty = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do";
    let mut storm = g.shell(ve(102), &format!("{twenty} while :; do (:); done & done; wait"));
    until("it storms", || {
        (g.cgroups.processes(ve(102)).unwrap().len() > 20).then_some(())
    });
    g.cgroups.kill(ve(102)).unwrap();
    g.cgroups.remove(ve(102), Duration::from_secs(8)).unwrap();
    assert!(!storm.ended().success());
}

#[test]
fn freezes_and_kills_on_v2_alone() {
    let Some(g) = Ground::on("/proc/self/mounts", |l| l.contains(" cgroup2 ")) else {
        return;
    };
    assert_eq!(g.cgroups.facts().kind, Hierarchies::V2);
    freezes_and_kills(&g);
    g.cgroups.create(ve(102), 1).unwrap();
    let u = g.cgroups.usage(ve(102)).unwrap();
    assert!(u.cpu.total_ns.is_some() && u.cpu_pressure.is_some(), "{u:?}");
}

#[test]
fn what_was_joined_in_v1_only_is_found_and_killed() {
    let Some(g) = Ground::new() else { return };
    if g.cgroups.facts().kind != Hierarchies::Hybrid {
        println!("skipped because this host isn't hybrid");
        return;
    }
    g.cgroups.create(ve(101), 1).unwrap();
    let mut place = g.cgroups.placement(ve(101));
    place.unified = None;
    place.join.truncate(2);
    let mut stray = Guest(start(&place, "read x"));
    assert_eq!(g.cgroups.processes(ve(101)).unwrap(), [stray.0.id()]);
    g.cgroups.kill(ve(101)).unwrap();
    assert!(!stray.ended().success());
}

/// A loop device on a sparse file, detached at the end.
struct Loop {
    name: String,
    _file: tempfile::NamedTempFile,
}

impl Loop {
    fn new() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().ok()?;
        file.as_file().set_len(32 << 20).ok()?;
        let out = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file.path())
            .output()
            .ok()?;
        let name = String::from_utf8(out.stdout).ok()?.trim().to_owned();
        (out.status.success() && name.starts_with("/dev/")).then_some(Self { name, _file: file })
    }

    fn device(&self) -> BlockDevice {
        use std::os::unix::fs::MetadataExt;
        let dev = std::fs::metadata(&self.name).unwrap().rdev();
        BlockDevice {
            major: libc::major(dev),
            minor: libc::minor(dev),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.name]).status();
    }
}

#[test]
fn direct_writes_are_slowed_and_counted() {
    let Some(g) = Ground::new().filter(|g| has(g, "blkio") || has(g, "io")) else {
        return;
    };
    let Some(disk) = Loop::new() else {
        println!("skipped because there is no loop device to be had");
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    let mut l = Limits::default();
    l.io.write_bytes = Some(Bytes::mib(8));
    l.io.read_ops = Some(1000);
    let refused = g.cgroups.apply(ve(101), &l, &[]).unwrap_err();
    assert_eq!(refused.kind, crate::Kind::Unsupported, "no disk to limit");
    g.cgroups.apply(ve(101), &l, &[disk.device()]).unwrap();
    let two = version(&g, "io").is_some();
    let of = |file: &str| match two {
        false => g.read("blkio", ve(101), &format!("payload/blkio.throttle.{file}_device")),
        true => g.read("io", ve(101), "io.max"),
    };
    if two {
        assert_eq!(
            of(""),
            format!("{} rbps=max wbps={} riops=1000 wiops=max", disk.device(), 8 << 20)
        );
    } else {
        assert_eq!(of("write_bps"), format!("{} {}", disk.device(), 8 << 20));
        assert_eq!(of("read_iops"), format!("{} 1000", disk.device()));
    }
    // A guest reaches its disk through a file system, and may not open the device: it is open already when this enters.
    let place = g.cgroups.placement(ve(101));
    let unified = place.unified.map(|group| group.join("cgroup.procs"));
    let groups = place.join.iter().chain(&unified);
    let enter: String = groups.map(|file| format!("echo $$ >{}; ", file.display())).collect();
    let write = format!(
        "exec 9>{}; {enter}exec dd if=/dev/zero bs=256k count=16 oflag=direct 2>/dev/null >&9",
        disk.name
    );
    let begin = Instant::now();
    let mut writer = Guest(Command::new("sh").args(["-c", &write]).spawn().unwrap());
    assert!(writer.ended().success());
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(350), "4 MiB at 8 MiB/s took {took:?}");
    let io = g.cgroups.usage(ve(101)).unwrap().io_on(&[disk.device()]).unwrap();
    assert_eq!((io.write_bytes, io.read_bytes), (4 << 20, 0));
    assert!(io.write_ops >= 16, "{io:?}");
    g.cgroups.apply(ve(101), &Limits::default(), &[]).unwrap();
    assert_eq!(
        (of("write_bps"), of("read_iops")),
        (String::new(), String::new()),
        "lifted"
    );
}

#[test]
fn weights_of_disks_need_someone_who_obeys() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), 1).unwrap();
    let mut l = Limits::default();
    l.io.weight = Some(200);
    let said = g.cgroups.unenforceable(&l);
    println!("{said:?}");
    let done = g.cgroups.apply(ve(101), &l, &[]).map_err(|e| e.kind);
    assert_eq!(
        done,
        if said.is_empty() {
            Ok(())
        } else {
            Err(crate::Kind::Unsupported)
        },
        "refused exactly if said"
    );
}

#[test]
fn guarantees_are_v2s_and_the_root_has_their_sum() {
    let Some(g) = Ground::new().filter(|g| has(g, "memory")) else {
        return;
    };
    let guaranteed = |mib| {
        let mut l = Limits::default();
        l.memory.guarantee = Some(Bytes::mib(mib));
        l
    };
    g.cgroups.create(ve(101), 1).unwrap();
    g.cgroups.create(ve(102), 1).unwrap();
    if version(&g, "memory") == Some(Version::V1) {
        assert_eq!(g.cgroups.unenforceable(&guaranteed(1))[0].limit, Limit::Guarantee);
        assert_eq!(
            g.cgroups.apply(ve(101), &guaranteed(1), &[]).unwrap_err().kind,
            crate::Kind::Unsupported
        );
        return;
    }
    let root = g.dir("", ve(101)).unwrap().parent().unwrap().join("memory.min");
    let sum = || {
        std::fs::read_to_string(&root)
            .unwrap()
            .trim_end()
            .parse::<u64>()
            .unwrap()
            >> 20
    };
    if !g.cgroups.unenforceable(&guaranteed(1)).is_empty() {
        println!("skipped because {:?}", g.cgroups.unenforceable(&guaranteed(1)));
        return;
    }
    g.cgroups.apply(ve(101), &guaranteed(8), &[]).unwrap();
    g.cgroups.apply(ve(102), &guaranteed(4), &[]).unwrap();
    assert_eq!(sum(), 12);
    g.cgroups.apply(ve(102), &guaranteed(2), &[]).unwrap();
    assert_eq!(sum(), 10);
    g.cgroups.remove(ve(101), Duration::from_secs(1)).unwrap();
    assert_eq!(sum(), 2);
}

#[test]
fn only_harmless_devices_open() {
    let v1 = |g: &Ground| version(g, "devices") == Some(Version::V1);
    let Some(g) = Ground::new().filter(|g| {
        if !v1(g) {
            println!("skipped because the controller devices of cgroup v1 isn't to be had here");
        }
        v1(g)
    }) else {
        return;
    };
    g.cgroups.create(ve(101), 1_000_000).unwrap();
    g.cgroups.create(ve(101), 1_000_000).unwrap(); // safe to repeat
    let place = g.cgroups.placement(ve(101));
    let tmp = tempfile::tempdir().unwrap();
    // Nodes of its own, as root of the host: the control is that the same opens outside of the group.
    let script = format!(
        "cd {}; for n in 'null 1 3' 'zero 1 5' 'mem 1 1' 'kmsg 1 11' 'loop 10 237'; do set -- $n; \
         [ -e $1 ] || mknod $1 c $2 $3 || echo no $1; (: < $1) 2>/dev/null && echo $1; done; mknod own c 1 5 2>/dev/null && echo made",
        tmp.path().display()
    );
    let run = |place: &Placement| {
        let output = start(place, &script).wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\n', " ")
    };
    let nowhere = Placement {
        join: Vec::new(),
        unified: None,
    };
    let outside = run(&nowhere);
    assert!(outside.contains("kmsg") && outside.contains("made"), "{outside}");
    std::fs::remove_file(tmp.path().join("own")).unwrap();
    assert_eq!(run(&place), "null zero ");
}
