//! Changing a VE's definition: `hostel set` and `hostel edit`. What can be changed on a running VE is; all or nothing.

use std::sync::Arc;

use hostel_model::definition::VeDefinition;
use hostel_model::id::VeId;
use hostel_model::limits::Limits;
use hostel_model::resolve::Effective;
use hostel_system::cgroup::BlockDevice;
use hostel_system::disk::DiskSource;
use hostel_system::{Kind, file};
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::journal::Begin;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// A change under way.
#[derive(Debug)]
pub struct Set {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    params: Params,
}

/// Both texts, so that the next process can go on or back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The definition as it was.
    pub old: String,
    /// As it is to be.
    pub new: String,
    /// The size that its disk is to have, if another than now.
    #[serde(default)]
    pub disk_size: Option<u64>,
}

impl Operation for Set {
    const VERB: &'static str = "set";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            params,
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("limits", "changing limits", Set::new_limits, Set::old_limits),
                Step::new("definition", "writing the definition", Set::write_new, Set::write_old),
                // Last, because a disk that has grown can't shrink while it is in use.
                Step::new("disk", "changing the disk", Set::resize, nothing).point_of_no_return(),
                Step::new("record", "recording", Set::record, nothing),
            ]
        }
    }
}

impl Set {
    fn effective(&self, text: &str) -> Result<Effective> {
        let file = self.host.dirs.definition(&self.state.name).display().to_string();
        let definition = VeDefinition::parse(&file, text)
            .map_err(|e| Error::new(Class::Usage, "the definition has mistakes").because(e))?;
        self.host.resolve(&definition, &mut Catalogue::default())
    }

    fn apply(&self, limits: &Limits) -> Result<()> {
        if self.host.reality(self.id)?.init.is_none() {
            return Ok(());
        }
        let attached = self.host.disks.attached(&self.host.dirs.ve(self.id))?;
        let disks: Vec<BlockDevice> = match attached.map(|a| a.source) {
            Some(DiskSource::Device { major, minor, .. }) => vec![BlockDevice { major, minor }],
            _ => Vec::new(),
        };
        let applied = self.host.cgroups.apply(self.id, &self.host.enforceable(limits), &disks);
        applied.map_err(|e| {
            if e.kind == Kind::Busy {
                self.memory_in_use(limits, e)
            } else {
                e.into()
            }
        })
    }

    /// The kernel takes no memory away that is in use and can't be freed; nothing has changed then.
    fn memory_in_use(&self, limits: &Limits, e: hostel_system::Error) -> Error {
        let limit = limits.memory.limit.map_or_else(|| "less".to_owned(), |l| l.to_string());
        let hint = e.hint.clone().unwrap_or_else(|| "lower it when less is used".into());
        Error::new(
            Class::Limit,
            format!("the memory of {} can't be lowered to {limit}", self.state.name),
        )
        .because(e)
        .hint(hint)
    }

    fn new_limits(&mut self) -> Result<()> {
        self.apply(&self.effective(&self.params.new)?.limits)
    }

    /// A definition that a person had broken by hand says nothing; then the limits stay as they are.
    fn old_limits(&mut self) -> Result<()> {
        match self.effective(&self.params.old) {
            Ok(old) => self.apply(&old.limits),
            Err(_) => Ok(()),
        }
    }

    fn write(&self, text: &str) -> Result<()> {
        Ok(file::write_atomic(
            &self.host.dirs.definition(&self.state.name),
            text.as_bytes(),
            0o600,
        )?)
    }

    fn write_new(&mut self) -> Result<()> {
        self.write(&self.params.new)
    }

    fn write_old(&mut self) -> Result<()> {
        self.write(&self.params.old)
    }

    fn resize(&mut self) -> Result<()> {
        let Some(size) = self.params.disk_size else {
            return Ok(());
        };
        let dir = self.host.dirs.ve(self.id);
        match size.cmp(&self.state.disk_size) {
            std::cmp::Ordering::Greater => Ok(self.host.disks.grow(&dir, size)?),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Ok(self.host.disks.shrink(&dir, size)?),
        }
    }

    /// Takes the step that changes the disk, for the change whose journal begins so. It is safe to repeat.
    pub fn resize_again(host: &Arc<Host>, begin: &Begin) -> Result<()> {
        let params = serde_json::from_value(begin.params.clone())
            .map_err(|e| Error::new(Class::Failed, "cannot understand the journal of a change").because(e))?;
        Self::resume(Arc::clone(host), begin.id, params)?.resize()
    }

    fn record(&mut self) -> Result<()> {
        let Some(size) = self.params.disk_size else {
            return Ok(());
        };
        self.state.disk_size = size;
        self.state.write(&self.host.dirs.ve(self.id))
    }
}
