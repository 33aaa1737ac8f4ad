//! How each tool is told to make a tree: pure, from a recipe to an argument list. Nothing of a recipe can become
//! an option of its own: each text stands behind the `=` of an option, or was checked to begin with a letter or
//! digit.

use std::ffi::OsString;
use std::path::Path;

use hostel_model::recipe::{Bootstrap, Tool, Word};

/// Where apk has its keys, if the recipe names no others.
pub(super) const APK_KEYS: &str = "/etc/apk/keys";
/// Where apk has its repositories, if the recipe names no mirror.
pub(super) const APK_REPOSITORIES: &str = "/etc/apk/repositories";

fn list(words: &[Word]) -> String {
    words.iter().map(Word::as_str).collect::<Vec<_>>().join(",")
}

/// mmdebstrap writes the tree as a tar archive to its standard output: no tree of its making is ever trusted.
pub(super) fn mmdebstrap(b: &Bootstrap) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["mmdebstrap".into(), "--mode=root".into(), "--format=tar".into()];
    argv.extend(debian_options(b));
    argv.extend(b.suite.iter().map(|s| s.as_str().into()));
    argv.push("-".into());
    argv.extend(b.mirror.iter().map(|m| m.as_str().into()));
    argv
}

/// debootstrap makes the tree in a directory.
pub(super) fn debootstrap(b: &Bootstrap, dir: &Path) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["debootstrap".into()];
    argv.extend(debian_options(b));
    argv.extend(b.suite.iter().map(|s| s.as_str().into()));
    argv.push(dir.into());
    argv.extend(b.mirror.iter().map(|m| m.as_str().into()));
    argv
}

fn debian_options(b: &Bootstrap) -> Vec<OsString> {
    let option = |key: &str, value: String| (!value.is_empty()).then(|| OsString::from(format!("--{key}={value}")));
    let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
    [
        option("variant", text(b.variant.as_ref().map(Word::as_str))),
        option("components", list(&b.components)),
        option("include", list(&b.packages)),
        option("keyring", text(b.keyring.as_ref().map(|k| k.as_str()))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// apk makes the tree in a directory: from the host's own repositories, or from a mirror's release.
pub(super) fn apk(b: &Bootstrap, dir: &Path) -> Vec<OsString> {
    let keys = b.keyring.as_ref().map_or(APK_KEYS, |k| k.as_str());
    let mut argv: Vec<OsString> = vec!["apk".into(), "--root".into(), dir.into(), "--initdb".into()];
    argv.extend([
        "--keys-dir".into(),
        keys.into(),
        "--no-progress".into(),
        "--no-interactive".into(),
    ]);
    match (&b.mirror, &b.suite) {
        (Some(mirror), Some(suite)) => {
            let mirror = mirror.as_str().trim_end_matches('/');
            for component in ["main", "community"] {
                argv.extend(["--repository".into(), format!("{mirror}/{suite}/{component}").into()]);
            }
        }
        _ => argv.extend(["--repositories-file".into(), APK_REPOSITORIES.into()]),
    }
    argv.push("add".into());
    argv.extend(b.packages.iter().map(|p| p.as_str().into()));
    argv
}

/// The package that brings a tool.
pub(super) const fn package_of(tool: Tool) -> &'static str {
    match tool {
        Tool::Mmdebstrap => "mmdebstrap",
        Tool::Debootstrap => "debootstrap",
        Tool::Apk => "apk-tools",
        Tool::Busybox => "busybox-static",
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::recipe::Recipe;

    use super::*;

    fn recipe(bootstrap: &str) -> Bootstrap {
        let text = format!("name = \"x\"\nfamily = \"debian\"\n[init]\nkind = \"systemd\"\n[bootstrap]\n{bootstrap}");
        Recipe::parse(&text).unwrap().bootstrap
    }

    #[test]
    fn argument_lists() {
        let debian = recipe(
            "tool = \"mmdebstrap\"\nsuite = \"bookworm\"\nvariant = \"minbase\"\ncomponents = [\"main\", \"contrib\"]\n\
             packages = [\"systemd-sysv\", \"cron\"]\n",
        );
        let expected = [
            "mmdebstrap",
            "--mode=root",
            "--format=tar",
            "--variant=minbase",
            "--components=main,contrib",
            "--include=systemd-sysv,cron",
            "bookworm",
            "-",
        ];
        assert_eq!(mmdebstrap(&debian), expected);
        let expected = [
            "debootstrap",
            "--keyring=/k.gpg",
            "noble",
            "/t",
            "http://192.0.2.1/ubuntu",
        ];
        let ubuntu = recipe(
            "tool = \"debootstrap\"\nsuite = \"noble\"\nkeyring = \"/k.gpg\"\nmirror = \"http://192.0.2.1/ubuntu\"\n",
        );
        assert_eq!(debootstrap(&ubuntu, Path::new("/t")), expected);
        let argv = apk(
            &recipe("tool = \"apk\"\npackages = [\"alpine-base\"]\n"),
            Path::new("/t"),
        );
        assert!(
            argv.ends_with(&["--repositories-file", "/etc/apk/repositories", "add", "alpine-base"].map(OsString::from))
        );
        let argv = apk(
            &recipe("tool = \"apk\"\nsuite = \"v3.22\"\nmirror = \"file:///m/\"\n"),
            Path::new("/t"),
        );
        assert!(argv.contains(&"file:///m/v3.22/community".into()));
    }
}
