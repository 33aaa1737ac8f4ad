//! Saving what runs in a VE and ending it: `hostel suspend`.
//!
//! CRIU holds all processes still while their dump is put in order, and lets them run on if we fail, or vanish. When
//! all is written, the VE is frozen and CRIU is ended: from then on nothing of the VE can run whoever dies, and the dump
//! gets its name, which is the point of no return (see `ve::dump`). Then the processes are ended.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostel_model::id::VeId;
use hostel_system::cgroup::Placement;
use hostel_system::criu::{Dump, Dumped, Machine, Version, unheard, unkept_ipc, visitors};
use hostel_system::file;
use hostel_system::process::{Mending, Request};
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::interrupt;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::dump::Manifest;
use crate::ve::outline::Outline;
use crate::ve::record::VeState;

/// How long processes that CRIU holds may take to be frozen.
const FREEZE: Duration = Duration::from_secs(10);

/// A suspension under way.
#[derive(Debug)]
pub struct Suspend {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    /// When it is given up.
    until: Option<Instant>,
    dumped: Option<Box<dyn Dumped>>,
    /// As long as we hold this, clearing up is our affair and not the monitor's.
    clearing: Option<OwnedFd>,
    /// Should we be killed, the VE doesn't stay cut off or frozen until the next command.
    mending: Option<Mending>,
    notes: Vec<String>,
}

/// How to suspend it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Params {
    /// Milliseconds until it is given up, unless it is nearly done by then; `None`: as long as it takes.
    #[serde(default)]
    limit: Option<u64>,
}

impl Params {
    /// It may take so long.
    pub fn within(timeout: Option<Duration>) -> Self {
        let limit = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        Self { limit }
    }
}

impl Operation for Suspend {
    const VERB: &'static str = "suspend";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let state = host.state(id)?;
        // A limit beyond all time is none.
        let until = |limit| Instant::now().checked_add(Duration::from_millis(limit));
        Ok(Self {
            host,
            id,
            state,
            until: params.limit.and_then(until),
            dumped: None,
            clearing: None,
            mending: None,
            notes: Vec::new(),
        })
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("check", "checking", Suspend::check, nothing),
                Step::new("hold", "holding the network", Suspend::hold, Suspend::release),
                Step::new("dump", "saving processes and memory", Suspend::dump, Suspend::let_live),
                Step::new("still", "holding all still", Suspend::hold_still, Suspend::let_live),
                Step::new("keep", "keeping the dump", Suspend::keep, Suspend::let_live).irrevocable(Suspend::is_kept),
                Step::new("end", "ending the processes", Suspend::end, nothing),
                Step::new("clear", "clearing up", Suspend::clear, nothing),
            ]
        }
    }
}

impl Suspend {
    fn check(&mut self) -> Result<()> {
        self.host.usable_criu(&self.state)?;
        if let Some(why) = self.host.withheld() {
            return Err(self
                .refusal(why)
                .hint("choose root_owns_namespaces = true below [criu] in hostel.toml, and restart the VE"));
        }
        let (_, version) = self.host.criu.usable()?;
        let init = self.host.reality(self.id)?.init;
        if let Some(init) = init
            && let Some(why) = self.host.mount_of_script(self.id, init.pid)?
        {
            return Err(self.refusal(&why).hint("stop it instead"));
        }
        if let Some(why) = init.and_then(|init| unheard(init.pid)) {
            return Err(self.refusal(&why).hint("stop it instead"));
        }
        self.host.note_ending(self.id);
        match init {
            Some(init) => self.keeps_ipc(version, init.pid),
            None => Ok(()), // said when it is to be dumped
        }
    }

    fn refusal(&self, why: &str) -> Error {
        let what = format!("{} can't be suspended on this host", self.state.name);
        Error::new(Class::Refused, what).because(why)
    }

    fn keeps_ipc(&self, version: Version, init: u32) -> Result<()> {
        match unkept_ipc(version, init)? {
            Some(why) => Err(self
                .refusal(&why)
                .hint("name a later CRIU in hostel.toml: [criu] program = \"/path/to/criu\"")),
            None => Ok(()),
        }
    }

    fn hold(&mut self) -> Result<()> {
        // A monitor that doesn't hear this will say so when it is asked for more.
        self.mending = self
            .host
            .guests
            .have_mended(&self.host.dirs.run(self.id))
            .unwrap_or_default();
        let names = self.host.interface_names(self.id, &self.state.numbers());
        let (held, bridged) = (self.host.held(self.id), self.state.is_bridged());
        Ok(self.host.firewall.hold(&held, &names, bridged)?)
    }

    fn release(&mut self) -> Result<()> {
        Ok(self.host.firewall.release(&self.host.held(self.id))?)
    }

    fn dump(&mut self) -> Result<()> {
        let (host, id) = (&self.host, self.id);
        self.dumped = None; // if this is taken twice, there is one already
        let Some(init) = host.reality(id)?.init else {
            return Err(Error::new(
                Class::Refused,
                format!("{} is not running", self.state.name),
            ));
        };
        let images = host.dirs.dump_staging(id);
        file::remove_tree(&images)?;
        file::make_dir(&images)?;
        // CRIU reads some of the images as a user of the VE's.
        file::open_up(&images)?;
        let (_, version) = host.criu.usable()?;
        let answer = host.guests.ask(&host.dirs.run(id), &Request::Status)?;
        let mut manifest = Manifest::of(
            version.to_string(),
            Machine::this()?,
            host.id_base(&self.state)?,
            &self.state,
        );
        manifest.switches = host.run_record(id).and_then(|record| record.switches);
        manifest.booted = answer.and_then(|a| a.booted);
        let freezer = freezer(&host.cgroups.placement(id));
        let what = Dump {
            init,
            images: images.clone(),
            freezer,
            until: self.until,
        };
        self.hide_view()?;
        let gone = || {
            let _ = host.cgroups.freeze(id, FREEZE);
        };
        let dumped = host.criu.dump(&what, &gone).map_err(|e| self.blocked(e))?;
        self.dumped = Some(dumped);
        // Nothing can be made any more: now it counts.
        self.keeps_ipc(version, init.pid)?;
        manifest.groups = host.cgroups.inner(id)?;
        manifest.settings = host.network.settings(init.pid)?;
        manifest.write(&images, &|| self.in_time())
    }

    /// What takes long asks now and then.
    fn in_time(&self) -> Result<()> {
        let given_up = |class, why: &str| {
            let name = &self.state.name;
            Err(Error::new(class, format!("the suspension of {name} was {why}"))
                .hint(format!("{name} runs on as before")))
        };
        match self.until {
            _ if interrupt::raised() => given_up(Class::Interrupted, "interrupted"),
            Some(until) if Instant::now() >= until => given_up(Class::Failed, "given up, as its time was over"),
            _ => Ok(()),
        }
    }

    fn blocked(&self, e: hostel_system::Error) -> Error {
        let name = &self.state.name;
        let mut error = Error::from(e);
        if error.class == Class::Interrupted {
            let what = format!("the suspension of {name} was interrupted");
            error = Error::new(error.class, what).because(chain(&error));
        }
        error.hint(format!("{name} runs on as before"))
    }

    /// CRIU lets the processes go as soon as nobody answers it. One that was killed has left them as they were at that
    /// moment.
    fn let_live(&mut self) -> Result<()> {
        let host = &self.host;
        self.dumped = None;
        host.criu.await_end(&host.dirs.dump_staging(self.id))?;
        if let Some(init) = host.reality(self.id)?.init {
            host.criu.mend(init.pid, &host.cgroups.processes(self.id)?)?;
            host.cgroups.thaw_guest(self.id)?;
            host.cgroups.thaw(self.id)?;
            self.show_view()?;
        }
        Ok(file::remove_tree(&host.dirs.dump_staging(self.id))?)
    }

    /// Files of lxcfs can't be saved, nor one of the host: they are taken off before, and are there again with the monitor
    /// of the resume. Its monitor knows what there is, whatever hostel.toml says by now.
    fn hide_view(&self) -> Result<()> {
        let run_dir = self.host.dirs.run(self.id);
        Ok(self.host.guests.ask(&run_dir, &Request::HideView).map(drop)?)
    }

    fn show_view(&self) -> Result<()> {
        let run_dir = self.host.dirs.run(self.id);
        Ok(self.host.guests.ask(&run_dir, &Request::ShowView).map(drop)?)
    }

    /// The disk is written out first: if the host loses its power from here on, it must be as the processes knew it.
    fn hold_still(&mut self) -> Result<()> {
        self.in_time()?;
        let host = &self.host;
        if let Some(init) = host.reality(self.id)?.init {
            host.guests.write_out(init)?;
        }
        Ok(host.cgroups.freeze(self.id, FREEZE)?)
    }

    /// Without CRIU, which would let them go or take away what the dump needs when it hears no more of us.
    fn keep(&mut self) -> Result<()> {
        let dirs = &self.host.dirs;
        let (staging, dump) = (dirs.dump_staging(self.id), dirs.dump(self.id));
        match self.dumped.take() {
            Some(dumped) => dumped.leave()?,
            None if self.host.is_suspended(self.id) => return Ok(()),
            None => return Err(Error::new(Class::Failed, "the processes have not been saved")),
        }
        let kept = file::rename(&staging, &dump);
        if kept.is_err() && dump.exists() {
            // It has its name, but perhaps not on the disk.
            file::rename(&dump, &staging)?;
        }
        Ok(kept?)
    }

    fn is_kept(&self) -> Result<bool> {
        Ok(self.host.is_suspended(self.id))
    }

    fn end(&mut self) -> Result<()> {
        let host = &self.host;
        let Some(init) = host.reality(self.id)?.init else {
            return Ok(());
        };
        let visitors = visitors(init.pid, &host.cgroups.processes(self.id)?);
        let ended = visitors
            .iter()
            .map(|v| format!("it ends {v}, which exec or enter runs"));
        self.notes = ended.collect();
        self.clearing = host
            .guests
            .take_over_clearing(&host.dirs.run(self.id))
            .unwrap_or_default();
        host.end_by_force(&Outline::from(&self.state), init)
    }

    fn clear(&mut self) -> Result<()> {
        self.host.clear(&Outline::from(&self.state))?;
        match self.host.is_suspended(self.id) {
            true => self.host.stamp_dump(self.id),
            false => Ok(()),
        }
    }
}

/// The group that stops the VE's processes for CRIU: v1's where there is one, as CRIU looks for that first.
fn freezer(placement: &Placement) -> Option<std::path::PathBuf> {
    let v1 = placement.join.iter().filter_map(|tasks| tasks.parent());
    let v1 = v1.into_iter().find(|group| group.join("freezer.state").exists());
    v1.map(std::path::Path::to_path_buf)
        .or_else(|| placement.unified.clone())
}

impl Host {
    /// The firewall's table that holds a VE's interfaces.
    pub fn held(&self, id: VeId) -> String {
        format!("{}{id}", self.held_prefix())
    }

    /// What the names of all such tables begin with.
    pub fn held_prefix(&self) -> String {
        format!("{}_held_", self.config.nft_table)
    }

    /// Why the VE of this init can't be saved, if a script has mounted something into it. What was made for it may not be
    /// in it: since it was resumed, or since its root took it away.
    pub fn mount_of_script(&self, id: VeId, init: u32) -> Result<Option<String>> {
        let made = self.mounted_by_hooks(id)?;
        if made.is_empty() {
            return Ok(None);
        }
        let paths: Vec<_> = made.iter().map(|bind| Path::new("/").join(&bind.path)).collect();
        let found = self.mounts.seen_by(init, &paths)?.into_iter().next();
        Ok(found.map(|path| format!("a script has mounted {} into it, which CRIU can't save", path.display())))
    }

    /// What this host withholds from root that CRIU needs.
    pub fn withheld(&self) -> Option<&'static str> {
        let able = self.config.root_owns_namespaces || hostel_system::process::has_sys_resource();
        (!able).then_some(
            "root lacks CAP_SYS_RESOURCE here, and without it CRIU saves only VEs whose namespaces root owns",
        )
    }

    /// CRIU must be there and do for this kernel.
    pub fn usable_criu(&self, state: &VeState) -> Result<std::path::PathBuf> {
        match self.criu.usable() {
            Ok((program, _)) => Ok(program),
            Err(e) => {
                let what = format!("{} can't be suspended or resumed on this host", state.name);
                let hints = Error::from(e);
                let mut error = Error::new(Class::Refused, what).because(chain(&hints));
                error.hints = hints.hints;
                Err(error)
            }
        }
    }
}
