//! `host_services` of a network: what of the host itself its VEs reach.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::forward::Protocol;
use super::value::{read_list, read_text};
use crate::forward::Ports;

/// Ports of the host that VEs may connect to, beside what every VE may: ping it, and ask it for names and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum HostService {
    /// All that the host offers.
    All,
    /// Ports of TCP.
    Tcp(Ports),
    /// Ports of UDP.
    Udp(Ports),
}

impl FromStr for HostService {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let (protocol, ports) = text
            .split_once('/')
            .ok_or("a protocol and a port have a slash between them")?;
        let ports = ports.parse()?;
        Ok(match protocol.parse()? {
            Protocol::Tcp => Self::Tcp(ports),
            Protocol::Udp => Self::Udp(ports),
        })
    }
}

impl From<HostService> for String {
    fn from(service: HostService) -> Self {
        service.to_string()
    }
}

impl fmt::Display for HostService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tcp(ports) => write!(f, "tcp/{ports}"),
            Self::Udp(ports) => write!(f, "udp/{ports}"),
        }
    }
}

read_text! { HostService, "a protocol and a port or a range of ports such as \"tcp/22\" or \"udp/8000-8010\", or \"all\""; }

read_list! { HostService, List, "a list such as [\"tcp/22\", \"udp/8000-8010\"], or [\"all\"]"; }

#[cfg(test)]
mod tests {
    use crate::definition::Network;

    fn parse(services: &str) -> Result<Network, String> {
        let text = format!("kind = \"routed\"\npools = [\"192.0.2.0/24\"]\nhost_services = {services}\n");
        Network::parse("networks/n.toml", &text).map_err(|e| e.to_string())
    }

    #[test]
    fn services_are_read_and_written_alike() {
        let network = parse("[\"tcp/22\", \"udp/123\", \"tcp/8000-8010\", \"all\"]").unwrap();
        let texts: Vec<String> = network.host_services.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["tcp/22", "udp/123", "tcp/8000-8010", "all"]);
        assert!(parse("[]").unwrap().host_services.is_empty());
    }

    #[test]
    fn every_mistake_has_its_place() {
        for (services, place) in [
            ("\"all\"", "3:17"),
            ("[\"tcp/22\", \"tcp\"]", "3:28"),
            ("[\"tcp/0\"]", "3:18"),
            ("[\"tcp/65536\"]", "3:18"),
            ("[\"udp/10-9\"]", "3:18"),
            ("[\"icmp/1\"]", "3:18"),
            ("[\"tcp/ 22\"]", "3:18"),
            ("[\"ALL\"]", "3:18"),
            ("[22]", "3:18"),
        ] {
            let said = parse(services).unwrap_err();
            assert!(
                said.contains(&format!("n.toml:{place}")) && said.contains("tcp/22"),
                "{services}\n{said}"
            );
        }
    }
}
