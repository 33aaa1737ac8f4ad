//! Steering CRIU, which the VE's monitor runs, through a restore.

use std::os::fd::{AsFd, OwnedFd};

use hostel_monitor::message::{Channel, FromMonitor, ToMonitor};
use hostel_monitor::root::open_disk;
use hostel_monitor::spec::{Disk, Init, Resume, Role};

use super::monitor::{Monitors, from_failure};
use super::spawn::Spawned;
use super::{Around, Relaunching};
use crate::criu::options;
use crate::criu::session::{Event, Session};
use crate::criu::{RESTORE_LOG, reason};
use crate::{Error, Kind, Result};

/// As [`super::Guests::relaunch`].
pub(super) fn relaunch(
    monitors: &Monitors,
    resume: Resume,
    disk: &Disk,
    around: &Around<'_>,
) -> Result<Box<dyn Relaunching>> {
    let id = resume.watch.id;
    let fail = |e: std::io::Error| Error::os("restore VE", id, e);
    let (path, switches) = (resume.images.clone(), resume.switches);
    let disk = open_disk(disk).map_err(|failure| from_failure("restore VE", id, failure))?;
    let (mut monitor, channel) = monitors.spawn(&Role::Resume(Box::new(resume)), None)?;
    // A monitor that has ended meanwhile has left a message, which is read next.
    let _ = channel.send(&ToMonitor::Disk, &[disk.as_fd()]);
    drop(disk);
    let (session, images) = match channel.receive::<FromMonitor>().map_err(fail)? {
        Some((FromMonitor::Criu(images), Some(session))) => (Session::from(session), images),
        Some((FromMonitor::Failed(failure), _)) => return Err(from_failure("restore VE", id, failure)),
        _ => return Err(monitors.silence("restore VE", id, &mut monitor)),
    };
    let devices = hostel_monitor::dev::nodes(switches);
    let options = options::restore(images, hostel_monitor::root::RESTORED, &devices, around.links);
    let restore = Restore {
        id,
        monitor,
        channel,
        session,
        path,
        init: None,
        console: None,
    };
    restore.session.restore(&options).map_err(fail)?;
    restore.bring_back(around)
}

/// A restore under way.
#[derive(Debug)]
struct Restore {
    /// The VE's number.
    id: u32,
    /// Its monitor.
    monitor: Spawned,
    /// The way to it.
    channel: Channel,
    /// The way to CRIU.
    session: Session,
    /// Where the images are.
    path: std::path::PathBuf,
    /// Init, when it is there.
    init: Option<Init>,
    /// The console's master, when it is there.
    console: Option<OwnedFd>,
}

impl Restore {
    /// Until all is restored and nothing runs.
    fn bring_back(mut self, around: &Around<'_>) -> Result<Box<dyn Relaunching>> {
        match self.until_restored(around) {
            Ok(init) => Ok(Box::new(Standing { init, restore: self })),
            Err(e) => {
                self.give_up();
                Err(e)
            }
        }
    }

    fn until_restored(&mut self, around: &Around<'_>) -> Result<Init> {
        let fail = |e: std::io::Error| Error::os("restore VE", self.id, e);
        loop {
            match self.session.hear().map_err(fail)? {
                Event::Stage { name, pid, fd } => match (name.as_str(), pid, self.init) {
                    ("setup-namespaces", Some(pid), _) => {
                        self.channel.send(&ToMonitor::Tree(pid), &[]).map_err(fail)?;
                        match self.channel.receive::<FromMonitor>().map_err(fail)? {
                            Some((FromMonitor::Born(init), _)) => self.init = Some(init),
                            other => return Err(self.silence(other.map(|(m, _)| m))),
                        }
                        self.session.reply(true).map_err(fail)?;
                    }
                    ("post-setup-namespaces", ..) => {
                        (around.set_groups)()?;
                        self.session.reply(true).map_err(fail)?;
                    }
                    ("orphan-pts-master", ..) => {
                        self.console = fd;
                        self.session.reply(true).map_err(fail)?;
                    }
                    ("post-restore", _, Some(init)) => return Ok(init),
                    _ => self.session.reply(true).map_err(fail)?,
                },
                Event::Answer(_) | Event::Gone => return Err(self.failure()),
            }
        }
    }

    /// Why CRIU has failed, or was never run.
    fn failure(&mut self) -> Error {
        let log = std::fs::read_to_string(self.path.join(RESTORE_LOG)).unwrap_or_default();
        if let Some(why) = reason(&log) {
            return Error::new("restore VE", self.id, why);
        }
        self.channel.fall_silent();
        let told = self.channel.receive::<FromMonitor>();
        match told.ok().flatten() {
            Some((FromMonitor::Failed(failure), _)) if log.is_empty() => from_failure("restore VE", self.id, failure),
            _ => Error::new("restore VE", self.id, "CRIU ended without a word"),
        }
    }

    fn silence(&self, said: Option<FromMonitor>) -> Error {
        match said {
            Some(FromMonitor::Failed(failure)) => from_failure("restore VE", self.id, failure),
            _ => Error::new("restore VE", self.id, "its monitor ended without a word"),
        }
    }

    /// CRIU ends the tree when nobody answers it, and the monitor sees to it.
    fn give_up(self) {
        let Self {
            monitor,
            channel,
            session,
            ..
        } = self;
        drop((session, channel));
        let _ = monitor.wait(); // there is nothing to be done about one that can't be waited for
    }
}

/// All is restored; CRIU waits for our word.
#[derive(Debug)]
struct Standing {
    init: Init,
    restore: Restore,
}

impl Relaunching for Standing {
    fn init(&self) -> Init {
        self.init
    }

    fn ready(&mut self) -> Result<()> {
        let Restore { id, session, path, .. } = &self.restore;
        // Up to the stage "network-unlock" each process waits at a barrier of CRIU's.
        let mut unlocked = false;
        loop {
            // One that doesn't hear this has died while it waited for us.
            if session.reply(true).is_err() {
                return Err(failed(*id, path));
            }
            match session.hear().unwrap_or(Event::Gone) {
                Event::Stage { name, .. } if name == "pre-resume" => return Ok(()),
                Event::Stage { name, .. } => unlocked |= name == "network-unlock",
                Event::Gone if unlocked => return Err(failed(*id, path).kind(Kind::Interrupted)),
                // It ends them before it answers.
                Event::Answer(_) | Event::Gone => return Err(failed(*id, path)),
            }
        }
    }

    fn stay(&mut self) -> Result<()> {
        let Restore {
            id, channel, console, ..
        } = &self.restore;
        let fail = |e: std::io::Error| Error::os("resume VE", id, e);
        if let Some(console) = console {
            channel.send(&ToMonitor::Console, &[console.as_fd()]).map_err(fail)?;
        }
        channel.send(&ToMonitor::Go, &[]).map_err(fail)?;
        match channel.receive::<FromMonitor>().map_err(fail)? {
            Some((FromMonitor::Started, _)) => Ok(()),
            Some((FromMonitor::Failed(failure), _)) => Err(from_failure("resume VE", id, failure)),
            _ => Err(Error::new("resume VE", id, "its monitor ended without a word")),
        }
    }

    fn go(self: Box<Self>) -> Result<()> {
        let Restore { id, session, path, .. } = self.restore;
        let mut said = Event::Stage {
            name: String::new(),
            pid: None,
            fd: None,
        };
        while let Event::Stage { .. } = said {
            // One that is gone, or makes no sense, has let them go all the same.
            if session.reply(true).is_err() {
                return Ok(());
            }
            said = session.hear().unwrap_or(Event::Gone);
        }
        match said {
            Event::Answer(false) => Err(failed(id, &path)),
            _ => Ok(()),
        }
    }
}

fn failed(id: u32, path: &std::path::Path) -> Error {
    let log = std::fs::read_to_string(path.join(RESTORE_LOG)).unwrap_or_default();
    let why = reason(&log).unwrap_or_else(|| "CRIU ended without a word".into());
    Error::new("resume VE", id, why)
}
