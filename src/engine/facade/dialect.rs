//! The names under which this program speaks OpenVZ's dialect: `hostel init --vz`.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hostel_system::file;

use super::audit::Findings;
use super::{Engine, Progress};
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::ve::registry::ids_in;

/// Where OpenVZ had its configuration.
const ETC_VZ: &str = "/etc/vz";
/// Where ours is, if it isn't a test's.
const ETC_HOSTEL: &str = "/etc/hostel";

/// What stands where a link is to be.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    /// The link as it should be.
    Ours,
    /// A link to a hostel that isn't this one, or isn't there any more.
    Former,
    /// Something of somebody else's.
    Strange,
}

impl Engine {
    /// Makes links to this program by these names in `dir`, and the directory of the dialect's configuration. Where
    /// something of somebody else's has such a name, nothing is made. Safe to run twice.
    pub fn install_dialect(&self, names: &[&str], dir: &Path, progress: &dyn Progress) -> Result<()> {
        let host = &self.host;
        let own = host.dirs.config().join("vz");
        let mut links: Vec<(PathBuf, &Path)> = names.iter().map(|name| (dir.join(name), &*host.program)).collect();
        if host.dirs.config() == Path::new(ETC_HOSTEL) && !is_there(Path::new(ETC_VZ)) {
            links.push((ETC_VZ.into(), &own));
        }
        let strange: Vec<String> = links
            .iter()
            .filter(|(path, target)| look(path, target) == There::Strange)
            .map(|(path, _)| path.display().to_string())
            .collect();
        if !strange.is_empty() {
            let what = format!("{} is not Hostel's; no link was made", strange.join(", "));
            return Err(Error::new(Class::Refused, what)
                .hint("remove the packages of OpenVZ that it came with, or move it away"));
        }
        file::make_dir(dir)?;
        file::make_dir(&host.dirs.openvz())?;
        // Before they are made: what is noted can be found again, also if this is killed.
        host.note_links(&links)?;
        for (path, target) in &links {
            if look(path, target) != There::Ours {
                link(path, target)?;
                progress.note(&format!("{} -> {}", path.display(), target.display()));
            }
        }
        for id in ids_in(&host.dirs.ves())? {
            self.note_openvz(id, progress);
        }
        Ok(())
    }
}

impl Host {
    /// Adds them to those that were made before.
    fn note_links(&self, links: &[(PathBuf, &Path)]) -> Result<()> {
        let mut all = self.noted_links()?;
        for (path, _) in links {
            if !all.contains(path) {
                all.push(path.clone());
            }
        }
        let text: String = all.iter().map(|path| format!("{}\n", path.display())).collect();
        Ok(file::write_atomic(&self.dirs.dialect_links(), text.as_bytes(), 0o600)?)
    }

    fn noted_links(&self) -> Result<Vec<PathBuf>> {
        let text = file::read_opt(&self.dirs.dialect_links())?.unwrap_or_default();
        Ok(text.lines().map(PathBuf::from).collect())
    }

    /// Links that lead to nothing, as when the program was moved.
    pub(super) fn audit_dialect<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        for path in self.noted_links()? {
            if std::fs::read_link(&path).is_ok() && !path.exists() {
                let why = "it is a link of \"hostel init --vz\" and leads to nothing";
                let object = path.display().to_string();
                found.add("link", object, why, move || Ok(file::remove_file(&path)?));
            }
        }
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn look(path: &Path, target: &Path) -> There {
    let leads = match std::fs::read_link(path) {
        Ok(leads) => leads,
        Err(e) if e.kind() == ErrorKind::NotFound => return There::Nothing,
        Err(_) => return There::Strange,
    };
    match leads.file_name() {
        _ if leads == target => There::Ours,
        name if name == target.file_name() => There::Former,
        _ => There::Strange,
    }
}

/// In one step, whatever link was there.
fn link(path: &Path, target: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::new(Class::Failed, format!("cannot make link {}", path.display())).because(e);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".hostel-new");
    let new = path.with_file_name(name);
    file::remove_file(&new)?;
    symlink(target, &new).map_err(fail)?;
    std::fs::rename(&new, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facade::Silent;
    use crate::facade::tests::Heard;
    use crate::testing::{engine, host};

    #[test]
    fn links_are_made_once_and_found_when_they_lead_nowhere() {
        let host = host().make();
        let dir = tempfile::tempdir().unwrap();
        let (bin, engine) = (dir.path().join("sbin"), engine(&host));
        let heard = Heard::default();
        engine.install_dialect(&["vzctl", "vzlist"], &bin, &heard).unwrap();
        assert_eq!(heard.notes().len(), 2);
        assert_eq!(std::fs::read_link(bin.join("vzctl")).unwrap(), host.program);
        assert!(host.dirs.config().join("vz/conf").is_dir());
        let again = Heard::default();
        engine.install_dialect(&["vzctl", "vzlist"], &bin, &again).unwrap();
        assert!(again.notes().is_empty());
        // One of a hostel that has gone is put right; the audit would take it away.
        let former = Path::new("/nowhere").join(host.program.file_name().unwrap());
        std::fs::remove_file(bin.join("vzlist")).unwrap();
        symlink(&former, bin.join("vzlist")).unwrap();
        let found = engine.audit(false).unwrap();
        assert!(
            found.iter().any(|o| o.kind == "link" && o.object.ends_with("/vzlist")),
            "{found:?}"
        );
        engine.install_dialect(&["vzlist"], &bin, &Silent).unwrap();
        assert_eq!(std::fs::read_link(bin.join("vzlist")).unwrap(), host.program);
    }

    #[test]
    fn what_is_somebody_elses_stays_and_nothing_is_made_beside_it() {
        let host = host().make();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vzlist"), "openvz's own").unwrap();
        symlink("/usr/lib/openvz", dir.path().join("vzps")).unwrap();
        let refused = engine(&host).install_dialect(&["vzctl", "vzlist", "vzps"], dir.path(), &Silent);
        let refused = refused.unwrap_err();
        assert_eq!(refused.class, Class::Refused);
        assert!(
            refused.message.contains("/vzlist, ") && refused.message.contains("/vzps"),
            "{refused:?}"
        );
        assert!(!is_there(&dir.path().join("vzctl")));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("vzlist")).unwrap(),
            "openvz's own"
        );
    }
}
