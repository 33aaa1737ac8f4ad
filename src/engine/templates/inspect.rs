//! What a root tree tells of itself: its family, its process 1, its packages. All of it is read beneath the tree,
//! and none of it is policy.

use hostel_model::distribution::{Family, InitKind};
use hostel_model::template::Init;
use hostel_system::archive::Tree;

use crate::error::{Class, Error, Result};

/// Where process 1 is looked for, in this order.
const INIT_PATHS: [&str; 5] = [
    "/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/sbin/openrc-init",
    "/lib/sysvinit/init",
];
/// The most that is read of a package database.
const MAX_DATABASE: u64 = 64 << 20;

/// Finds process 1 and what kind it is. A tree without one is no system template.
pub(super) fn init(tree: &Tree) -> Result<Init> {
    for path in INIT_PATHS {
        let Some(real) = tree.resolve(path)?.filter(|r| r.executable) else {
            continue;
        };
        let name = real.path.rsplit('/').next().unwrap_or_default();
        let kind = match name {
            "systemd" => InitKind::Systemd,
            "busybox" | "busybox.static" | "busybox-static" => InitKind::Busybox,
            "openrc-init" => InitKind::Openrc,
            // System V's is called nothing else, and can't do without its table.
            "init" | "init.sysvinit" if tree.resolve("/etc/inittab")?.is_some() => InitKind::Sysvinit,
            _ => {
                let message = format!("its {path} is {}, which is no init that Hostel knows", real.path);
                return Err(Error::new(Class::Usage, message)
                    .hint("Hostel knows systemd, busybox, openrc-init and System V init"));
            }
        };
        return Ok(Init {
            kind,
            path: path.to_owned(),
        });
    }
    Err(Error::new(
        Class::Usage,
        format!("it has none of {}; it is not a system template", INIT_PATHS.join(", ")),
    )
    .hint("an image of an application has no init; take an image of a whole distribution"))
}

/// Tells the family from os-release(5), else from the kind of init.
pub(super) fn family(tree: &Tree, kind: InitKind) -> Result<Family> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        let text = tree
            .read(path, 64 << 10)?
            .map(|t| String::from_utf8_lossy(&t).into_owned());
        if let Some(text) = text {
            return Ok(Family::from_os_release(&text));
        }
    }
    Ok(match kind {
        InitKind::Busybox => Family::Busybox,
        _ => Family::Generic,
    })
}

/// The packages in a tree as `name=version`, sorted: what dpkg or apk has on record. None for other package
/// managers, whose records aren't text.
pub(super) fn packages(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (path, parse) in [
        ("/var/lib/dpkg/status", dpkg as fn(&str) -> Vec<String>),
        ("/lib/apk/db/installed", apk),
        ("/usr/lib/apk/db/installed", apk),
    ] {
        if let Some(text) = tree.read(path, MAX_DATABASE)? {
            found.extend(parse(&String::from_utf8_lossy(&text)));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn dpkg(text: &str) -> Vec<String> {
    let stanza = |s: &str| {
        let field = |key: &str| s.lines().find_map(|l| l.strip_prefix(key)).map(str::trim);
        let installed = field("Status:")?.ends_with(" installed");
        installed
            .then(|| Some(format!("{}={}", field("Package:")?, field("Version:")?)))
            .flatten()
    };
    text.split("\n\n").filter_map(stanza).collect()
}

fn apk(text: &str) -> Vec<String> {
    let stanza = |s: &str| {
        let field = |key: &str| s.lines().find_map(|l| l.strip_prefix(key));
        Some(format!("{}={}", field("P:")?, field("V:")?))
    };
    text.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(&dir.path().join("root")).unwrap();
        (dir, tree)
    }

    #[test]
    fn kinds_of_init() {
        for (files, links, kind, path) in [
            (
                vec!["/usr/lib/systemd/systemd"],
                vec![("/lib", "usr/lib"), ("/sbin/init", "/lib/systemd/systemd")],
                InitKind::Systemd,
                "/sbin/init",
            ),
            (
                vec!["/usr/lib/systemd/systemd"],
                vec![("/lib", "usr/lib")],
                InitKind::Systemd,
                "/lib/systemd/systemd",
            ),
            (
                vec!["/bin/busybox"],
                vec![("/sbin/init", "/bin/busybox")],
                InitKind::Busybox,
                "/sbin/init",
            ),
            (
                vec!["/sbin/openrc-init"],
                vec![("/sbin/init", "openrc-init")],
                InitKind::Openrc,
                "/sbin/init",
            ),
            (
                vec!["/sbin/init", "/etc/inittab"],
                vec![],
                InitKind::Sysvinit,
                "/sbin/init",
            ),
        ] {
            let (_dir, tree) = tree();
            for file in files {
                tree.write(file, 0o755, b"").unwrap();
            }
            for (link, target) in links {
                tree.symlink(link, target).unwrap();
            }
            assert_eq!(
                init(&tree).unwrap(),
                Init {
                    kind,
                    path: path.into()
                }
            );
        }
    }

    #[test]
    fn no_init_no_template() {
        let (_dir, empty) = tree();
        assert!(init(&empty).unwrap_err().to_string().contains("not a system template"));
        let (_dir, outside) = tree();
        outside.symlink("/sbin/init", "../../../../../../../../bin/sh").unwrap();
        assert!(
            init(&outside)
                .unwrap_err()
                .to_string()
                .contains("not a system template"),
            "a link led out of the tree"
        );
        let (_dir, other) = tree();
        other.write("/sbin/runit", 0o755, b"").unwrap();
        other.symlink("/sbin/init", "runit").unwrap();
        assert!(init(&other).unwrap_err().to_string().contains("/sbin/runit"));
        let (_dir, not_executable) = tree();
        not_executable.write("/sbin/init", 0o644, b"").unwrap();
        assert!(init(&not_executable).is_err());
    }

    #[test]
    fn packages_of_dpkg_and_apk() {
        let status = "Package: b\nStatus: install ok installed\nVersion: 2-1\nDescription: x\n Version: 9\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: a\nStatus: install ok installed\nVersion: 1:1\n";
        assert_eq!(dpkg(status), ["b=2-1", "a=1:1"]);
        assert_eq!(
            apk("C:Q1x\nP:musl\nV:1.2.5-r0\n\nP:busybox\nV:1.37\n"),
            ["musl=1.2.5-r0", "busybox=1.37"]
        );
        assert!(dpkg("").is_empty() && apk("\n\n").is_empty());
        let (_dir, tree) = tree();
        tree.write("/var/lib/dpkg/status", 0o644, status.as_bytes()).unwrap();
        assert_eq!(packages(&tree).unwrap(), ["a=1:1", "b=2-1"]);
    }

    #[test]
    fn family_without_os_release() {
        let (_dir, tree) = tree();
        assert_eq!(family(&tree, InitKind::Busybox).unwrap(), Family::Busybox);
        assert_eq!(family(&tree, InitKind::Systemd).unwrap(), Family::Generic);
        tree.symlink("/etc/os-release", "/usr/lib/os-release").unwrap();
        tree.write("/usr/lib/os-release", 0o644, b"ID=debian\n").unwrap();
        assert_eq!(family(&tree, InitKind::Systemd).unwrap(), Family::Debian);
    }
}
