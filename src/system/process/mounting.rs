//! Mounting a VE's disk while its monitor begins and its network is made: a disk that has to be read takes as long as those.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use hostel_monitor::error::{Failure, Result, Step};
use hostel_monitor::message::{Channel, ToMonitor};
use hostel_monitor::root::open_disk;
use hostel_monitor::spec::Disk;

use super::launch::hand_over;

/// A disk that is being mounted for a monitor. Dropped, it is waited for, and then mounted no more.
#[derive(Debug)]
pub struct Mounting {
    disk: Disk,
    /// Where the thread that mounts hears of the monitor, and that thread; `None`: nobody has begun.
    begun: Option<(SyncSender<Channel>, JoinHandle<Result<()>>)>,
}

impl Mounting {
    /// Begins, unless this host has no thread to give: then [`Mounting::hand_to`] mounts it.
    pub(super) fn begin(disk: Disk) -> Self {
        let (to, monitor) = sync_channel(1);
        let theirs = disk.clone();
        let thread = std::thread::Builder::new()
            .name("mount".into())
            .spawn(move || hand_when_mounted(open_disk(&theirs)?, &monitor));
        Self {
            disk,
            begun: thread.ok().map(|thread| (to, thread)),
        }
    }

    /// One that nobody begins.
    pub(super) fn idle(disk: Disk) -> Self {
        Self { disk, begun: None }
    }

    /// What is mounted.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Has the disk given to the monitor at the other end as soon as it is mounted.
    pub(super) fn hand_to(&self, monitor: &Channel) -> Result<()> {
        let monitor = monitor.try_clone().step("reach", "the monitor")?;
        match &self.begun {
            // One that has ended already tells why in `handed`.
            Some((to, _)) => drop(to.send(monitor)),
            None => give(open_disk(&self.disk)?, &monitor)?,
        }
        Ok(())
    }

    /// Waits until it has been given, or can't be.
    pub(super) fn handed(&mut self) -> Result<()> {
        let Some((to, thread)) = self.begun.take() else {
            return Ok(());
        };
        drop(to);
        let panicked = |_| Failure::new("mount", "the VE's disk", "its thread has panicked");
        thread.join().map_err(panicked)?
    }
}

impl Drop for Mounting {
    fn drop(&mut self) {
        // Whoever gives it up has more to say than why it could not be mounted either.
        let _ = self.handed();
    }
}

fn hand_when_mounted(mount: OwnedFd, monitor: &Receiver<Channel>) -> Result<()> {
    match monitor.recv() {
        Ok(monitor) => give(mount, &monitor),
        Err(_) => Ok(()), // it was given up
    }
}

fn give(mount: OwnedFd, monitor: &Channel) -> Result<()> {
    hand_over(monitor, &ToMonitor::Disk, mount.as_fd()).step("give to the monitor", "the VE's disk")
}
