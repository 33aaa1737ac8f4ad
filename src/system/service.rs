//! What the host's init does for us: its units, where that init is systemd.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::helper::confined;
use crate::{Error, Result, file};

/// Where programs that don't come with the distribution put their units (systemd.unit(5)): what an administrator writes
/// below /etc stands above it.
const UNITS: &str = "usr/local/lib/systemd/system";

/// The units of a host.
#[derive(Debug)]
pub struct Services {
    root: PathBuf,
    systemctl: PathBuf,
}

impl Services {
    /// Those of the host whose root directory this is.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            systemctl: "systemctl".into(),
        }
    }

    /// Has systemd booted this host (sd_booted(3))?
    pub fn has_systemd(&self) -> bool {
        self.root.join("run/systemd/system").is_dir()
    }

    /// Is this unit installed by us?
    pub fn is_installed(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Is it enabled (systemctl(1))? False also if that can't be told.
    pub fn is_enabled(&self, name: &str) -> bool {
        self.systemctl(&["is-enabled", "--quiet", name])
            .is_ok_and(|output| output.status.success())
    }

    /// Writes units, and drop-ins of others' ("b.service.d/ours.conf"), by name and text, and makes systemd know them. Units
    /// that were not there before are enabled; later it is the administrator's choice. Returns what was written.
    pub fn install(&self, units: &[(&str, String)]) -> Result<Vec<PathBuf>> {
        let (mut written, mut fresh) = (Vec::new(), Vec::new());
        for (name, text) in units {
            let path = self.path(name);
            let there = file::read_opt(&path)?;
            if there.as_ref() == Some(text) {
                continue;
            }
            if there.is_none() && !name.contains('/') {
                fresh.push(*name);
            }
            let dir = path.parent().unwrap_or(&self.root);
            std::fs::create_dir_all(dir).map_err(|e| Error::os("make directory", dir.display(), e))?;
            file::write_atomic(&path, text.as_bytes(), 0o644)?;
            written.push(path);
        }
        if !written.is_empty() {
            self.run(&["daemon-reload"])?;
        }
        if !fresh.is_empty() {
            self.run(&[&["enable"], &fresh[..]].concat())?;
        }
        Ok(written)
    }

    /// Starts a unit, if it isn't active.
    pub fn start(&self, name: &str) -> Result<()> {
        self.run(&["start", name])
    }

    /// Stops a unit if it runs, and starts it.
    pub fn restart(&self, name: &str) -> Result<()> {
        self.run(&["restart", name])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(UNITS).join(name)
    }

    fn systemctl(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.systemctl);
        confined(command.args(words).env("LC_ALL", "C"))
            .output()
            .map_err(|e| Error::os("run", self.systemctl.display(), e))
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        let output = self.systemctl(words)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let why = format!("{} ({said})", output.status);
        Err(Error::new("run", format!("systemctl {}", words.join(" ")), why))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A host with a systemctl that writes down what it is told.
    fn host() -> (tempfile::TempDir, Services) {
        let dir = tempfile::tempdir().unwrap();
        let systemctl = dir.path().join("systemctl");
        let log = dir.path().join("log");
        let script = format!("#!/bin/sh\necho \"$@\" >>{}\n[ \"$1\" != start ]\n", log.display());
        std::fs::write(&systemctl, script).unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let services = Services {
            systemctl,
            ..Services::new(dir.path())
        };
        (dir, services)
    }

    fn told(dir: &tempfile::TempDir) -> Vec<String> {
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        std::fs::remove_file(dir.path().join("log")).ok();
        log.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_unit_is_enabled_once_and_then_only_kept_right() {
        let (dir, services) = host();
        assert!(!services.has_systemd());
        let unit = |text: &str| {
            [
                ("a.service", text.to_owned()),
                ("b.service", String::new()),
                ("other.service.d/a.conf", String::new()),
            ]
        };
        let written = services.install(&unit("[Service]\n")).unwrap();
        assert_eq!(written.len(), 3);
        assert!(services.is_installed("a.service"));
        assert_eq!(std::fs::read_to_string(&written[0]).unwrap(), "[Service]\n");
        assert_eq!(told(&dir), ["daemon-reload", "enable a.service b.service"]);
        assert_eq!(services.install(&unit("[Service]\n")).unwrap().len(), 0);
        assert_eq!(told(&dir), Vec::<String>::new());
        assert_eq!(services.install(&unit("[Unit]\n")).unwrap().len(), 1);
        assert_eq!(told(&dir), ["daemon-reload"]);
        assert!(services.is_enabled("a.service"));
        assert!(
            services
                .start("a.service")
                .unwrap_err()
                .to_string()
                .contains("systemctl start a.service")
        );
    }
}
