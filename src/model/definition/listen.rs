//! `metrics.listen` of hostel.toml: where to serve.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::value::read_text;

/// A socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Listen {
    /// At a path, for root alone.
    Unix(PathBuf),
    /// At an address and a port, for whoever can reach it.
    Tcp(SocketAddr),
}

read_text! {
    Listen, "unix:PATH, or an address and a port such as \"127.0.0.1:9738\"";
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err("the path of a socket begins with \"/\": unix:/run/hostel/metrics.sock".to_owned()),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "write unix:PATH, or an address and a port: 127.0.0.1:9738 or [::1]:9738".to_owned()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds() {
        for good in ["unix:/run/x.sock", "127.0.0.1:9738", "[::1]:9738"] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for bad in ["", "unix:x", "9738", "localhost:9738", "/run/x.sock"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
