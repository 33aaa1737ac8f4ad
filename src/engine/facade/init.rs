//! Preparing a host: `hostel init`.

use std::path::Path;
use std::time::Duration;

use hostel_system::file;

use super::{Engine, Progress};
use crate::error::Result;

/// What `hostel init` installs, by its name below the configuration directory.
const EXAMPLES: [(&str, &str); 7] = [
    ("plans/tiny.toml", include_str!("../../../config/plans/tiny.toml")),
    ("plans/small.toml", include_str!("../../../config/plans/small.toml")),
    ("plans/medium.toml", include_str!("../../../config/plans/medium.toml")),
    ("plans/large.toml", include_str!("../../../config/plans/large.toml")),
    (
        "networks/private.toml",
        include_str!("../../../config/networks/private.toml"),
    ),
    (
        "tenants/default.toml",
        include_str!("../../../config/tenants/default.toml"),
    ),
    (
        "ve/example.toml.sample",
        include_str!("../../../config/ve/example.toml.sample"),
    ),
];

const HOSTEL_TOML: &str = include_str!("../../../config/hostel.toml");

impl Engine {
    /// Prepares the host: directories, example definitions, kernel settings, the host's units. Safe to run twice; what is there stays.
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
        if let Err(why) = engine.host.disks.probe(&engine.host.dirs.ves()) {
            progress.note(&format!("disks can't be made here: {why}"));
        }
        engine.install_units(progress)
    }
}
