//! Which code of vzctl's a refusal of Hostel's is.

use hostel_engine::{Class, Detail, Error};
use hostel_model::openvz::code::{self, Code};
use hostel_model::openvz::{Group, Translation};
use hostel_model::state::State;

use super::{Call, Failure, by_id};
use crate::vz::lookup::{Meant, lookup};

/// By the sort of error alone.
pub fn of_class(class: Class) -> Code {
    match class {
        Class::Failed | Class::Interrupted => code::SYSTEM,
        Class::Usage => code::VALUE,
        Class::NotFound => code::NOT_FOUND,
        Class::Refused => code::SYSTEM,
        Class::Busy => code::LOCKED,
        Class::Limit => code::RESOURCES,
        Class::Script => code::ACTION_SCRIPT,
    }
}

/// A failure with the code that its command gives it.
pub fn judged(call: &Call<'_>, failure: Failure) -> Failure {
    match failure {
        Failure::Engine(error, None) => {
            let code = of(call, &error);
            Failure::Engine(error, Some(code))
        }
        known => known,
    }
}

fn of(call: &Call<'_>, error: &Error) -> Code {
    match error.class {
        _ if error.detail == Some(Detail::Gone) => code::NO_PRIVATE,
        Class::Refused => of_state(call).unwrap_or_else(|| of_verb(call, error)),
        Class::Failed => of_broken(call).unwrap_or_else(|| of_verb(call, error)),
        Class::Usage if call.verb.names[0] == "reinstall" => code::BAD_CONFIG,
        class => of_class(class),
    }
}

/// What is refused for the state that the container is in, as scripts know it.
fn of_state(call: &Call<'_>) -> Option<Code> {
    let Ok(Meant::Ve(status)) = lookup(call.house, call.ve) else {
        return None;
    };
    let state = status.state.as_str();
    let is = |other: State| state == other.to_string();
    let (running, mounted) = (is(State::Running) || is(State::Paused), is(State::Mounted));
    let starts = match call.verb.names[0] {
        "start" | "resume" => !running,
        // One that runs is not stopped if it couldn't be started again.
        "restart" => true,
        _ => false,
    };
    if starts {
        let disabled = call.house.effective(&by_id(&status)).is_ok_and(|e| e.disabled);
        if disabled || call.house.is_suspended(&status.tenant) {
            return Some(code::DISABLED);
        }
    }
    match call.verb.names[0] {
        // One that is paused can run nothing either.
        "exec" | "exec2" | "exec3" | "enter" | "runscript" if !is(State::Running) => Some(code::NOT_RUNNING),
        "suspend" | "pause" if !running => Some(code::NOT_RUNNING),
        "suspend" | "pause" | "resume" => None,
        "start" | "restart" | "destroy" | "mount" | "umount" | "reinstall" if running => Some(code::RUNNING),
        "start" | "restart" | "destroy" | "reinstall" if mounted => Some(code::MOUNTED),
        _ if is(State::Broken) => Some(code::NO_PRIVATE),
        _ => None,
    }
}

/// What failed on a container that lacks something of its own.
fn of_broken(call: &Call<'_>) -> Option<Code> {
    match lookup(call.house, call.ve) {
        Ok(Meant::Ve(status)) if status.state == State::Broken.to_string() => Some(code::NO_PRIVATE),
        _ => None,
    }
}

fn of_verb(call: &Call<'_>, error: &Error) -> Code {
    match call.verb.names[0] {
        "stop" => code::STOP,
        "suspend" => code::SUSPEND,
        "resume" => code::RESUME,
        "mount" => code::MOUNT,
        "umount" => code::UMOUNT,
        "destroy" => code::DESTROY,
        "compact" => code::COMPACT,
        "reinstall" => code::REINSTALL,
        "create" if error.class == Class::Refused => code::EXISTS,
        _ => code::SYSTEM,
    }
}

/// The code of a change that was refused, by what it was about.
pub fn of_change(error: &Error, made: &Translation) -> Code {
    let about = match made.groups.as_slice() {
        _ if made.plan.is_some() => Some(code::APPLY_CONFIG),
        [Group::Memory] => Some(code::UBC),
        [Group::Cpu] => Some(code::CPU),
        [Group::Disk] => Some(code::DISK_QUOTA),
        [Group::Io] => Some(code::IO),
        [Group::Network] => Some(code::VETH),
        [Group::Security] => Some(code::DEVICE),
        [] if made.settings.is_empty() && !made.passwords.is_empty() => Some(code::PASSWORD),
        _ => None,
    };
    match (error.class, about) {
        (Class::Busy | Class::Interrupted, _) => of_class(error.class),
        (Class::NotFound, None) => code::BAD_CONFIG,
        (_, Some(code)) => code,
        (Class::Usage, None) => code::BAD_CONFIG,
        (class, None) => of_class(class),
    }
}
