//! Hardware addresses of VEs' interfaces: made from id and index, so that they are the same after every start.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::id::VeId;

/// A hardware (MAC) address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// A text that is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a hardware address; write six bytes such as \"02:68:00:00:65:00\"")]
pub struct MacError(String);

/// Marks Hostel's among the locally administered addresses: 02 (local, unicast), then 'h'.
const PREFIX: [u8; 2] = [0x02, 0x68];

/// In the third byte of the addresses of host ends.
const HOST_END: u8 = 0x10;

impl Mac {
    /// What the addresses of all VEs' own ends have in common: these bytes, where the mask has ones.
    pub const OF_GUESTS: [[u8; 6]; 2] = [[PREFIX[0], PREFIX[1], 0, 0, 0, 0], [0xff, 0xff, 0xf0, 0, 0, 0]];

    /// The address of the VE's own end of its interface `index`.
    pub fn guest(id: VeId, index: u8) -> Self {
        Self::of(id, index, 0)
    }

    /// The address of the host's end.
    pub fn host(id: VeId, index: u8) -> Self {
        Self::of(id, index, HOST_END)
    }

    /// Ids have 20 bits, so the high half of the third byte is free to tell the ends apart.
    fn of(id: VeId, index: u8, end: u8) -> Self {
        let [_, high, middle, low] = id.get().to_be_bytes();
        Self([PREFIX[0], PREFIX[1], end | high, middle, low, index])
    }

    /// The address that a guest makes for itself from a router's announcement of this prefix (RFC 4291, appendix A);
    /// `None` if the prefix isn't IPv6's of 64 bits.
    pub fn announced(self, prefix: IpNetwork) -> Option<Ipv6Addr> {
        let IpNetwork::V6(prefix) = prefix else { return None };
        let [a, b, c, d, e, f] = self.0;
        let own = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        (prefix.prefix() == 64).then(|| Ipv6Addr::from_bits(prefix.network().to_bits() | u128::from(own)))
    }

    /// Which of its VE's interfaces has it, if it was made of an id: the number that it was made from.
    pub const fn index(self) -> u8 {
        let [.., index] = self.0;
        index
    }

    /// Can it be that of one interface: not of a group, and not all zeros?
    pub const fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Is it one of those that host ends have, whichever VE's?
    pub const fn is_of_host(self) -> bool {
        let [first, second, third, ..] = self.0;
        first == PREFIX[0] && second == PREFIX[1] && third & 0xf0 == HOST_END
    }

    /// The six bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<String> = self.0.iter().map(|b| format!("{b:02x}")).collect();
        f.pad(&text.join(":"))
    }
}

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let bad = || MacError(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let mut bytes = [0; 6];
        if parts.len() != bytes.len() {
            return Err(bad());
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_written() {
        let id = VeId::try_from(101).unwrap();
        assert_eq!(Mac::guest(id, 0).to_string(), "02:68:00:00:65:00");
        assert_eq!(Mac::host(id, 3).to_string(), "02:68:10:00:65:03");
        for text in [
            "",
            "02:68:00:00:65",
            "02:68:00:00:65:0",
            "02:68:00:00:65:0g",
            "02:68:00:00:65:00:00",
            "+2:68:00:00:65:00",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn local_unicast_and_one_for_each_end(a in VeId::MIN..=VeId::MAX, b in VeId::MIN..=VeId::MAX, i: u8, j: u8) {
            let (va, vb) = (VeId::try_from(a).unwrap(), VeId::try_from(b).unwrap());
            let (x, y) = (Mac::guest(va, i), Mac::guest(vb, j));
            prop_assert_eq!(x == y, (a, i) == (b, j));
            prop_assert_ne!(x, Mac::host(vb, j));
            prop_assert_eq!(x.bytes()[0] & 0b11, 0b10);
            prop_assert_eq!(x.to_string().parse(), Ok(x));
        }
    }
}
