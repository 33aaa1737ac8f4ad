//! How often a VE ran into its limits (cgroup-v2.rst, "memory.events", "pids.events"; cgroup-v1/memory.rst,
//! "failcnt").
//!
//! On v2 the events of a group are those of all groups in it too. Of `pids.events` that holds from Linux 6.11 on; before
//! that, and on v1 to this day, a refused fork is counted in the group where it was, whoever's limit it was
//! (`pids_event` in kernel/cgroup/pids.c). So the payload is asked too; what was refused to services of a guest that
//! have groups of their own isn't seen there.

use hostel_model::id::VeId;

use super::layout::{Layout, Place};
use super::read::{Reader, throttled, value};
use super::types::Hits;

/// Reads all that can be read.
pub fn hits(layout: &Layout, id: VeId) -> Hits {
    let mut r = Reader::new(id);
    let mut hits = Hits::default();
    match layout.place("memory") {
        Some(Place::V1(h)) => {
            hits.memory = r.number(&h.root, "memory.failcnt");
            hits.memory_peak = r.number(&h.root, "memory.max_usage_in_bytes");
            hits.swap = r.number(&h.root, "memory.memsw.failcnt");
            // The payload is where the processes are, and v1 counts a kill there only.
            hits.oom_kills = r
                .read(&h.root, "payload/memory.oom_control")
                .and_then(|t| value(t, "oom_kill"));
            // A kernel was seen to leave `failcnt` at 0 though it had killed.
            hits.memory = hits.memory.map(|n| n.max(hits.oom_kills.unwrap_or(0)));
        }
        Some(Place::V2(v2)) => {
            if let Some(events) = r.read(&v2.root, "memory.events") {
                hits.memory = value(events, "max");
                hits.out_of_memory = value(events, "oom");
                hits.oom_kills = value(events, "oom_kill");
            }
            hits.memory_peak = r.number(&v2.root, "memory.peak");
            hits.swap = r.read(&v2.root, "memory.swap.events").and_then(|t| value(t, "max"));
            hits.swap_peak = r.number(&v2.root, "memory.swap.peak");
        }
        None => {}
    }
    if let Some(place) = layout.place("pids") {
        let mut refused = |file| r.read(place.root(), file).and_then(|t| value(t, "max"));
        // Where the VE's own group has all of it, what the payload has is in it.
        hits.processes = refused("pids.events").max(refused("payload/pids.events"));
        hits.processes_peak = r.number(place.root(), "pids.peak");
    }
    hits.throttled = layout
        .place("cpu")
        .and_then(|p| r.read(p.root(), "cpu.stat"))
        .and_then(throttled);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::types::Throttled;

    /// A layout whose hierarchies are directories, with these files of VE 101.
    fn read(mounts: &str, files: &[(&str, &str)]) -> Hits {
        let dir = tempfile::tempdir().unwrap();
        let id = VeId::try_from(101).unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let table = mounts.replace("TOP", &dir.path().display().to_string());
        hits(&Layout::find(&table, "", "h").unwrap(), id)
    }

    #[test]
    fn of_version_2() {
        let found = read(
            "cgroup2 TOP cgroup2 rw 0 0\n",
            &[
                ("cgroup.controllers", "cpu memory pids\n"),
                (
                    "h/101/memory.events",
                    "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
                ),
                ("h/101/memory.peak", "4096\n"),
                ("h/101/memory.swap.events", "high 0\nmax 5\nfail 6\n"),
                ("h/101/pids.events", "max 3\n"),
                (
                    "h/101/cpu.stat",
                    "usage_usec 1\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5\n",
                ),
            ],
        );
        let want = Hits {
            memory: Some(7),
            out_of_memory: Some(2),
            oom_kills: Some(1),
            memory_peak: Some(4096),
            swap: Some(5),
            swap_peak: None,
            processes: Some(3),
            processes_peak: None,
            throttled: Some(Throttled {
                periods: 10,
                throttled: 4,
                ns: 5000,
            }),
        };
        assert_eq!(found, want);
    }

    #[test]
    fn of_version_1() {
        let found = read(
            "cgroup TOP/memory cgroup rw,memory 0 0\ncgroup TOP/pids cgroup rw,pids 0 0\n",
            &[
                ("memory/h/101/memory.failcnt", "9\n"),
                ("memory/h/101/memory.max_usage_in_bytes", "8192\n"),
                (
                    "memory/h/101/payload/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                ),
                ("pids/h/101/pids.events", "max 0\n"),
                ("pids/h/101/payload/pids.events", "max 4\n"),
            ],
        );
        let want = Hits {
            memory: Some(9),
            oom_kills: Some(2),
            memory_peak: Some(8192),
            processes: Some(4),
            ..Hits::default()
        };
        assert_eq!(found, want);
    }

    #[test]
    fn what_isnt_there_is_unknown() {
        assert_eq!(read("cgroup TOP/memory cgroup rw,memory 0 0\n", &[]), Hits::default());
    }
}
