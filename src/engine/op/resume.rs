//! Letting a suspended VE go on where it was: `hostel resume`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_system::cgroup::Inner;
use hostel_system::criu::Machine;
use hostel_system::disk::{Attached, DiskSource};
use hostel_system::file;
use hostel_system::process::{Around, Relaunching, Request, Resume as Orders};
use serde::{Deserialize, Serialize};

use super::start::switches;
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::step::{Home, Operation, Step};
use crate::ve::dump::Manifest;
use crate::ve::record::{RunRecord, VeState};
use crate::ve::registry::Catalogue;

/// How long the kernel may take to let go.
const PATIENCE: Duration = Duration::from_secs(30);

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
    notes: Vec<String>,
}

/// Nothing but the VE itself is needed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Params {}

impl Operation for Resume {
    const VERB: &'static str = "resume";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, _: Params) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            disk: None,
            keep: None,
            ends: Vec::new(),
            relaunching: None,
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("check", "checking", Resume::check, crate::step::nothing),
                Step::new("disk", "attaching the disk", Resume::attach_disk, Resume::detach_disk),
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
                Step::new("go", "letting it go on", Resume::go, Resume::end).irrevocable(Resume::is_watched),
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
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
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
        if let Some(why) = manifest.misfit(&dir, &Machine::this()?, id_base, &self.state)? {
            return Err(refuse(why));
        }
        if !host.disk_is_as_dumped(self.id)? {
            return Err(refuse("its disk has been changed since it was suspended".into()));
        }
        Ok(())
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
        Ok(host.cgroups.make_inner(self.id, &bare)?)
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
        let names = host.interface_names(self.id, links.len());
        host.firewall
            .hold(&host.held(self.id), &names, self.state.is_bridged())?;
        host.ready_bridges(&self.state)?;
        let ends = host.network.lay(&links)?;
        self.ends = links.iter().map(|l| l.guest_name.clone()).zip(ends).collect();
        host.admit(self.id, &self.state)
    }

    fn remove_network(&mut self) -> Result<()> {
        self.host.clear_network(self.id, self.state.interfaces.len())?;
        Ok(self.host.firewall.release(&self.host.held(self.id))?)
    }

    fn restore(&mut self) -> Result<()> {
        self.relaunching = None; // if this is taken twice, there is one already
        let (host, id) = (&self.host, self.id);
        host.fresh_run_dir(id)?;
        let effective = host.effective(&self.state.name, &mut Catalogue::default())?;
        let images = host.dirs.dump(id);
        let Manifest {
            booted,
            settings,
            groups,
            ..
        } = Manifest::read(&images)?;
        let Some(source) = &self.disk else {
            return Err(Error::new(Class::Failed, "the disk is not attached"));
        };
        let orders = Orders {
            watch: host.watch(id)?,
            id_base: host.id_base(&self.state)?,
            lower: self.state.lower.clone(),
            switches: switches(&effective),
            criu: host.usable_criu(&self.state)?,
            images,
            booted,
        };
        let around = Around {
            links: &self.ends,
            set_groups: &|| host.cgroups.make_inner(id, &groups),
        };
        let name = &self.state.name;
        let restored = host
            .guests
            .relaunch(orders, host.disk_orders(self.state.driver, source), &around)
            .map_err(|e| {
                Error::from(e)
                    .hint(format!("{name} stays suspended, with all that ran in it"))
                    .hint(format!("give that up and boot anew: hostel start --discard {name}"))
            })?;
        let refused = host.network.set_settings(restored.init().pid, &settings)?;
        self.relaunching = Some(restored);
        if !refused.is_empty() {
            let list = refused.join(", ");
            self.notes.push(format!(
                "settings of its network that the kernel wouldn't take back: {list}"
            ));
        }
        Ok(())
    }

    /// Ends whatever of the VE is there.
    fn end(&mut self) -> Result<()> {
        let init = self.relaunching.take().map(|r| r.init());
        if self.host.cgroups.exists(self.id) {
            self.host.cgroups.kill(self.id)?;
        }
        if let Some(init) = init.or(self.host.reality(self.id)?.init) {
            self.host.guests.kill(init)?;
            self.host.guests.wait(init, PATIENCE)?;
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
        }
        .write(&self.host.dirs.run(self.id))
    }

    fn forget(&mut self) -> Result<()> {
        RunRecord::remove(&self.host.dirs.run(self.id))
    }

    /// The dump is out of the way before any process runs: it must never be gone on from twice.
    fn go(&mut self) -> Result<()> {
        let Some(mut relaunching) = self.relaunching.take() else {
            return match self.host.reality(self.id)?.init {
                Some(_) => Ok(()), // it runs already
                None => Err(Error::new(Class::Failed, "the VE's first process is not there")),
            };
        };
        relaunching.stay()?;
        let dirs = &self.host.dirs;
        file::remove_tree(&dirs.dump_resumed(self.id))?;
        let gone = file::rename(&dirs.dump(self.id), &dirs.dump_resumed(self.id)).and_then(|()| relaunching.go());
        if let Err(e) = gone {
            // Nothing has run, so it can be tried again.
            if e.kind != hostel_system::Kind::Interrupted && dirs.dump_resumed(self.id).exists() {
                file::rename(&dirs.dump_resumed(self.id), &dirs.dump(self.id))?;
            }
            return Err(e.into());
        }
        self.keep = None;
        Ok(())
    }

    /// Only a monitor that stays with its VE answers.
    fn is_watched(&self) -> Result<bool> {
        let asked = self.host.guests.ask(&self.host.dirs.run(self.id), &Request::Status);
        Ok(matches!(asked, Ok(Some(_))) && !self.host.is_suspended(self.id))
    }

    fn settle(&mut self) -> Result<()> {
        self.host.firewall.release(&self.host.held(self.id))?;
        self.host.give_up_dump(self.id)
    }
}
