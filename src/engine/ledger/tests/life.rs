//! What VEs use over all that happens to them, to their host, and to whoever measures.

use std::sync::Arc;

use hostel_model::request::{Action, VeRef};
use hostel_model::traffic::Direction;
use hostel_model::usage::{Sums, Time};

use super::power::manager_lock;
use crate::facade::tests::Heard;
use crate::facade::{Books, By, Row, Silent, Whose, Window};
use crate::host::Host;
use crate::ledger::{Ledger, Said};
use crate::manager::Sampler;
use crate::testing::{again, engine, fakes, host, id, order, started, with_ve};

pub(super) const STOP: Action = Action::Stop { timeout: None };
pub(super) const ALWAYS: Window = Window {
    from_ns: i64::MIN,
    to_ns: i64::MAX,
};

/// It has used so much processor time in this run by now, and has so much memory.
pub(super) fn uses(host: &Arc<Host>, cpu: u64, memory: u64) {
    fakes(host).cgroups.change(id(101), |ve| {
        ve.usage.cpu.total_ns = Some(cpu);
        ve.usage.memory = Some(memory);
    });
}

pub(super) fn pass(host: &Arc<Host>, seconds: u64) {
    fakes(host).time.pass(seconds);
}

pub(super) fn act(host: &Arc<Host>, action: &Action) {
    engine(host).act(id(101), action, &Silent).unwrap();
}

pub(super) fn sample(host: &Arc<Host>) {
    Sampler::new(host).pass(&Silent, &|| {}).unwrap();
}

pub(super) fn rows(host: &Arc<Host>, by: By) -> Vec<Row> {
    engine(host)
        .report(&Books::Own, ALWAYS, &Whose::All, by, &Silent)
        .unwrap()
        .rows
}

pub(super) fn total(host: &Arc<Host>) -> Sums {
    let sums = rows(host, By::Ve).remove(0).sums;
    assert_eq!(engine(host).verify_ledger().unwrap().broken, None);
    sums
}

/// Whole seconds in each state: running, paused, suspended, stopped, unknown. A look at the clock takes a millisecond.
pub(super) fn seconds(sums: &Sums) -> [u128; 5] {
    ["running_ns", "paused_ns", "suspended_ns", "stopped_ns", "unknown_ns"]
        .map(|name| (sums.get(name) + 500_000_000) / 1_000_000_000)
}

pub(super) fn running() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    host
}

#[test]
fn it_is_whole_though_no_manager_ever_ran() {
    let host = running();
    pass(&host, 100);
    uses(&host, 5_000, 1 << 20);
    fakes(&host).counters.pass("hv101.0", "external", Direction::Out, 700);
    act(&host, &STOP);
    pass(&host, 50);
    started(&host);
    pass(&host, 30);
    uses(&host, 2_000, 1 << 20);
    fakes(&host).counters.pass("hv101.0", "external", Direction::Out, 11);
    act(&host, &Action::Kill);
    // Nobody has cleared up yet: the next does.
    pass(&host, 5);
    started(&host);
    pass(&host, 20);
    uses(&host, 40, 1 << 20);
    act(&host, &Action::Pause);
    pass(&host, 60);
    act(&host, &Action::Unpause);
    pass(&host, 1);
    act(&host, &Action::Suspend { timeout: None });
    pass(&host, 200);
    act(&host, &Action::Resume);
    pass(&host, 3);
    uses(&host, 9, 1 << 20);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!(sums.get("cpu_ns"), 5_000 + 2_000 + 40 + 9);
    assert_eq!(sums.get("traffic.external.out.ipv4.bytes"), 711);
    assert_eq!(seconds(&sums), [100 + 30 + 5 + 20 + 1 + 3, 60, 200, 50, 0]);
    // What it had in memory just before each end stands for the time in which nobody looked.
    let memory = sums.get("memory") / sums.get("memory.time");
    assert_eq!(memory, 1 << 20);
}

#[test]
fn a_manager_that_is_killed_and_another_that_goes_on_count_the_same() {
    let host = running();
    for n in 1..=10 {
        pass(&host, 60);
        uses(&host, n * 1_000, 4096 * n);
        fakes(&host).counters.pass("hv101.0", "external", Direction::In, 5);
        sample(&again(&host));
    }
    pass(&host, 7);
    uses(&host, 10_500, 4096);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!(sums.get("cpu_ns"), 10_500);
    assert_eq!(sums.get("traffic.external.in.ipv4.bytes"), 50);
    assert_eq!(seconds(&sums), [607, 0, 0, 0, 0]);
    // From 4096 at the first look in a straight line to ten times that, and then down again just before the end.
    let first = 60 * 4096;
    let rise: u128 = (1..10).map(|n| 60 * 4096 * (2 * n + 1) / 2).sum();
    let fall = 7 * 4096 * 11 / 2;
    let memory = sums.get("memory") / 1_000_000_000;
    assert!(memory.abs_diff(first + rise + fall) < 4096, "{memory}");
}

#[test]
fn what_the_ledger_can_not_take_is_kept_and_entered_once() {
    let host = running();
    let ledger = host.dirs.ledger();
    for ending in 1..=3_u64 {
        std::fs::write(&ledger, "broken").unwrap();
        pass(&host, 10);
        uses(&host, 100, 1);
        let heard = Heard::default();
        engine(&host).act(id(101), &STOP, &heard).unwrap();
        assert!(
            heard.notes().iter().any(|n| n.contains("kept for the next time")),
            "{:?}",
            heard.notes()
        );
        assert!(!host.spool().is_empty().unwrap());
        assert!(
            std::fs::read_dir(host.dirs.run_usage()).unwrap().next().is_none(),
            "all is on the disk"
        );
        started(&host);
        if ending == 3 {
            std::fs::remove_file(&ledger).unwrap();
        }
    }
    act(&host, &STOP);
    assert!(host.spool().is_empty().unwrap());
    assert_eq!(total(&host).get("cpu_ns"), 300);
}

#[test]
fn a_note_that_makes_no_sense_is_put_aside() {
    let host = running();
    let note = host.dirs.run_usage().join("00-101-1.json");
    std::fs::write(&note, "{").unwrap();
    let heard = Heard::default();
    uses(&host, 5, 1);
    engine(&host).act(id(101), &STOP, &heard).unwrap();
    assert!(
        heard.notes().iter().any(|n| n.contains("can't be read")),
        "{:?}",
        heard.notes()
    );
    assert!(note.with_extension("broken").exists());
    assert_eq!(total(&host).get("cpu_ns"), 5);
}

#[test]
fn another_plan_and_another_tenant_pay_for_what_comes_after() {
    let host = running();
    pass(&host, 100);
    uses(&host, 1_000, 1);
    let web1 = VeRef::Name("web1".parse().unwrap());
    let set = |key: &str, value: &str| {
        let settings = [(key.to_owned(), value.to_owned())];
        engine(&host).set(&web1, &settings, false, &Silent).unwrap();
    };
    set("plan", "large");
    pass(&host, 50);
    uses(&host, 1_200, 1);
    sample(&host);
    // By hand that does nothing: it is still the other's.
    let path = host.dirs.definition(&"web1".parse().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("tenant = \"default\"", "tenant = \"acme\"")).unwrap();
    sample(&host);
    pass(&host, 10);
    uses(&host, 1_230, 1);
    act(&host, &STOP);
    pass(&host, 5);
    set("tenant", "acme");
    pass(&host, 7);
    started(&host);
    pass(&host, 20);
    uses(&host, 30, 1);
    act(&host, &STOP);
    let by = |by| -> Vec<(String, u128, (u128, u128))> {
        let rows = rows(&host, by).into_iter().skip(1);
        rows.map(|r| {
            let [running, _, _, stopped, _] = seconds(&r.sums);
            (r.group.unwrap(), r.sums.get("cpu_ns"), (running, stopped))
        })
        .collect()
    };
    let row = |name: &str, cpu, times| (name.to_owned(), cpu, times);
    assert_eq!(
        by(By::Plan),
        [row("large", 260, (80, 12)), row("small", 1_000, (100, 0))]
    );
    assert_eq!(
        by(By::Tenant),
        [row("acme", 30, (20, 7)), row("default", 1_230, (160, 5))]
    );
    let acme = engine(&host)
        .report(&Books::Own, ALWAYS, &Whose::Tenant("acme".into()), By::Ve, &Silent)
        .unwrap();
    assert_eq!(acme.rows[0].sums.get("cpu_ns"), 30);
}

/// Which limits were in force, and from when on: those of a plan's file from the first look that finds it changed.
#[test]
fn each_record_is_under_the_limits_of_its_time() {
    let host = running();
    pass(&host, 60);
    sample(&host);
    let web1 = VeRef::Name("web1".parse().unwrap());
    let more = [("memory.limit".to_owned(), "512MiB".to_owned())];
    engine(&host).set(&web1, &more, false, &Silent).unwrap();
    pass(&host, 60);
    sample(&host);
    let plan = host.dirs.definitions("plans").join("small.toml");
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replace("processes = 100", "processes = 150")).unwrap();
    pass(&host, 60);
    sample(&host);
    pass(&host, 60);
    sample(&host);
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut ledger = Ledger::open(&host.dirs.ledger()).unwrap();
    let see = &mut |line: crate::ledger::Line| {
        if let Said::Usage(interval, terms) = &line.said
            && interval.amounts.time(Time::Running) > 0
        {
            let limit = |key: &str| terms.limits[key].clone();
            seen.push((limit("memory.limit"), limit("processes")));
        }
        Ok(())
    };
    ledger.each((0, i64::MAX), false, see).unwrap();
    let of = |memory: &str, processes: &str| (memory.to_owned(), processes.to_owned());
    seen.dedup();
    let all = [of("256MiB", "100"), of("512MiB", "100"), of("512MiB", "150")];
    assert_eq!(seen, all);
}

/// A ledger that was moved away, or Hostel brought up to date from before there was one.
#[test]
fn what_it_first_hears_of_at_its_end_is_its_tenants() {
    let host = host().make();
    with_ve(&host, &[("tenant", "acme")]);
    started(&host);
    std::fs::remove_dir_all(host.dirs.usage()).unwrap();
    pass(&host, 10);
    uses(&host, 70, 1);
    act(&host, &STOP);
    let rows = rows(&host, By::Tenant);
    assert_eq!(rows[1].group.as_deref(), Some("acme"), "{rows:?}");
    assert_eq!(rows[1].sums.get("cpu_ns"), 70);
}

#[test]
fn a_number_that_is_given_again_is_another_ve() {
    let host = running();
    pass(&host, 10);
    uses(&host, 70, 1);
    act(&host, &Action::Destroy { force: true });
    pass(&host, 1_000);
    let made = engine(&host).create(&order("web1", &[("id", "101")]), &Silent).unwrap();
    assert_eq!(made.id, id(101));
    started(&host);
    pass(&host, 20);
    uses(&host, 30, 1);
    act(&host, &STOP);
    let rows = rows(&host, By::Ve);
    let seen: Vec<_> = rows
        .iter()
        .map(|r| (r.group.as_deref(), r.ves, r.sums.get("cpu_ns")))
        .collect();
    assert_eq!(
        seen,
        [(None, 2, 100), (Some("web1 (101)"), 1, 70), (Some("web1 (101)"), 1, 30)]
    );
    // Nothing of the time between them is anybody's.
    assert_eq!(seconds(&rows[0].sums), [30, 0, 0, 0, 0]);
}

#[test]
fn the_clock_on_the_wall_may_be_set() {
    let host = running();
    for jump in [0, 86_400, -200_000, 3_600, -1] {
        pass(&host, 100);
        fakes(&host).time.set_clock(jump);
        sample(&host);
    }
    uses(&host, 77, 1);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!((sums.get("cpu_ns"), seconds(&sums)), (77, [500, 0, 0, 0, 0]));
}

#[test]
fn what_can_not_be_read_is_made_up_for() {
    let host = running();
    pass(&host, 60);
    uses(&host, 100, 4096);
    sample(&host);
    pass(&host, 60);
    uses(&host, 250, 4096);
    fakes(&host).cgroups.fail_method(Some("usage"));
    sample(&host);
    fakes(&host).cgroups.fail_method(None);
    let mut unread = Vec::new();
    let see = &mut |record: &crate::facade::Exported| {
        if record.kind == "sample" {
            unread.push(record.unread.contains(&"cpu_ns"));
        }
        Ok(())
    };
    engine(&host).export_ledger(&Books::Own, ALWAYS, see).unwrap();
    assert_eq!(unread.last(), Some(&true));
    pass(&host, 60);
    uses(&host, 300, 4096);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!((sums.get("cpu_ns"), seconds(&sums)[0]), (300, 180));
}

/// One whose record can't be read is told of, and the others are measured.
#[test]
fn one_that_can_not_be_measured_keeps_no_other_from_it() {
    let host = running();
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    let dir = host.dirs.ve(id(102));
    for name in ["state.toml", ".state.toml.copy"] {
        std::fs::write(dir.join(name), "nonsense").unwrap();
    }
    uses(&host, 9, 1);
    let heard = Heard::default();
    let mut sampler = Sampler::new(&host);
    let pass = sampler.pass(&heard, &|| {}).unwrap();
    assert_eq!((pass.measured, pass.failed), (1, 1));
    sampler.pass(&heard, &|| {}).unwrap();
    // Those that don't run are looked at once an hour.
    let told = heard.notes();
    assert!(
        told.len() == 1 && told[0].contains("VE 102 could not be measured"),
        "{told:?}"
    );
    assert_eq!(total(&host).get("cpu_ns"), 9);
}

#[test]
fn while_a_manager_runs_it_is_left_to_it() {
    let host = running();
    let lock = manager_lock(&host);
    uses(&host, 9, 1);
    act(&host, &STOP);
    assert!(!host.dirs.ledger().exists());
    drop(lock);
    assert_eq!(total(&host).get("cpu_ns"), 9);
    assert!(Ledger::open_existing(&host.dirs.ledger()).unwrap().is_some());
}

/// Its monitor was killed, and so nobody cleared up after it when it ended.
#[test]
fn one_that_ended_with_nobody_to_clear_up_is_not_running() {
    let host = running();
    pass(&host, 60);
    uses(&host, 100, 1 << 20);
    sample(&host);
    uses(&host, 170, 1 << 20);
    fakes(&host).guests.halt(101);
    let mut manager = Sampler::new(&host);
    let mut look = |seconds| {
        pass(&host, seconds);
        manager.pass(&Silent, &|| {}).unwrap();
    };
    look(30);
    for _ in 0..5 {
        look(2_000);
    }
    let sums = total(&host);
    assert_eq!((sums.get("cpu_ns"), seconds(&sums)), (170, [90, 0, 0, 10_000, 0]));
    started(&host);
    pass(&host, 10);
    uses(&host, 5, 1 << 20);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!((sums.get("cpu_ns"), seconds(&sums)), (175, [100, 0, 0, 10_000, 0]));
}

/// What keeps a VE from being measured is told.
#[test]
fn one_whose_state_can_not_be_told_is_no_success() {
    let host = running();
    fakes(&host).cgroups.fail_method(Some("is_frozen"));
    let heard = Heard::default();
    let seen = Sampler::new(&host).pass(&heard, &|| {}).unwrap();
    fakes(&host).cgroups.fail_method(None);
    assert_eq!((seen.measured, seen.failed, heard.notes().len()), (0, 1, 1));
}
