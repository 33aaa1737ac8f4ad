//! Commands that have nothing to do here, and those that have to say no.

use hostel_model::openvz::code::{self, Code};
use hostel_model::request::Action;
use hostel_model::state::State;

use super::life::is;
use super::{Call, Done, said};
use crate::vz::fate::Fate;

fn refuse(call: &Call<'_>, code: Code) -> Done {
    call.ve()?;
    let why = match call.verb.fate {
        Fate::Refused(why) | Fate::NoEffect(why) | Fate::Differs(why) => why,
        Fate::Same => "",
    };
    said(code, format!("vzctl {}: {why}", call.called))
}

/// `snapshot`, `tsnapshot`
pub fn snapshot(call: &Call<'_>) -> Done {
    refuse(call, code::SNAPSHOT)
}

/// `snapshot-switch`
pub fn snapshot_switch(call: &Call<'_>) -> Done {
    refuse(call, code::SNAPSHOT_SWITCH)
}

/// `snapshot-delete`
pub fn snapshot_delete(call: &Call<'_>) -> Done {
    refuse(call, code::SNAPSHOT_DELETE)
}

/// `snapshot-mount`
pub fn snapshot_mount(call: &Call<'_>) -> Done {
    refuse(call, code::SNAPSHOT_MOUNT)
}

/// `snapshot-umount`
pub fn snapshot_umount(call: &Call<'_>) -> Done {
    refuse(call, code::SNAPSHOT_UMOUNT)
}

/// The fields of a list of snapshots: name, header, and width.
const FIELDS: [(&str, &str, usize); 10] = [
    ("uuid", "UUID", 38),
    ("id", "UUID", 38),
    ("parent_uuid", "PARENT_UUID", 38),
    ("parent_id", "PARENT_UUID", 38),
    ("current", "C", 1),
    ("date", "DATE", 19),
    ("name", "NAME", 32),
    ("desc", "DESC", 32),
    ("device", "DEVICE", 32),
    ("target", "TARGET", 32),
];

/// `snapshot-list`: there are none.
pub fn snapshot_list(call: &Call<'_>) -> Done {
    call.ve()?;
    if call.has("L") || call.has("list") {
        let lines: String = FIELDS
            .iter()
            .map(|(name, header, _)| format!("{name:<15} {header}\n"))
            .collect();
        call.voice.result(&lines);
        return Ok(code::OK.number);
    }
    let chosen = call
        .value("o")
        .or(call.value("output"))
        .unwrap_or("parent_uuid,current,uuid,date,name");
    let mut header = String::new();
    for name in chosen.split(',') {
        let Some((_, title, width)) = FIELDS.iter().find(|(field, ..)| *field == name) else {
            return said(code::VALUE, format!("vzctl snapshot-list: there is no field {name}"));
        };
        header.push_str(&format!("{title:<width$} "));
    }
    if !call.has("H") && !call.has("no-header") {
        call.voice.result(&format!("{}\n", header.trim_end()));
    }
    Ok(code::OK.number)
}

/// `compact`
pub fn compact(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if call.has("dry") {
        call.line(&format!("Container {}: nothing was done, as --dry says", ve.id));
        return Ok(code::OK.number);
    }
    if is(&ve, State::Suspended) || is(&ve, State::Paused) {
        return said(
            code::COMPACT,
            format!("Container {} is {}; resume it first", ve.id, ve.state),
        );
    }
    let done = call.act(&ve, &Action::Compact)?;
    call.line(&format!("Container {}: {}", ve.id, done.done));
    Ok(code::OK.number)
}

/// `convert`: of a container that is stopped, and of no other.
pub fn convert(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if is(&ve, State::Running) || is(&ve, State::Paused) {
        return said(code::RUNNING, format!("Container {} is running; stop it first", ve.id));
    }
    nothing_to_do(call)
}

/// `quotaon`, `quotaoff`, `quotainit`
pub fn quota(call: &Call<'_>) -> Done {
    nothing_to_do(call)
}

/// What is accepted and does nothing.
pub fn nothing_to_do(call: &Call<'_>) -> Done {
    let ve = call.ve()?;
    if let Fate::NoEffect(why) = call.verb.fate {
        call.line(&format!("Container {}: nothing to do: {why}", ve.id));
    }
    Ok(code::OK.number)
}

/// `register`: the private area stands where others have the container.
pub fn register(call: &Call<'_>) -> Done {
    let what = "a private area is taken over by: hostel import openvz CTID.conf --private DIR";
    said(code::REGISTER, format!("vzctl register {}: {what}", call.ve))
}

/// `unregister`
pub fn unregister(call: &Call<'_>) -> Done {
    refuse(call, code::UNREGISTER)
}

/// Commands of the newer generation that have no counterpart.
pub fn not_here(call: &Call<'_>) -> Done {
    refuse(call, code::SYNTAX)
}
