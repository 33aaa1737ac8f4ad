//! Where the kernel tells of a VE what [`super::Usage`] and [`super::Hits`] hold, for who reads it again and again and
//! knows nothing of versions: the monitor.

use std::path::Path;

use hostel_model::id::VeId;
use hostel_monitor::spec::{Source, Sum};

use super::layout::{Layout, Place};

/// Of each the greatest holds; empty: the kernel doesn't tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spots {
    /// In use now.
    pub held: Vec<Sum>,
    /// The most at any time.
    pub most: Vec<Sum>,
    /// The limit; no number: there is none.
    pub limit: Vec<Sum>,
    /// How often it stood in the way.
    pub hits: Vec<Sum>,
}

/// All of a VE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Memory, in bytes.
    pub memory: Spots,
    /// Swap, in bytes.
    pub swap: Spots,
    /// Processes and threads.
    pub processes: Spots,
    /// Memory that is never taken from it, in bytes.
    pub guarantee: Vec<Sum>,
    /// Processes killed for want of memory.
    pub oom_kills: Vec<Sum>,
}

/// Nothing is read.
pub fn told(layout: &Layout, id: VeId) -> Told {
    let mut told = Told::default();
    match layout.place("memory") {
        Some(Place::V1(h)) => of_v1(&mut told, &h.root.join(id.to_string())),
        Some(Place::V2(v2)) => of_v2(&mut told, &v2.root.join(id.to_string())),
        None => {}
    }
    if let Some(place) = layout.place("pids") {
        let dir = place.root().join(id.to_string());
        let refused = |file| one(keyed(&dir, file, "max"));
        told.processes = Spots {
            held: vec![one(plain(&dir, "pids.current"))],
            most: vec![one(plain(&dir, "pids.peak"))],
            limit: vec![one(plain(&dir, "pids.max"))],
            // Where the VE's own group has all of it, what the payload has is in it (see hits.rs).
            hits: vec![refused("pids.events"), refused("payload/pids.events")],
        };
    }
    told
}

fn of_v1(told: &mut Told, dir: &Path) {
    let kills = || one(keyed(dir, "payload/memory.oom_control", "oom_kill"));
    let less = |both: &str, memory: &str| Sum {
        plus: vec![plain(dir, both)],
        minus: vec![plain(dir, memory)],
    };
    told.memory = Spots {
        held: vec![one(plain(dir, "memory.usage_in_bytes"))],
        most: vec![one(plain(dir, "memory.max_usage_in_bytes"))],
        limit: vec![one(plain(dir, "memory.limit_in_bytes"))],
        hits: vec![one(plain(dir, "memory.failcnt")), kills()],
    };
    told.swap = Spots {
        held: vec![less("memory.memsw.usage_in_bytes", "memory.usage_in_bytes")],
        most: Vec::new(),
        limit: vec![less("memory.memsw.limit_in_bytes", "memory.limit_in_bytes")],
        hits: vec![one(plain(dir, "memory.memsw.failcnt"))],
    };
    told.oom_kills = vec![kills()];
}

fn of_v2(told: &mut Told, dir: &Path) {
    let spots = |kind: &str| Spots {
        held: vec![one(plain(dir, &format!("{kind}.current")))],
        most: vec![one(plain(dir, &format!("{kind}.peak")))],
        limit: vec![one(plain(dir, &format!("{kind}.max")))],
        hits: vec![one(keyed(dir, &format!("{kind}.events"), "max"))],
    };
    told.memory = spots("memory");
    told.swap = spots("memory.swap");
    told.guarantee = vec![one(plain(dir, "memory.min"))];
    told.oom_kills = vec![one(keyed(dir, "memory.events", "oom_kill"))];
}

fn one(source: Source) -> Sum {
    Sum {
        plus: vec![source],
        minus: Vec::new(),
    }
}

fn plain(dir: &Path, file: &str) -> Source {
    Source {
        file: dir.join(file),
        key: None,
    }
}

fn keyed(dir: &Path, file: &str, key: &str) -> Source {
    Source {
        key: Some(key.to_owned()),
        ..plain(dir, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(mounts: &str) -> Vec<String> {
        let layout = Layout::find(mounts, "", "h").unwrap();
        let told = told(&layout, VeId::try_from(101).unwrap());
        let spots = [&told.memory, &told.swap, &told.processes];
        let all = spots.iter().flat_map(|s| [&s.held, &s.most, &s.limit, &s.hits]);
        let sources = all.flatten().flat_map(|sum| sum.plus.iter().chain(&sum.minus));
        sources.map(|s| s.file.display().to_string()).collect()
    }

    #[test]
    fn files_of_both_versions() {
        let v1 = files("cgroup /cg/memory cgroup rw,memory 0 0\ncgroup /cg/pids cgroup rw,pids 0 0\n");
        assert!(
            v1.contains(&"/cg/memory/h/101/memory.memsw.usage_in_bytes".to_owned()),
            "{v1:?}"
        );
        assert!(v1.contains(&"/cg/pids/h/101/payload/pids.events".to_owned()), "{v1:?}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.controllers"), "memory pids\n").unwrap();
        let top = dir.path().display();
        let v2 = files(&format!("cgroup2 {top} cgroup2 rw 0 0\n"));
        assert!(v2.contains(&format!("{top}/h/101/memory.swap.peak")), "{v2:?}");
        assert!(files("cgroup /cg/cpu cgroup rw,cpu 0 0\n").is_empty());
    }
}
