//! Looking at one VE's groups on a real host.

use hostel_model::id::VeId;

use super::Cgroups;
use super::gather::gather;
use super::host::Host;
use super::types::{Hits, Usage};
use super::want::Want;
use crate::{Error, Kind, Result};

impl Host {
    /// What is wanted of them, as [`Cgroups::measure_again`] has it.
    pub(super) fn gather(&self, id: VeId, want: Want, last: Option<&(Usage, Hits)>) -> Result<(Usage, Hits)> {
        let read = |last| gather(&self.layout, &self.roots.get(&self.layout), id, want, last);
        let (usage, hits) = read(last);
        if usage != Usage::default() {
            return Ok((usage, hits));
        }
        if !self.exists(id) {
            return Err(Error::new("read the usage of VE", id, "it has no control group").kind(Kind::NotFound));
        }
        // It is there, so it lies in roots that were made since we opened them.
        self.roots.forget();
        Ok(read(None))
    }

    /// Says which processes keep a group from going.
    pub(super) fn name_the_living(&self, id: VeId, error: Error) -> Error {
        let pids = self.processes(id).unwrap_or_default();
        if error.kind != Kind::Busy || pids.is_empty() {
            return error;
        }
        let shown: Vec<String> = pids.iter().take(8).map(ToString::to_string).collect();
        let more = pids.len().saturating_sub(8);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let also = error.hint.as_ref().map(|h| format!("; {h}")).unwrap_or_default();
        let hint = format!("processes are still in it: {}{more}{also}", shown.join(", "));
        error.hint(hint)
    }
}
