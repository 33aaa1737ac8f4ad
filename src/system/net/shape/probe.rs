//! Can this kernel limit traffic? Tried in a network namespace that nobody else sees: parts may be built in, modules that
//! are loaded when they are asked for, or missing, and no file says which.

use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::super::sysctl::Sysctl;
use super::super::{ALIAS_PREFIX, inspect, message, routed};
use super::{Direction, Pace, Shape, shape};
use crate::error::{Error, Kind, Result};

/// The reason why it can't; `None` if it can. An error if that couldn't be found out.
pub(in super::super) fn why_unable(proc_root: &Path) -> Result<Option<String>> {
    let tried = thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("probe".into())
            .spawn_scoped(scope, || attempt(proc_root));
        let thread = thread.map_err(|e| Error::os("start a thread in", "a network namespace", e))?;
        let panicked = || Error::new("try", "the limits of traffic", "the thread panicked");
        thread.join().unwrap_or_else(|_| Err(panicked()))
    });
    match tried {
        Ok(()) => Ok(None),
        Err(e) if matches!(e.kind, Kind::NotFound | Kind::Unsupported) => {
            let why = std::error::Error::source(&e).map_or_else(String::new, |s| format!(": {s}"));
            Ok(Some(format!("{e}{why}; it takes {}", super::PARTS)))
        }
        Err(e) => Err(e),
    }
}

/// Limits with all parts on two interfaces that nothing passes.
fn attempt(proc_root: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::os("make", "a network namespace", e))?;
    let second = "hp0";
    let make = routed::Step {
        act: "make interface",
        object: second.to_owned(),
        request: message::create_queue(second),
    };
    routed::apply(&mut inspect::open()?, &[make])?;
    let own = Some(Pace {
        rate: 1_000_000,
        burst: None,
    });
    let direction = |device: &str| Direction {
        device: device.to_owned(),
        whole: own,
        links: vec![("lo".to_owned(), own), (second.to_owned(), own)],
    };
    let probe = Shape {
        alias: ALIAS_PREFIX.to_owned(),
        inward: direction("hp0.i"),
        outward: direction("hp0.o"),
    };
    shape(&Sysctl::new(proc_root), &probe)
}
