//! What a VE uses, and how often it ran into its limits (cgroup-v2.rst, "memory.events", "pids.events";
//! cgroup-v1/memory.rst, "failcnt"). Each file is opened once, and only those that tell what is wanted.
//!
//! On v2 the events of a group are those of all groups in it too. Of `pids.events` that holds from Linux 6.11 on; before
//! that, and on v1 to this day, a refused fork is counted in the group where it was, whoever's limit it was
//! (`pids_event` in kernel/cgroup/pids.c). So the payload is asked too; what was refused to services of a guest that
//! have groups of their own isn't seen there.

use std::fmt::Write;
use std::path::Path;

use hostel_model::id::VeId;

use super::layout::{Layout, Place};
use super::read::{blkio, cpu_time, io_stat, number, pressure, throttled, value};
use super::roots::Roots;
use super::types::{DeviceIo, Hits, Usage};
use super::want::Want;
use crate::file;

/// Reads files of one VE, with one buffer for all paths and one for all contents.
struct Reader<'a> {
    layout: &'a Layout,
    roots: &'a Roots,
    want: Want,
    id: VeId,
    path: String,
    text: Vec<u8>,
}

impl Reader<'_> {
    /// The content of `<root>/<id>/file`.
    fn read(&mut self, root: &Path, file: &str) -> Option<&str> {
        self.path.clear();
        write!(self.path, "{}/{file}", self.id).ok()?;
        let dir = self.roots.of(self.layout, root)?;
        file::read_into(dir, Path::new(&self.path), &mut self.text).ok()?;
        std::str::from_utf8(&self.text).ok()
    }

    fn number(&mut self, root: &Path, file: &str) -> Option<u64> {
        self.read(root, file).and_then(number)
    }

    fn value(&mut self, root: &Path, file: &str, key: &str) -> Option<u64> {
        self.read(root, file).and_then(|text| value(text, key))
    }
}

/// Reads all that is wanted and can be read. `last`: what was read of the same run before; where no process of the VE has
/// run since, what can't have changed without one is taken from there.
pub fn gather(layout: &Layout, roots: &Roots, id: VeId, want: Want, last: Option<&(Usage, Hits)>) -> (Usage, Hits) {
    let mut reader = Reader {
        layout,
        roots,
        want,
        id,
        path: String::with_capacity(64),
        text: Vec::with_capacity(4096),
    };
    let (mut usage, mut hits) = (Usage::default(), Hits::default());
    cpu(&mut reader, &mut usage);
    let idle = last.filter(|(had, _)| usage.cpu.total_ns.is_some() && had.cpu.total_ns == usage.cpu.total_ns);
    if let Some((had, all)) = idle {
        hits = *all;
        usage.cpu = had.cpu;
        usage.throttled = had.throttled;
        (usage.memory_peak, usage.oom_kills) = (had.memory_peak, had.oom_kills);
        reader.want = reader
            .want
            .without(Want::ALL_TIMES)
            .without(Want::HITS)
            .without(Want::MORE_HITS);
        let waits = [had.cpu_pressure, had.memory_pressure, had.io_pressure];
        // Whoever waits for a disk doesn't run either; but he has to run to begin to.
        if waits.iter().flatten().all(|wait| wait.some_avg10 == 0.0) {
            [usage.cpu_pressure, usage.memory_pressure, usage.io_pressure] = waits;
            reader.want = reader.want.without(Want::WAITS);
        }
    }
    times(&mut reader, &mut usage, &mut hits);
    memory(&mut reader, &mut usage, &mut hits);
    processes(&mut reader, &mut usage, &mut hits);
    io(&mut reader, &mut usage);
    (usage, hits)
}

/// Processor time.
fn cpu(r: &mut Reader<'_>, u: &mut Usage) {
    let layout = r.layout;
    // The v2 tree counts processor time even where it has no controllers, and its user and system time add up to the
    // total; those of v1 are sampled at clock ticks and may not.
    if let Some(v2) = &layout.v2 {
        let text = r.read(&v2.root, "cpu.stat");
        u.cpu = text.map(cpu_time).unwrap_or_default();
        u.throttled = text.and_then(throttled);
    } else if let Some(Place::V1(h)) = layout.place("cpuacct") {
        u.cpu.total_ns = r.number(&h.root, "cpuacct.usage");
    }
}

/// What it is made up of, and how the cap bit.
fn times(r: &mut Reader<'_>, u: &mut Usage, h: &mut Hits) {
    let layout = r.layout;
    let all = r.want.has(Want::ALL_TIMES);
    if let (None, Some(Place::V1(v1)), true) = (&layout.v2, layout.place("cpuacct"), all) {
        u.cpu.user_ns = r.number(&v1.root, "cpuacct.usage_user");
        u.cpu.system_ns = r.number(&v1.root, "cpuacct.usage_sys");
    }
    match layout.place("cpu") {
        Some(Place::V1(v1)) if all => u.throttled = r.read(&v1.root, "cpu.stat").and_then(throttled),
        // It is known already, or not wanted.
        Some(_) => {}
        None => u.throttled = None,
    }
    h.throttled = u.throttled;
}

fn memory(r: &mut Reader<'_>, u: &mut Usage, h: &mut Hits) {
    match r.layout.place("memory") {
        Some(Place::V1(v1)) => memory_v1(r, &v1.root, u, h),
        Some(Place::V2(v2)) => memory_v2(r, &v2.root, u, h),
        None => {}
    }
}

fn memory_v1(r: &mut Reader<'_>, root: &Path, u: &mut Usage, h: &mut Hits) {
    u.memory = r.number(root, "memory.usage_in_bytes");
    if r.want.has(Want::LEVELS) {
        // memory.memsw counts both; read after the first, so that the difference errs on the side of more.
        let both = r.number(root, "memory.memsw.usage_in_bytes");
        u.swap = both.zip(u.memory).map(|(both, memory)| both.saturating_sub(memory));
    }
    if r.want.has(Want::HITS) {
        u.memory_peak = r.number(root, "memory.max_usage_in_bytes");
        // The payload is where the processes are, and v1 counts a kill there only.
        u.oom_kills = r.value(root, "payload/memory.oom_control", "oom_kill");
        // A kernel was seen to leave `failcnt` at 0 though it had killed.
        let hits = r.number(root, "memory.failcnt");
        h.memory = hits.map(|n| n.max(u.oom_kills.unwrap_or(0)));
        (h.memory_peak, h.oom_kills) = (u.memory_peak, u.oom_kills);
    }
    if r.want.has(Want::MORE_HITS) {
        h.swap = r.number(root, "memory.memsw.failcnt");
    }
}

fn memory_v2(r: &mut Reader<'_>, root: &Path, u: &mut Usage, h: &mut Hits) {
    u.memory = r.number(root, "memory.current");
    if r.want.has(Want::LEVELS) {
        u.swap = r.number(root, "memory.swap.current");
    }
    if r.want.has(Want::HITS) {
        u.memory_peak = r.number(root, "memory.peak");
        if let Some(events) = r.read(root, "memory.events") {
            h.memory = value(events, "max");
            h.out_of_memory = value(events, "oom");
            u.oom_kills = value(events, "oom_kill");
        }
        (h.memory_peak, h.oom_kills) = (u.memory_peak, u.oom_kills);
    }
    if r.want.has(Want::MORE_HITS) {
        h.swap = r.value(root, "memory.swap.events", "max");
        h.swap_peak = r.number(root, "memory.swap.peak");
    }
}

fn processes(r: &mut Reader<'_>, u: &mut Usage, h: &mut Hits) {
    let Some(place) = r.layout.place("pids") else {
        return;
    };
    let root = place.root();
    u.processes = r.number(root, "pids.current");
    if r.want.has(Want::HITS) {
        // Where the VE's own group has all of it, what the payload has is in it. On v1 it has what happened in itself, where
        // no process ever is.
        let own = match place {
            Place::V1(_) => None,
            Place::V2(_) => r.value(root, "pids.events", "max"),
        };
        h.processes = own.max(r.value(root, "payload/pids.events", "max"));
    }
    if r.want.has(Want::MORE_HITS) {
        h.processes_peak = r.number(root, "pids.peak");
    }
}

fn io(r: &mut Reader<'_>, u: &mut Usage) {
    if r.want.has(Want::IO) {
        u.io = traffic(r);
    }
    if let Some(v2) = r.layout.v2.as_ref().filter(|_| r.want.has(Want::WAITS)) {
        u.cpu_pressure = r.read(&v2.root, "cpu.pressure").and_then(pressure);
        u.memory_pressure = r.read(&v2.root, "memory.pressure").and_then(pressure);
        u.io_pressure = r.read(&v2.root, "io.pressure").and_then(pressure);
    }
}

fn traffic(r: &mut Reader<'_>) -> Option<Vec<DeviceIo>> {
    match r.layout.place("io") {
        Some(Place::V1(v1)) => r
            .read(&v1.root, "blkio.throttle.io_service_bytes_recursive")
            .map(str::to_owned)
            .and_then(|bytes| Some(blkio(&bytes, r.read(&v1.root, "blkio.throttle.io_serviced_recursive")?))),
        Some(Place::V2(v2)) => r.read(&v2.root, "io.stat").map(io_stat),
        None => None,
    }
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
        let layout = Layout::find(&table, "", "h").unwrap();
        gather(&layout, &Roots::open(&layout), id, Want::EVERYTHING, None).1
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

    /// Of a VE that has not run since, levels are read; the rest when it has run again.
    #[test]
    fn of_who_has_not_run_only_levels_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let id = VeId::try_from(101).unwrap();
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let at = |cpu: u64, memory: u64, peak: u64, events: u64, waited: &str| {
            let throttled = format!("nr_periods 9\nnr_throttled {events}\nthrottled_usec 1\n");
            write(
                "h/101/cpu.stat",
                &format!("usage_usec {cpu}\nuser_usec {cpu}\nsystem_usec 0\n{throttled}"),
            );
            write("h/101/memory.current", &format!("{memory}\n"));
            write("h/101/memory.peak", &format!("{peak}\n"));
            write(
                "h/101/memory.events",
                &format!("max {events}\noom 0\noom_kill {events}\n"),
            );
            write("h/101/pids.current", "3\n");
            write("h/101/pids.events", &format!("max {events}\n"));
            for resource in ["cpu", "memory", "io"] {
                write(
                    &format!("h/101/{resource}.pressure"),
                    &format!("some {waited}\nfull {waited}\n"),
                );
            }
        };
        write("cgroup.controllers", "cpu memory pids io\n");
        at(10, 100, 100, 1, "avg10=0.00 avg60=0.00 avg300=0.00 total=5");
        let table = format!("cgroup2 {} cgroup2 rw 0 0\n", dir.path().display());
        let layout = Layout::find(&table, "", "h").unwrap();
        let read = |last: Option<&(Usage, Hits)>| gather(&layout, &Roots::open(&layout), id, Want::EVERYTHING, last);
        let first = read(None);
        at(10, 50, 200, 2, "avg10=7.00 avg60=0.00 avg300=0.00 total=9");
        let idle = read(Some(&first));
        assert_eq!(idle.0.memory, Some(50));
        assert_eq!((idle.0.memory_peak, idle.1), (Some(100), first.1));
        assert_eq!((idle.0.cpu, idle.0.io_pressure), (first.0.cpu, first.0.io_pressure));
        at(11, 50, 200, 2, "avg10=7.00 avg60=0.00 avg300=0.00 total=9");
        let ran = read(Some(&idle));
        assert_eq!(ran, read(None), "all is read anew");
        // Whoever waits may go on to.
        at(11, 50, 300, 3, "avg10=9.00 avg60=0.00 avg300=0.00 total=99");
        let waits = read(Some(&ran));
        assert_eq!((waits.0.io_pressure.unwrap().some_us, waits.1), (99, ran.1));
        let other = (Usage::default(), Hits::default());
        assert_eq!(read(Some(&other)), read(None), "what wasn't known can't be the same");
    }

    #[test]
    fn what_isnt_there_is_unknown() {
        assert_eq!(read("cgroup TOP/memory cgroup rw,memory 0 0\n", &[]), Hits::default());
    }
}
