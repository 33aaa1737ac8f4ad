//! Users of a VE, read from its own files by a process that is already inside.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::error::{Failure, Result};

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id inside.
    pub uid: u32,
    /// Primary group id inside.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Login name, or the number.
    pub name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// The most that is read of a user database: the guest may have put anything there.
const MOST: u64 = 4 << 20;

/// The highest id a VE has.
const LAST_ID: u32 = crate::spec::ID_RANGE - 1;

/// Finds `user` or `user:group`, each a name or a number, in the files below `etc`. No user at all means root.
pub fn find(etc: &str, wanted: Option<&str>) -> Result<User> {
    let (user, group) = match wanted.unwrap_or("0").split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted.unwrap_or("0"), None),
    };
    let passwd = read(&format!("{etc}/passwd"));
    let groups = read(&format!("{etc}/group"));
    let mut found = find_user(&passwd, user)?;
    found.groups = memberships(&groups, &found.name);
    if let Some(group) = group {
        found.gid = find_group(&groups, group)?;
    }
    Ok(found)
}

/// A regular file's text; anything else (a FIFO would make us wait, a terminal would become ours) counts as empty.
fn read(path: &str) -> String {
    let careful = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let open = std::fs::File::options().read(true).custom_flags(careful).open(path);
    let mut bytes = Vec::new();
    if let Ok(file) = open
        && file.metadata().is_ok_and(|m| m.is_file())
    {
        let _ = file.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A whole number in the VE's range, written plainly: no sign, no space, no hexadecimal (CVE-2026-30892).
fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|n| *n <= LAST_ID)
}

fn find_user(passwd: &str, wanted: &str) -> Result<User> {
    let by_number = number(wanted);
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else {
            continue;
        };
        let (Some(uid), Some(gid)) = (number(uid), number(gid)) else {
            continue;
        };
        if name == wanted || by_number == Some(uid) {
            let or = |text: &str, default: &str| {
                if text.is_empty() {
                    default.to_owned()
                } else {
                    text.to_owned()
                }
            };
            let (home, shell) = (or(home, "/"), or(shell, "/bin/sh"));
            return Ok(User {
                uid,
                gid,
                groups: Vec::new(),
                name: name.to_owned(),
                home,
                shell,
            });
        }
    }
    match by_number {
        // A number needs no entry.
        Some(uid) => Ok(User {
            uid,
            gid: uid,
            groups: Vec::new(),
            name: if uid == 0 { "root".into() } else { uid.to_string() },
            home: if uid == 0 { "/root".into() } else { "/".into() },
            shell: "/bin/sh".into(),
        }),
        None => Err(unknown("user", wanted)),
    }
}

fn find_group(groups: &str, wanted: &str) -> Result<u32> {
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted))
            .then(|| fields.nth(1).and_then(number))
            .flatten()
    });
    named.or_else(|| number(wanted)).ok_or_else(|| unknown("group", wanted))
}

fn memberships(groups: &str, name: &str) -> Vec<u32> {
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields[..] else { return None };
        members.split(',').any(|m| m == name).then(|| number(gid)).flatten()
    };
    let mut list: Vec<u32> = groups.lines().filter_map(member).collect();
    list.truncate(1024);
    list
}

fn unknown(what: &str, wanted: &str) -> Failure {
    Failure::new(
        "run as",
        format!("{what} \"{wanted}\""),
        format!("the VE has no such {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:33:33:www:/var/www:\nbad line\nbig:x:70000:1::/:\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:syslog,web\nweb:x:33:\nstaff:x:50:webb,web\n";

    fn etc() -> tempdir::Dir {
        let dir = tempdir::Dir::new();
        std::fs::write(dir.path().join("passwd"), PASSWD).unwrap();
        std::fs::write(dir.path().join("group"), GROUP).unwrap();
        dir
    }

    mod tempdir {
        use std::path::{Path, PathBuf};
        use std::sync::atomic::{AtomicU32, Ordering};
        pub struct Dir(PathBuf);
        impl Dir {
            pub fn new() -> Self {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                let path = std::env::temp_dir().join(format!("hostel-user-{}-{n}", std::process::id()));
                std::fs::create_dir(&path).unwrap();
                Self(path)
            }
            pub fn path(&self) -> &Path {
                &self.0
            }
        }
        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn names_and_numbers() {
        let dir = etc();
        let etc = dir.path().to_str().unwrap();
        let web = find(etc, Some("web")).unwrap();
        assert_eq!((web.uid, web.gid, web.groups.as_slice()), (33, 33, &[4, 50][..]));
        assert_eq!((web.home.as_str(), web.shell.as_str()), ("/var/www", "/bin/sh"));
        assert_eq!(find(etc, Some("33")).unwrap().name, "web");
        assert_eq!(find(etc, Some("web:adm")).unwrap().gid, 4);
        assert_eq!(
            find(etc, Some("1000:7")).unwrap(),
            User {
                uid: 1000,
                gid: 7,
                groups: vec![],
                name: "1000".into(),
                home: "/".into(),
                shell: "/bin/sh".into()
            }
        );
        assert_eq!(find(etc, None).unwrap().home, "/root");
    }

    #[test]
    fn what_is_no_user_is_never_root() {
        let dir = etc();
        for text in [
            "",
            " 0",
            "0x0",
            "-1",
            "4294967295",
            "65536",
            "big",
            "nobody",
            "0 ",
            "+0",
            ":",
            "web:none",
        ] {
            assert!(find(dir.path().to_str().unwrap(), Some(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_fifo_for_a_database_is_no_trap() {
        let dir = tempdir::Dir::new();
        nix::unistd::mkfifo(&dir.path().join("passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(find(dir.path().to_str().unwrap(), None).unwrap().uid, 0);
    }
}
