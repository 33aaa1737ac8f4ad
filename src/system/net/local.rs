//! What the host itself has: its addresses, and the ports that its own services listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{Local, inspect, message};
use crate::{Error, Result};

/// TCP_LISTEN and TCP_CLOSE; the latter is what a UDP socket is in that nobody is connected by.
const LISTENS: [(&str, &str); 2] = [("tcp", "0A"), ("udp", "07")];

const FILTERED: [&str; 2] = [
    "sys/net/bridge/bridge-nf-call-iptables",
    "sys/net/bridge/bridge-nf-call-ip6tables",
];

/// See [`super::Network::local`]. `proc`: where proc is mounted.
pub(super) fn local(proc: &Path) -> Result<Local> {
    let mut netlink = inspect::open()?;
    let answers = netlink
        .dump(&message::list_addresses())
        .map_err(|r| r.into_error("list", "addresses"))?;
    let addresses = answers.iter().filter_map(|a| inspect::read_local_address(a)).collect();
    let [tcp, udp] = LISTENS.map(|(protocol, state)| services(proc, protocol, state));
    Ok(Local {
        addresses,
        tcp: tcp?,
        udp: udp?,
        bridges_filtered: FILTERED.iter().any(|setting| is_on(&proc.join(setting))),
    })
}

/// See [`super::Network::own`]. One is asked for at a time: a host of many VEs has more addresses than these are.
pub(super) fn own(addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = inspect::open()?;
    let mut own = Vec::new();
    for &address in addresses {
        match netlink.get(&message::find_route(address)) {
            Ok(route) if inspect::is_local_route(&route) => own.push(address),
            Ok(_) => {}
            // No route leads there, or one that refuses: what the host has itself, there is always one to.
            Err(refusal) if UNROUTED.contains(&refusal.errno()) => {}
            Err(refusal) => return Err(refusal.into_error("look up the route to", address)),
        }
    }
    Ok(own)
}

/// What the kernel says of addresses without a route, with one of the kinds unreachable, prohibit or blackhole, or of a
/// family that it doesn't have.
const UNROUTED: [i32; 6] = [
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::EACCES,
    libc::EINVAL,
    libc::EAFNOSUPPORT,
    libc::EOPNOTSUPP,
];

/// Where the module isn't loaded, there is no such setting.
fn is_on(setting: &Path) -> bool {
    std::fs::read_to_string(setting).is_ok_and(|text| text.trim() != "0")
}

/// The sockets of one protocol and both families that wait for others.
fn services(proc: &Path, protocol: &str, state: &str) -> Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for file in [protocol.to_owned(), format!("{protocol}6")] {
        let path = proc.join("thread-self/net").join(file);
        let text = match std::fs::read_to_string(&path) {
            // A kernel without IPv6.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|e| Error::os("read", path.display(), e))?,
        };
        all.extend(text.lines().filter_map(|line| read_service(line, state)));
    }
    Ok(all)
}

/// The local end in a line of /proc/net/tcp and the like, if the socket is in that state.
fn read_service(line: &str, state: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _, in_state) = (words.next()?, words.next()?, words.next()?);
    if in_state != state {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    // 32 bits each, as the processor reads what is in network order.
    let word = |n: usize| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok();
    let word = |n: usize| word(n).map(u32::to_ne_bytes);
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from_octets(word(0)?).into(),
        32 => {
            let octets = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Ipv6Addr::from_octets(octets.try_into().ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::net::testing::Space;

    #[test]
    fn what_a_host_has_itself() {
        let Some(host) = Space::new() else { return };
        host.ip("link add d0 type veth peer name d1");
        host.ip("addr add 203.0.113.1/24 dev d0");
        host.ip("addr add 2001:db8::1/64 dev d0 nodad");
        let (local, tcp, udp) = host.run(|| {
            let tcp = ["203.0.113.1:0", "[::1]:0"].map(|a| TcpListener::bind(a).unwrap());
            let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
            let ends = tcp.each_ref().map(|t| t.local_addr().unwrap());
            (
                super::local(Path::new("/proc")).unwrap(),
                ends,
                udp.local_addr().unwrap(),
            )
        });
        for own in ["127.0.0.1", "::1", "203.0.113.1", "2001:db8::1"] {
            assert!(local.addresses.contains(&own.parse().unwrap()), "{own}: {local:?}");
        }
        assert_eq!((local.tcp, local.udp), (tcp.to_vec(), vec![udp]));
        // One of them, one of its subnet, one behind a router, one that is refused, and one without a route.
        host.ip("link set d0 up");
        host.ip("route add 198.51.100.0/24 via 203.0.113.9 dev d0");
        host.ip("route add unreachable 192.0.2.0/24");
        let all = [
            "203.0.113.1",
            "203.0.113.2",
            "198.51.100.1",
            "192.0.2.1",
            "10.1.1.1",
            "2001:db8::1",
            "2001:db8::2",
        ];
        let all = all.map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(host.run(|| super::own(&all)).unwrap(), [all[0], all[5]]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line: String) {
            let _ = read_service(&line, "0A");
        }
    }
}
