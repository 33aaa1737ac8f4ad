//! Two sample operations that pass the proofs, and broken ones that must not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use hostel_model::id::VeId;
use hostel_system::disk::{DiskSpec, Disks, FakeDisks};
use serde::{Deserialize, Serialize};

use super::points::Quiet;
use super::testkit::Case;
use super::*;
use crate::error::{Class, Error};
use crate::facade::Silent;
use crate::journal::{Found, Journals};

/// A host of fakes: disks, and names that are taken.
#[derive(Debug, Default)]
struct World {
    disks: FakeDisks,
    names: Mutex<BTreeSet<String>>,
    fail_names: Mutex<Option<usize>>,
    interrupt: AtomicBool,
}

impl World {
    fn names<T>(&self, act: impl FnOnce(&mut BTreeSet<String>) -> T) -> Result<T> {
        let mut countdown = self.fail_names.lock().unwrap();
        if let Some(n) = &mut *countdown {
            *n -= 1;
            if *n == 0 {
                *countdown = None;
                return Err(Error::new(Class::Failed, "told to fail"));
            }
        }
        Ok(act(&mut self.names.lock().unwrap()))
    }
    fn fail_name_call(&self, n: usize) -> bool {
        std::mem::replace(&mut *self.fail_names.lock().unwrap(), (n > 0).then_some(n)).is_some()
    }
    fn inventory(&self) -> Vec<String> {
        let names = self.names.lock().unwrap();
        self.disks
            .inventory()
            .into_iter()
            .chain(names.iter().map(|n| format!("name {n}")))
            .collect()
    }
}

fn id() -> VeId {
    VeId::try_from(101).unwrap()
}

fn dir() -> &'static Path {
    Path::new("/ve/101")
}

const SPEC: DiskSpec = DiskSpec {
    size: 1 << 30,
    inodes: None,
    key: 0,
};

#[derive(Debug, Serialize, Deserialize)]
struct Params {
    name: String,
    dir: PathBuf,
}

fn params() -> Params {
    Params {
        name: "web1".into(),
        dir: dir().into(),
    }
}

/// Declares an operation over [`World`]: the context, and a table of steps.
macro_rules! operation {
    ($name:ident, $verb:literal, [$($step:expr),* $(,)?]) => {
        #[derive(Debug)]
        struct $name {
            host: Arc<World>,
            params: Params,
            /// What a broken step keeps in memory.
            memory: bool,
        }
        impl Operation for $name {
            const VERB: &'static str = $verb;
            const HOME: Home = Home::Volatile;
            type Host = World;
            type Params = Params;
            fn resume(host: Arc<World>, _: VeId, params: Params) -> Result<Self> {
                Ok(Self { host, params, memory: false })
            }
            fn steps() -> &'static [Step<Self>] {
                const { &[$($step),*] }
            }
        }
    };
}

/// Acts and undos that keep the rules, for any of the operations.
trait Acts: Sized {
    fn world(&self) -> &World;
    fn p(&self) -> &Params;
    fn memory(&mut self) -> &mut bool;

    fn claim(&mut self) -> Result<()> {
        let name = self.p().name.clone();
        self.world().names(|n| n.insert(name)).map(drop)
    }
    fn unclaim(&mut self) -> Result<()> {
        let name = self.p().name.clone();
        self.world().names(|n| n.remove(&name)).map(drop)
    }
    fn make_disk(&mut self) -> Result<()> {
        Ok(self.world().disks.create(&self.p().dir, &SPEC, "ve-101")?)
    }
    fn remove_disk(&mut self) -> Result<()> {
        Ok(self.world().disks.remove(&self.p().dir)?)
    }
    /// Two acts in one step: it can stop half way.
    fn attach_and_note(&mut self) -> Result<()> {
        self.world().disks.attach(&self.p().dir)?;
        self.world().names(|n| n.insert("attached".into())).map(drop)
    }
    fn detach_and_forget(&mut self) -> Result<()> {
        self.world().names(|n| n.remove("attached"))?;
        Ok(self.world().disks.detach(&self.p().dir, std::time::Duration::ZERO)?)
    }
    fn rename_away(&mut self) -> Result<()> {
        let name = self.p().name.clone();
        self.world()
            .names(|n| {
                if n.remove(&name) {
                    n.insert(format!(".gone-{name}"))
                } else {
                    false
                }
            })
            .map(drop)
    }
    fn rename_back(&mut self) -> Result<()> {
        let name = self.p().name.clone();
        self.world()
            .names(|n| {
                if n.remove(&format!(".gone-{name}")) {
                    n.insert(name)
                } else {
                    false
                }
            })
            .map(drop)
    }
    fn forget(&mut self) -> Result<()> {
        let name = format!(".gone-{}", self.p().name);
        self.world().names(|n| n.remove(&name)).map(drop)
    }
}

macro_rules! acts {
    ($($name:ident)*) => {$(
        impl Acts for $name {
            fn world(&self) -> &World { &self.host }
            fn p(&self) -> &Params { &self.params }
            fn memory(&mut self) -> &mut bool { &mut self.memory }
        }
    )*};
}

operation!(
    Create,
    "create",
    [
        Step::new("claim", "taking the name", Create::claim, Create::unclaim),
        Step::new("disk", "formatting the disk", Create::make_disk, Create::remove_disk),
        Step::new(
            "attach",
            "attaching the disk",
            Create::attach_and_note,
            Create::detach_and_forget
        ),
    ]
);
operation!(
    Destroy,
    "destroy",
    [
        Step::new("look", "looking", nothing, nothing),
        Step::new("rename", "taking it away", Destroy::rename_away, Destroy::rename_back).point_of_no_return(),
        Step::new("detach", "detaching the disk", Destroy::detach_and_forget, nothing),
        Step::new("disk", "removing the disk", Destroy::remove_disk, nothing),
        Step::new("forget", "forgetting it", Destroy::forget, nothing),
    ]
);
// Its undo of the disk forgets it.
operation!(
    Forgetful,
    "create",
    [
        Step::new("claim", "", Forgetful::claim, Forgetful::unclaim),
        Step::new("disk", "", Forgetful::make_disk, nothing),
    ]
);
// Taking a step twice fails.
operation!(Once, "create", [Step::new("claim", "", claim_new, Once::unclaim)]);
fn claim_new(c: &mut Once) -> Result<()> {
    match c.world().names(|n| n.insert("web1".into()))? {
        true => Ok(()),
        false => Err(Error::new(Class::Failed, "there already")),
    }
}
// Undoing twice, or what never ran, fails.
operation!(
    Strict,
    "create",
    [Step::new("claim", "", Strict::claim, unclaim_strictly)]
);
fn unclaim_strictly(c: &mut Strict) -> Result<()> {
    match c.world().names(|n| n.remove("web1"))? {
        true => Ok(()),
        false => Err(Error::new(Class::Failed, "not there")),
    }
}
// It remembers in memory what it did: lost with the process.
operation!(
    Memory,
    "create",
    [
        Step::new("claim", "", claim_and_remember, unclaim_if_remembered),
        Step::new("disk", "", Memory::make_disk, Memory::remove_disk),
    ]
);
fn claim_and_remember(c: &mut Memory) -> Result<()> {
    *c.memory() = true;
    c.claim()
}
fn unclaim_if_remembered(c: &mut Memory) -> Result<()> {
    if *c.memory() { c.unclaim() } else { Ok(()) }
}
// Its undo takes the second half back only if the first half is there.
operation!(
    Half,
    "create",
    [
        Step::new("claim", "", Half::claim, Half::unclaim),
        Step::new("disk", "", Half::make_disk, Half::remove_disk),
        Step::new("attach", "", Half::attach_and_note, detach_if_noted),
    ]
);
fn detach_if_noted(c: &mut Half) -> Result<()> {
    if c.world().names(|n| n.remove("attached"))? {
        c.world().disks.detach(dir(), std::time::Duration::ZERO)?;
    }
    Ok(())
}
// It destroys before it has committed.
operation!(
    Hasty,
    "destroy",
    [
        Step::new("detach", "", Hasty::detach_and_forget, nothing),
        Step::new("disk", "", Hasty::remove_disk, nothing),
        Step::new("rename", "", Hasty::rename_away, Hasty::rename_back).point_of_no_return(),
        Step::new("forget", "", Hasty::forget, nothing),
    ]
);
// A step that does nothing at all.
operation!(Idle, "create", [Step::new("idle", "", nothing, nothing)]);
acts!(Create Destroy Forgetful Once Strict Memory Half Hasty Idle);

fn empty() -> Arc<World> {
    Arc::default()
}

fn made() -> Arc<World> {
    let world = World::default();
    world.disks.create(dir(), &SPEC, "ve-101").unwrap();
    world.disks.attach(dir()).unwrap();
    world
        .names(|n| n.extend(["web1".to_owned(), "attached".to_owned()]))
        .unwrap();
    Arc::new(world)
}

fn case<O: Operation<Host = World, Params = Params>>(host: &dyn Fn() -> Arc<World>, with: impl Fn(&Case<'_, O>)) {
    with(&Case {
        host,
        id: id(),
        params: &|_| params(),
        inventory: &World::inventory,
        fail_calls: &[&|w, n| w.disks.fail_call(n), &World::fail_name_call],
    });
}

#[test]
fn sound_operations_pass() {
    case::<Create>(&empty, |c| c.prove());
    case::<Destroy>(&made, |c| c.prove());
}

#[test]
fn broken_operations_are_caught() {
    case::<Forgetful>(&empty, |c| {
        c.failure_leaves_nothing().unwrap_err();
        c.undo_can_be_run_twice().unwrap_err();
        c.death_leaves_all_or_nothing().unwrap_err();
    });
    case::<Once>(&empty, |c| {
        c.failure_leaves_nothing().unwrap();
        c.steps_can_be_taken_twice().unwrap_err();
    });
    case::<Strict>(&empty, |c| {
        c.steps_can_be_taken_twice().unwrap();
        c.undo_can_be_run_twice().unwrap_err();
        c.failure_leaves_nothing().unwrap_err();
        c.death_leaves_all_or_nothing().unwrap_err();
    });
    case::<Memory>(&empty, |c| {
        c.failure_leaves_nothing().unwrap();
        c.death_leaves_all_or_nothing().unwrap_err();
    });
    case::<Half>(&empty, |c| {
        c.steps_can_be_taken_twice().unwrap();
        c.failure_leaves_nothing().unwrap();
        c.undo_can_be_run_twice().unwrap();
        c.any_call_may_fail().unwrap_err();
    });
    case::<Hasty>(&made, |c| {
        c.steps_can_be_taken_twice().unwrap();
        c.failure_leaves_nothing().unwrap_err();
        c.any_call_may_fail().unwrap_err();
        c.death_leaves_all_or_nothing().unwrap_err();
    });
    case::<Idle>(&empty, |c| {
        c.failure_leaves_nothing().unwrap_err();
    });
}

/// A place for journals, and a runner with nothing told.
struct Bench {
    dir: tempfile::TempDir,
    journals: Journals,
    interrupted: AtomicBool,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journals = Journals::at(&dir.path().join("d"), &dir.path().join("v"), "boot").unwrap();
        Self {
            dir,
            journals,
            interrupted: AtomicBool::new(false),
        }
    }
    fn runner(&self) -> Runner<'_> {
        Runner {
            journals: &self.journals,
            progress: &Silent,
            interrupted: &self.interrupted,
            points: &Quiet,
        }
    }
    fn unfinished(&self) -> crate::journal::Unfinished {
        match self.journals.find(id()).unwrap() {
            Found::Unfinished(u) => u,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_interrupt_is_undone_but_not_past_the_point_of_no_return() {
    let bench = Bench::new();
    bench.interrupted.store(true, std::sync::atomic::Ordering::Relaxed);
    let world = empty();
    let error = bench.runner().run::<Create>(&world, id(), &params()).unwrap_err();
    assert_eq!(error.class, Class::Interrupted);
    assert!(world.inventory().is_empty() && bench.journals.pending().unwrap().is_empty());
    // Interrupted while it runs: by a step of its own.
    operation!(
        Signalled,
        "create",
        [
            Step::new("claim", "", Signalled::claim, Signalled::unclaim),
            Step::new("signal", "", signal, nothing),
            Step::new("disk", "", Signalled::make_disk, Signalled::remove_disk),
        ]
    );
    operation!(
        Late,
        "destroy",
        [
            Step::new("rename", "", Late::rename_away, Late::rename_back),
            Step::new(
                "signal",
                "",
                |c: &mut Late| {
                    c.host.interrupt.store(true, RELAXED);
                    Ok(())
                },
                nothing
            )
            .point_of_no_return(),
            Step::new("detach", "", Late::detach_and_forget, nothing),
            Step::new("disk", "", Late::remove_disk, nothing),
            Step::new("forget", "", Late::forget, nothing),
        ]
    );
    acts!(Signalled Late);
    const RELAXED: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;
    fn signal(c: &mut Signalled) -> Result<()> {
        c.host.interrupt.store(true, RELAXED);
        Ok(())
    }
    let world = empty();
    let runner = Runner {
        interrupted: &world.interrupt,
        ..bench.runner()
    };
    assert_eq!(
        runner.run::<Signalled>(&world, id(), &params()).unwrap_err().class,
        Class::Interrupted
    );
    assert!(world.inventory().is_empty());
    let world = made();
    let runner = Runner {
        interrupted: &world.interrupt,
        ..bench.runner()
    };
    runner.run::<Late>(&world, id(), &params()).unwrap();
    assert!(world.inventory().is_empty());
}

#[test]
fn failures_while_undoing_ride_along_and_are_tried_again() {
    let (bench, world) = (Bench::new(), empty());
    // Call 1 makes the disk, 2 attaches; the detach and the remove fail too.
    operation!(
        Create3,
        "create",
        [
            Step::new("claim", "", Create3::claim, Create3::unclaim),
            Step::new("disk", "", Create3::make_disk, Create3::remove_disk),
            Step::new("attach", "", Create3::attach_and_note, Create3::detach_and_forget),
            Step::new(
                "fail",
                "",
                |c: &mut Create3| {
                    c.host.disks.fail_method(Some("detach"));
                    Err(Error::new(Class::Limit, "no"))
                },
                nothing
            ),
        ]
    );
    acts!(Create3);
    let error = bench.runner().run::<Create3>(&world, id(), &params()).unwrap_err();
    assert_eq!((error.class, error.to_string().as_str()), (Class::Limit, "no"));
    assert_eq!(error.also.len(), 2, "{:?}", error.also);
    assert!(error.also[0].starts_with("undoing attach: ") && error.also[0].ends_with("told to fail"));
    assert!(
        error.also[1].starts_with("undoing disk: "),
        "busy, since still attached"
    );
    assert!(error.hints.iter().any(|h| h.contains("tries again")));
    assert_eq!(bench.journals.pending().unwrap(), [id()]);
    // Nothing else may begin over it.
    assert_eq!(
        bench.runner().run::<Create>(&world, id(), &params()).unwrap_err().class,
        Class::Refused
    );
    // It still can't; then it can.
    let error = bench
        .runner()
        .recover::<Create3>(&world, bench.unfinished())
        .unwrap_err();
    assert_eq!(error.also.len(), 2);
    world.disks.fail_method(None);
    let done = bench.runner().recover::<Create3>(&world, bench.unfinished()).unwrap();
    assert_eq!(done, Recovered::RolledBack);
    assert!(world.inventory().is_empty());
}

#[test]
fn past_the_point_of_no_return_the_error_says_what_remains() {
    let (bench, world) = (Bench::new(), made());
    world.disks.fail_method(Some("remove"));
    let error = bench.runner().run::<Destroy>(&world, id(), &params()).unwrap_err();
    assert!(
        error.hints[0].contains("what remains: removing the disk, forgetting it"),
        "{:?}",
        error.hints
    );
    let again = bench
        .runner()
        .recover::<Destroy>(&world, bench.unfinished())
        .unwrap_err();
    assert!(again.hints[0].contains("what remains: removing the disk"));
    world.disks.fail_method(None);
    let done = bench.runner().recover::<Destroy>(&world, bench.unfinished()).unwrap();
    assert_eq!(done, Recovered::RolledForward);
    assert!(world.inventory().is_empty());
}

#[test]
fn a_journal_of_another_version_is_refused_and_can_be_put_aside() {
    let (bench, world) = (Bench::new(), empty());
    let json = serde_json::to_value(params()).unwrap();
    let mut journal = bench.journals.begin(Home::Volatile, "create", id(), json).unwrap();
    journal.step("claim").unwrap();
    journal.step("teleport").unwrap();
    drop(journal);
    let error = bench
        .runner()
        .recover::<Create>(&world, bench.unfinished())
        .unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("teleport")
    );
    assert_eq!(
        bench
            .runner()
            .recover::<Destroy>(&world, bench.unfinished())
            .unwrap_err()
            .class,
        Class::Failed
    );
    let found = bench
        .journals
        .quarantine(bench.unfinished(), "unknown step".into())
        .unwrap();
    assert!(matches!(found, Found::Corrupt { moved_to, .. } if moved_to.starts_with(bench.dir.path())));
    bench.runner().run::<Create>(&world, id(), &params()).unwrap();
}

/// The same as in testkit, but for real: this test program runs itself, and the child is killed by SIGKILL.
#[cfg(feature = "crash-points")]
#[test]
fn the_environment_names_where_to_die_or_fail() {
    use std::os::unix::process::ExitStatusExt;
    const ME: &str = "step::tests::the_environment_names_where_to_die_or_fail";
    if let Some(dir) = std::env::var_os("HOSTEL_TEST_CHILD") {
        let dir = PathBuf::from(dir);
        let journals = Journals::at(&dir.join("d"), &dir.join("v"), "boot").unwrap();
        let interrupted = AtomicBool::new(false);
        let runner = Runner {
            journals: &journals,
            progress: &Silent,
            interrupted: &interrupted,
            points: points(),
        };
        let error = runner.run::<Create>(&empty(), id(), &params()).unwrap_err();
        assert!(
            error.to_string().contains("told to fail at create.disk:after"),
            "{error}"
        );
        return;
    }
    let bench = Bench::new();
    let child = |name, place| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", ME])
            .env("HOSTEL_TEST_CHILD", bench.dir.path())
            .env(name, place);
        command.env("HOSTEL_POINTS_LOG", bench.dir.path().join("log"));
        command.stdout(std::process::Stdio::null()).status().unwrap()
    };
    assert!(child("HOSTEL_FAIL_AT", "create.disk:after").success());
    assert!(bench.journals.pending().unwrap().is_empty());
    let log = std::fs::read_to_string(bench.dir.path().join("log")).unwrap();
    let places: Vec<_> = log.lines().collect();
    assert_eq!(
        places[..4],
        [
            "create.claim:before",
            "create.claim:after",
            "create.disk:before",
            "create.disk:after"
        ]
    );
    assert_eq!(places[4..6], ["create.disk:undo-before", "create.disk:undo-after"]);
    for (place, done) in [
        ("create.disk:before", false),
        ("create.disk:after", false),
        ("create.attach:before", true),
    ] {
        assert_eq!(child("HOSTEL_CRASH_AT", place).signal(), Some(9), "{place}");
        let unfinished = bench.unfinished();
        assert_eq!(unfinished.steps["disk"].done, done, "{place}");
        assert_eq!(
            bench.runner().recover::<Create>(&empty(), unfinished).unwrap(),
            Recovered::RolledBack
        );
    }
}
