//! Networks of kind "bridge": what is made for a VE on one, in which order, and what is left.

use hostel_system::net::Network as _;

use super::*;
use crate::testing::{fakes, host, inventory, order, started, with_ve};

const LAN: &str = "kind = \"bridge\"\npools = [\"192.0.2.0/24\", \"2001:db8:88::/64\"]\ngateway = [\"192.0.2.1\"]\n\
    host_addresses = [\"192.0.2.1\"]\nuplink = \"eth1\"\nvlan = 20\n";
const ON_LAN: &[(&str, &str)] = &[("network.0.network", "lan")];

fn on_lan(lan: &str, settings: &[(&str, &str)]) -> Arc<Host> {
    let host = host().file("networks/lan.toml", lan).make();
    with_ve(&host, &[ON_LAN, settings].concat());
    host
}

/// What an audit finds in the network.
fn kinds(host: &Arc<Host>) -> Vec<String> {
    let found = engine(host).audit(false).unwrap();
    let network = ["bridge", "interface", "firewall element", "setting"];
    let of_network = found.into_iter().filter(|o| network.contains(&o.kind.as_str()));
    of_network.map(|o| format!("{}: {}", o.kind, o.object)).collect()
}

#[test]
fn a_start_makes_the_bridge_and_the_rules_before_the_port() {
    let host = on_lan(LAN, &[("network.0.allow_ra", "true")]);
    started(&host);
    let f = fakes(&host);
    let bridges = f.network.own_bridges();
    let own = bridges[0].own.as_ref().unwrap();
    assert_eq!((bridges.len(), bridges[0].name.as_str()), (1, "brhv-lan"));
    assert_eq!(own.addresses, ["192.0.2.1/24".parse().unwrap()]);
    let uplink = own.uplink.as_ref().unwrap();
    assert_eq!(
        (uplink.name.as_str(), uplink.vlan.as_ref().unwrap().device.as_str()),
        ("eth1", "vlhv-lan")
    );
    let link = &f.network.links()[0];
    let port = link.port.as_ref().unwrap();
    assert_eq!((port.bridge.as_str(), port.any_mac), ("brhv-lan", false));
    assert_eq!(port.gateways, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    let member = &host.members().unwrap()[0];
    let rules = member.port.as_ref().unwrap();
    assert!(rules.router && !rules.any_mac && !rules.any_ip && !rules.dhcp_server && !rules.hears_ra);
    assert_eq!(member.addresses, link.addresses);
    let calls = f.network.calls();
    let at = |what: &str| calls.iter().position(|c| c.starts_with(what)).unwrap();
    assert!(at("bridge") < at("attach"), "{calls:?}");
    assert_eq!(kinds(&host), [""; 0]);
}

#[test]
fn a_bridge_stays_with_its_network_and_goes_with_it() {
    let host = on_lan(LAN, &[]);
    started(&host);
    let definition = host.dirs.config().join("networks/lan.toml");
    // While a VE is on it, whatever the definition says.
    std::fs::write(
        &definition,
        LAN.replace("isolated", "x")
            .replace("uplink = \"eth1\"\nvlan = 20\n", ""),
    )
    .unwrap();
    assert_eq!(kinds(&host), [""; 0]);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(fakes(&host).network.own_bridges().len(), 1);
    assert_eq!(kinds(&host), [""; 0]);
    // One that can't be read may want it.
    std::fs::write(&definition, "kind = \n").unwrap();
    assert!(!kinds(&host).iter().any(|k| k.starts_with("bridge")));
    act(&host, &Action::Destroy { force: false }).unwrap_or_else(|_| panic!("a stopped VE can be destroyed"));
    std::fs::remove_file(&definition).unwrap();
    assert_eq!(kinds(&host), ["bridge: brhv-lan"]);
    engine(&host).audit(true).unwrap();
    assert!(fakes(&host).network.own_bridges().is_empty());
}

#[test]
fn a_bridge_that_somebody_has_removed_is_made_again_with_all_who_were_on_it() {
    let host = on_lan(LAN, &[]);
    started(&host);
    for name in ["web2", "web3"] {
        engine(&host).create(&order(name, ON_LAN), &Silent).unwrap();
    }
    let ports = || fakes(&host).network.bridges("hv").unwrap().remove(0).ports;
    let lose = || fakes(&host).network.lose_bridge("brhv-lan");
    let on = |n: u32, heard: &Heard| engine(&host).act(id(n), &start(), heard).unwrap();
    lose();
    let heard = Heard::default();
    on(102, &heard);
    assert!(
        heard.notes().iter().any(|n| n.contains("web1 is on it again")),
        "{:?}",
        heard.notes()
    );
    assert_eq!(ports(), ["hv101.0", "hv102.0"]);
    // One that can't be put back keeps nobody from starting, and is found.
    lose();
    fakes(&host).network.fail_method(Some("rejoin"));
    let heard = Heard::default();
    on(103, &heard);
    assert!(
        heard.notes().iter().any(|n| n.contains("web1 is not on it")),
        "{:?}",
        heard.notes()
    );
    fakes(&host).network.fail_method(None);
    let audit = |fix: bool| {
        let found = engine(&host)
            .audit(fix)
            .unwrap()
            .into_iter()
            .filter(|o| o.kind == "port");
        found.map(|o| (o.kind, o.object, o.fixed)).collect::<Vec<_>>()
    };
    let of = |name: &str, fixed| ("port".to_owned(), name.to_owned(), fixed);
    assert_eq!(audit(false), [of("hv101.0", false), of("hv102.0", false)]);
    assert_eq!(audit(true), [of("hv101.0", true), of("hv102.0", true)]);
    assert_eq!(ports(), ["hv101.0", "hv102.0", "hv103.0"]);
    lose();
    assert_eq!(audit(true).len(), 3);
    assert!(audit(false).is_empty() && ports().len() == 3);
}

#[test]
fn a_failure_anywhere_leaves_nothing_but_the_networks_bridge() {
    let host = on_lan(LAN, &[]);
    started(&host);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    let before = inventory(&host);
    for method in ["bridge", "attach", "prepare_host"] {
        fakes(&host).network.fail_method(Some(method));
        act(&host, &start()).unwrap_err();
        fakes(&host).network.fail_method(None);
        assert_eq!(inventory(&host), before, "{method}");
    }
    for method in ["standing", "admit"] {
        fakes(&host).firewall.fail_method(Some(method));
        act(&host, &start()).unwrap_err();
        fakes(&host).firewall.fail_method(None);
        assert_eq!(inventory(&host), before, "{method}");
    }
    started(&host);
}

#[test]
fn somebody_elses_bridge_must_be_there() {
    let host = on_lan("kind = \"bridge\"\npools = [\"192.0.2.0/24\"]\nbridge = \"br0\"\n", &[]);
    act(&host, &start()).unwrap_err();
    fakes(&host).network.add_foreign_bridge("br0");
    started(&host);
    assert_eq!(fakes(&host).network.links()[0].port.as_ref().unwrap().bridge, "br0");
    assert!(fakes(&host).network.bridges("hv").unwrap().is_empty());
    assert_eq!(kinds(&host), [""; 0]);
}

#[test]
fn a_bridge_that_looks_like_a_ves_interface_is_refused() {
    let host = on_lan(
        "kind = \"bridge\"\npools = [\"192.0.2.0/24\"]\nbridge = \"hvbr0\"\n",
        &[],
    );
    fakes(&host).network.add_foreign_bridge("hvbr0");
    let error = act(&host, &start()).unwrap_err();
    assert_eq!(error.class, Class::Usage);
    assert!(fakes(&host).network.links().is_empty());
}

#[test]
fn who_reaches_whom() {
    let side = |lan: &str, tenant: &str| {
        let host = on_lan(lan, &[("tenant", tenant)]);
        started(&host);
        host.members().unwrap()[0].port.as_ref().unwrap().side
    };
    let open = format!("{LAN}isolated = false\n");
    assert_eq!(side(LAN, "acme"), side(LAN, "acme"));
    assert_ne!(side(LAN, "acme"), side(LAN, "default"));
    assert_eq!(side(&open, "acme"), side(&open, "default"));
    assert_ne!(side(&open, "acme"), side(LAN, "acme"));
}

#[test]
fn a_suspended_ve_goes_on_on_its_bridge_or_not_at_all() {
    let host = on_lan(LAN, &[]);
    started(&host);
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    let definition = host.dirs.config().join("networks/lan.toml");
    std::fs::write(
        &definition,
        "kind = \"routed\"\npools = [\"192.0.2.0/24\", \"2001:db8:88::/64\"]\n",
    )
    .unwrap();
    let error = act(&host, &Action::Resume).unwrap_err();
    assert_eq!(error.class, Class::Refused);
    std::fs::write(&definition, LAN).unwrap();
    act(&host, &Action::Resume).unwrap();
    assert!(fakes(&host).network.links()[0].port.is_some());
    assert_eq!(kinds(&host), [""; 0]);
}

#[test]
fn addresses_announced_by_routers_are_the_ves_where_they_are_passed() {
    let host = on_lan(&format!("{LAN}pass_ra = true\n"), &[]);
    started(&host);
    let member = &host.members().unwrap()[0];
    assert!(member.port.as_ref().unwrap().hears_ra);
    let announced: std::net::IpAddr = "2001:db8:88::68:ff:fe00:6500".parse().unwrap();
    assert!(member.addresses.contains(&announced), "{member:?}");
}

/// Also where one of them was given to a VE: it is there once, and the rules of all can be loaded.
#[test]
fn an_announced_address_that_was_given_is_there_once() {
    const ANNOUNCED: &str = "2001:db8:88::68:ff:fe00:6500";
    let of_ve = |id: u32, host: &Host| {
        let name = format!("hv{id}.0");
        let members = host.members().unwrap().into_iter();
        let of_it = members.filter(|m| m.interface == name).flat_map(|m| m.addresses);
        of_it.filter(|address| ANNOUNCED.parse() == Ok(*address)).count()
    };
    let given = [("network.0.addresses", ANNOUNCED)];
    let host = on_lan(&format!("{LAN}pass_ra = true\n"), &given);
    started(&host);
    assert_eq!(of_ve(101, &host), 1);
    // To another than who makes it.
    let host = on_lan(&format!("{LAN}pass_ra = true\n"), &[]);
    started(&host);
    let two = order("web2", &[("network.0.network", "lan"), given[0]]);
    engine(&host).create(&two, &Silent).unwrap();
    engine(&host).act(id(102), &start(), &Silent).unwrap();
    assert_eq!((of_ve(101, &host), of_ve(102, &host)), (0, 1));
    fakes(&host).firewall.flush();
    assert!(!host.mend_broken().unwrap().is_empty());
    assert!(kinds(&host).is_empty());
}

#[test]
fn an_uplink_that_takes_smaller_packets_is_told_of_at_each_start() {
    let lan = "kind = \"bridge\"\npools = [\"192.0.2.0/24\"]\nuplink = \"eth1\"\nmtu = 9000\n";
    let host = on_lan(lan, &[]);
    fakes(&host).network.set_mtu("eth1", 1500);
    for _ in 0..2 {
        let heard = Heard::default();
        engine(&host).act(id(101), &start(), &heard).unwrap();
        let told = heard.notes();
        assert!(
            told.iter()
                .any(|n| n.contains("the 1500 bytes that its uplink eth1 takes") && n.contains("9000")),
            "{told:?}"
        );
        act(&host, &Action::Stop { timeout: None }).unwrap();
    }
}

/// A guest decides when it reboots, and an allowance that is withdrawn isn't to wait for that.
#[test]
fn what_a_ve_may_do_changes_at_once() {
    let host = on_lan("kind = \"bridge\"\npools = [\"192.0.2.0/24\"]\n", &[]);
    started(&host);
    let may = || {
        let links = fakes(&host).network.links();
        let members = host.firewall.members("hostel").unwrap();
        let port = members[0].port.clone().unwrap();
        (links[0].port.as_ref().unwrap().any_mac, port.any_mac, port.router)
    };
    assert_eq!(may(), (false, false, false));
    for on in [true, false] {
        let settings = ["mac_spoofing", "ra"].map(|what| (format!("network.0.allow_{what}"), on.to_string()));
        let report = engine(&host).set(&web1(), &settings, false, &Silent).unwrap();
        assert_eq!((report.applied.len(), report.waiting.len()), (2, 0), "{report:?}");
        assert_eq!(may(), (on, on, on));
    }
    assert!(kinds(&host).is_empty());
}
