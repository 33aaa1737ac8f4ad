//! Making groups ready for use: controllers handed down, cpusets filled.

use std::path::Path;

use super::layout::{Hierarchy, Layout, Unified};
use super::{files, tree, v1, v2, weight};
use crate::{Kind, Result};

/// Makes `<root>` in the v2 tree and hands the controllers down to it and to what is in it.
fn prepare_unified(u: &Unified) -> Result<()> {
    v2::enable(&u.base)?;
    for dir in steps(&u.base, &u.root) {
        // A group above ours that somebody else made is left as it is.
        if tree::make(dir)? || dir == u.root {
            weight::v2(dir)?;
        }
        v2::enable(dir)?;
    }
    Ok(())
}

/// Makes `<root>` in a v1 hierarchy, ready for groups in it.
fn prepare_v1(h: &Hierarchy) -> Result<()> {
    for dir in steps(&h.base, &h.root) {
        if tree::make(dir)? {
            weight::v1(h, dir)?;
        }
        if has(h, "cpuset") {
            v1::fill_cpuset(dir.parent().unwrap_or(&h.base), dir)?;
            // Groups made in it then come filled, without four more writes for each VE.
            files::write_if_new(dir, "cgroup.clone_children", "1")?;
        }
        // Before 5.11 a group's limit held for the groups in it only if told so.
        if has(h, "memory") && files::read(dir, "memory.use_hierarchy").is_ok_and(|t| t.trim_end() == "0") {
            files::write(dir, "memory.use_hierarchy", "1")?;
        }
    }
    Ok(())
}

/// Makes a group in `<root>` of every hierarchy, and perhaps one in it.
pub fn make(layout: &Layout, name: &str, inner: Option<&str>, made: &mut tree::Made) -> Result<()> {
    if let Some(u) = &layout.v2 {
        // Always looked at, as a crash may have left the root made but the controllers not handed down.
        prepare_unified(u)?;
        let dir = u.root.join(name);
        made.make(dir.clone())?;
        if let Some(inner) = inner {
            v2::enable(&dir)?;
            v2::bound(&dir)?;
            made.make(dir.join(inner))?;
        }
    }
    for h in &layout.v1 {
        let dir = h.root.join(name);
        match made.make(dir.clone()) {
            Err(e) if e.kind == Kind::NotFound => {
                prepare_v1(h)?;
                made.make(dir.clone())?;
            }
            other => other?,
        }
        // Always looked at: a crash, or an older Hostel, may have left the root without.
        weight::v1(h, &h.root)?;
        let inner = inner.map(|i| dir.join(i));
        if let Some(inner) = &inner {
            made.make(inner.clone())?;
        }
        if has(h, "cpuset") {
            let last = inner.as_ref().unwrap_or(&dir);
            let empty = |file| files::read(last, file).map(|t| t.trim().is_empty());
            if empty("cpuset.cpus")? || empty("cpuset.mems")? {
                // The root was made by someone else, or by us up to a crash.
                prepare_v1(h)?;
                v1::fill_cpuset(&h.root, &dir)?;
                inner.iter().try_for_each(|inner| v1::fill_cpuset(&dir, inner))?;
            }
        }
    }
    Ok(())
}

/// The directories from below `base` down to `root`.
fn steps<'a>(base: &Path, root: &'a Path) -> Vec<&'a Path> {
    let mut dirs: Vec<&Path> = root.ancestors().take_while(|d| *d != base).collect();
    dirs.reverse();
    dirs
}

fn has(h: &Hierarchy, controller: &str) -> bool {
    h.controllers.iter().any(|c| c == controller)
}
