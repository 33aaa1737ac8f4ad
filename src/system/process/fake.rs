//! A stand-in with state: VEs that live in a table, and in fake control groups if it has some.

use std::collections::BTreeMap;
use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostel_model::id::VeId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Adopt, Answer, Around, Bind, Disk, Enter, Entered, Guests, Init, LEFT_INSIDE, Launching, Left, Lifeline, Mending,
    Mounting, Op, Relaunching, Request, Resume, Start, Streams, Switches, Task,
};
use crate::cgroup::FakeCgroups;
use crate::fake::{Calls, steered};
use crate::scripts::{Bounds, How, Ran};
use crate::{Error, Kind, Result};

/// How long ago every process of the fake began that has ended; the others begin now.
const A_WHILE: Duration = Duration::from_secs(100);

/// Starts nothing, but remembers what it was asked to start, and fails where it is told to. A clone is the same one.
#[derive(Debug, Default, Clone)]
pub struct FakeGuests {
    inner: Arc<Mutex<State>>,
    groups: Option<Arc<FakeCgroups>>,
}

#[derive(Debug, Default)]
struct State {
    /// VEs with a first process, by id.
    living: BTreeMap<u32, Living>,
    last: u32,
    stubborn: bool,
    brief: bool,
    deaf: bool,
    torn: bool,
    hostile: bool,
    entered: Option<Switches>,
    /// Files inside that can't be changed.
    fixed: Vec<Left>,
    /// By VE, the changes to files that it was started with, and those that were made since.
    files: BTreeMap<u32, Vec<Op>>,
    calls: Calls,
}

#[derive(Debug)]
struct Living {
    init: Init,
    /// Its init runs; before, it is only a process that waits.
    running: bool,
    monitored: bool,
    /// Whoever has the other end of it clears up when the VE ends, and not its monitor.
    clearer: Option<PipeReader>,
    device: Option<PathBuf>,
    switches: Switches,
}

steered!(FakeGuests);

impl FakeGuests {
    /// Guests whose first processes are in these groups: a group that is killed ends its guest.
    pub fn within(groups: Arc<FakeCgroups>) -> Self {
        Self {
            groups: Some(groups),
            ..Self::default()
        }
    }

    /// What there is, after those have gone that were killed through their groups.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(groups) = &self.groups {
            let there = |id: u32, pid: u32| {
                ve(id)
                    .and_then(|id| groups.ve(id))
                    .is_some_and(|g| g.processes.contains(&pid))
            };
            state.living.retain(|id, l| there(*id, l.init.pid));
        }
        state
    }

    fn call(&self, method: &'static str, object: impl std::fmt::Display) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(method, object)?;
        Ok(state)
    }

    /// Guests that don't heed a request to shut down.
    pub fn stubborn(&self, stubborn: bool) {
        self.state().stubborn = stubborn;
    }

    /// The next announcement of an end comes too late to be answered.
    pub fn hear_nothing(&self) {
        self.state().deaf = true;
    }

    /// CRIU dies when it is just about to let the next VE go that is brought back.
    pub fn tear(&self) {
        self.state().torn = true;
    }

    /// Guests in which no script of the host's ends well.
    pub fn fail_scripts(&self, hostile: bool) {
        self.state().hostile = hostile;
    }

    /// Guests that end as soon as they have a new monitor.
    pub fn end_when_adopted(&self) {
        self.state().brief = true;
    }

    /// The init of a running VE.
    pub fn init(&self, id: u32) -> Option<Init> {
        self.state().living.get(&id).filter(|l| l.running).map(|l| l.init)
    }

    /// What a living VE was started with.
    pub fn switches(&self, id: u32) -> Option<Switches> {
        self.state().living.get(&id).map(|l| l.switches)
    }

    /// What the last entry was made with.
    pub fn entered(&self) -> Option<Switches> {
        self.state().entered
    }

    /// The changes to files that a VE was started with, and those that were made since.
    pub fn files(&self, id: u32) -> Vec<Op> {
        self.state().files.get(&id).cloned().unwrap_or_default()
    }

    /// Guests in which nothing can be written at these paths.
    pub fn fix(&self, paths: &[&str]) {
        let left = |path: &&str| Left {
            path: (*path).to_owned(),
            why: "No space left on device".to_owned(),
        };
        self.state().fixed = paths.iter().map(left).collect();
    }

    /// Plays the guest: its init ends.
    pub fn halt(&self, id: u32) {
        self.forget(|other, _| other == id);
    }

    /// Plays whoever killed the monitor of a VE.
    pub fn lose_monitor(&self, id: u32) {
        if let Some(living) = self.state().living.get_mut(&id) {
            living.monitored = false;
        }
    }

    /// Does a VE hold this device?
    pub fn holds(&self, node: &Path) -> bool {
        self.state().living.values().any(|l| l.device.as_deref() == Some(node))
    }

    /// All that there is, a line each, without process ids.
    pub fn inventory(&self) -> Vec<String> {
        let line = |(id, l): (&u32, &Living)| {
            let stage = if l.running { "runs" } else { "waits" };
            let monitor = match (l.monitored, &l.clearer) {
                (true, Some(pipe)) if is_open(pipe) => "monitored, to be cleared up by another",
                (true, _) => "monitored",
                (false, _) => "without monitor",
            };
            format!("guest {id} {stage}, {monitor}")
        };
        self.state().living.iter().map(line).collect()
    }

    fn forget(&self, which: impl Fn(u32, Init) -> bool) {
        let mut state = self.state();
        let ended: Vec<(u32, u32)> = state
            .living
            .iter()
            .filter(|(id, l)| which(**id, l.init))
            .map(|(id, l)| (*id, l.init.pid))
            .collect();
        for (id, pid) in ended {
            state.living.remove(&id);
            if let (Some(groups), Some(id)) = (&self.groups, ve(id)) {
                groups.change(id, |group| group.processes.retain(|p| *p != pid));
            }
        }
    }
}

fn ve(id: u32) -> Option<VeId> {
    VeId::try_from(id).ok()
}

/// Has somebody the other end?
fn is_open(pipe: &PipeReader) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && !fds[0].revents().contains(PollFlags::HUP)
}

/// The VE of a runtime directory.
fn ve_of(run_dir: &Path) -> Option<u32> {
    run_dir.file_name()?.to_str()?.parse().ok()
}

/// Dropping it ends the VE, unless it has been let go.
#[derive(Debug)]
struct FakeLaunch {
    guests: FakeGuests,
    id: u32,
    init: Init,
    /// Any descriptor will do for a fake network.
    namespace: OwnedFd,
    /// What it doesn't write into the VE, and where it notes that.
    left: (PathBuf, Vec<Left>),
    gone: bool,
}

impl Launching for FakeLaunch {
    fn init(&self) -> Init {
        self.init
    }

    fn network_namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    fn mounted(&mut self) -> Result<()> {
        self.guests.call("mounted", self.id).map(drop)
    }

    fn furnished(&mut self) -> Result<()> {
        self.guests.call("furnished", self.id).map(drop)
    }

    fn go(mut self: Box<Self>) -> Result<Vec<String>> {
        let mut state = self.guests.call("go", self.id)?;
        self.note_left()?;
        match state.living.get_mut(&self.id) {
            Some(living) if living.init == self.init => living.running = true,
            _ => return Err(Error::new("start VE", self.id, "its first process has ended")),
        }
        drop(state);
        self.gone = true;
        Ok(Vec::new())
    }
}

impl FakeLaunch {
    /// As a monitor does before init runs.
    fn note_left(&self) -> Result<()> {
        let (run_dir, left) = &self.left;
        if left.is_empty() {
            return Ok(());
        }
        let fail = |e: std::io::Error| Error::os("write", LEFT_INSIDE, e);
        let text = serde_json::to_vec(left).map_err(|e| fail(e.into()))?;
        std::fs::write(run_dir.join(LEFT_INSIDE), text).map_err(fail)
    }
}

impl Drop for FakeLaunch {
    fn drop(&mut self) {
        if !self.gone {
            self.guests.forget(|_, init| init == self.init);
        }
    }
}

impl Relaunching for FakeLaunch {
    fn init(&self) -> Init {
        self.init
    }

    fn ready(&mut self) -> Result<()> {
        let mut state = self.guests.call("ready", self.id)?;
        match std::mem::take(&mut state.torn) {
            true => Err(Error::new("resume VE", self.id, "CRIU ended without a word").kind(Kind::Interrupted)),
            false => Ok(()),
        }
    }

    fn stay(&mut self) -> Result<()> {
        self.guests.call("stay", self.id).map(drop)
    }

    fn go(self: Box<Self>) -> Result<()> {
        Launching::go(self).map(drop)
    }
}

impl FakeGuests {
    fn give_birth(&self, method: &'static str, id: u32, disk: Disk, switches: Switches) -> Result<FakeLaunch> {
        let mut state = self.call(method, id)?;
        let null = std::fs::File::open("/dev/null").map_err(|e| Error::os("open", "/dev/null", e))?;
        if state.living.contains_key(&id) {
            return Err(Error::new("start VE", id, "it lives already").kind(Kind::Exists));
        }
        state.last += 1;
        let init = Init {
            pid: 1000 + state.last,
            start_time: u64::from(state.last),
        };
        if let Some(groups) = &self.groups {
            let group = ve(id).filter(|id| groups.ve(*id).is_some());
            let group =
                group.ok_or_else(|| Error::new("start VE", id, "it has no control group").kind(Kind::NotFound))?;
            groups.change(group, |g| g.processes.push(init.pid));
        }
        let device = match disk {
            Disk::Device { node, .. } => Some(node),
            Disk::Directory(_) => None,
        };
        state.living.insert(
            id,
            Living {
                init,
                running: false,
                monitored: true,
                clearer: None,
                device,
                switches,
            },
        );
        Ok(FakeLaunch {
            guests: self.clone(),
            id,
            init,
            namespace: null.into(),
            left: Default::default(),
            gone: false,
        })
    }
}

impl Guests for FakeGuests {
    fn mount(&self, disk: Disk) -> Mounting {
        Mounting::idle(disk)
    }

    fn launch(&self, start: Start, disk: Mounting, _binds: Vec<Bind>) -> Result<Box<dyn Launching>> {
        let mut born = self.give_birth("launch", start.watch.id, disk.disk().clone(), start.switches)?;
        let mut state = self.state();
        let hindered = |left: &&Left| start.identity.iter().any(|op| op.path() == left.path);
        let left = state.fixed.iter().filter(hindered).cloned().collect();
        state.files.insert(start.watch.id, start.identity);
        drop(state);
        born.left = (start.watch.run_dir, left);
        Ok(Box::new(born))
    }

    fn relaunch(&self, resume: Resume, disk: Disk, around: &Around<'_>) -> Result<Box<dyn Relaunching>> {
        crate::file::read(&resume.images.join("core-1.img"))?;
        let born = self.give_birth("relaunch", resume.watch.id, disk, resume.switches)?;
        (around.set_groups)()?;
        Ok(Box::new(born))
    }

    fn adopt(&self, adopt: Adopt) -> Result<()> {
        let mut state = self.call("adopt", adopt.watch.id)?;
        let gone = || Error::new("watch over VE", adopt.watch.id, "it has ended").kind(Kind::NotFound);
        let living = state.living.get_mut(&adopt.watch.id).ok_or_else(gone)?;
        (living.monitored, living.clearer) = (true, None);
        if std::mem::take(&mut state.brief) {
            drop(state);
            self.forget(|other, _| other == adopt.watch.id);
        }
        Ok(())
    }

    fn find(&self, processes: &[u32]) -> Option<Init> {
        self.state()
            .living
            .values()
            .map(|l| l.init)
            .find(|init| processes.contains(&init.pid))
    }

    fn hold(&self, _: Init) -> Option<Lifeline> {
        None
    }

    fn alive(&self, init: Init) -> bool {
        self.state().living.values().any(|l| l.init == init)
    }

    fn age(&self, init: Init) -> Option<Duration> {
        Some(if self.alive(init) { Duration::ZERO } else { A_WHILE })
    }

    fn shut_down(&self, init: Init) -> Result<bool> {
        let heeds = !self.call("shut_down", "")?.stubborn;
        if heeds {
            self.forget(|_, i| i == init);
        }
        Ok(true)
    }

    fn end(&self, init: Init, _patience: Duration) -> Result<bool> {
        drop(self.call("end", "")?);
        self.forget(|_, i| i == init);
        Ok(!self.alive(init))
    }

    fn write_out(&self, _init: Init) -> Result<()> {
        self.call("write_out", "").map(drop)
    }

    fn wait(&self, init: Init, _timeout: Duration) -> Result<bool> {
        drop(self.call("wait", "")?);
        Ok(!self.alive(init))
    }

    fn ask(&self, run_dir: &Path, request: &Request) -> Result<Option<Answer>> {
        let mut state = self.call("ask", format!("{request:?}"))?;
        let living = ve_of(run_dir)
            .and_then(|id| state.living.get_mut(&id))
            .filter(|l| l.monitored && l.running);
        Ok(living.map(|l| Answer {
            init: l.init,
            monitor: 1,
            booted: Some(true),
            console: true,
            view: false,
        }))
    }

    fn take_over_clearing(&self, run_dir: &Path) -> Result<Option<OwnedFd>> {
        let mut state = self.call("take_over_clearing", "")?;
        let (reader, writer) = std::io::pipe().map_err(|e| Error::os("make", "a pipe", e))?;
        let living = ve_of(run_dir)
            .and_then(|id| state.living.get_mut(&id))
            .filter(|l| l.monitored);
        Ok(living.map(|l| {
            l.clearer = Some(reader);
            writer.into()
        }))
    }

    fn have_mended(&self, _run_dir: &Path) -> Result<Option<Mending>> {
        self.call("have_mended", "").map(|_| None)
    }

    fn announce_end(&self, run_dir: &Path, _init: Init) -> Result<Option<OwnedFd>> {
        let mut state = self.call("announce_end", "")?;
        let deaf = std::mem::take(&mut state.deaf);
        let (_, writer) = std::io::pipe().map_err(|e| Error::os("make", "a pipe", e))?;
        let living = ve_of(run_dir).and_then(|id| state.living.get(&id));
        Ok(living.filter(|l| l.monitored && !deaf).map(|_| writer.into()))
    }

    fn await_boot(
        &self,
        run_dir: &Path,
        _timeout: Duration,
        _: &std::sync::atomic::AtomicBool,
    ) -> Result<Option<Answer>> {
        self.ask(run_dir, &Request::AwaitBoot)
    }

    fn enter(&self, enter: Enter, _streams: Streams) -> Result<Entered> {
        self.call("enter", "")?.entered = Some(enter.switches);
        Ok(Entered::Code(0))
    }

    fn edit(&self, enter: Enter, _patience: Duration) -> Result<bool> {
        let mut state = self.call("edit", "")?;
        let living = state.living.iter().find(|(_, l)| l.init == enter.init);
        let gone = || Error::new("change files of", "the VE", "it has ended").kind(Kind::NotFound);
        let id = living.map(|(id, _)| *id).ok_or_else(gone)?;
        if let Task::Edit(changes) = enter.task {
            state.files.entry(id).or_default().extend(changes);
        }
        Ok(true)
    }

    fn script(&self, enter: Enter, _bounds: Bounds<'_>) -> Result<Ran> {
        let name = match &enter.task {
            Task::Script { argv, .. } => argv.first().cloned().unwrap_or_default(),
            _ => return Err(Error::new("run in", "the VE", "it is no script")),
        };
        let mut state = self.call("script", &name)?;
        state.entered = Some(enter.switches);
        let said = format!("{name} ran inside\n").into_bytes();
        let how = match state.hostile {
            true => How::Code(1),
            false => How::Code(0),
        };
        Ok(Ran { how, said })
    }
}
