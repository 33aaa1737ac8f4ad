//! Floor 3: translation only. What a person types becomes a request to the engine, and its answer becomes text
//! or JSON. Nothing here decides about VEs, and nothing here touches the kernel.

mod cli;
mod vz;

use std::process::ExitCode;

/// A face: reads the command line that the process was given, and does what it says.
type Face = fn() -> ExitCode;

/// Which face answers to which name of the binary. The first is also for every other name.
const FACES: &[(&str, Face)] = &[
    ("hostel", cli::main),
    ("vzctl", vz::vzctl),
    ("vzlist", vz::list::main),
    ("vzcfgvalidate", vz::tool::vzcfgvalidate::main),
    ("vzcpucheck", vz::tool::vzcpucheck::main),
    ("vzmemcheck", vz::tool::vzmemcheck::main),
    ("vznetstat", vz::tool::vznetstat::main),
    ("vzpid", vz::tool::vzpid::main),
    ("vzps", vz::tool::vzps::main),
    ("vzquota", vz::tool::vzquota::main),
    ("vzsplit", vz::tool::vzsplit::main),
    ("vzubc", vz::tool::vzubc::main),
];

/// The names of OpenVZ's tools.
fn tools() -> Vec<&'static str> {
    FACES.iter().skip(1).map(|(name, _)| *name).collect()
}

/// Runs the face that the binary was called as.
pub fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&called).file_name().unwrap_or_default();
    let (_, face) = FACES.iter().find(|(face, _)| name == *face).unwrap_or(&FACES[0]);
    face()
}
