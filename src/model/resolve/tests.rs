use super::*;
use crate::definition::{Direction, keys};

const PLAN: &str = "[memory]\nlimit = \"1GiB\"\n[disk]\nsize = \"10GiB\"\n";
const PUBLIC: &str = "kind = \"routed\"\npools = [\"203.0.113.0/24\", \"2001:db8::/64\"]\n\
                      exclude = [\"203.0.113.1\"]\ndns = [\"9.9.9.9\"]\n";

/// Two texts of TOML as one: keys of the second replace those of the first.
fn merged(base: &str, over: &str) -> String {
    fn merge(base: &mut toml::Table, over: toml::Table) {
        for (key, value) in over {
            match (base.get_mut(&key), value) {
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
                (_, value) => {
                    base.insert(key, value);
                }
            }
        }
    }
    let mut table: toml::Table = base.parse().unwrap();
    merge(&mut table, over.parse().unwrap());
    table.to_string()
}

/// A VE "web1" (101) of tenant "acme" with plan "small", where `plan` and `ve` are added to the two files.
pub(crate) fn effective(plan: &str, ve: &str) -> Effective {
    let base = "id = 101\nname = \"web1\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n";
    let text = merged(base, ve);
    let name = text.parse::<toml::Table>().unwrap()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let ve = VeDefinition::parse(&format!("ve/{name}.toml"), &text).unwrap();
    catalog(plan).resolve(&ve).unwrap()
}

pub(crate) fn tenant(text: &str) -> Tenant {
    Tenant::parse("tenants/acme.toml", text).unwrap()
}

fn catalog(plan: &str) -> Catalog {
    let plan = Plan::parse("plans/small.toml", &merged(&format!("processes = 500\n{PLAN}"), plan)).unwrap();
    let networks = vec![Network::parse("networks/public.toml", PUBLIC).unwrap()];
    Catalog {
        host: HostConfig::default(),
        plans: vec![plan],
        networks,
        tenants: vec![tenant("")],
    }
}

fn setting(ve: &Effective, key: &str) -> (String, String) {
    let (_, value, source) = ve.settings().into_iter().find(|(k, ..)| k == key).unwrap();
    (value, source)
}

#[test]
fn an_override_wins_over_the_plan() {
    let ve = effective(
        "[cpu]\ncap = 2\nweight = 50\ncount = 2\n[memory]\nswap = \"1GiB\"\n[io]\nread = \"50MiB\"",
        "[cpu]\ncap = \"150%\"\n[memory]\nlimit = \"2GiB\"\n[io]\nread = \"unlimited\"",
    );
    assert_eq!(ve.limits.cpu.cap_milli, Some(1500));
    assert_eq!(ve.limits.memory.limit, Some(Bytes::gib(2)));
    assert_eq!(ve.limits.memory.swap, Some(Bytes::gib(1)));
    assert_eq!((ve.limits.io.read_bytes, ve.limits.processes), (None, Some(500)));
    for (key, value, source) in [
        ("cpu.cap", "1.5", "override in ve/web1.toml"),
        ("cpu.weight", "50", "plan \"small\""),
        ("cpu.count", "2", "plan \"small\""),
        ("io.read", "unlimited", "override in ve/web1.toml"),
        ("io.weight", "100", "default"),
        ("memory.limit", "2GiB", "override in ve/web1.toml"),
        ("processes", "500", "plan \"small\""),
        ("name", "web1", "ve/web1.toml"),
        ("hostname", "web1", "default"),
        ("stop.timeout", "1m", "default"),
    ] {
        assert_eq!(setting(&ve, key), (value.to_owned(), source.to_owned()), "{key}");
    }
}

#[test]
fn what_is_forbidden_by_name_is_told_as_the_definitions_word() {
    let text = "id = 101\nname = \"web1\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n\
        [[network]]\nnetwork = \"lan\"\nallow_ra = false\nallow_dhcp_server = true\n";
    let lan = "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\n";
    let catalog = Catalog {
        networks: vec![Network::parse("networks/lan.toml", lan).unwrap()],
        ..catalog("")
    };
    let ve = VeDefinition::parse("ve/web1.toml", text).unwrap();
    let ve = catalog.resolve(&ve).unwrap();
    for (key, value, source) in [
        ("allow_ra", "false", "ve/web1.toml"),
        ("allow_dhcp_server", "true", "ve/web1.toml"),
        ("allow_ip_spoofing", "false", "default"),
        ("allow_mac_spoofing", "false", "default"),
    ] {
        let has = setting(&ve, &format!("network.0.{key}"));
        assert_eq!(has, (value.to_owned(), source.to_owned()), "{key}");
    }
}

#[test]
fn swap_that_nobody_granted_is_none() {
    assert_eq!(effective("", "").limits.memory.swap, Some(Bytes(0)));
    assert_eq!(effective("", "[memory]\nswap = \"unlimited\"").limits.memory.swap, None);
    assert_eq!(
        effective("", "[memory]\nlimit = \"unlimited\"").limits.memory.swap,
        None,
        "it may have all of both"
    );
}

#[test]
fn the_chain_of_defaults() {
    let ve = VeDefinition::parse(
        "ve/a.toml",
        "id = 101\nname = \"a\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"",
    )
    .unwrap();
    let mut all = catalog("");
    all.host = HostConfig::parse("hostel.toml", "[defaults]\nshare = \"none\"\nstop_timeout = \"5m\"").unwrap();
    let got = all.resolve(&ve).unwrap();
    assert_eq!(setting(&got, "share"), ("none".into(), "hostel.toml".into()));
    assert_eq!(setting(&got, "stop.timeout"), ("5m".into(), "hostel.toml".into()));
    assert_eq!(setting(&got, "start.timeout"), ("2m".into(), "default".into()));
    all.tenants = vec![tenant("share = \"host\"")];
    assert_eq!(
        setting(&all.resolve(&ve).unwrap(), "share"),
        ("host".into(), "tenant \"acme\"".into())
    );
}

#[test]
fn networks_bring_their_name_servers() {
    let ve = effective("", "[[network]]\nnetwork = \"public\"");
    assert_eq!(ve.interfaces[0].addresses, Addresses::Auto);
    assert_eq!(setting(&ve, "dns"), ("9.9.9.9".into(), "network \"public\"".into()));
    assert_eq!(setting(&ve, "network.0.addresses"), ("auto".into(), "default".into()));
    let own = effective("", "dns = []\n[[network]]\nnetwork = \"public\"");
    assert_eq!(setting(&own, "dns"), ("none".into(), "ve/web1.toml".into()));
    assert_eq!(setting(&effective("", ""), "dns"), ("none".into(), "default".into()));
    let text = "id = 101\nname = \"a\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n\
                [[network]]\nnetwork = \"silent\"";
    let mut all = catalog("");
    all.networks =
        vec![Network::parse("networks/silent.toml", "kind = \"routed\"\npools = [\"10.0.0.0/24\"]").unwrap()];
    let silent = all.resolve(&VeDefinition::parse("ve/a.toml", text).unwrap()).unwrap();
    assert_eq!(setting(&silent, "dns"), ("the host's own".into(), "default".into()));
}

#[test]
fn what_does_not_exist_is_named() {
    let text = |plan, tenant, network| {
        format!(
            "id = 101\nname = \"a\"\ntenant = \"{tenant}\"\ntemplate = \"d\"\nplan = \"{plan}\"\n\
             [[network]]\nnetwork = \"{network}\""
        )
    };
    for (plan, tenant, network, expected) in [
        (
            "smal",
            "acme",
            "public",
            "ve/a.toml: plan is \"smal\", which doesn't exist; expected \"small\"",
        ),
        (
            "small",
            "acne",
            "public",
            "ve/a.toml: tenant is \"acne\", which doesn't exist; expected \"acme\"",
        ),
        (
            "small",
            "acme",
            "x",
            "ve/a.toml: network.0.network is \"x\", which doesn't exist; expected \"public\"",
        ),
    ] {
        let ve = VeDefinition::parse("ve/a.toml", &text(plan, tenant, network)).unwrap();
        assert_eq!(catalog("").resolve(&ve).unwrap_err().to_string(), expected);
    }
}

/// A key that is added to the tables must come out here too, with its value and its source.
#[test]
fn every_key_is_a_setting() {
    let more = "[openvz]\nNUMFILE = \"9312\"\n[[network]]\nnetwork = \"public\"\n[[forward]]\nlisten = 80";
    let ve = effective("", more);
    let settings: Vec<String> = ve
        .settings()
        .into_iter()
        .map(|(k, ..)| k.replace(".0.", ".N.").replace("openvz.NUMFILE", "openvz.KEY"))
        .collect();
    let known: Vec<String> = keys()
        .iter()
        .map(|k| k.key.clone())
        .filter(|k| k != "network" && k != "forward" && !k.starts_with("firewall.rule."))
        .collect();
    assert_eq!(settings, known);
    for (key, ..) in ve.settings() {
        assert!(ve.sources.contains_key(&key), "{key} has no source");
    }
    assert_eq!(ve.sources.len(), settings.len());
}

#[test]
fn a_tenants_access_rules_come_first_and_a_ves_own_default_wins() {
    let own = "[firewall]\nin = \"allow\"\n[[firewall.rule]]\ndirection = \"in\"\naction = \"allow\"\n";
    let file = "id = 101\nname = \"web1\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n";
    let ve = VeDefinition::parse("ve/web1.toml", &format!("{file}{own}")).unwrap();
    let acme = "[firewall]\nin = \"deny\"\nout = \"deny\"\n[[firewall.rule]]\ndirection = \"out\"\naction = \"allow\"\n\
                [[firewall.rule]]\ndirection = \"in\"\naction = \"deny\"\nprotocol = \"tcp\"\n";
    let all = Catalog {
        tenants: vec![tenant(acme)],
        ..catalog("")
    };
    let ve = all.resolve(&ve).unwrap();
    let lines = |d| ve.access.of(d).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lines(Direction::In), ["in deny tcp", "in allow all"]);
    assert_eq!(lines(Direction::Out), ["out allow all"]);
    let setting = |key| setting(&ve, key);
    assert_eq!(setting("firewall.in"), ("allow".into(), "ve/web1.toml".into()));
    assert_eq!(setting("firewall.out"), ("deny".into(), "tenant \"acme\"".into()));
    assert_eq!(setting("firewall.rule"), ("in allow all".into(), "ve/web1.toml".into()));
    assert!(!ve.access.is_open() && effective("", "").access.is_open());
}
