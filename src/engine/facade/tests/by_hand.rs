//! What somebody has changed by hand beside VEs that run: an audit tells of it, and mends it.

use hostel_system::net::Network as _;

use super::*;
use crate::testing::{Fakes, again, fakes, host, started, with_ve};

/// What an audit finds, as "kind: object".
fn found(host: &Arc<Host>, fix: bool) -> Vec<String> {
    let all = engine(host).audit(fix).unwrap();
    // A disk of fakes keeps the name under which it was made.
    let all = all.iter().filter(|o| o.kind != "loop device");
    all.map(|o| format!("{}: {}", o.kind, o.object)).collect()
}

/// What is done to a host is found as this, and mended.
#[track_caller]
fn is_mended(host: &Arc<Host>, expected: &str) {
    assert_eq!(found(host, true), [expected]);
    assert_eq!(found(host, false), [""; 0]);
}

#[test]
fn rules_elements_routes_and_queues() {
    let host = host().make();
    with_ve(&host, &[("net.out", "10Mbit")]);
    started(&host);
    assert_eq!(found(&host, false), [""; 0]);
    let table = host.config.nft_table.as_str();
    let member = host.firewall.members(table).unwrap().remove(0);
    let foreign: fn(&Arc<Host>) = |host| {
        let table = host.config.nft_table.as_str();
        let mut members = host.firewall.members(table).unwrap();
        members[0].addresses.push("10.77.0.99".parse().unwrap());
        host.firewall.admit(table, &members).unwrap();
    };
    type Harm = (&'static str, fn(&Arc<Host>));
    let harms: [Harm; 4] = [
        ("firewall table: hostel", |host| fakes(host).firewall.tamper()),
        ("firewall element: elements of hv101.0", foreign),
        ("interface: hv101.0", |host| fakes(host).network.lose_routes()),
        ("interface: hv101.o", |host| fakes(host).network.lose_queues()),
    ];
    for (expected, harm) in harms {
        harm(&host);
        is_mended(&host, expected);
        assert_eq!(host.firewall.members(table).unwrap(), std::slice::from_ref(&member));
    }
    assert_eq!(fakes(&host).network.shapers("hv").unwrap(), ["hv101.o"]);
}

#[test]
fn rules_that_the_definitions_want_no_more() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let file = host.dirs.definitions("networks").join("other.toml");
    std::fs::write(&file, "kind = \"nat\"\npools = [\"10.79.0.0/24\"]\n").unwrap();
    is_mended(&host, "firewall table: hostel");
    // Without VEs nobody is in need of them.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    std::fs::remove_file(file).unwrap();
    assert_eq!(found(&host, false), [""; 0]);
}

#[test]
fn a_table_of_a_name_that_was_changed() {
    let old = host().make();
    with_ve(&old, &[]);
    started(&old);
    let file = &old.config_file;
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("nft_table = \"other\"\n{text}")).unwrap();
    let host = again(&old);
    let f: &Fakes = fakes(&host);
    let all = found(&host, true);
    assert!(all.contains(&"firewall table: hostel".to_owned()), "{all:?}");
    assert!(f.firewall.has_table("other") && !f.firewall.has_table("hostel"));
    assert_eq!(host.firewall.members("other").unwrap().len(), 1);
    assert_eq!(found(&host, false), [""; 0]);
}

#[test]
fn a_vlan_whose_bridge_was_removed() {
    let lan = "kind = \"bridge\"\npools = [\"192.0.2.0/24\"]\nuplink = \"eth1\"\nvlan = 20\n";
    let host = host().file("networks/lan.toml", lan).make();
    with_ve(&host, &[("network.0.network", "lan")]);
    started(&host);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    fakes(&host).network.lose_bridges();
    assert_eq!(found(&host, false), [""; 0], "its network is there");
    act(&host, &Action::Destroy { force: false }).unwrap();
    std::fs::remove_file(host.dirs.definitions("networks").join("lan.toml")).unwrap();
    is_mended(&host, "interface: vlhv-lan");
}
