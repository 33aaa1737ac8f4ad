//! The units by which the host's init starts and ends VEs.

use std::path::Path;

use hostel_system::service::Services;
use tera::{Context, Tera};

use super::{Engine, Fact, Progress};
use crate::error::{Class, Error, Result};

/// The Hostel that the host's init looks after: of several on one host, the one in the usual place.
pub(super) const CONFIG: &str = "/etc/hostel/hostel.toml";

/// That by which VEs end with the host.
const LIFE: &str = "hostel.service";
/// That by which they start with it.
const BOOT: &str = "hostel-boot.service";

/// What brings Hostel's rules back where somebody else's service flushes all.
const FLUSHED: &str = "nftables.service.d/hostel.conf";
/// That by which their usage is measured.
pub(super) const MANAGER: &str = "hostel-manager.service";

const UNITS: [(&str, &str); 4] = [
    (LIFE, include_str!("../../../templates/units/hostel.service")),
    (BOOT, include_str!("../../../templates/units/hostel-boot.service")),
    (FLUSHED, include_str!("../../../templates/units/nftables.conf")),
    (MANAGER, include_str!("../../../templates/units/hostel-manager.service")),
];

impl Engine {
    /// Installs the units, where systemd is the host's init.
    pub(super) fn install_units(&self, progress: &dyn Progress) -> Result<()> {
        let services = Services::new(Path::new("/"));
        if self.host.config_file != Path::new(CONFIG) || !services.has_systemd() {
            return Ok(());
        }
        let paths = [
            self.host.dirs.config(),
            self.host.dirs.data(),
            self.host.dirs.templates(),
        ];
        for path in services.install(&rendered(&self.host.program, &paths)?)? {
            progress.note(&format!("wrote {}", path.display()));
        }
        // Only a unit that is active is stopped when the host goes down. The other one would start VEs now.
        services.start(LIFE)?;
        // What has been turned off stays so; one that runs is of the program that was there when it began.
        match services.is_enabled(MANAGER) {
            true => Ok(services.restart(MANAGER)?),
            false => Ok(()),
        }
    }

    /// What the host's init does for this Hostel.
    pub(super) fn units(&self) -> Fact {
        let services = Services::new(Path::new("/"));
        let (value, why) = if self.host.config_file != Path::new(CONFIG) {
            ("by hand", format!("units are made only for the Hostel of {CONFIG}"))
        } else if !services.has_systemd() {
            (
                "by hand",
                "systemd is not this host's init; have hostel boot and hostel shutdown run by it".into(),
            )
        } else if !services.is_installed(LIFE) {
            ("by hand", "its units are not installed; do so with: hostel init".into())
        } else if services.is_enabled(LIFE) && services.is_enabled(BOOT) {
            ("yes", format!("by {BOOT} and {LIFE}"))
        } else {
            (
                "by hand",
                format!("turned off; turn it on with: systemctl enable {LIFE} {BOOT}"),
            )
        };
        Fact {
            what: "boot with the host".into(),
            value: value.into(),
            why,
        }
    }
}

fn rendered(program: &Path, paths: &[std::path::PathBuf]) -> Result<Vec<(&'static str, String)>> {
    let mut context = Context::new();
    context.insert("program", &word(program)?);
    context.insert(
        "paths",
        &paths.iter().map(|path| word(path)).collect::<Result<Vec<_>>>()?,
    );
    let render = |(name, text): (&'static str, &str)| match Tera::one_off(text, &context, false) {
        Ok(text) => Ok((name, text)),
        Err(e) => Err(Error::new(Class::Failed, format!("cannot make {name}")).because(e)),
    };
    UNITS.into_iter().map(render).collect()
}

/// A path as a word of a unit (systemd.syntax(7)). What would need quotes is not worth them.
fn word(path: &Path) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.+@:".contains(&b);
    match path.to_str() {
        Some(text) if text.bytes().all(plain) => Ok(text.to_owned()),
        _ => Err(
            Error::new(Class::Usage, format!("no unit can be made for {}", path.display()))
                .because("in units paths are of letters, digits and /-_.+@: only"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_name_the_program_and_what_must_be_mounted() {
        let paths = ["/etc/hostel", "/srv/ve"].map(Into::into);
        let units = rendered(Path::new("/usr/local/bin/hostel"), &paths).unwrap();
        let [(_, life), (_, boot), (_, flushed), (_, manager)] = &units[..] else {
            panic!("{units:?}")
        };
        assert!(life.contains("\nExecStop=/usr/local/bin/hostel shutdown\n"), "{life}");
        assert!(life.contains("\nRequiresMountsFor=/etc/hostel /srv/ve\n"), "{life}");
        assert!(boot.contains("\nExecStart=/usr/local/bin/hostel boot\n"), "{boot}");
        for when in ["StartPost", "Reload", "StopPost"] {
            let line = format!(
                "\nExec{when}=-/bin/sh -c 'systemctl is-active --quiet hostel.service && exec /usr/local/bin/hostel audit --fix'\n"
            );
            assert!(flushed.contains(&line), "{flushed}");
        }
        assert!(
            manager.contains("\nExecStart=/usr/local/bin/hostel manager\n"),
            "{manager}"
        );
        assert!(rendered(Path::new("/opt/my hostel"), &paths).is_err());
    }
}
