//! What a service tells systemd: that it is ready, that it is alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The line to whoever has started this service; without one, nothing is told.
#[derive(Debug, Default)]
pub struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, a path or the name of an abstract socket after an `@`, and
    /// `WATCHDOG_USEC`.
    pub fn of_environment() -> Self {
        let watchdog = std::env::var("WATCHDOG_USEC").ok();
        Self::new(std::env::var("NOTIFY_SOCKET").ok().as_deref(), watchdog.as_deref())
    }

    fn new(socket: Option<&str>, watchdog: Option<&str>) -> Self {
        let line = socket.and_then(|name| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        Self {
            line,
            watchdog: watchdog.and_then(|us| us.parse().ok()).map(Duration::from_micros),
        }
    }

    /// How often it must be said at least that all is well; `None`: nobody wants to know.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service does its work.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// It is alive, and this is what it is at.
    pub fn alive(&self, status: &str) {
        self.say(&format!("WATCHDOG=1\nSTATUS={status}"));
    }

    /// It is about to end.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Whoever doesn't listen any more misses nothing.
    fn say(&self, what: &str) {
        if let Some((socket, address)) = &self.line {
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_on_both_kinds_of_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("hostel-notify-{}", std::process::id());
        let abstract_one = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, socket) in [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&abstract_one).unwrap(), format!("@{name}")),
        ] {
            let notify = Notify::new(Some(&socket), Some("30000000"));
            assert_eq!(notify.watchdog(), Some(Duration::from_secs(30)));
            notify.ready();
            notify.alive("3 VEs");
            let mut buffer = [0; 100];
            for wanted in ["READY=1", "WATCHDOG=1\nSTATUS=3 VEs"] {
                let length = listener.recv(&mut buffer).unwrap();
                assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(wanted));
            }
        }
        Notify::new(None, None).ready();
    }
}
