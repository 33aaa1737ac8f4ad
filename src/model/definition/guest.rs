//! `[guest]`: what is written into a VE's own files.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::value::{read_list, read_text};

/// What is set up inside the VE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Guest {
    /// root's password as `crypt(3)` has it; `None`: left as the template has it.
    pub password_hash: Option<CryptHash>,
    /// root's SSH keys.
    pub ssh_keys: Vec<SshKey>,
    /// The time zone; `None`: left as the template has it.
    pub timezone: Option<Timezone>,
}

/// A hashed password in a form that `crypt(3)` reads and that is strong enough today. Never shown: neither `Debug`
/// nor JSON has it.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptHash(String);

impl CryptHash {
    /// The hash, for /etc/shadow.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CryptHash(hidden)")
    }
}

impl Serialize for CryptHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("(hidden)")
    }
}

/// A text that is no hash; doesn't repeat it, as it may be the password itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a password hash of crypt(3); make one with \"mkpasswd\" or \"openssl passwd -6\"")]
pub struct CryptHashError;

/// The methods of crypt(5) that it calls acceptable for new hashes, and the least length of a whole hash of each.
const METHODS: [(&str, usize); 9] = [
    ("$y$", 50),
    ("$gy$", 50),
    ("$7$", 50),
    ("$2a$", 60),
    ("$2b$", 60),
    ("$2x$", 60),
    ("$2y$", 60),
    ("$6$", 89),
    ("$5$", 46),
];

impl FromStr for CryptHash {
    type Err = CryptHashError;
    fn from_str(text: &str) -> Result<Self, CryptHashError> {
        // "Entirely printable ASCII, and do not contain any whitespace or the characters ':', ';', '*', '!', or '\'."
        let fit = |b: u8| b.is_ascii_graphic() && !matches!(b, b':' | b';' | b'*' | b'!' | b'\\');
        let known = METHODS
            .iter()
            .any(|(prefix, least)| text.starts_with(prefix) && text.len() >= *least);
        if known && text.len() <= 384 && text.bytes().all(fit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CryptHashError)
        }
    }
}

/// A line of `authorized_keys`: type, key in base64, comment. Options before the type are not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SshKey(String);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a public SSH key; give the one line of a .pub file")]
pub struct SshKeyError(String);

/// What OpenSSH signs with today; DSA is gone since 10.0.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl SshKey {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The comment, usually user@host; empty if it has none.
    pub fn comment(&self) -> &str {
        self.0.splitn(3, ' ').nth(2).unwrap_or_default()
    }
    /// The key itself in base64: what makes two keys the same.
    pub fn blob(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }
}

impl FromStr for SshKey {
    type Err = SshKeyError;
    fn from_str(text: &str) -> Result<Self, SshKeyError> {
        let bad = || SshKeyError(text.chars().take(40).collect());
        let mut words = text.split_whitespace();
        let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
            return Err(bad());
        };
        if text.chars().any(super::is_unfit) || text.len() > 8192 || !KEY_TYPES.contains(&kind) {
            return Err(bad());
        }
        // The blob begins with its type's name, length first (RFC 4253, 6.6): this catches cut and mixed up lines.
        let decoded = base64(blob).ok_or_else(bad)?;
        let named = decoded.get(4..4 + kind.len()) == Some(kind.as_bytes());
        let length = decoded.first_chunk::<4>().map(|l| u32::from_be_bytes(*l) as usize);
        if !named || length != Some(kind.len()) || decoded.len() < kind.len() + 4 + 4 + 32 {
            return Err(bad());
        }
        let comment: Vec<&str> = words.collect();
        Ok(Self([kind, blob, &comment.join(" ")].join(" ").trim_end().to_owned()))
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Standard base64 with padding (RFC 4648, 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(body.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for c in body.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

/// A name of the time zone database: `Europe/Berlin`, `UTC`. Safe as a path below /usr/share/zoneinfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timezone(String);

/// A text that is no time zone's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a time zone's name; write one such as \"Europe/Berlin\" or \"UTC\"")]
pub struct TimezoneError(String);

impl Timezone {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Timezone {
    type Err = TimezoneError;
    fn from_str(text: &str) -> Result<Self, TimezoneError> {
        let part = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_alphabetic())
                && p.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-'))
        };
        let fits = text.len() <= 64 && text.split('/').count() <= 3 && text.split('/').all(part);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(TimezoneError(text.to_owned()))
        }
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

read_text! {
    CryptHash, "a hash of crypt(3) beginning with $y$, $6$ or the like; make one with \"openssl passwd -6\"";
    SshKey, "a public SSH key as in a .pub file: \"ssh-ed25519 AAAA… comment\"";
    Timezone, "a time zone such as \"Europe/Berlin\" or \"UTC\"";
}
read_list! { SshKey, Lines, "a list of public SSH keys"; }

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn hashes() {
        let sha512 = format!("$6$saltsalt${}", "a".repeat(86));
        for text in [
            &sha512,
            &format!("$y$j9T$saltsalt${}", "b".repeat(43)),
            &format!("$2b$12${}", "c".repeat(53)),
        ] {
            assert!(text.parse::<CryptHash>().is_ok(), "{text}");
        }
        let md5 = format!("$1$salt${}", "a".repeat(22));
        for text in [
            "",
            "hunter2",
            "$6$short",
            "!",
            "*",
            &md5,
            &format!("{sha512}:x"),
            &format!("{sha512}\n"),
        ] {
            assert!(text.parse::<CryptHash>().is_err(), "{text}");
        }
        let hash: CryptHash = sha512.parse().unwrap();
        assert!(!format!("{hash:?}").contains("salt") && !serde_json::to_string(&hash).unwrap().contains("salt"));
    }

    #[test]
    fn ssh_keys() {
        let key: SshKey = format!("ssh-ed25519   {ED25519}  ann@desk, home").parse().unwrap();
        assert_eq!((key.comment(), key.blob()), ("ann@desk, home", ED25519));
        assert!(format!("ssh-ed25519 {ED25519}").parse::<SshKey>().is_ok());
        for text in [
            "",
            "ssh-ed25519",
            &format!("ssh-rsa {ED25519}"),
            &format!("ssh-dss {ED25519}"),
            &format!("ssh-ed25519 {}", &ED25519[..40]),
            &format!("ssh-ed25519 {ED25519}!"),
            &format!("command=\"x\" ssh-ed25519 {ED25519}"),
            &format!("ssh-ed25519 {ED25519}\nssh-ed25519 {ED25519}"),
        ] {
            assert!(text.parse::<SshKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn base64_as_the_rfc_has_it() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert!(base64("Zg").is_none() && base64("Z===").is_none() && base64("Zg=a").is_none());
    }

    #[test]
    fn time_zones() {
        for text in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(text.parse::<Timezone>().is_ok(), "{text}");
        }
        for text in ["", "/etc/passwd", "../x", "Europe/..", "Europe/", "a b", "a\n"] {
            assert!(text.parse::<Timezone>().is_err(), "{text}");
        }
    }
}
