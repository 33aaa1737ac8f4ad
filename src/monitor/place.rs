//! Moving between cgroups, the cheap way.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Result, Step};
use crate::spec::Place;

/// Moves this single-threaded process into the v1 groups of `place`. "0" means the writer itself: only then does the
/// kernel skip its system-wide lock and the RCU grace period behind it (kernel/cgroup/cgroup.c,
/// cgroup_procs_write_start), which costs milliseconds each.
pub fn join_v1(place: &Place) -> Result<()> {
    for tasks in &place.tasks {
        std::fs::write(tasks, "0").step("join cgroup", tasks.display())?;
    }
    Ok(())
}

/// The group's directory in the v2 tree, to be born into.
pub fn open_v2(place: &Place) -> Result<Option<OwnedFd>> {
    let open = |path| {
        std::fs::File::open(path)
            .map(OwnedFd::from)
            .step("open cgroup", place_name(place))
    };
    place.unified.as_ref().map(open).transpose()
}

/// Is the place frozen, or about to be? What is in it reacts to nothing then. Each group is asked up to the top, as the
/// one that was told to freeze may be any of them.
pub fn is_frozen(place: &Place) -> bool {
    let says = |file: PathBuf, words: &[&str]| {
        std::fs::read_to_string(file).is_ok_and(|text| words.contains(&text.trim_end()))
    };
    // A v1 group shows what it has from above.
    let v1 = |tasks: &PathBuf| says(tasks.with_file_name("freezer.state"), &["FROZEN", "FREEZING"]);
    let mut v2 = place.unified.iter().flat_map(|group| group.ancestors());
    place.tasks.iter().any(v1) || v2.any(|group| says(group.join("cgroup.freeze"), &["1"]))
}

fn place_name(place: &Place) -> String {
    place
        .unified
        .as_ref()
        .map(|p| p.display().to_string())
        .unwrap_or_default()
}
