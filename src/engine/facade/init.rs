//! Preparing a host: `hostel init`.

use std::path::Path;
use std::time::Duration;

use hostel_model::definition::Plan;
use hostel_model::edit;
use hostel_model::id::{NameError, PlanName};
use hostel_system::file;

use super::{Engine, Progress};
use crate::error::{Class, Error, Result};

/// What `hostel init` installs, by its name below the configuration directory.
const EXAMPLES: [(&str, &str); 10] = [
    ("plans/tiny.toml", include_str!("../../../config/plans/tiny.toml")),
    ("plans/small.toml", include_str!("../../../config/plans/small.toml")),
    ("plans/medium.toml", include_str!("../../../config/plans/medium.toml")),
    ("plans/large.toml", include_str!("../../../config/plans/large.toml")),
    (
        "networks/private.toml",
        include_str!("../../../config/networks/private.toml"),
    ),
    (
        "networks/lan.toml.sample",
        include_str!("../../../config/networks/lan.toml.sample"),
    ),
    (
        "networks/public.toml.sample",
        include_str!("../../../config/networks/public.toml.sample"),
    ),
    (
        "tenants/default.toml",
        include_str!("../../../config/tenants/default.toml"),
    ),
    (
        "schedules/nightly.toml.sample",
        include_str!("../../../config/schedules/nightly.toml.sample"),
    ),
    (
        "ve/example.toml.sample",
        include_str!("../../../config/ve/example.toml.sample"),
    ),
];

const HOSTEL_TOML: &str = include_str!("../../../config/hostel.toml");

impl Engine {
    /// Prepares the host: directories, example definitions, kernel settings, the disk driver, the host's units. Safe to
    /// run twice; what is there stays.
    pub fn init(config: &Path, progress: &dyn Progress) -> Result<()> {
        crate::host::need_root()?;
        if let Some(dir) = config.parent() {
            file::make_dir(dir)?;
        }
        if !config.exists() {
            file::write_atomic(config, HOSTEL_TOML.as_bytes(), 0o600)?;
            progress.note(&format!("wrote {}", config.display()));
        }
        let settings = crate::host::read_config(config)?;
        let dirs = crate::dirs::Dirs::new(settings.paths);
        for dir in [dirs.config(), dirs.data(), dirs.ves(), dirs.templates(), dirs.runs()] {
            file::make_dir(&dir)?;
        }
        for (name, text) in EXAMPLES {
            let path = dirs.config().join(name);
            if let Some(dir) = path.parent() {
                file::make_dir(dir)?;
            }
            if !path.exists() {
                file::write_atomic(&path, text.as_bytes(), 0o600)?;
                progress.note(&format!("wrote {}", path.display()));
            }
        }
        let engine = Self::open(config, Duration::ZERO)?;
        for line in engine.host.raise_settings() {
            progress.note(&line);
        }
        for line in engine.host.network.prepare_host()? {
            progress.note(&line);
        }
        engine.choose_driver(config, progress)?;
        engine.install_units(progress)
    }

    /// Adds a plan. One that is there stays.
    pub fn write_plan(&self, name: &str, text: &str) -> Result<()> {
        let name: PlanName = name
            .parse()
            .map_err(|e: NameError| Error::new(Class::Usage, e.to_string()))?;
        let path = self.host.dirs.definitions("plans").join(format!("{name}.toml"));
        let file = path.display().to_string();
        Plan::parse(&file, text)
            .map_err(|e| Error::new(Class::Usage, format!("plan {name} makes no sense")).because(e))?;
        if path.exists() {
            return Err(Error::new(Class::Refused, format!("there is a plan {name} already"))
                .hint(format!("take another name, or remove {file}")));
        }
        Ok(file::write_atomic(&path, text.as_bytes(), 0o600)?)
    }

    /// Writes into hostel.toml what new VEs' disks are made of, if it doesn't say, and turns on what that needs.
    fn choose_driver(&self, config: &Path, progress: &dyn Progress) -> Result<()> {
        let (host, ves) = (&self.host, self.host.dirs.ves());
        let driver = host.usual_driver();
        let disks = host.disks.get(driver);
        if let Err(why) = disks.probe(&ves) {
            progress.note(&format!("disks of driver {driver} can't be made here: {why}"));
            return Ok(());
        }
        for line in disks.prepare(&ves)? {
            progress.note(&line);
        }
        if host.config.driver.is_none() {
            let (file, text) = (config.display().to_string(), file::read(config)?);
            let text = edit::choose_driver(&file, &text, driver)
                .map_err(|e| Error::new(Class::Usage, format!("{file} has mistakes")).because(e))?;
            file::write_atomic(config, text.as_bytes(), 0o600)?;
            progress.note(&format!("new VEs' disks are of driver {driver}, says {file} now"));
        }
        Ok(())
    }
}
