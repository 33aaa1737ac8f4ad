//! The groups that all VEs' lie in, held open for who reads of many.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::layout::Layout;

/// How long they are held. Somebody may remove them and make them anew: then these are no longer the ones that are there.
const HELD: Duration = Duration::from_secs(1);

/// `<root>` in each hierarchy, in the order of [`Layout::roots`]; `None` where there is none.
#[derive(Debug)]
pub struct Roots {
    open: Vec<Option<OwnedFd>>,
    since: Instant,
}

impl Roots {
    /// Opens them.
    pub fn open(layout: &Layout) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |root: &Path| rustix::fs::open(root, flags, Mode::empty()).ok();
        Self {
            open: layout.roots().map(open).collect(),
            since: Instant::now(),
        }
    }

    /// The one of these at this path of the layout.
    pub fn of(&self, layout: &Layout, root: &Path) -> Option<BorrowedFd<'_>> {
        let at = layout.roots().position(|own| std::ptr::eq(own, root))?;
        self.open.get(at)?.as_ref().map(AsFd::as_fd)
    }
}

/// Those that were opened last.
#[derive(Debug, Default)]
pub struct Last(Mutex<Option<Arc<Roots>>>);

impl Last {
    /// The roots, opened not long ago.
    pub fn get(&self, layout: &Layout) -> Arc<Roots> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref().filter(|roots| roots.since.elapsed() < HELD) {
            Some(roots) => Arc::clone(roots),
            None => Arc::clone(last.insert(Arc::new(Roots::open(layout)))),
        }
    }

    /// They may be no longer those that are there.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
