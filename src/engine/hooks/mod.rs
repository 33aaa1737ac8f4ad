//! Running the scripts of the host's owner as a VE comes and goes ([`hostel_model::hook`], docs/HOOKS.md).
//!
//! What a script may have begun is ended by its opposite, once: a mark in the VE's directory says what is due. It is
//! made before the first script runs and goes after the last, so it outlives every death, the host's too. A script
//! that is cut short by one runs again.

mod conf;
mod retire;
mod said;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hostel_model::hook::{Event, Place};
use hostel_model::id::VeId;
use hostel_model::state::State;
use hostel_system::file;
use hostel_system::process::{Bind, Init, Task};
use hostel_system::scripts::{Bounds, How, NOTHING, Ran};

use self::said::{file_name, lines, outcome};
use crate::error::{Error, Result, chain, whole};
use crate::host::Host;
use crate::interrupt;
use crate::ve::outline::Outline;

/// The largest script that goes into a VE.
const SCRIPT_SIZE: usize = 16 << 20;
/// Until what could not be done is tried once more.
const MOMENT: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 100 });
/// The search path of a script on the host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What scripts said and how they failed where nothing is aborted by that, until somebody is told.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<(VeId, Word)>>);

#[derive(Debug)]
enum Word {
    Line(String),
    Trouble(Error),
}

/// The scripts that are there for a VE, found in one look.
#[derive(Debug, Default)]
pub struct Found(BTreeSet<PathBuf>);

impl Found {
    /// Is there none at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Told {
    fn say(&self, id: VeId, word: Word) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, word));
    }

    fn take(&self, id: VeId) -> Vec<Word> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (his, others) = std::mem::take(&mut *all).into_iter().partition(|(of, _)| *of == id);
        *all = others;
        his.into_iter().map(|(_, word)| word).collect()
    }
}

impl Host {
    /// Which scripts there are for a VE.
    pub fn look_for_hooks(&self, ve: &Outline) -> Result<Found> {
        let names = Event::EACH.iter().flat_map(|event| event.names(ve.id, &ve.name));
        Ok(Found(self.scripts.find(&self.places(names))?.into_iter().collect()))
    }

    /// The names of scripts by their directories, each once.
    fn places(&self, names: impl Iterator<Item = (&'static str, Vec<String>)>) -> Vec<(PathBuf, Vec<String>)> {
        let mut places: Vec<(PathBuf, Vec<String>)> = Vec::new();
        for (directory, names) in names {
            let directory = self.dirs.config().join(directory);
            match places.iter_mut().find(|(other, _)| *other == directory) {
                Some((_, all)) => all.extend(names),
                None => places.push((directory, names)),
            }
        }
        places
    }

    fn of(&self, found: &Found, ve: &Outline, event: Event) -> Vec<PathBuf> {
        let names = event.names(ve.id, &ve.name).into_iter();
        let all = names.flat_map(|(directory, names)| {
            let directory = self.dirs.config().join(directory);
            names.into_iter().map(move |name| directory.join(name))
        });
        all.filter(|path| found.0.contains(path)).collect()
    }

    /// Runs the scripts of an event that begins something. The first that fails aborts it, with an error of its own
    /// class; what was begun by then is ended with the rest, by [`Self::end_hooks`].
    pub fn begin_hooks(&self, ve: &Outline, event: Event, found: &Found, notes: &mut Vec<String>) -> Result<()> {
        let scripts = self.of(found, ve, event);
        let ended_by = event.opposite().map(|end| self.of(found, ve, end)).unwrap_or_default();
        let mark = self.dirs.begun(ve.id, event);
        if scripts.is_empty() && ended_by.is_empty() || mark.exists() {
            return Ok(());
        }
        file::write_atomic(&mark, &NOTHING, 0o600)?;
        if event == Event::Mount {
            self.mounts.stage(&self.dirs.script_root(ve.id))?;
        }
        if scripts.is_empty() {
            return Ok(());
        }
        self.put_conf(ve)?;
        let ran = scripts.iter().try_for_each(|script| {
            let ran = self.run_on_host(ve, event, script, &mark, true)?;
            notes.extend(lines(script, &ran));
            outcome(ve, script, &ran)
        });
        let removed = file::remove_file(&self.dirs.ve_conf(ve.id));
        ran?;
        Ok(removed?)
    }

    /// What scripts have mounted for a VE.
    pub fn mounted_by_hooks(&self, id: VeId) -> Result<Vec<Bind>> {
        match self.dirs.begun(id, Event::Mount).exists() {
            true => Ok(self.mounts.staged(&self.dirs.script_root(id))?),
            false => Ok(Vec::new()),
        }
    }

    /// Runs the scripts that end what those of `begun` began, if anything of that is due. All of them run, and neither
    /// one that fails nor what Hostel lacks for running it keeps anything from being cleared up: it is told of
    /// ([`Self::hooks_told`]).
    pub fn end_hooks(&self, ve: &Outline, begun: Event) -> Result<()> {
        let mark = self.dirs.begun(ve.id, begun);
        let Some(event) = begun.opposite().filter(|_| mark.exists()) else {
            return Ok(());
        };
        // What the script of a command that was killed has left working would work beside those that end it.
        if let Err(e) = self.scripts.end_left(&mark) {
            let what = "an earlier script may still be at work";
            self.hooks.say(ve.id, Word::Line(format!("{what}: {}", chain(&e))));
        }
        match twice(|| self.look_for_hooks(ve)) {
            Ok(found) => self.run_ending(ve, event, &self.of(&found, ve, event), &mark),
            Err(e) => self.hooks.say(ve.id, Word::Trouble(e)),
        }
        if begun == Event::Mount {
            self.mounts.unstage(&self.dirs.script_root(ve.id))?;
        }
        file::remove_file(&mark)?;
        // Or a power cut would bring it back, and they ran once more.
        Ok(file::sync_dir(&self.dirs.ve(ve.id))?)
    }

    fn run_ending(&self, ve: &Outline, event: Event, scripts: &[PathBuf], mark: &Path) {
        if scripts.is_empty() {
            return;
        }
        // They run without these if need be: on a full /run, say.
        let lacks = |what: &str, e: Error| {
            let line = format!("{event} scripts ran without {what}: {}", chain(&e));
            self.hooks.say(ve.id, Word::Line(line));
        };
        if let Err(e) = self.put_conf(ve) {
            lacks("VE_CONFFILE", e);
        }
        if event == Event::Umount {
            // It has gone with the host that it ended with.
            if let Err(e) = self.mounts.stage(&self.dirs.script_root(ve.id)) {
                lacks("VE_ROOT", e.into());
            }
        }
        for script in scripts {
            let run = || self.run_on_host(ve, event, script, mark, false);
            let ran = twice(run).unwrap_or_else(|e| not_run(chain(&e)));
            self.note_ran(ve, script, &ran);
        }
        // What stays is replaced by the next, and goes with the VE.
        let _ = twice(|| Ok(file::remove_file(&self.dirs.ve_conf(ve.id))?));
    }

    /// Has something that scripts have begun not been ended, though the VE is neither running nor mounted?
    pub fn owes_hooks(&self, id: VeId) -> bool {
        let begins = |event: &&Event| event.opposite().is_some();
        let begun = Event::EACH
            .iter()
            .filter(begins)
            .any(|event| self.dirs.begun(id, *event).exists());
        begun
            && self
                .reality(id)
                .is_ok_and(|reality| reality.init.is_none() && reality.state != State::Mounted)
    }

    /// Runs the scripts of an event inside a VE whose first process is there. The first that fails is an error.
    pub fn inside_hooks(
        &self,
        ve: &Outline,
        event: Event,
        init: Init,
        found: &Found,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        for script in self.of(found, ve, event) {
            let ran = self.run_inside(ve, event, init, &script, Duration::MAX)?;
            notes.extend(lines(&script, &ran));
            outcome(ve, &script, &ran)?;
        }
        Ok(())
    }

    /// The scripts before a stop: whatever they do, the VE is stopped, as what they run is the tenant's. Only a person
    /// who gives up keeps it running. They have until `end`, of the time that the guest has to shut down.
    pub fn stop_hooks(&self, ve: &Outline, init: Init, end: Instant) -> Result<()> {
        let found = twice(|| self.look_for_hooks(ve)).unwrap_or_else(|e| {
            self.hooks.say(ve.id, Word::Trouble(e));
            Found::default()
        });
        for script in self.of(&found, ve, Event::Stop) {
            let ran = match self.run_inside(
                ve,
                Event::Stop,
                init,
                &script,
                end.saturating_duration_since(Instant::now()),
            ) {
                Ok(ran) => ran,
                Err(e) => not_run(chain(&e)),
            };
            if ran.how == How::Interrupted {
                return outcome(ve, &script, &ran);
            }
            self.note_ran(ve, &script, &ran);
        }
        Ok(())
    }

    fn note_ran(&self, ve: &Outline, script: &Path, ran: &Ran) {
        for line in lines(script, ran) {
            self.hooks.say(ve.id, Word::Line(line));
        }
        if let Err(e) = outcome(ve, script, ran) {
            self.hooks.say(ve.id, Word::Trouble(e));
        }
    }

    /// What scripts said since, in lines, and the failures of those that could abort nothing, as one error. Whoever asks
    /// tells it.
    pub fn hooks_told(&self, id: VeId, tell: &mut dyn FnMut(&str)) -> Option<Error> {
        let mut trouble: Option<Error> = None;
        for word in self.hooks.take(id) {
            match (word, &mut trouble) {
                (Word::Line(line), _) => tell(&line),
                (Word::Trouble(e), None) => trouble = Some(e),
                (Word::Trouble(e), Some(first)) => first.also.push(chain(&e)),
            }
        }
        trouble
    }

    /// How something ended that may have run scripts, with those of them that failed.
    pub fn with_hooks_told(&self, id: VeId, done: Result<()>, tell: &mut dyn FnMut(&str)) -> Result<()> {
        match (done, self.hooks_told(id, tell)) {
            (Err(mut e), Some(trouble)) => {
                e.also.push(whole(&trouble));
                Err(e)
            }
            (Ok(()), Some(trouble)) => Err(trouble),
            (done, None) => done,
        }
    }

    fn run_on_host(
        &self,
        ve: &Outline,
        event: Event,
        script: &Path,
        mark: &Path,
        may_be_given_up: bool,
    ) -> Result<Ran> {
        let script = match self.scripts.judge(script)? {
            Ok(script) => script,
            Err(why) => return Ok(not_run(why)),
        };
        let bounds = Bounds {
            patience: self.config.hook_timeout.duration(),
            interrupted: may_be_given_up.then(interrupt::flag),
        };
        Ok(self
            .scripts
            .run(&script, &self.hook_environment(ve, event), mark, bounds)?)
    }

    fn run_inside(&self, ve: &Outline, event: Event, init: Init, script: &Path, most: Duration) -> Result<Ran> {
        let real = match self.scripts.judge(script)? {
            Ok(real) => real,
            Err(why) => return Ok(not_run(why)),
        };
        let content = self.scripts.read(&real)?;
        if content.len() > SCRIPT_SIZE {
            return Ok(not_run("it is too large for a script".into()));
        }
        let argv = vec![file_name(script)];
        let mut enter = self.enter_orders(ve.id, &ve.name, init, Task::Script { content, argv })?;
        enter.cwd = Some("/".into());
        let env = self.hook_environment(ve, event);
        enter.env = env.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let bounds = Bounds {
            patience: self.config.hook_timeout.duration().min(most),
            interrupted: Some(interrupt::flag()),
        };
        Ok(self.guests.script(enter, bounds)?)
    }

    /// What a script finds in its environment. Paths of the host are nothing to one inside.
    fn hook_environment(&self, ve: &Outline, event: Event) -> Vec<(String, String)> {
        let mut env = vec![
            ("VEID", ve.id.to_string()),
            ("HOSTEL_VE", ve.name.to_string()),
            ("HOSTEL_ID", ve.id.to_string()),
            ("HOSTEL_EVENT", event.to_string()),
        ];
        if event.place() == Place::Host {
            let tenant = ve.tenant.as_ref().map(ToString::to_string);
            env.extend([
                ("PATH", PATH.to_owned()),
                ("HOME", "/root".to_owned()),
                ("VE_CONFFILE", self.dirs.ve_conf(ve.id).display().to_string()),
                ("VE_ROOT", self.dirs.script_root(ve.id).display().to_string()),
                ("VE_PRIVATE", self.dirs.ve(ve.id).display().to_string()),
                ("HOSTEL_TENANT", tenant.unwrap_or_default()),
                ("HOSTEL_CONFIG", self.config_file.display().to_string()),
            ]);
        }
        env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Puts VE_CONFFILE in its place.
    fn put_conf(&self, ve: &Outline) -> Result<()> {
        file::make_dir(&self.dirs.run(ve.id))?;
        Ok(file::replace(&self.dirs.ve_conf(ve.id), self.conf_text(ve).as_bytes())?)
    }
}

/// Once more after a moment: what this host lacks now, processes or descriptors, it may have then.
fn twice<T>(act: impl Fn() -> Result<T>) -> Result<T> {
    act().or_else(|_| {
        std::thread::sleep(MOMENT);
        act()
    })
}

fn not_run(why: String) -> Ran {
    Ran {
        how: How::NotRun(why),
        said: Vec::new(),
    }
}
