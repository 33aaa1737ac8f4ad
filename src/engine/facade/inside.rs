//! Going into a running VE: commands, scripts, files.

use std::io::IsTerminal;
use std::path::Path;

use hostel_model::id::{VeId, VeName};
use hostel_model::request::{Exec, VeRef};
use hostel_model::state::State;
use hostel_system::archive::carry;
use hostel_system::process::{Enter, Entered, Held, Init, Place, Streams, Task, terminal};

use super::{CommandEnd, Engine};
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::op::switches;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// The exit code of a program that is there but can't be run (as env(1) has it).
const NOT_RUNNABLE: u8 = 126;
/// The exit code when there is no such program.
const NO_PROGRAM: u8 = 127;
/// The largest script.
const SCRIPT_SIZE: u64 = 16 << 20;

impl Engine {
    /// Runs a command inside; stdin, stdout and stderr are this process's own. The command's exit code (128+n: signal
    /// n; 126 and 127: it can't be run, there is none).
    pub fn exec(&self, ve: &VeRef, exec: &Exec) -> Result<CommandEnd> {
        let task = Task::Run(exec.argv.clone());
        let program = exec.argv.first().cloned().unwrap_or_else(|| "the login shell".into());
        self.run_inside(ve, task, exec, &program)
    }

    /// Runs a script file of the host's inside, by the interpreter its first line names.
    pub fn runscript(&self, ve: &VeRef, script: &Path, args: &[String]) -> Result<CommandEnd> {
        let fail = |e: std::io::Error| {
            Error::new(Class::NotFound, format!("cannot read script {}", script.display())).because(e)
        };
        if std::fs::metadata(script).map_err(fail)?.len() > SCRIPT_SIZE {
            return Err(Error::new(
                Class::Usage,
                format!("{} is too large for a script", script.display()),
            ));
        }
        let content = std::fs::read(script).map_err(fail)?;
        let name = script
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let argv = std::iter::once(name.clone()).chain(args.iter().cloned()).collect();
        self.run_inside(ve, Task::Script { content, argv }, &Exec::default(), &name)
    }

    fn run_inside(&self, ve: &VeRef, task: Task, exec: &Exec, program: &str) -> Result<CommandEnd> {
        refuse_nul(exec.argv.iter().chain(exec.env.values()).chain(exec.env.keys()))?;
        let mut enter = self.enter_orders(ve, task)?;
        enter.user.clone_from(&exec.user);
        enter.cwd.clone_from(&exec.cwd);
        enter.env = exec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let raw = match exec.pty && std::io::stdin().is_terminal() {
            true => Some(terminal::Raw::take()?),
            false => None,
        };
        if exec.pty {
            let (rows, columns, kind) = terminal::size_and_kind();
            enter.pty = Some((rows, columns));
            enter.env.push(format!("TERM={kind}"));
        }
        let entered = self.host.guests.enter(enter, Streams::default());
        drop(raw);
        match entered? {
            Entered::Code(code) => Ok(CommandEnd { code, said: None }),
            // As a shell says it.
            Entered::NotRun { missing: true, .. } => Ok(CommandEnd {
                code: NO_PROGRAM,
                said: Some(format!("{program}: not found in {ve}")),
            }),
            Entered::NotRun { reason, .. } => Ok(CommandEnd {
                code: NOT_RUNNABLE,
                said: Some(format!("{program}: {reason}")),
            }),
            Entered::Paused => {
                let message = format!("interrupted: {ve} is paused, so {program} can't end now");
                Err(Error::new(Class::Interrupted, message)
                    .hint(format!("it does when the VE goes on: hostel unpause {ve}")))
            }
        }
    }

    /// What an entry needs to know of the VE, which must be running.
    fn enter_orders(&self, ve: &VeRef, task: Task) -> Result<Enter> {
        let state = self.host.find(ve)?;
        let init = self.running(&state)?;
        self.host.enter_orders(state.id, &state.name, init, task)
    }

    fn running(&self, state: &VeState) -> Result<Init> {
        let reality = self.host.reality(state.id)?;
        match (reality.state, reality.init) {
            (State::Running, Some(init)) => Ok(init),
            (State::Paused, _) => Err(Error::new(Class::Refused, format!("{} is paused", state.name))
                .hint(format!("unpause it first: hostel unpause {}", state.name))),
            _ => Err(Error::new(Class::Refused, format!("{} is not running", state.name))
                .hint(format!("start it first: hostel start {}", state.name))),
        }
    }

    /// Copies a file or directory from the host into the VE.
    pub fn push(&self, ve: &VeRef, from: &Path, to: &str) -> Result<()> {
        let _held = Held::take()?;
        let (directory, name) = target(from, to, |path| self.is_directory(ve, path))?;
        let enter = self.files_orders(ve, Task::Unpack(directory))?;
        let (read, write) = carry::pipe()?;
        let (packed, entered) = std::thread::scope(|scope| {
            let packing = scope.spawn(|| carry::pack(from, &name, write));
            let streams = Streams {
                input: Some(read),
                ..Streams::default()
            };
            let entered = self.host.guests.enter(enter, streams);
            (packing.join(), entered)
        });
        // What happened inside is the cause; that the stream broke is only its consequence.
        finished(entered, &format!("copy {} into {ve}", from.display())).map_err(|e| {
            if e.class == Class::Interrupted {
                e.hint(format!("part of it may lie at {to}"))
            } else {
                e
            }
        })?;
        Ok(packed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    }

    /// Copies a file or directory out of the VE.
    pub fn pull(&self, ve: &VeRef, from: &str, to: &Path) -> Result<()> {
        if !from.starts_with('/') {
            return Err(Error::new(
                Class::Usage,
                format!("{from} is not an absolute path in the VE"),
            ));
        }
        // Before there is anything to leave behind, and before there is a thread that could be hit.
        let _held = Held::take()?;
        let landing = carry::Landing::prepare(from, to)?;
        let task = Task::Pack {
            path: from.to_owned(),
            name: landing.name().to_owned(),
        };
        let enter = self.files_orders(ve, task)?;
        let (read, write) = carry::pipe()?;
        let (received, entered) = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| landing.receive(read));
            let streams = Streams {
                output: Some(write),
                ..Streams::default()
            };
            let entered = self.host.guests.enter(enter, streams);
            (receiving.join(), entered)
        });
        finished(entered, &format!("copy {from} out of {ve}"))?;
        received.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(landing.commit()?)
    }

    fn files_orders(&self, ve: &VeRef, task: Task) -> Result<Enter> {
        Ok(Enter {
            cwd: Some("/".into()),
            ..self.enter_orders(ve, task)?
        })
    }

    fn is_directory(&self, ve: &VeRef, path: &str) -> Result<bool> {
        let enter = self.files_orders(
            ve,
            Task::Test {
                directory: path.to_owned(),
            },
        )?;
        match self.host.guests.enter(enter, Streams::default())? {
            Entered::Paused => Err(interrupted(&format!("look for {path} in {ve}, which is paused"))),
            entered => Ok(entered == Entered::Code(0)),
        }
    }
}

impl Host {
    /// What an entry into a VE with this init needs to know.
    pub(crate) fn enter_orders(&self, id: VeId, name: &VeName, init: Init, task: Task) -> Result<Enter> {
        let place = self
            .cgroups
            .attach_placement(id, &Path::new("/proc").join(format!("{}/cgroup", init.pid)))?;
        // What all others inside have: a switch changes at a restart. Only if that isn't known does the definition count,
        // and one that is broken allows nothing that has to be allowed.
        let known = self.run_record(id).filter(|r| r.init == init).and_then(|r| r.switches);
        let by_definition = || self.effective(name, &mut Catalogue::default()).map(|e| switches(&e));
        Ok(Enter {
            init,
            payload: Place {
                tasks: place.join,
                unified: place.unified,
            },
            switches: known.unwrap_or_else(|| by_definition().unwrap_or_default()),
            task,
            user: None,
            env: Vec::new(),
            cwd: None,
            pty: None,
        })
    }
}

fn refuse_nul<'a>(texts: impl Iterator<Item = &'a String>) -> Result<()> {
    match texts.into_iter().any(|t| t.contains('\0')) {
        true => Err(Error::new(
            Class::Usage,
            "a NUL character may not stand in a command or its environment",
        )),
        false => Ok(()),
    }
}

fn finished(entered: hostel_system::Result<Entered>, what: &str) -> Result<()> {
    let why = match entered {
        Ok(Entered::Code(0)) => return Ok(()),
        Ok(Entered::Paused) => return Err(interrupted(what).hint("the VE is paused, and all that is in it")),
        Ok(entered) if entered.interrupted() => return Err(interrupted(what)),
        Err(e) if e.kind == hostel_system::Kind::Interrupted => return Err(interrupted(what)),
        Ok(Entered::Code(code)) => format!("it ended with code {code}"),
        Ok(Entered::NotRun { reason, .. }) => reason,
        Err(e) => return Err(Error::new(e.kind.into(), format!("cannot {what}")).because(e)),
    };
    Err(Error::new(Class::Failed, format!("cannot {what}")).because(why))
}

fn interrupted(what: &str) -> Error {
    Error::new(Class::Interrupted, format!("interrupted: did not {what}"))
}

/// As cp(1): into `to` if that is a directory, else as `to`. The directory to unpack in, and the name there.
fn target(from: &Path, to: &str, is_directory: impl Fn(&str) -> Result<bool>) -> Result<(String, String)> {
    if !to.starts_with('/') {
        return Err(Error::new(
            Class::Usage,
            format!("{to} is not an absolute path in the VE"),
        ));
    }
    if to.ends_with('/') || is_directory(to)? {
        let name = from.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| Error::new(Class::Usage, format!("{} has no name to give", from.display())))?;
        return Ok((to.to_owned(), name));
    }
    let (directory, name) = to.rsplit_once('/').unwrap_or(("", to));
    Ok((
        if directory.is_empty() {
            "/".into()
        } else {
            directory.to_owned()
        },
        name.to_owned(),
    ))
}
