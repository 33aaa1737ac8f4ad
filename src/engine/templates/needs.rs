//! What a recipe needs of this host: looked for before anything begins, and told all at once, each with the way to
//! get it.

use std::path::Path;

use hostel_model::recipe::{Bootstrap, Tool};
use hostel_system::archive;

use super::bootstrap::{APK_KEYS, APK_REPOSITORIES};
use crate::error::{Class, Error, Result};

/// A thing that this host hasn't got, and where it comes from.
struct Missing {
    what: String,
    hint: &'static str,
}

/// Refuses a recipe whose tool, keys or repositories aren't on this host.
pub(super) fn check(b: &Bootstrap) -> Result<()> {
    judge(b, &|name| archive::find_program(name).is_some(), &|path| {
        Path::new(path).exists()
    })
}

fn judge(b: &Bootstrap, runs: &dyn Fn(&str) -> bool, exists: &dyn Fn(&str) -> bool) -> Result<()> {
    let mut missing: Vec<Missing> = tool(b.tool)
        .filter(|(name, _)| !runs(name))
        .map(program)
        .into_iter()
        .collect();
    let keys = match (&b.keyring, b.tool) {
        (Some(keyring), _) => Some(keyring.as_str()),
        (None, Tool::Apk) => Some(APK_KEYS),
        (None, _) => None,
    };
    missing.extend(keys.filter(|k| !exists(k)).map(|k| Missing {
        what: k.to_owned(),
        hint: keys_hint(k, b.tool),
    }));
    let own = b.tool == Tool::Apk && (b.mirror.is_none() || b.suite.is_none());
    if own && !exists(APK_REPOSITORIES) {
        missing.push(Missing {
            what: APK_REPOSITORIES.to_owned(),
            hint: "write the addresses of Alpine's repositories into it, a line each; or give suite and mirror in the recipe",
        });
    }
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<&str> = missing.iter().map(|m| m.what.as_str()).collect();
    let error = Error::new(
        Class::NotFound,
        format!("this host lacks what the recipe needs: {}", all.join(", ")),
    );
    Err(missing.iter().fold(error, |error, m| error.hint(m.hint)))
}

fn program((name, hint): (&'static str, &'static str)) -> Missing {
    Missing {
        what: format!("the program {name}"),
        hint,
    }
}

/// The program and how to get it. busybox is looked for where it is laid out: it may come from an archive.
const fn tool(tool: Tool) -> Option<(&'static str, &'static str)> {
    match tool {
        Tool::Mmdebstrap => Some(("mmdebstrap", "install the package mmdebstrap")),
        Tool::Debootstrap => Some(("debootstrap", "install the package debootstrap")),
        Tool::Apk => Some((
            "apk",
            "apk is Alpine's own tool: take sbin/apk.static out of Alpine's package apk-tools-static, and install it as \
             /usr/local/sbin/apk",
        )),
        Tool::Busybox => None,
    }
}

fn keys_hint(path: &str, tool: Tool) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match (tool, name) {
        (Tool::Apk, _) => {
            "take etc/apk/keys out of Alpine's package alpine-keys; or name a directory by keyring in the recipe"
        }
        (_, "ubuntu-archive-keyring.gpg") => {
            "install the package ubuntu-keyring; Debian 12 has none: copy the file from an Ubuntu host, or take it out of \
             that package in Ubuntu's archive (pool/main/u/ubuntu-keyring)"
        }
        (_, "debian-archive-keyring.gpg") => "install the package debian-archive-keyring",
        _ => "put the archive's keyring there, or name another by keyring in the recipe",
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::recipe::Recipe;

    use super::*;

    fn told(bootstrap: &str, here: &[&str]) -> Option<(String, String)> {
        let text = format!("name = \"x\"\nfamily = \"debian\"\n[init]\nkind = \"systemd\"\n[bootstrap]\n{bootstrap}");
        let recipe = Recipe::parse(&text).unwrap();
        let has = |what: &str| here.contains(&what);
        let error = judge(&recipe.bootstrap, &has, &has).err()?;
        assert_eq!(error.class, Class::NotFound);
        Some((error.message.clone(), error.hints.join("\n")))
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let ubuntu = "tool = \"mmdebstrap\"\nsuite = \"noble\"\nkeyring = \"/k/ubuntu-archive-keyring.gpg\"\n";
        let (message, hints) = told(ubuntu, &[]).unwrap();
        assert!(
            message.ends_with("needs: the program mmdebstrap, /k/ubuntu-archive-keyring.gpg"),
            "{message}"
        );
        assert!(
            hints.contains("package mmdebstrap\n") && hints.contains("ubuntu-keyring"),
            "{hints}"
        );
        let (message, hints) = told(ubuntu, &["mmdebstrap"]).unwrap();
        assert!(
            !message.contains("mmdebstrap") && !hints.contains("mmdebstrap"),
            "{message} {hints}"
        );
        assert!(told(ubuntu, &["mmdebstrap", "/k/ubuntu-archive-keyring.gpg"]).is_none());

        let alpine = "tool = \"apk\"\n";
        let (message, hints) = told(alpine, &[]).unwrap();
        assert!(
            message.ends_with("needs: the program apk, /etc/apk/keys, /etc/apk/repositories"),
            "{message}"
        );
        assert!(
            hints.contains("apk-tools-static") && hints.contains("alpine-keys"),
            "{hints}"
        );
        assert!(told(alpine, &["apk", APK_KEYS, APK_REPOSITORIES]).is_none());
        let mirrored = "tool = \"apk\"\nsuite = \"v3.22\"\nmirror = \"http://192.0.2.1/alpine\"\n";
        assert!(told(mirrored, &["apk", APK_KEYS]).is_none());
        assert!(told("tool = \"busybox\"\n", &[]).is_none());
    }
}
