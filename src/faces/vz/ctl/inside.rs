//! Commands inside: exec, enter, console, runscript.

use std::collections::BTreeMap;
use std::path::Path;

use hostel_engine::Class;
use hostel_engine::facade::{CommandEnd, VeStatus};
use hostel_model::openvz::code;
use hostel_model::request::{Action, Exec, StartOptions};
use hostel_model::state::State;

use super::life::{is, refuse_out_of_service, runs, unmount_first};
use super::{Call, Done, Failure, by_id, said};
use crate::cli::interactive;

/// Runs its second argument by bash, or where there is none by sh.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash -c \"$1\"; else exec /bin/sh -c \"$1\"; fi";
/// Reads commands from standard input.
const SHELL_STDIN: &str = "if [ -x /bin/bash ]; then exec /bin/bash -s; else exec /bin/sh -s; fi";
/// Runs a command, then the login shell that root has.
const THEN_LOGIN: &str = "\"$@\"; s=$(grep ^root: /etc/passwd | cut -d: -f7); exec \"${s:-/bin/sh}\" -l";

fn sh(script: &str, args: &[String]) -> Vec<String> {
    let fixed = ["/bin/sh", "-c", script, "vzctl"].map(str::to_owned);
    fixed.into_iter().chain(args.iter().cloned()).collect()
}

/// `exec`: the code says only that the command failed.
pub fn exec(call: &Call<'_>) -> Done {
    match by_shell(call)? {
        0 => Ok(code::OK.number),
        _ => Ok(code::EXEC.number),
    }
}

/// `exec2`
pub fn exec2(call: &Call<'_>) -> Done {
    by_shell(call)
}

/// `exec3`
pub fn exec3(call: &Call<'_>) -> Done {
    match call.rest.is_empty() {
        true => nothing_to_run(call),
        false => inside(call, call.rest.clone()),
    }
}

fn by_shell(call: &Call<'_>) -> Done {
    match call.rest.as_slice() {
        [] => nothing_to_run(call),
        [dash] if dash == "-" => inside(call, sh(SHELL_STDIN, &[])),
        words => inside(call, sh(SHELL, &[words.join(" ")])),
    }
}

fn nothing_to_run(call: &Call<'_>) -> Done {
    said(code::VALUE, format!("vzctl {}: say what to run", call.called))
}

fn inside(call: &Call<'_>, argv: Vec<String>) -> Done {
    let ve = running(call)?;
    let env = [("HOME", "/"), ("TERM", "linux")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let exec = Exec {
        argv,
        env: BTreeMap::from(env),
        cwd: Some("/".to_owned()),
        ..Exec::default()
    };
    let end = call.house.exec(&by_id(&ve), &exec)?;
    Ok(ended(call, end))
}

/// The container, if it runs.
fn running(call: &Call<'_>) -> Result<VeStatus, Failure> {
    let ve = call.ve()?;
    match runs(&ve) {
        true => Ok(ve),
        false => said(code::NOT_RUNNING, format!("Container {} is not running", ve.id)),
    }
}

fn ended(call: &Call<'_>, end: CommandEnd) -> u8 {
    if let Some(said) = end.said {
        call.voice.wrong(&said);
    }
    end.code
}

/// `enter`, with `--exec COMMAND ARG...` to be run first.
pub fn enter(call: &Call<'_>) -> Done {
    let argv = match call.rest.as_slice() {
        [] => Vec::new(),
        [first, command @ ..] if first == "--exec" && !command.is_empty() => sh(THEN_LOGIN, command),
        _ => return said(code::VALUE, "vzctl enter: write CTID, or CTID --exec COMMAND"),
    };
    let ve = running(call)?;
    let exec = Exec {
        argv,
        pty: interactive(),
        ..Exec::default()
    };
    let end = call.house.exec(&by_id(&ve), &exec)?;
    Ok(ended(call, end))
}

/// `console`: there is one, whatever number is asked for.
pub fn console(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    for word in &call.rest {
        if word != "-s" && !word.bytes().all(|b| b.is_ascii_digit()) {
            return said(
                code::VALUE,
                format!("vzctl console: \"{word}\" is no number of a console"),
            );
        }
    }
    call.line(&format!("Console of container {}; Ctrl-A q leaves it", ve.id));
    call.house.console(&by_id(&ve))?;
    Ok(code::OK.number)
}

/// `runscript`
pub fn runscript(call: &Call<'_>) -> Done {
    let [script, args @ ..] = call.rest.as_slice() else {
        return said(code::VALUE, "vzctl runscript: say which script");
    };
    while_running(call, |ve| {
        let end = call.house.runscript(&by_id(ve), Path::new(script), args).map_err(|e| {
            // It is the script that isn't there: the container is.
            let code = (e.class == Class::NotFound).then_some(code::SYSTEM);
            Failure::Engine(e, code)
        })?;
        Ok(ended(call, end))
    })
}

/// What is suspended can't be started for a moment: the stop behind it would end all that was saved.
pub fn refuse_suspended(ve: &VeStatus) -> Result<(), Failure> {
    match is(ve, State::Suspended) {
        true => said(
            code::NOT_RUNNING,
            format!("Container {} is suspended; resume it first", ve.id),
        ),
        false => Ok(()),
    }
}

/// Starts a container for something inside. A Ctrl-C that comes until then takes the start back, as does a boot that can't
/// be waited for. False if somebody else has started it meanwhile.
fn start_for_a_while(call: &Call<'_>, ve: &VeStatus) -> Result<bool, Failure> {
    let start = |wait| {
        let options = StartOptions {
            wait,
            disabled_too: true,
            ..StartOptions::default()
        };
        call.start(ve, &Action::Start(options))
    };
    // Where a command inside gets it itself, nobody watches for it yet.
    let is_watched = !call.verb.rest;
    if !is_watched {
        call.house.undoing(true)?;
    }
    let ours = start(false)?.changed;
    let booted = if ours { start(true).err() } else { None };
    let ready = match booted {
        _ if call.house.undoing(false)? => said(
            code::SYSTEM,
            format!("Container {}: interrupted before anything was done inside", ve.id),
        ),
        // One that does not say that it has booted may need just this script.
        None | Some(Failure::Engine(_, Some(code::WAIT))) => Ok(ours),
        Some(e) => Err(e),
    };
    if ours && ready.is_err() {
        call.act(ve, &Action::Stop { timeout: None })?;
        call.line(&format!("Container {}: stopped again", ve.id));
    }
    if is_watched {
        call.house.undoing(true)?;
    }
    ready
}

/// Does something inside; a container that is stopped is started for it and stopped again, whatever came of it.
pub fn while_running(call: &Call<'_>, act: impl FnOnce(&VeStatus) -> Done) -> Done {
    let ve = call.ve()?;
    if runs(&ve) {
        return act(&ve);
    }
    refuse_suspended(&ve)?;
    refuse_out_of_service(call, &ve, true)?;
    unmount_first(call, &ve)?;
    // One that somebody else has started isn't ours to stop.
    if !start_for_a_while(call, &ve)? {
        return act(&ve);
    }
    let done = act(&ve);
    let stopped = call.act(&ve, &Action::Stop { timeout: None });
    let done = done?;
    stopped?;
    Ok(done)
}
