//! A whole Hostel on fakes: real files in a directory of its own, everything of the kernel made up.

mod template;
pub(crate) mod time;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::DriverName;
use hostel_model::id::VeId;
use hostel_model::request::{Action, Create, StartOptions};
use hostel_system::cgroup::FakeCgroups;
use hostel_system::criu::FakeCriu;
use hostel_system::disk::{Drivers, FakeDisks};
use hostel_system::faults;
use hostel_system::firewall::traffic::FakeCounters;
use hostel_system::firewall::{FakeAccess, FakeFirewall};
use hostel_system::mount::FakeMounts;
use hostel_system::nameserver::FakeNameServers;
use hostel_system::net::FakeNetwork;
use hostel_system::process::FakeGuests;
use hostel_system::scripts::FakeScripts;
use tempfile::TempDir;

use crate::dirs::Dirs;
use crate::facade::{Engine, Silent};
use crate::host::{Host, read_config};
use crate::journal::Journals;
use crate::lock::Locks;
use crate::reserve::Reserve;
use crate::step::testkit::FailCall;
use crate::ve::last::LAST;
use crate::ve::record::RunRecord;

/// The template that every fake host has.
pub(crate) const TEMPLATE: &str = "tiny/20260101T000000Z";
/// When it always is: 2027-01-15T08:00:00Z.
pub(crate) const NOW: i64 = 1_800_000_000;
/// Which boot it always is.
pub(crate) const BOOT: &str = "11111111-2222-4333-8444-555555555555";

/// The adapters of a host of fakes, and the directory that all its files are in.
#[derive(Debug)]
pub(crate) struct Fakes {
    pub cgroups: Arc<FakeCgroups>,
    /// Those of the image driver, which VEs get if nothing else is said.
    pub disks: Arc<FakeDisks>,
    pub project: Arc<FakeDisks>,
    pub btrfs: Arc<FakeDisks>,
    pub network: Arc<FakeNetwork>,
    pub firewall: Arc<FakeFirewall>,
    pub access: Arc<FakeAccess>,
    pub counters: Arc<FakeCounters>,
    pub name_servers: Arc<FakeNameServers>,
    pub guests: FakeGuests,
    pub mounts: Arc<FakeMounts>,
    pub scripts: Arc<FakeScripts>,
    pub criu: FakeCriu,
    pub time: Arc<time::FakeTime>,
    dir: Arc<TempDir>,
}

/// How a fake host is made.
pub(crate) struct Builder {
    hostel: String,
    files: Vec<(String, String)>,
    cgroups: FakeCgroups,
}

/// A host with plans `small` and `large`, networks `private` and `public`, tenants `acme` and `default`, template
/// `tiny` and no VE.
pub(crate) fn host() -> Builder {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Builder {
        hostel: String::new(),
        files: vec![
            file(
                "plans/small.toml",
                "processes = 100\n[memory]\nlimit = \"256MiB\"\n[disk]\nsize = \"1GiB\"\n",
            ),
            file(
                "plans/large.toml",
                "processes = 900\n[memory]\nlimit = \"2GiB\"\n[disk]\nsize = \"8GiB\"\n",
            ),
            file(
                "networks/private.toml",
                "kind = \"routed\"\npools = [\"10.77.0.0/24\"]\nmasquerade = true\n",
            ),
            file(
                "networks/public.toml",
                "kind = \"routed\"\npools = [\"203.0.113.0/28\", \"2001:db8::/64\"]\n",
            ),
            file("tenants/acme.toml", ""),
            file("tenants/default.toml", ""),
        ],
        cgroups: FakeCgroups::new(),
    }
}

impl Builder {
    /// Lines at the top of hostel.toml.
    pub(crate) fn hostel(mut self, lines: &str) -> Self {
        self.hostel.push_str(lines);
        self
    }

    /// A definition file of its own, or in the place of one: `tenants/acme.toml`.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Control groups that can't do everything.
    pub(crate) fn cgroups(mut self, cgroups: FakeCgroups) -> Self {
        self.cgroups = cgroups;
        self
    }

    /// Makes it.
    pub(crate) fn make(self) -> Arc<Host> {
        let dir = in_memory();
        let base = dir.path();
        for part in ["etc/plans", "etc/networks", "etc/tenants", "etc/ve", "data/ve", "run"] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(base.join(part))
                .unwrap();
        }
        for (name, text) in self.files {
            std::fs::write(base.join("etc").join(name), text).unwrap();
        }
        template::make(&base.join("templates"), TEMPLATE);
        let place = |part: &str| base.join(part).display().to_string();
        let text = format!(
            "{}\n[paths]\nconfig = {:?}\ndata = {:?}\nrun = {:?}\ntemplates = {:?}\nimages = {:?}\n\
             [defaults]\ntemplate = \"tiny\"\nnetwork = \"private\"\n[criu]\nroot_owns_namespaces = true\n",
            self.hostel,
            place("etc"),
            place("data"),
            place("run"),
            place("templates"),
            place("images")
        );
        std::fs::write(base.join("etc/hostel.toml"), text).unwrap();
        let cgroups = Arc::new(self.cgroups);
        let (guests, disks, mounts) = (
            FakeGuests::within(cgroups.clone()),
            Arc::new(FakeDisks::new()),
            Arc::new(FakeMounts::default()),
        );
        let (asked, mounted) = (guests.clone(), mounts.clone());
        disks.ask_for_holders(move |node| asked.holds(node) || mounted.holds(node));
        let lacking = |name: DriverName| {
            let fake = Arc::new(FakeDisks::called(name));
            fake.lack(Some("this fake host has none"));
            fake
        };
        open(Fakes {
            cgroups,
            disks,
            project: lacking(DriverName::Project),
            btrfs: lacking(DriverName::Btrfs),
            network: Arc::default(),
            firewall: Arc::default(),
            access: Arc::default(),
            counters: Arc::default(),
            name_servers: Arc::default(),
            criu: FakeCriu::of(guests.clone()),
            guests,
            mounts,
            scripts: Arc::default(),
            time: Arc::default(),
            dir: Arc::new(dir),
        })
    }
}

/// A directory where fsync costs nothing, if this machine has such a place.
pub(crate) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn open(fakes: Fakes) -> Arc<Host> {
    let config_file = fakes.dir.path().join("etc/hostel.toml");
    let config = read_config(&config_file).unwrap();
    let dirs = Dirs::new(config.paths.clone());
    Arc::new(Host {
        cgroups: fakes.cgroups.clone(),
        disks: Drivers::of(fakes.project.clone(), fakes.btrfs.clone(), fakes.disks.clone()),
        network: fakes.network.clone(),
        firewall: fakes.firewall.clone(),
        access: fakes.access.clone(),
        counters: fakes.counters.clone(),
        name_servers: fakes.name_servers.clone(),
        guests: Arc::new(fakes.guests.clone()),
        criu: Arc::new(fakes.criu.clone()),
        mounts: fakes.mounts.clone(),
        scripts: fakes.scripts.clone(),
        hooks: crate::hooks::Told::default(),
        locks: Locks::at(&dirs.locks()).unwrap(),
        journals: Journals::at(&dirs.data().join("journal"), &dirs.runs().join("journal"), BOOT).unwrap(),
        reserve: Reserve::at(dirs.reserve(), dirs.run_reserve()),
        proc_sys: fakes.dir.path().join("proc/sys"),
        pressure: fakes.dir.path().join("proc/pressure"),
        boot_id: BOOT.to_owned(),
        patience: Duration::from_secs(30),
        program: PathBuf::from("/usr/local/bin/hostel"),
        clock: || NOW,
        moments: {
            let time = fakes.time.clone();
            Arc::new(move || time.moment())
        },
        clock_is_set: || true,
        resolvers: Vec::new(),
        fakes: Some(Arc::new(fakes)),
        dirs,
        config,
        config_file,
    })
}

/// One more template.
pub(crate) fn add_template(host: &Host, reference: &str) {
    template::make(&host.dirs.templates(), reference);
}

/// Another process's view of the same host.
pub(crate) fn again(host: &Host) -> Arc<Host> {
    let f = fakes(host);
    open(Fakes {
        cgroups: f.cgroups.clone(),
        disks: f.disks.clone(),
        project: f.project.clone(),
        btrfs: f.btrfs.clone(),
        network: f.network.clone(),
        firewall: f.firewall.clone(),
        access: f.access.clone(),
        counters: f.counters.clone(),
        name_servers: f.name_servers.clone(),
        guests: f.guests.clone(),
        mounts: f.mounts.clone(),
        scripts: f.scripts.clone(),
        criu: f.criu.clone(),
        time: f.time.clone(),
        dir: f.dir.clone(),
    })
}

/// The fakes of a host.
pub(crate) fn fakes(host: &Host) -> &Fakes {
    host.fakes.as_deref().expect("a host of fakes")
}

/// What a face holds.
pub(crate) fn engine(host: &Arc<Host>) -> Engine {
    Engine {
        host: host.clone(),
        seen: Default::default(),
    }
}

pub(crate) fn id(n: u32) -> VeId {
    VeId::try_from(n).unwrap()
}

/// What to make: `name`, with these settings.
pub(crate) fn order(name: &str, settings: &[(&str, &str)]) -> Create {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    Create {
        name: Some(name.to_owned()),
        settings: settings.iter().map(own).collect(),
        ..Create::default()
    }
}

/// Makes VE 101, `web1`.
pub(crate) fn with_ve(host: &Arc<Host>, settings: &[(&str, &str)]) {
    let made = engine(host).create(&order("web1", settings), &Silent).unwrap();
    assert_eq!(made.id, id(101));
}

/// Starts VE 101.
pub(crate) fn started(host: &Arc<Host>) {
    engine(host)
        .act(id(101), &Action::Start(StartOptions::default()), &Silent)
        .unwrap();
}

/// For each fake and for files: makes the nth call from now on fail.
pub(crate) const FAIL_CALLS: &[&FailCall<Host>] = &[
    &|h, n| fakes(h).cgroups.fail_call(n),
    &|h, n| fakes(h).disks.fail_call(n),
    &|h, n| fakes(h).project.fail_call(n),
    &|h, n| fakes(h).btrfs.fail_call(n),
    &|h, n| fakes(h).network.fail_call(n),
    &|h, n| fakes(h).firewall.fail_call(n),
    &|h, n| fakes(h).access.fail_call(n),
    &|h, n| fakes(h).counters.fail_call(n),
    &|h, n| fakes(h).name_servers.fail_call(n),
    &|h, n| fakes(h).guests.fail_call(n),
    &|h, n| fakes(h).mounts.fail_call(n),
    &|h, n| fakes(h).scripts.fail_call(n),
    &|h, n| fakes(h).criu.fail_call(n),
    &|_, n| faults::fail_call(n),
];

/// All that is on a host, a line each, in words that are the same on each host made alike: what the fakes have, the
/// definitions, the records, every file that should have an owner.
pub(crate) fn inventory(host: &Host) -> Vec<String> {
    let f = fakes(host);
    let base = f.dir.path();
    let mut lines = f.cgroups.inventory();
    lines.extend([&f.project, &f.btrfs, &f.disks].iter().flat_map(|d| d.inventory()));
    lines.extend(f.network.links().iter().map(|l| format!("{l:?}")));
    lines.extend(f.network.proxies().iter().map(|p| format!("{p:?}")));
    lines.extend(f.network.shapes().iter().map(|s| format!("{s:?}")));
    lines.extend(f.firewall.inventory());
    lines.extend(f.access.inventory());
    lines.extend(f.counters.inventory());
    lines.extend(f.guests.inventory());
    lines.extend(f.mounts.inventory());
    lines.extend(f.scripts.inventory());
    files(base, base, host, &mut lines);
    let here = base.display().to_string();
    lines.iter().map(|line| line.replace(&here, "")).collect()
}

/// What may come, stay or go: locks, tenants' copies of templates (the next VE takes them), space put by, what VEs have
/// used, that a guest was asked to shut down (which nobody can take back), and the templates themselves.
const PASSED_OVER: [&str; 13] = [
    "run/101/asked-to-end",
    "run/usage",
    "data/usage",
    "data/ledger.db",
    "data/ledger.db-wal",
    "data/ledger.db-shm",
    "run/locks",
    "run/.reserve",
    "run/taken.json",
    "run/standing",
    "data/tenants",
    "data/.reserve",
    "templates",
];

fn files(dir: &Path, base: &Path, host: &Host, lines: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(base).unwrap().display().to_string();
        // And what is only told to people.
        if PASSED_OVER.contains(&name.as_str()) || name.ends_with(LAST) || is_true_copy(&path) {
            continue;
        }
        if path.is_dir() {
            // An empty runtime directory is none's; a directory among the VEs' is one.
            if name.starts_with("data/ve/") {
                lines.push(format!("{name}/"));
            }
            files(&path, base, host, lines);
        } else {
            lines.push(format!("{name}: {}", content(&path, host)));
        }
    }
}

/// A record's copy may be missing after a failure; but what it says must be so.
fn is_true_copy(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == ".state.toml.copy")
        && std::fs::read(path).unwrap() == std::fs::read(path.with_file_name("state.toml")).unwrap_or_default()
}

fn content(path: &Path, host: &Host) -> String {
    match path.file_name().and_then(|n| n.to_str()) {
        Some("run.json") => {
            let record = RunRecord::read(path.parent().unwrap()).unwrap();
            let alive = host.guests.alive(record.init);
            format!(
                "boot {} at {}, its init is {}",
                record.boot_id,
                record.started,
                if alive { "alive" } else { "dead" }
            )
        }
        // A fake's own.
        Some("disk.img" | "disk.project" | "disk.btrfs") => String::new(),
        _ => {
            let text = std::fs::read_to_string(path).unwrap();
            let drawn = |line: &&str| !line.starts_with("seed = ") && !line.starts_with("# checksum of ");
            text.lines().filter(drawn).collect::<Vec<_>>().join("\n")
        }
    }
}
