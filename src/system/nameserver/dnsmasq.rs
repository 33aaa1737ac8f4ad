//! dnsmasq(8), which makes itself a daemon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hostel_monitor::identity;
use rustix::process::Signal;

use super::NameServers;
use crate::helper::confined;
use crate::process::Process;
use crate::{Error, Kind, Result, file};

/// Where Debian has it, also where root's PATH lacks that.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
const CONFIG: &str = "dnsmasq.conf";
/// Written by dnsmasq itself.
const PID: &str = "pid";
/// How long it may take to end when it is told to, and again when it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The real thing: processes of this host.
#[derive(Debug, Default)]
pub struct Dnsmasq;

impl Dnsmasq {
    /// The process of a directory, if it runs.
    fn running(dir: &Path) -> Result<Option<Process>> {
        let text = file::read_opt(&dir.join(PID))?.unwrap_or_default();
        let Some(identity) = text.trim().parse().ok().and_then(|pid| identity::identify(pid).ok()) else {
            return Ok(None);
        };
        let process = Process::open(identity)?;
        // Held by now. What a guest has named so is in another namespace of processes.
        let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/pid")).ok();
        let pid = identity.pid.to_string();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let told = argument(dir);
        let is_ours = line.split(|b| *b == 0).any(|word| word == told.as_bytes())
            && namespace(&pid).is_some_and(|theirs| Some(theirs) == namespace("self"));
        Ok(process.filter(|_| is_ours))
    }

    fn stop(dir: &Path) -> Result<()> {
        let Some(process) = Self::running(dir)? else {
            return Ok(());
        };
        for signal in [Signal::TERM, Signal::KILL] {
            process.signal(signal)?;
            if process.wait(PATIENCE)? {
                return Ok(());
            }
        }
        Err(Error::new("end the name server of", dir.display(), "it doesn't end").kind(Kind::TimedOut))
    }
}

fn argument(dir: &Path) -> String {
    format!("--conf-file={}", dir.join(CONFIG).display())
}

impl NameServers for Dnsmasq {
    fn usable(&self) -> Result<PathBuf> {
        let found = PLACES
            .iter()
            .map(|dir| Path::new(dir).join("dnsmasq"))
            .find(|p| p.exists());
        found.ok_or_else(|| {
            Error::new("find", "dnsmasq", "it is not installed")
                .kind(Kind::NotFound)
                .hint("install it: apt-get install dnsmasq-base")
        })
    }

    fn serves(&self, dir: &Path, config: &str) -> Result<bool> {
        let same = file::read_opt(&dir.join(CONFIG))?.as_deref() == Some(config);
        Ok(same && Self::running(dir)?.is_some())
    }

    fn serve(&self, dir: &Path, config: &str, home: &[PathBuf]) -> Result<bool> {
        if self.serves(dir, config)? {
            return Ok(false);
        }
        let program = self.usable()?;
        self.end(dir)?;
        file::make_dir(dir)?;
        file::replace(&dir.join(CONFIG), config.as_bytes())?;
        let pid_file = dir.join(PID);
        let own = [argument(dir), format!("--pid-file={}", pid_file.display())];
        let fail = |e: std::io::Error| Error::os("run", program.display(), e);
        // It comes back when the daemon has its sockets, or with the reason why it has not.
        let output = confined(Command::new(&program).args(own).env_clear())
            .output()
            .map_err(fail)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::new(
                "run",
                program.display(),
                format!("{} ({said})", output.status),
            ));
        }
        let pid = file::read(&pid_file)?;
        for group in home {
            let fail = |e: std::io::Error| Error::os("put the name server into", group.display(), e);
            std::fs::write(group, pid.trim()).map_err(fail)?;
        }
        Ok(true)
    }

    fn end(&self, dir: &Path) -> Result<()> {
        Self::stop(dir)?;
        file::remove_tree(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Space;

    fn config(port: u16) -> String {
        format!("port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n")
    }

    #[test]
    fn one_runs_with_what_it_is_told_until_it_is_ended() {
        if let Err(why) = Dnsmasq.usable() {
            println!("skipped because dnsmasq is not installed: {why}");
            return;
        }
        let Some(host) = Space::new() else { return };
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        host.run(|| {
            assert!(!Dnsmasq.serves(&one, &config(5301)).unwrap());
            assert!(Dnsmasq.serve(&one, &config(5301), &[]).unwrap());
            assert!(!Dnsmasq.serve(&one, &config(5301), &[]).unwrap());
            let pid = std::fs::read_to_string(one.join(PID)).unwrap();
            // Two on one port are told of.
            let error = Dnsmasq.serve(&other, &config(5301), &[]).unwrap_err();
            assert!(format!("{error:?}").contains("in use"), "{error:?}");
            // Another configuration: another process. One that was killed is made again.
            assert!(Dnsmasq.serve(&one, &config(5302), &[]).unwrap());
            let next = std::fs::read_to_string(one.join(PID)).unwrap();
            assert_ne!(pid, next);
            Dnsmasq::running(&one).unwrap().unwrap().signal(Signal::KILL).unwrap();
            while Dnsmasq.serves(&one, &config(5302)).unwrap() {
                std::thread::yield_now();
            }
            assert!(Dnsmasq.serve(&one, &config(5302), &[]).unwrap());
            // Of another directory's it knows nothing, though it has its number.
            std::fs::create_dir_all(&other).unwrap();
            std::fs::copy(one.join(PID), other.join(PID)).unwrap();
            Dnsmasq.end(&other).unwrap();
            assert!(Dnsmasq.serves(&one, &config(5302)).unwrap());
            Dnsmasq.end(&one).unwrap();
            assert!(!Dnsmasq.serves(&one, &config(5302)).unwrap() && !one.exists());
        });
    }
}
