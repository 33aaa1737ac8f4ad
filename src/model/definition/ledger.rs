//! `ledger` of hostel.toml: the PostgreSQL that the ledger is forwarded to.
//!
//! It is written as libpq's URLs are (PostgreSQL 15, 34.1.1.2), with fewer parameters: what would be less safe than it
//! looks is refused by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::path::AbsolutePath;
use super::value::{Cell, Read};

/// PostgreSQL's port.
const PORT: u16 = 5432;
/// Where its socket is on Debian.
const SOCKETS: &str = "/var/run/postgresql";
/// Who forwards, and where to, if the URL doesn't say.
const NAME: &str = "hostel";

/// A database of a PostgreSQL server, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerServer {
    /// Where it listens.
    pub place: ServerPlace,
    /// Its port; of a socket, the end of its name.
    pub port: u16,
    /// As whom.
    pub user: String,
    /// The database.
    pub database: String,
    /// A file with passwords, as libpq's `.pgpass`.
    pub passfile: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ServerPlace {
    /// On a socket in this directory.
    Socket(PathBuf),
    /// At this name or address, with TLS: the server proves by a certificate that it is it.
    Tls {
        /// The name or the address.
        host: String,
        /// The authorities whose word is taken, in PEM; `None`: those that this host trusts.
        roots: Option<PathBuf>,
    },
    /// At this name or address, in the clear (`sslmode=disable`).
    Plain {
        /// The name or the address.
        host: String,
    },
}

/// What the parameters say.
#[derive(Default)]
struct Parameters {
    host: Option<String>,
    passfile: Option<PathBuf>,
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
}

/// Why a URL can't be used, as what was expected instead.
type Refused<T> = Result<T, String>;

/// A part with its `%2F` and the like read.
fn decoded(part: &str) -> Refused<String> {
    let wrong = || format!("two hexadecimal digits behind each % in \"{part}\"");
    let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits
            .and_then(|two| u8::from_str_radix(two, 16).ok())
            .ok_or_else(wrong)?;
        bytes.push(byte);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    match text.chars().any(char::is_control) {
        true => Err("no control characters".to_owned()),
        false => Ok(text),
    }
}

fn path(parameter: &str, text: &str) -> Refused<PathBuf> {
    match text.parse::<AbsolutePath>() {
        Ok(path) => Ok(path.0),
        Err(()) => Err(format!("{parameter} to be an absolute path, without \"..\"")),
    }
}

impl Parameters {
    fn read(text: &str) -> Refused<Self> {
        let mut all = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match key {
                "host" => all.host = Some(value),
                "passfile" => all.passfile = Some(path(key, &value)?),
                "sslmode" => all.sslmode = Some(value),
                "sslrootcert" => all.sslrootcert = Some(path(key, &value)?),
                "password" => return Err(NO_PASSWORD.to_owned()),
                other => {
                    let known = "host, passfile, sslmode, sslrootcert";
                    return Err(format!("of the parameters {known}; \"{other}\" is not supported"));
                }
            }
        }
        Ok(all)
    }
}

const NO_PASSWORD: &str = "no password here, where many can read it: put it into a file of its own and name that with \
                           ?passfile=/etc/hostel/ledger.pgpass (host:port:database:user:password, mode 0600)";

/// A port behind a host.
fn port(text: &str) -> Refused<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("a port from 1 to 65535, not \"{text}\"")),
    }
}

/// `HOST`, `HOST:PORT`, `[::1]:PORT`, `:PORT`.
fn host_and_port(text: &str) -> Refused<(String, u16)> {
    if text.contains(',') {
        return Err("one server; several with a comma between are not supported".to_owned());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a \"]\" behind the address of IPv6")?;
        return match after.strip_prefix(':') {
            Some(digits) => Ok((decoded(host)?, port(digits)?)),
            None if after.is_empty() => Ok((decoded(host)?, PORT)),
            None => Err("nothing but \":PORT\" behind the address".to_owned()),
        };
    }
    match text.split_once(':') {
        Some((host, digits)) => Ok((decoded(host)?, port(digits)?)),
        None => Ok((decoded(text)?, PORT)),
    }
}

impl ServerPlace {
    fn of(host: String, sslmode: Option<&str>, roots: Option<PathBuf>) -> Refused<Self> {
        let socket = host.is_empty() || host.starts_with('/');
        match (socket, sslmode) {
            (true, None | Some("disable")) if roots.is_none() => {
                let dir = if host.is_empty() { SOCKETS } else { &host };
                Ok(Self::Socket(path("a socket's directory", dir)?))
            }
            (true, _) => Err("no TLS on a socket, which never leaves this host".to_owned()),
            (false, None | Some("verify-full")) => Ok(Self::Tls { host, roots }),
            (false, Some("disable")) if roots.is_none() => Ok(Self::Plain { host }),
            (false, Some("disable")) => Err("no sslrootcert with sslmode=disable".to_owned()),
            (false, Some(mode)) => Err(format!(
                "sslmode=verify-full, which is what holds if nothing is said, or disable; with {mode} anybody on the \
                 way could answer in the server's place"
            )),
        }
    }
}

impl FromStr for LedgerServer {
    type Err = String;
    fn from_str(text: &str) -> Refused<Self> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(Self::EXPECTED)?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = Parameters::read(parameters)?;
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match place.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(NO_PASSWORD.to_owned()),
            Some((user, place)) => (decoded(user)?, place),
            None => (String::new(), place),
        };
        let (host, port) = host_and_port(place)?;
        let host = match parameters.host {
            Some(_) if !host.is_empty() => return Err("the host once, not behind \"host=\" too".to_owned()),
            Some(other) => other,
            None => host,
        };
        let named = |name: String, default: &str| if name.is_empty() { default.to_owned() } else { name };
        let user = named(user, NAME);
        Ok(Self {
            place: ServerPlace::of(host, parameters.sslmode.as_deref(), parameters.sslrootcert)?,
            port,
            database: named(decoded(database)?, &user),
            user,
            passfile: parameters.passfile,
        })
    }
}

/// For people; the user and whatever is secret isn't in it.
impl fmt::Display for LedgerServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, database, .. } = self;
        match &self.place {
            ServerPlace::Socket(dir) => write!(f, "{database} at {}/.s.PGSQL.{port}", dir.display()),
            ServerPlace::Tls { host, .. } | ServerPlace::Plain { host } if host.contains(':') => {
                write!(f, "{database} at [{host}]:{port}")
            }
            ServerPlace::Tls { host, .. } | ServerPlace::Plain { host } => write!(f, "{database} at {host}:{port}"),
        }
    }
}

impl Read for LedgerServer {
    const SHAPE: super::Shape = super::Shape::Text;
    const EXPECTED: &'static str = "a URL such as \"postgres://hostel@db.example/hostel\", or \"postgres:///hostel\" for a \
                                    server on this host";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        match cell.text()?.parse() {
            Ok(server) => Some(server),
            Err(why) => {
                // What is wrong may be that a password is there.
                cell.wrong_but_secret(why);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> LedgerServer {
        url.parse().unwrap()
    }

    fn tls(host: &str) -> ServerPlace {
        ServerPlace::Tls {
            host: host.into(),
            roots: None,
        }
    }

    #[test]
    fn urls_as_libpq_has_them() {
        let plain = read("postgres://");
        assert_eq!(plain.place, ServerPlace::Socket(SOCKETS.into()));
        assert_eq!((plain.port, &*plain.user, &*plain.database), (5432, "hostel", "hostel"));
        assert_eq!(plain.to_string(), "hostel at /var/run/postgresql/.s.PGSQL.5432");
        let all = read("postgresql://h%40x@db.example:6543/fleet?sslrootcert=/etc/ca.pem&passfile=/etc/hostel/p%20w");
        let roots = Some("/etc/ca.pem".into());
        let host = "db.example".to_owned();
        assert_eq!(all.place, ServerPlace::Tls { host, roots });
        assert_eq!((all.port, &*all.user, &*all.database), (6543, "h@x", "fleet"));
        assert_eq!(all.passfile, Some("/etc/hostel/p w".into()));
        let six = read("postgres://u@[2001:db8::1]:77");
        assert_eq!((&six.place, six.port, &*six.database), (&tls("2001:db8::1"), 77, "u"));
        assert_eq!(six.to_string(), "u at [2001:db8::1]:77");
        assert_eq!(read("postgres://h/d?sslmode=verify-full").place, tls("h"));
        let plain = ServerPlace::Plain { host: "h".into() };
        assert_eq!(read("postgres://h/d?sslmode=disable").place, plain);
        let socket = ServerPlace::Socket("/run/pg".into());
        for url in [
            "postgres://%2Frun%2Fpg/d",
            "postgres:///d?host=/run/pg",
            "postgres://:5432/d?host=/run/pg&sslmode=disable",
        ] {
            assert_eq!(read(url).place, socket, "{url}");
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        for (url, why) in [
            ("mysql://h/d", "postgres://"),
            ("", "postgres://"),
            ("postgres://u:secret@h/d", "passfile"),
            ("postgres://h/d?password=secret", "passfile"),
            ("postgres://h/d?sslmode=require", "require"),
            ("postgres://h/d?sslmode=prefer", "prefer"),
            ("postgres:///d?sslmode=verify-full", "socket"),
            ("postgres://h/d?sslmode=disable&sslrootcert=/c", "sslrootcert"),
            ("postgres://h/d?sslcert=/c", "sslcert"),
            ("postgres://h/d?passfile=pass", "absolute"),
            ("postgres://a,b/d", "one server"),
            ("postgres://h:0/d", "port"),
            ("postgres://h:x/d", "port"),
            ("postgres://[::1/d", "]"),
            ("postgres://[::1]x/d", "behind the address"),
            ("postgres://h/d%2", "%"),
            ("postgres://h/d%+1", "%"),
            ("postgres://h/%0a", "control"),
            ("postgres://h/d?host=/run", "once"),
        ] {
            let said = url.parse::<LedgerServer>().expect_err(url);
            assert!(said.contains(why) && !said.contains("secret"), "{url}: {said}");
        }
    }
}
