//! Commands on a container's life: start, stop and what lies between.

use std::time::Duration;

use hostel_engine::facade::{Outcome, VeStatus};
use hostel_engine::{Class, Detail};
use hostel_model::openvz::code;
use hostel_model::request::{Action, StartOptions};
use hostel_model::state::State;

use super::{Call, Done, Failure, by_id, said};

impl Call<'_> {
    /// An action on the container.
    pub fn act(&self, ve: &VeStatus, action: &Action) -> Result<Outcome, Failure> {
        Ok(self.house.act(ve.id, action, self.voice)?)
    }

    /// Tells what was done to it.
    fn done(&self, ve: &VeStatus, what: &str) -> Done {
        self.line(&format!("Container {}: {what}", ve.id));
        Ok(code::OK.number)
    }
}

/// Is it in this state?
pub fn is(ve: &VeStatus, state: State) -> bool {
    ve.state == state.to_string()
}

/// Is its init alive?
pub fn runs(ve: &VeStatus) -> bool {
    is(ve, State::Running) || is(ve, State::Paused)
}

/// `start`
pub fn start(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if runs(&ve) {
        return said(code::RUNNING, format!("Container {} is running already", ve.id));
    }
    refuse_out_of_service(call, &ve, call.has("force"))?;
    unmount_first(call, &ve)?;
    let options = StartOptions {
        disabled_too: call.has("force"),
        wait: call.has("wait"),
        ..StartOptions::default()
    };
    let done = call.start(&ve, &Action::Start(options))?;
    call.done(&ve, &done.done)
}

/// What is disabled, or whose tenant is suspended, isn't started; asked before anything is done for a start.
pub fn refuse_out_of_service(call: &Call<'_>, ve: &VeStatus, disabled_too: bool) -> Result<(), Failure> {
    let disabled = || call.house.effective(&by_id(ve)).is_ok_and(|e| e.disabled);
    if !disabled_too && disabled() {
        let text = "is disabled; enable it with --disabled no, or start it once with --force";
        return said(code::DISABLED, format!("Container {} {text}", ve.id));
    }
    if call.house.is_suspended(&ve.tenant) {
        let text = format!("its tenant {} is suspended", ve.tenant);
        return said(code::DISABLED, format!("Container {}: {text}", ve.id));
    }
    Ok(())
}

/// A root that somebody has mounted is put away before a start.
pub fn unmount_first(call: &Call<'_>, ve: &VeStatus) -> Result<(), Failure> {
    if is(ve, State::Mounted) {
        call.act(ve, &Action::Umount)?;
        call.line(&format!("Container {}: unmounted", ve.id));
    }
    Ok(())
}

impl Call<'_> {
    /// Starts, or restarts, the container. A wait that fails ends nothing: the container boots on, and that has a code
    /// of its own.
    pub fn start(&self, ve: &VeStatus, action: &Action) -> Result<Outcome, Failure> {
        self.house.act(ve.id, action, self.voice).map_err(|e| {
            let code = (e.detail == Some(Detail::BootsOn)).then_some(code::WAIT);
            Failure::Engine(e, code)
        })
    }
}

/// `stop`
pub fn stop(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if !runs(&ve) {
        return call.done(&ve, "is not running");
    }
    // A frozen one can't shut down by itself.
    let thawed = is(&ve, State::Paused) && !call.has("fast");
    if thawed {
        call.act(&ve, &Action::Unpause)?;
    }
    let done = call
        .act(&ve, &ending(call))
        .or_else(|e| frozen_again(call, &ve, thawed, e))?;
    call.done(&ve, &done.done)
}

/// What was thawed for an end that was refused, as somebody else is at work on it, isn't left running.
fn frozen_again(call: &Call<'_>, ve: &VeStatus, thawed: bool, e: Failure) -> Result<Outcome, Failure> {
    if thawed && matches!(&e, Failure::Engine(e, _) if e.class == Class::Busy) {
        // Whoever holds it may be the one who ends it.
        let _ = call.act(ve, &Action::Pause);
    }
    Err(e)
}

fn ending(call: &Call<'_>) -> Action {
    match call.has("fast") {
        true => Action::Kill,
        false => Action::Stop { timeout: None },
    }
}

/// `restart`
pub fn restart(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    refuse_out_of_service(call, &ve, false)?;
    unmount_first(call, &ve)?;
    if is(&ve, State::Paused) {
        call.act(&ve, &Action::Unpause)?;
    }
    // What was suspended goes on, as at a start.
    let start = StartOptions {
        wait: call.has("wait"),
        ..StartOptions::default()
    };
    let timeout = call.has("fast").then_some(Duration::ZERO);
    let action = match is(&ve, State::Suspended) {
        true => Action::Start(start),
        false => Action::Restart { timeout, start },
    };
    let done = call.start(&ve, &action)?;
    call.done(&ve, &done.done)
}

/// `destroy`
pub fn destroy(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if is(&ve, State::Mounted) {
        return said(
            code::MOUNTED,
            format!("Container {} is mounted; umount it first", ve.id),
        );
    }
    let done = call.act(&ve, &Action::Destroy { force: false })?;
    call.done(&ve, &done.done)
}

/// `mount`
pub fn mount(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let done = call.act(&ve, &Action::Mount)?;
    match &done.path {
        Some(path) => call.done(&ve, &format!("{} at {}", done.done, path.display())),
        None => call.done(&ve, &done.done),
    }
}

/// `umount`
pub fn umount(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let done = call.act(&ve, &Action::Umount)?;
    match done.changed {
        true => call.done(&ve, &done.done),
        false => said(code::NOT_MOUNTED, format!("Container {} is not mounted", ve.id)),
    }
}

/// `suspend`, and the stages of it that libvirt and scripts ask for: `--suspend` alone freezes.
pub fn suspend(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let action = match (call.has("suspend"), call.has("resume"), call.has("kill")) {
        (true, _, _) => Action::Pause,
        (_, true, _) => Action::Unpause,
        (_, _, true) => Action::Kill,
        _ => {
            if !runs(&ve) {
                return said(code::NOT_RUNNING, format!("Container {} is not running", ve.id));
            }
            Action::Suspend { timeout: None }
        }
    };
    let done = call.act(&ve, &action)?;
    call.done(&ve, &done.done)
}

/// `resume`: of what is suspended, and of what is only paused.
pub fn resume(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let action = match (call.has("kill"), call.has("resume") || is(&ve, State::Paused)) {
        (true, _) => Action::Kill,
        (_, true) => Action::Unpause,
        _ => Action::Resume,
    };
    if is(&ve, State::Running) && action == Action::Resume {
        return said(code::RUNNING, format!("Container {} is running already", ve.id));
    }
    let done = call.act(&ve, &action)?;
    call.done(&ve, &done.done)
}

/// `pause`
pub fn pause(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    let done = call.act(&ve, &Action::Pause)?;
    call.done(&ve, &done.done)
}
