//! Letting a suspended VE go on where it was: `hostel resume`.

mod refused;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::hook::Event;
use hostel_model::id::VeId;
use hostel_system::cgroup::Inner;
use hostel_system::criu::Machine;
use hostel_system::disk::{Attached, DiskSource};
use hostel_system::file;
use hostel_system::process::{Around, Mending, Relaunching, Resume as Orders};

use self::refused::not_taken;
use super::VeAlone;
use super::switches;
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::step::{Home, Operation, Step};
use crate::ve::dump::Manifest;
use crate::ve::outline::Outline;
use crate::ve::record::{RunRecord, VeState};
use crate::ve::registry::Catalogue;

/// How long the kernel may take to let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long processes that CRIU holds may take to be frozen.
const FREEZE: Duration = Duration::from_secs(10);

/// A resume under way. Until it goes on, its dump stays as it is.
#[derive(Debug)]
pub struct Resume {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    disk: Option<DiskSource>,
    keep: Option<OwnedFd>,
    /// Its interfaces, and the ends that are to become them.
    ends: Vec<(String, String)>,
    relaunching: Option<Box<dyn Relaunching>>,
    mending: Option<Mending>,
    notes: Vec<String>,
}

impl Operation for Resume {
    const VERB: &'static str = "resume";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = VeAlone;

    fn resume(host: Arc<Host>, id: VeId, _: VeAlone) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            disk: None,
            keep: None,
            ends: Vec::new(),
            relaunching: None,
            mending: None,
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("check", "checking", Resume::check, Resume::uncheck),
                Step::new("premount", "preparing", Resume::premount, Resume::postumount),
                Step::new("disk", "attaching the disk", Resume::attach_disk, Resume::detach_disk),
                Step::new("mount", "mounting", Resume::mount, Resume::umount),
                Step::new("limits", "setting limits", Resume::set_limits, Resume::remove_group),
                Step::new(
                    "network",
                    "laying the network",
                    Resume::lay_network,
                    Resume::remove_network,
                ),
                Step::new(
                    "restore",
                    "restoring processes and memory",
                    Resume::restore,
                    Resume::end,
                ),
                Step::new("record", "recording", Resume::record, Resume::forget),
                Step::new("go", "letting it go on", Resume::go, Resume::end).irrevocable(Resume::has_gone),
                Step::new("settle", "finishing", Resume::settle, crate::step::nothing),
            ]
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Resume {
    /// Everything that can be known to be wrong is found before anything is touched.
    fn check(&mut self) -> Result<()> {
        let host = &self.host;
        host.usable_criu(&self.state)?;
        let (_, criu) = host.criu.usable()?;
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
        self.notes.extend(host.judge_start(&self.state, &effective)?);
        self.notes.extend(host.judge(&effective, self.state.driver)?);
        self.notes.extend(host.raise_settings());
        let dir = host.dirs.dump(self.id);
        let refuse = |why: String| {
            let name = &self.state.name;
            Error::new(Class::Refused, format!("{name} can't go on where it was"))
                .because(why)
                .hint("its dump is kept")
                .hint(format!("give it up and boot anew: hostel start --discard {name}"))
        };
        let manifest = Manifest::read(&dir).map_err(|e| refuse(crate::error::chain(&e)))?;
        let id_base = host.id_base(&self.state)?;
        if let Some(why) = manifest.misfit(&dir, criu, &Machine::this()?, id_base, &self.state)? {
            return Err(refuse(why));
        }
        if !host.disk_is_as_dumped(self.id)? {
            return Err(refuse("its disk has been changed since it was suspended".into()));
        }
        Ok(())
    }

    fn uncheck(&mut self) -> Result<()> {
        self.host.has_started(self.id)
    }

    fn begin(&mut self, event: Event) -> Result<()> {
        let ve = Outline::from(&self.state);
        let found = self.host.look_for_hooks(&ve)?;
        self.host.begin_hooks(&ve, event, &found, &mut self.notes)
    }

    fn premount(&mut self) -> Result<()> {
        self.begin(Event::Premount)
    }

    fn postumount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Premount)
    }

    fn mount(&mut self) -> Result<()> {
        self.begin(Event::Mount)?;
        // It goes on with the mounts that it had, and with one of a script's it could not have been suspended.
        for bind in self.host.mounted_by_hooks(self.id)? {
            let path = bind.path;
            self.notes.push(format!(
                "what a script has mounted at /{path} is not in it, as it goes on where it was: it is from its next start on"
            ));
        }
        Ok(())
    }

    fn umount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Mount)
    }

    fn attach_disk(&mut self) -> Result<()> {
        self.host.unstamp_dump(self.id)?;
        let Attached { source, keep, .. } = self
            .host
            .disks
            .get(self.state.driver)
            .attach(&self.host.dirs.ve(self.id))?;
        self.disk = Some(source);
        self.keep = keep;
        Ok(())
    }

    /// Mounting alone has changed its stamp.
    fn detach_disk(&mut self) -> Result<()> {
        self.keep = None;
        self.host.disks.detach(&self.host.dirs.ve(self.id), PATIENCE)?;
        match self.host.is_suspended(self.id) {
            true => self.host.stamp_dump(self.id),
            false => Ok(()),
        }
    }

    fn set_limits(&mut self) -> Result<()> {
        let host = &self.host;
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
        host.cgroups.create(self.id, host.id_base(&self.state)?)?;
        let limits = host.enforceable(&effective.limits);
        let disks = host.io_devices(&self.state, self.disk.as_ref())?;
        host.cgroups.apply(self.id, &limits, &disks)?;
        if host.lxcfs().is_some() {
            host.cgroups.reveal_cap(self.id, limits.cpu.cap_milli)?;
        }
        let manifest = Manifest::read(&host.dirs.dump(self.id))?;
        // What they are set to comes when init is in its place.
        let bare: Vec<Inner> = manifest.groups.into_iter().map(Inner::without_settings).collect();
        Ok(host.cgroups.make_inner(self.id, &bare).map(drop)?)
    }

    fn remove_group(&mut self) -> Result<()> {
        Ok(self.host.cgroups.remove(self.id, PATIENCE)?)
    }

    /// Held from before it is there until it goes on: nobody is to answer for it meanwhile.
    fn lay_network(&mut self) -> Result<()> {
        let (host, links) = (&self.host, self.host.links(self.id, &self.state)?);
        self.ends.clear();
        if links.is_empty() {
            return Ok(());
        }
        let changed = host.network.prepare_host()?;
        self.notes
            .extend(changed.iter().map(|line| format!("turned on forwarding: {line}")));
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
        let told = host.guard(self.id, &self.state, &effective.access, Self::VERB)?;
        self.notes.extend(told);
        let names = host.interface_names(self.id, &self.state.numbers());
        host.firewall
            .hold(&host.held(self.id), &names, self.state.is_bridged())?;
        self.notes.extend(host.ready_bridges(&self.state)?);
        host.probe(&self.state, &links, &[]).map_err(|mut e| {
            let name = &self.state.name;
            e.hints = vec![
                format!("{name} stays suspended, with all that ran in it: find that machine, then resume it"),
                format!("or give that up and boot anew: hostel start --discard {name}"),
                "or don't ask: probe = false in the network's definition".to_owned(),
            ];
            e
        })?;
        let ends = host.network.lay(&links)?;
        self.ends = links.iter().map(|l| l.guest_name.clone()).zip(ends).collect();
        host.shape_new(self.id, &self.state, &effective)?;
        host.admit(self.id, &self.state)
    }

    fn remove_network(&mut self) -> Result<()> {
        self.host.clear_network(&Outline::from(&self.state))?;
        Ok(self.host.firewall.release(&self.host.held(self.id))?)
    }

    fn restore(&mut self) -> Result<()> {
        self.relaunching = None; // if this is taken twice, there is one already
        let (host, id) = (&self.host, self.id);
        host.fresh_run_dir(id)?;
        host.remove_strays(id)?;
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
        let images = host.dirs.dump(id);
        let Manifest {
            booted,
            settings,
            groups,
            switches: open,
            ..
        } = Manifest::read(&images)?;
        let Some(source) = &self.disk else {
            return Err(Error::new(Class::Failed, "the disk is not attached"));
        };
        let orders = Orders {
            watch: host.watch(id)?,
            id_base: host.id_base(&self.state)?,
            lower: self.state.lower.clone(),
            // Its definition may say otherwise by now, and what is mounted in it has to be there again.
            switches: open.unwrap_or_else(|| switches(&effective)),
            criu: host.usable_criu(&self.state)?,
            images,
            booted,
        };
        let lost = RefCell::new(Vec::new());
        let set_groups = || {
            host.cgroups
                .make_inner(id, &groups)
                .map(|refused| *lost.borrow_mut() = refused)
        };
        let around = Around {
            links: &self.ends,
            set_groups: &set_groups,
        };
        let name = &self.state.name;
        let restored = host
            .guests
            .relaunch(orders, host.disk_orders(self.state.driver, source), &around)
            .map_err(|e| {
                let mut e = Error::from(e).hint(format!("{name} stays suspended, with all that ran in it"));
                e.hints.extend(host.lacks_memory(&self.state, &effective.limits.memory));
                e.hint(format!("give that up and boot anew: hostel start --discard {name}"))
            })?;
        let refused = host.network.set_settings(restored.init().pid, &settings)?;
        self.relaunching = Some(restored);
        self.notes.extend(not_taken("network", &refused));
        self.notes.extend(not_taken("control groups", &lost.into_inner()));
        Ok(())
    }

    /// Ends whatever of the VE is there, before CRIU hears that nobody wants it any more.
    fn end(&mut self) -> Result<()> {
        if self.host.cgroups.exists(self.id) {
            self.host.cgroups.kill(self.id)?;
        }
        let init = self.relaunching.take().map(|r| r.init());
        if let Some(init) = init.or(self.host.reality(self.id)?.init) {
            self.host.guests.end(init, PATIENCE)?;
        }
        Ok(())
    }

    fn record(&mut self) -> Result<()> {
        let Some(relaunching) = &self.relaunching else {
            return Err(Error::new(Class::Failed, "the VE's first process is not there"));
        };
        RunRecord {
            init: relaunching.init(),
            boot_id: self.host.boot_id.clone(),
            started: (self.host.clock)(),
            switches: Manifest::read(&self.host.dirs.dump(self.id))?.switches,
            told: None,
        }
        .write(&self.host.dirs.run(self.id))
    }

    fn forget(&mut self) -> Result<()> {
        RunRecord::remove(&self.host.dirs.run(self.id))
    }

    /// The dump is out of the way before any process runs: it must never be gone on from twice. Between the two the VE
    /// is frozen, so that neither our death nor CRIU's lets anything run.
    fn go(&mut self) -> Result<()> {
        let Some(relaunching) = &mut self.relaunching else {
            return match self.host.reality(self.id)?.init {
                Some(_) => Ok(()), // it runs already
                None => Err(Error::new(Class::Failed, "the VE's first process is not there")),
            };
        };
        if let Err(e) = relaunching.ready() {
            self.end()?;
            return Err(match e.kind {
                hostel_system::Kind::Interrupted => self.lost(e)?,
                _ => e.into(),
            });
        }
        self.host.cgroups.freeze(self.id, FREEZE)?;
        relaunching.stay()?;
        self.host.criu.wind_up(&self.host.cgroups.processes(self.id)?)?;
        // From here on it lives if we are killed, and must not stay frozen or cut off until the next command.
        self.mending = self
            .host
            .guests
            .have_mended(&self.host.dirs.run(self.id))
            .unwrap_or_default();
        let dirs = &self.host.dirs;
        let (dump, resumed) = (dirs.dump(self.id), dirs.dump_resumed(self.id));
        file::remove_tree(&resumed)?;
        let mut gone = file::rename(&dump, &resumed);
        if gone.is_ok()
            && let Some(relaunching) = self.relaunching.take()
        {
            gone = relaunching.go();
        }
        if let Err(e) = gone {
            // Nothing has run, so it can be tried again.
            if !dump.exists() {
                file::rename(&resumed, &dump)?;
            }
            return Err(e.into());
        }
        self.keep = None;
        Ok(self.host.cgroups.thaw(self.id)?)
    }

    /// CRIU has died when it was just about to let the processes go: they may have run for a moment.
    fn lost(&self, e: hostel_system::Error) -> Result<Error> {
        self.host.give_up_dump(self.id)?;
        let name = &self.state.name;
        Ok(Error::from(e.kind(hostel_system::Kind::Failed))
            .hint(format!(
                "{name} may have run for a moment, and can't go on from the same dump again: it is stopped"
            ))
            .hint(format!("boot it anew: hostel start {name}")))
    }

    /// Its monitor stays with it, and its dump is out of the way.
    fn has_gone(&self) -> Result<bool> {
        Ok(!self.host.is_suspended(self.id) && self.host.reality(self.id)?.init.is_some())
    }

    fn settle(&mut self) -> Result<()> {
        self.host.has_started(self.id)?;
        self.host.cgroups.thaw(self.id)?;
        self.host.note_begin(&self.state, self.host.terms_of(&self.state));
        self.host.firewall.release(&self.host.held(self.id))?;
        if let Some(init) = self.host.reality(self.id)?.init {
            let links = self.host.links(self.id, &self.state)?;
            self.notes.extend(self.host.announce(init, &links));
            self.notes.extend(self.host.catch_up_names(self.id, Self::VERB));
        }
        self.host.give_up_dump(self.id)
    }
}
