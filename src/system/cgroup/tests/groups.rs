//! Making, listing and removing groups.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::*;
use crate::Kind;

const OWNER: u32 = 1_234_567;

#[test]
fn created_twice_listed_removed_twice() {
    let Some(g) = Ground::new() else { return };
    let (a, b) = (ve(101), ve(102));
    assert!(!g.cgroups.exists(a));
    assert_eq!(g.cgroups.list().unwrap(), []);
    for id in [b, a, a] {
        g.cgroups.create(id, OWNER).unwrap();
    }
    assert_eq!(g.cgroups.list().unwrap(), [a, b]);
    let place = g.cgroups.placement(a);
    for file in &place.join {
        let payload = file.parent().unwrap();
        assert!(file.exists(), "{}", file.display());
        assert_eq!(
            payload.metadata().unwrap().uid(),
            0,
            "v1 is not the guest's: {}",
            payload.display()
        );
        assert_eq!(file.metadata().unwrap().uid(), 0);
    }
    if let Some(payload) = &place.unified {
        let owner = |p: &Path| (p.metadata().unwrap().uid(), p.metadata().unwrap().gid());
        assert_eq!(owner(payload), (OWNER, OWNER));
        for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            assert_eq!(owner(&payload.join(file)), (OWNER, OWNER), "{file}");
        }
        for file in ["cgroup.freeze", "cgroup.kill", "cgroup.max.depth"] {
            assert_eq!(owner(&payload.join(file)), (0, 0), "{file}");
        }
        assert_eq!(owner(payload.parent().unwrap()), (0, 0));
        assert_eq!(owner(&payload.parent().unwrap().join("cgroup.procs")), (0, 0));
    }
    assert_eq!(g.cgroups.remove_root().unwrap_err().kind, Kind::Busy);
    for id in [a, a, b] {
        g.cgroups.remove(id, Duration::from_secs(1)).unwrap();
    }
    assert!(!g.cgroups.exists(a));
    assert_eq!(g.cgroups.usage(a).unwrap_err().kind, Kind::NotFound);
    assert!(g.cgroups.processes(a).unwrap().is_empty());
    g.cgroups.kill(a).unwrap();
    g.cgroups.remove_root().unwrap();
    g.cgroups.remove_root().unwrap();
    assert!(
        place.join.iter().all(|f| !f.ancestors().nth(3).unwrap().exists()),
        "nothing is left"
    );
}

#[test]
fn old_guests_get_the_named_hierarchy() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), OWNER).unwrap();
    let place = g.cgroups.placement(ve(101));
    let owner = |p: &Path| p.metadata().unwrap().uid();
    let owned = || {
        place
            .join
            .iter()
            .filter(|f| owner(f) == OWNER)
            .cloned()
            .collect::<Vec<_>>()
    };
    match g.cgroups.delegate_legacy(ve(101), OWNER) {
        Err(e) => {
            assert_eq!(e.kind, Kind::Unsupported);
            println!("skipped because there is no hierarchy name=systemd here");
        }
        Ok(()) => {
            assert_eq!(owned().len(), 1, "that one and no other: {:?}", owned());
            assert_eq!(owner(owned()[0].parent().unwrap()), OWNER);
            assert_eq!(owner(&owned()[0].parent().unwrap().join("notify_on_release")), 0);
        }
    }
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    // A directory plays one more hierarchy, in which a file stands where the group should be.
    let dir = tempfile::tempdir().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = format!(
        "{mounts}cgroup {} cgroup rw,name=hostel-play 0 0\n",
        dir.path().display()
    );
    let Some(g) = Ground::on(&mounts, |_| true) else { return };
    std::fs::create_dir(dir.path().join(&g.root)).unwrap();
    let obstacle = dir.path().join(&g.root).join("101");
    std::fs::write(&obstacle, "").unwrap();
    g.cgroups.create(ve(101), OWNER).unwrap_err();
    std::fs::remove_file(&obstacle).unwrap();
    assert!(
        !g.cgroups.exists(ve(101)),
        "all that was made before the failure is gone"
    );
    g.cgroups.create(ve(101), OWNER).unwrap();
    // What was there before a failing call stays.
    std::fs::remove_dir(obstacle.join("payload")).unwrap();
    std::fs::write(obstacle.join("payload"), "").unwrap();
    g.cgroups.create(ve(101), OWNER).unwrap(); // EEXIST is no failure, and nothing is written in it
    let place = g.cgroups.placement(ve(101));
    let real = place.unified.unwrap_or_else(|| place.join[0].clone());
    assert!(real.exists());
    // All hierarchies are cleaned though one fails.
    let error = g.cgroups.remove(ve(101), Duration::from_millis(50)).unwrap_err();
    assert!(error.object.contains(dir.path().to_str().unwrap()), "{error}");
    assert!(!real.exists());
    std::fs::remove_file(obstacle.join("payload")).unwrap();
}

#[test]
fn a_living_process_keeps_its_group_and_is_named() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), OWNER).unwrap();
    let mut guest = g.shell(ve(101), "read x");
    let pid = guest.0.id();
    assert_eq!(g.cgroups.processes(ve(101)).unwrap(), [pid]);
    let error = g.cgroups.remove(ve(101), Duration::from_millis(30)).unwrap_err();
    assert_eq!(error.kind, Kind::Busy);
    assert!(
        error.hint.as_ref().unwrap().contains(&pid.to_string()),
        "{:?}",
        error.hint
    );
    g.cgroups.kill(ve(101)).unwrap();
    // Not waited for: remove waits for the dying by itself. The zombie doesn't hold the group.
    g.cgroups.remove(ve(101), Duration::from_secs(5)).unwrap();
    assert!(!guest.ended().success());
}

#[test]
fn who_attaches_goes_where_init_is() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), OWNER).unwrap();
    g.cgroups.create(ve(102), OWNER).unwrap();
    let place = g.cgroups.placement(ve(101));
    let Some(payload) = &place.unified else {
        println!("skipped because there is no v2 tree here");
        return;
    };
    let scope = payload.join("init.scope");
    std::fs::create_dir(&scope).unwrap();
    let init = g.shell(ve(101), "read x");
    let proc = format!("/proc/{}/cgroup", init.0.id());
    assert_eq!(g.cgroups.attach_placement(ve(101), Path::new(&proc)).unwrap(), place);
    std::fs::write(scope.join("cgroup.procs"), init.0.id().to_string()).unwrap();
    // As a guest's systemd does it; where there are no controllers this changes nothing.
    let offered = std::fs::read_to_string(payload.join("cgroup.controllers")).unwrap();
    for controller in offered.split_whitespace() {
        std::fs::write(payload.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    }
    let attach = g.cgroups.attach_placement(ve(101), Path::new(&proc)).unwrap();
    assert_eq!((attach.unified.as_ref(), &attach.join), (Some(&scope), &place.join));
    let second = Guest(start(&attach, "read x"));
    assert!(g.cgroups.processes(ve(101)).unwrap().contains(&second.0.id()));
    let other = g.cgroups.attach_placement(ve(102), Path::new(&proc)).unwrap_err();
    assert!(
        std::error::Error::source(&other)
            .unwrap()
            .to_string()
            .contains("not below")
    );
}

#[test]
fn monitors_live_outside() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), OWNER).unwrap();
    for _ in 0..2 {
        let place = g.cgroups.monitor_placement().unwrap();
        let mut monitor = Guest(start(&place, "read x"));
        assert!(g.cgroups.processes(ve(101)).unwrap().is_empty());
        assert_eq!(g.cgroups.list().unwrap(), [ve(101)], "the monitors' group is no VE");
        monitor.0.kill().unwrap();
        monitor.ended();
    }
    g.cgroups.remove(ve(101), Duration::from_secs(1)).unwrap();
    g.cgroups.remove_root().unwrap();
}

#[test]
fn what_a_guest_made_below_goes_with_it() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), OWNER).unwrap();
    let Some(payload) = g.cgroups.placement(ve(101)).unified else {
        println!("skipped because there is no v2 tree here");
        return;
    };
    for i in 0..30 {
        for j in 0..50 {
            std::fs::create_dir_all(payload.join(format!("s{i}/unit {j}.service"))).unwrap();
        }
    }
    // Deeper than PATH_MAX: only reachable step by step.
    let mut at: std::os::fd::OwnedFd = std::fs::File::open(&payload).unwrap().into();
    let name = CString::new("n".repeat(250)).unwrap();
    let mut depth = 0;
    while rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::from_raw_mode(0o755)).is_ok() {
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
        depth += 1;
        assert!(depth < 100, "the depth is bounded");
    }
    assert!(depth > 20, "{depth}");
    drop(at);
    assert!(g.cgroups.processes(ve(101)).unwrap().is_empty());
    let begin = std::time::Instant::now();
    g.cgroups.remove(ve(101), Duration::from_secs(5)).unwrap();
    println!("1530 groups and {depth} nested ones removed in {:?}", begin.elapsed());
    assert!(!g.cgroups.exists(ve(101)));
}

#[test]
fn the_root_has_a_weight_until_a_person_gives_it_another() {
    let Some(g) = Ground::new() else { return };
    let Some(root) = g.dir("cpu", ve(101)).map(|d| d.parent().unwrap().to_owned()) else {
        return println!("skipped because the controller cpu isn't to be had here");
    };
    g.cgroups.create(ve(101), OWNER).unwrap();
    let (file, default) = match root.join("cpu.shares") {
        file if file.exists() => (file, 1024),
        _ => (root.join("cpu.weight"), 100),
    };
    let now = || -> u64 { std::fs::read_to_string(&file).unwrap().trim().parse().unwrap() };
    let given = now();
    assert!(given >= 10 * default, "{given}");
    // As a crash right after it was made leaves it.
    std::fs::write(&file, default.to_string()).unwrap();
    g.cgroups.create(ve(102), OWNER).unwrap();
    assert_eq!(now(), given);
    std::fs::write(&file, "777").unwrap();
    g.cgroups.create(ve(103), OWNER).unwrap();
    assert_eq!(now(), 777);
}
