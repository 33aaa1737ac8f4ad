//! venet, veth and the traffic on them.

use crate::openvz::key::{Act, Becomes, By, Group, Key};

const GATEWAY: &str = "its network says where packets go";
const HOST_END: &str = "Hostel names the host's end";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        &["ipadd"],
        &["IP_ADDRESS"],
        Group::Network,
        Becomes::act(
            Act::AddAddress,
            "the address must be of a pool of a network of Hostel's; the VE is put on that network; a mask is not heeded",
        ),
    ),
    Key::new(
        &["ipdel"],
        &[],
        Group::Network,
        Becomes::act(
            Act::RemoveAddress,
            "with the last address on a network the VE leaves it; bridges, and their addresses, stay with `all`",
        ),
    ),
    Key::new(
        &["skip_arpdetect"],
        &[],
        Group::Network,
        Becomes::NoEffect("whether the LAN is asked for an address is said by its network (probe)"),
    )
    .flag(),
    Key::new(
        &["netif_add"],
        &[],
        Group::Network,
        Becomes::act(
            Act::AddInterface,
            "puts it on Hostel's network of that bridge (or of that name), with an address of its pool; inside it has the first \
             name of eth0, eth1 … that is free, and one for the addresses of --ipadd is among those; a line tells it where it \
             is not the one asked for",
        ),
    ),
    Key::new(
        &["netif_del"],
        &[],
        Group::Network,
        Becomes::act(Act::RemoveInterface, "`all` takes away those on bridges; the others keep their names"),
    ),
    Key::new(
        &[],
        &["NETIF"],
        Group::Network,
        Becomes::act(Act::Interfaces, "each on Hostel's network of that bridge, or of that name"),
    ),
    Key::new(
        &["ifname"],
        &[],
        Group::Network,
        Becomes::act(
            Act::NameInterface,
            "by its name inside, which NETIF and vzlist tell too; it must be on a bridge",
        ),
    ),
    Key::new(&["mac"], &[], Group::Network, Becomes::act(Act::Mac, "")),
    Key::new(
        &["bridge"],
        &[],
        Group::Network,
        Becomes::act(Act::Bridge, "moves it to Hostel's network of that bridge, or of that name"),
    ),
    Key::new(
        &["mac_filter"],
        &[],
        Group::Network,
        Becomes::act(Act::MacFilter, "on is what every VE has; off is allow_mac_spoofing"),
    ),
    Key::new(&["host_ifname"], &[], Group::Network, Becomes::NoEffect(HOST_END)),
    Key::new(&["host_mac"], &[], Group::Network, Becomes::NoEffect(HOST_END)),
    Key::new(
        &["network"],
        &[],
        Group::Network,
        Becomes::act(Act::Network, "a network of Hostel's"),
    )
    .vz7(),
    Key::new(
        &["dhcp"],
        &[],
        Group::Network,
        Becomes::act(Act::Dhcp, "lets it ask (allow_dhcp_client); it can use its own addresses alone"),
    )
    .vz7(),
    Key::new(
        &["dhcp6"],
        &[],
        Group::Network,
        Becomes::act(Act::Dhcp, "lets it ask (allow_dhcp_client); it can use its own addresses alone"),
    )
    .vz7(),
    Key::new(&["gw"], &[], Group::Network, Becomes::NoEffect(GATEWAY)).vz7(),
    Key::new(&["gw6"], &[], Group::Network, Becomes::NoEffect(GATEWAY)).vz7(),
    Key::new(&["default_gateway"], &[], Group::Network, Becomes::NoEffect(GATEWAY)).vz7(),
    Key::new(
        &["configure", "nettype", "vporttype"],
        &[],
        Group::Network,
        Becomes::NoEffect("Hostel sets up what is inside itself, on networks of its own kinds"),
    )
    .vz7(),
    Key::new(
        &["netif_mac_renew"],
        &[],
        Group::Network,
        Becomes::NoEffect("hardware addresses are made from the VE's id, so they are unique"),
    )
    .vz7(),
    Key::new(
        &["ext_ipadd"],
        &["EXT_IP_ADDRESS"],
        Group::Network,
        Becomes::Refused("an address that the host doesn't lead to it would never reach it; use --ipadd, or hostel forward"),
    )
    .vz7(),
    Key::new(
        &["ext_ipdel"],
        &[],
        Group::Network,
        Becomes::NoEffect("no VE has such an address"),
    )
    .vz7(),
    Key::new(
        &["netdev_add"],
        &["NETDEV"],
        Group::Network,
        Becomes::Refused("no interface of the host is given to a VE; put it on a network with an uplink"),
    ),
    Key::new(
        &["netdev_del"],
        &[],
        Group::Network,
        Becomes::NoEffect("no VE has an interface of the host"),
    ),
    Key::new(
        &["nameserver"],
        &["NAMESERVER"],
        Group::Network,
        Becomes::near(
            &["dns"],
            By::Inherited,
            "inherit means its networks', or else the host's; a VE that runs has them from its next start on",
        ),
    ),
    Key::new(
        &["searchdomain"],
        &["SEARCHDOMAIN"],
        Group::Network,
        Becomes::near(
            &["search"],
            By::Inherited,
            "inherit means its networks'; a VE that runs has them from its next start on",
        ),
    ),
    Key::new(
        &["rate"],
        &["RATE"],
        Group::Network,
        Becomes::act(
            Act::Rate,
            "a rate is the most that leaves the VE (net.out) once --ratebound is yes, and else only remembered; the class is not heeded",
        ),
    )
    .vz7(),
    Key::new(
        &["ratebound"],
        &["RATEBOUND"],
        Group::Network,
        Becomes::act(Act::RateBound, "makes the remembered rate the most that leaves the VE"),
    )
    .vz7(),
    Key::new(
        &[],
        &["TOTALRATE", "TRAFFIC_SHAPING"],
        Group::Network,
        Becomes::NoEffect("each VE has its own rates: net.in and net.out"),
    )
    .vz7(),
    Key::new(
        &["apply_iponly"],
        &["APPLY_IPONLY"],
        Group::Network,
        Becomes::NoEffect("Hostel writes addresses, host name and name servers alike"),
    )
    .vz7(),
    Key::new(
        &["numnetif"],
        &["NUMNETIF"],
        Group::Network,
        Becomes::NoEffect("a VE's interfaces are given to it by its definition, 32 at most"),
    )
    .vz7(),
    Key::new(
        &[],
        &["USE_NET_RPS"],
        Group::Network,
        Becomes::NoEffect("it is the host's to spread packets over processors"),
    )
    .vz7(),
    Key::new(
        &["netfilter"],
        &["NETFILTER"],
        Group::Network,
        Becomes::NoEffect("a VE has packet filters of its own, whole, in its own network namespace"),
    ),
    Key::new(
        &["iptables"],
        &["IPTABLES"],
        Group::Network,
        Becomes::NoEffect("a VE has packet filters of its own, whole, in its own network namespace"),
    ),
];
