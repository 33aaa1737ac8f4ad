//! Starting a VE: `hostel start`.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::hook::Event;
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_model::units::human;
use hostel_system::disk::{Attached, DiskSource};
use hostel_system::process::{Launching, Mounting, Request};

use super::{VeAlone, switches, told};
use crate::error::{Class, Detail, Error, Result};
use crate::hooks::Found;
use crate::host::Host;
use crate::step::{Home, Operation, Step};
use crate::ve::outline::Outline;
use crate::ve::record::{RunRecord, VeState};
use crate::ve::registry::Catalogue;

/// How long the kernel may take to let go.
const PATIENCE: Duration = Duration::from_secs(30);

/// A start under way. All its objects die with the host, so its journal may too.
#[derive(Debug)]
pub struct Start {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    effective: Option<Effective>,
    disk: Option<DiskSource>,
    keep: Option<OwnedFd>,
    mounting: Option<Mounting>,
    launching: Option<Box<dyn Launching>>,
    hooks: Option<Found>,
    notes: Vec<String>,
}

impl Operation for Start {
    const VERB: &'static str = "start";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = VeAlone;

    fn resume(host: Arc<Host>, id: VeId, _: VeAlone) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            effective: None,
            disk: None,
            keep: None,
            mounting: None,
            launching: None,
            hooks: None,
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("check", "checking", Start::check, Start::uncheck),
                Step::new("premount", "preparing", Start::premount, Start::postumount),
                Step::new("disk", "attaching the disk", Start::attach_disk, Start::detach_disk),
                Step::new("mount", "mounting", Start::mount, Start::umount),
                Step::new("limits", "setting limits", Start::set_limits, Start::remove_group),
                Step::new("launch", "making namespaces", Start::launch, Start::end),
                Step::new(
                    "network",
                    "attaching the network",
                    Start::attach_network,
                    Start::detach_network,
                ),
                Step::new("record", "recording", Start::record, Start::forget),
                // What it leaves inside ends with the VE.
                Step::new(
                    "inside",
                    "preparing inside",
                    Start::prepare_inside,
                    crate::step::nothing,
                ),
                Step::new("init", "starting init", Start::run_init, Start::end).irrevocable(Start::is_watched),
                Step::new("settle", "finishing", Start::settle_in, crate::step::nothing),
            ]
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Start {
    /// Everything that can be known to be wrong is found before anything is touched.
    fn check(&mut self) -> Result<()> {
        let effective = self.host.effective(&self.state.name, &mut Catalogue::default())?;
        self.notes.extend(self.host.judge_start(&self.state, &effective)?);
        self.notes.extend(self.host.judge(&effective, self.state.driver)?);
        self.notes.extend(self.host.raise_settings());
        let told = self.host.adjust_interfaces(self.id, &mut self.state, &effective)?;
        self.notes.extend(told);
        if !self.state.lower.is_dir() {
            let lower = self.state.lower.display();
            return Err(Error::new(
                Class::Failed,
                format!("the template tree of {} is gone", self.state.name),
            )
            .detail(Detail::Gone)
            .because(format!("{lower} is not there"))
            .hint(format!("restore template {} at that place", self.state.template)));
        }
        self.effective = Some(effective);
        Ok(())
    }

    fn uncheck(&mut self) -> Result<()> {
        self.host.has_started(self.id)?;
        let Some(former) = self.state.former.clone() else {
            return Ok(());
        };
        // Rules that name it may have been given the others.
        let restored = VeState {
            former: None,
            interfaces: former,
            ..self.state.clone()
        };
        self.host.refresh_peers_as(Some(&restored), Self::VERB)?;
        self.host.restore_interfaces(&mut self.state)?;
        self.host.refresh_peers(Self::VERB)
    }

    /// The scripts that there are for it, looked for once.
    fn hooks(&mut self) -> Result<Found> {
        match self.hooks.take() {
            Some(found) => Ok(found),
            None => self.host.look_for_hooks(&Outline::from(&self.state)),
        }
    }

    fn begin(&mut self, event: Event) -> Result<()> {
        let found = self.hooks()?;
        let ve = Outline::from(&self.state);
        let begun = self.host.begin_hooks(&ve, event, &found, &mut self.notes);
        self.hooks = Some(found);
        begun
    }

    fn premount(&mut self) -> Result<()> {
        self.begin(Event::Premount)
    }

    fn postumount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Premount)
    }

    fn mount(&mut self) -> Result<()> {
        self.begin(Event::Mount)
    }

    fn umount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Mount)
    }

    fn prepare_inside(&mut self) -> Result<()> {
        let found = self.hooks()?;
        let Some(launching) = &mut self.launching else {
            return Err(Error::new(Class::Failed, "the VE's first process is not there"));
        };
        if !found.is_empty() {
            launching.furnished()?;
        }
        let ve = Outline::from(&self.state);
        self.host
            .inside_hooks(&ve, Event::Start, launching.init(), &found, &mut self.notes)
    }

    fn effective(&self) -> Result<&Effective> {
        self.effective
            .as_ref()
            .ok_or_else(|| Error::new(Class::Failed, "the start was not checked first"))
    }

    fn attach_disk(&mut self) -> Result<()> {
        let dir = self.host.dirs.ve(self.id);
        self.notes.extend(self.host.check_disk(&self.state)?);
        self.fit_disk()?;
        self.note_driver()?;
        let Attached { source, keep, .. } = self.host.disks.get(self.state.driver).attach(&dir)?;
        // Mounting takes as long as the steps up to init. Only scripts find nothing mounted yet.
        let scripts = self.hooks()?;
        let begin = || self.host.mount_disk(self.state.driver, &source);
        self.mounting = scripts.is_empty().then(begin);
        self.hooks = Some(scripts);
        (self.disk, self.keep) = (Some(source), keep);
        Ok(())
    }

    /// A plan or a definition that was edited by hand meanwhile: a larger disk is given now. To shrink one takes a
    /// decision.
    fn fit_disk(&mut self) -> Result<()> {
        let (has, should) = (self.state.disk_size, self.effective()?.disk.size.get());
        if should > has {
            let disks = self.host.disks.get(self.state.driver);
            disks.grow(&self.host.dirs.ve(self.id), should)?;
            self.state.disk_size = should;
            self.state.write(&self.host.dirs.ve(self.id))?;
            self.notes
                .push(format!("its disk has grown from {} to {}", human(has), human(should)));
        } else if should < has {
            let command = format!(
                "hostel set {} disk.size={}",
                self.state.name,
                self.effective()?.disk.size
            );
            let (has, should) = (human(has), human(should));
            self.notes.push(format!(
                "its disk has {has}, not the {should} of its definition; shrink it while stopped: {command}"
            ));
        }
        Ok(())
    }

    /// The same for what it is made of.
    fn note_driver(&mut self) -> Result<()> {
        let (has, should) = (self.state.driver, self.effective()?.disk.driver);
        if let Some(should) = should.filter(|should| *should != has) {
            let name = &self.state.name;
            self.notes.push(format!(
                "its disk is of driver {has}, not the {should} of its definition; move it while stopped: hostel set \
                 {name} disk.driver={should}"
            ));
        }
        Ok(())
    }

    fn detach_disk(&mut self) -> Result<()> {
        (self.mounting, self.keep) = (None, None);
        Ok(self.host.disks.detach(&self.host.dirs.ve(self.id), PATIENCE)?)
    }

    fn set_limits(&mut self) -> Result<()> {
        let host = &self.host;
        host.cgroups.create(self.id, host.id_base(&self.state)?)?;
        let disks = host.io_devices(&self.state, self.disk.as_ref())?;
        let limits = host.enforceable(&self.effective()?.limits);
        host.cgroups.apply(self.id, &limits, &disks)?;
        match host.lxcfs() {
            Some(_) => Ok(host.cgroups.reveal_cap(self.id, limits.cpu.cap_milli)?),
            None => Ok(()),
        }
    }

    fn remove_group(&mut self) -> Result<()> {
        Ok(self.host.cgroups.remove(self.id, PATIENCE)?)
    }

    fn launch(&mut self) -> Result<()> {
        self.host.fresh_run_dir(self.id)?;
        let orders = self.host.start_orders(&self.state, self.effective()?)?;
        let binds = self.host.mounted_by_hooks(self.id)?;
        self.launching = None; // if this is taken twice, there is one already
        let disk = match (self.mounting.take(), &self.disk) {
            (Some(begun), _) => begun,
            (None, Some(source)) => self.host.mount_disk(self.state.driver, source),
            (None, None) => return Err(Error::new(Class::Failed, "the disk is not attached")),
        };
        self.launching = Some(self.host.guests.launch(orders, disk, binds)?);
        Ok(())
    }

    /// Ends whatever of the VE runs: its first process if we hold it, else all in its group.
    fn end(&mut self) -> Result<()> {
        let init = self.launching.take().map(|launching| launching.init());
        if self.host.cgroups.exists(self.id) {
            self.host.cgroups.kill(self.id)?;
        }
        if let Some(init) = init.or(self.host.reality(self.id)?.init) {
            self.host.guests.end(init, PATIENCE)?;
        }
        Ok(())
    }

    fn attach_network(&mut self) -> Result<()> {
        let Some(launching) = &self.launching else {
            return Err(Error::new(Class::Failed, "the VE's namespaces are not there"));
        };
        let links = self.host.links(self.id, &self.state)?;
        if links.is_empty() {
            return Ok(());
        }
        let host = &self.host;
        let changed = host.network.prepare_host()?;
        self.notes
            .extend(changed.iter().map(|line| format!("turned on forwarding: {line}")));
        let told = host.guard(self.id, &self.state, &self.effective()?.access, Self::VERB)?;
        self.notes.extend(told);
        self.notes.extend(host.ready_bridges(&self.state)?);
        host.probe(&self.state, &links, &[])?;
        host.network.attach(launching.network_namespace(), &links)?;
        host.shape_new(self.id, &self.state, self.effective()?)?;
        host.admit(self.id, &self.state)?;
        // Neighbours are told of a VE that comes up.
        if let Some(launching) = &mut self.launching {
            launching.mounted()?;
            self.notes.extend(self.host.announce(launching.init(), &links));
        }
        Ok(())
    }

    fn detach_network(&mut self) -> Result<()> {
        self.host.clear_network(&Outline::from(&self.state))
    }

    fn record(&mut self) -> Result<()> {
        let Some(launching) = &self.launching else {
            return Err(Error::new(Class::Failed, "the VE's first process is not there"));
        };
        let (boot_id, started) = (self.host.boot_id.clone(), (self.host.clock)());
        RunRecord {
            init: launching.init(),
            boot_id,
            started,
            switches: Some(switches(self.effective()?)),
            told: Some(told(self.effective()?)),
        }
        .write(&self.host.dirs.run(self.id))
    }

    fn forget(&mut self) -> Result<()> {
        RunRecord::remove(&self.host.dirs.run(self.id))
    }

    fn run_init(&mut self) -> Result<()> {
        match self.launching.take() {
            Some(launching) => self.notes.extend(launching.go()?),
            None if self.host.reality(self.id)?.init.is_some() => {} // it runs already
            None => return Err(Error::new(Class::Failed, "the VE's first process is not there")),
        }
        self.keep = None;
        Ok(())
    }

    /// Only a monitor whose guest's init runs answers. What that does by then must not be undone: whoever uses the VE
    /// doesn't know that the command which started it was ended a moment too early.
    fn is_watched(&self) -> Result<bool> {
        let asked = self.host.guests.ask(&self.host.dirs.run(self.id), &Request::Status);
        Ok(matches!(asked, Ok(Some(_))))
    }

    /// A fresh VE has its identity now; what is written once is not written again.
    fn settle_in(&mut self) -> Result<()> {
        self.host.has_started(self.id)?;
        // What ran before it was suspended can't go on beside what runs now.
        self.host.give_up_dump(self.id)?;
        let (tenant, terms) = match self.host.effective(&self.state.name, &mut Catalogue::default()) {
            Ok(ve) => (
                // Once it is known, it takes more than a line in its definition to change it.
                self.state.tenant.clone().or_else(|| Some(ve.tenant.clone())),
                Some(crate::ledger::terms(&ve).into()),
            ),
            // A definition that has been broken by hand meanwhile must not keep anybody from stopping the VE.
            Err(e) if e.class != Class::Failed || !self.host.dirs.definition(&self.state.name).exists() => {
                (self.state.tenant.clone(), None)
            }
            Err(e) => return Err(e),
        };
        self.host.note_begin(&self.state, terms);
        let moved = self.state.former.is_some() || self.state.tenant != tenant;
        if moved {
            // Before the record says so, as whoever has to do this again does that too; and after it, as somebody else
            // may have read the record meanwhile.
            let settled = VeState {
                former: None,
                tenant: tenant.clone(),
                ..self.state.clone()
            };
            self.host.refresh_peers_as(Some(&settled), Self::VERB)?;
        }
        let (given, told) = self.host.given(&self.state)?;
        self.notes.extend(told);
        if given.enter(&mut self.state) || self.state.tenant != tenant {
            self.state.tenant = tenant;
            self.host.put_former_aside(&self.state)?;
            self.state.former = None;
            // The VE runs by now, whatever room there is.
            self.host.write_somehow(&self.state)?;
        } else {
            self.host.keep_interfaces(&mut self.state)?;
        }
        self.notes.extend(self.host.tell_names(&self.state, Self::VERB));
        match moved {
            true => self.host.refresh_peers(Self::VERB),
            false => Ok(()),
        }
    }
}
