//! `vzctl status`: a line that scripts read word by word. No such container is an answer, and no failure.

use hostel_engine::facade::VeStatus;
use hostel_model::openvz::code;
use hostel_model::state::State;

use super::life::is;
use super::{Call, Done, said};
use crate::vz::lookup::{Meant, lookup};

/// `status`
pub fn status(call: &Call<'_>) -> Done {
    let line = match lookup(call.house, call.ve)? {
        Meant::Ve(ve) => format!("CTID {} exist {}", ve.id, words(&ve)),
        Meant::Free(id) => format!("CTID {id} deleted unmounted down"),
        Meant::Number(n) => format!("CTID {n} deleted unmounted down"),
        Meant::Unknown => {
            return said(code::VALUE, format!("There is no container named \"{}\"", call.ve));
        }
    };
    call.voice.result(&format!("{line}\n"));
    Ok(code::OK.number)
}

fn words(ve: &VeStatus) -> &'static str {
    match () {
        () if is(ve, State::Running) => "mounted running",
        () if is(ve, State::Paused) => "mounted paused",
        () if is(ve, State::Mounted) => "mounted down",
        () if is(ve, State::Suspended) => "unmounted down suspended",
        () => "unmounted down",
    }
}
