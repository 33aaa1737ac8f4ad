use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::units::Span;

const VE: &str = "id = 101\nname = \"web1\"\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n";

fn ve(more: &str) -> Result<VeDefinition, Diagnostics> {
    VeDefinition::parse("ve/web1.toml", &format!("{VE}{more}"))
}

/// Line, key, what was found.
fn faults(d: &Diagnostics) -> Vec<(usize, &str, &str)> {
    d.iter().map(|d| (d.line, d.key.as_str(), d.found.as_str())).collect()
}

#[test]
fn the_example_of_the_design() {
    let text = r#"
id = 101
name = "web1"
tenant = "acme"
template = "debian-12"
plan = "small"
onboot = true
hostname = "web1.acme.example"

[memory]            # overrides of the plan
limit = "2GiB"

[[network]]
network = "public"
addresses = ["203.0.113.10", "2001:db8::10"]   # or "auto"
"#;
    let ve = VeDefinition::parse("/etc/hostel/ve/web1.toml", text).unwrap();
    assert_eq!((ve.id.get(), ve.name.as_str(), ve.onboot), (101, "web1", Some(true)));
    assert_eq!(
        ve.overrides.memory.limit,
        Some(crate::limits::Max::At(crate::units::Bytes::gib(2)))
    );
    assert_eq!(
        ve.interfaces[0].addresses.as_ref().unwrap().to_string(),
        "203.0.113.10,2001:db8::10"
    );
}

#[test]
fn every_mistake_is_told_at_once_and_in_order() {
    let text = "id = 99\nname = \"web2\"\ntemplate = \"Debian 12\"\nplan = 7\nonboot = \"yes\"\n[memroy]\nlimit = \"1G\"\n\
                [memory]\nlimit = \"2 potatoes\"\nswop = 1\n[[network]]\nadresses = \"auto\"\n[[network]]\nnetwork = \"public\"\n\
                addresses = [\"203.0.113.10\", \"203.0.113.300\", 7, \"10.0.0.1/24\"]\n";
    let wrong = VeDefinition::parse("ve/web1.toml", text).unwrap_err();
    assert_eq!(
        faults(&wrong),
        [
            (1, "tenant", ""),
            (1, "id", "99"),
            (2, "name", "\"web2\""),
            (3, "template", "\"Debian 12\""),
            (4, "plan", "7"),
            (5, "onboot", "\"yes\""),
            (6, "memroy", "memroy"),
            (9, "memory.limit", "\"2 potatoes\""),
            (10, "memory.swop", "memory.swop"),
            (11, "network.0.network", ""),
            (12, "network.0.adresses", "network.0.adresses"),
            (15, "network.1.addresses.1", "\"203.0.113.300\""),
            (15, "network.1.addresses.2", "7"),
            (15, "network.1.addresses.3", "\"10.0.0.1/24\""),
        ]
    );
    let shown = wrong.to_string();
    for block in [
        "ve/web1.toml:6:2: unknown key \"memroy\"; expected one of id, name, tenant, template, plan,",
        "(did you mean \"memory\"?)\n  |\n6 | [memroy]\n  |  ^^^^^^\n",
        "ve/web1.toml:9:9: memory.limit is \"2 potatoes\"; expected an amount such as \"512MiB\" or \"2GiB\", or \"unlimited\"\n  \
         |\n9 | limit = \"2 potatoes\"\n  |         ^^^^^^^^^^^^\n",
        "unknown key \"memory.swop\"; expected one of limit, swap, guarantee (did you mean \"swap\"?)",
        "ve/web1.toml:1:1: \"tenant\" is missing; expected a tenant name: 1 to 63 of a-z 0-9 - . _, a letter or digit first \
         and last\n\nve/web1.toml:1:6: id is 99;",
        "expected an address without a prefix length: \"10.0.0.1\"",
        "name is \"web2\"; expected \"web1\", as the file is named",
    ] {
        assert!(shown.contains(block), "{block}\nis not in\n{shown}");
    }
}

#[test]
fn syntax_comes_with_its_line() {
    for (text, line) in [
        ("id = 101\nid = 102\n", 2),
        ("id = 101\nname = web1\n", 2),
        ("[memory\n", 1),
        ("[memory]\nlimit = 1\n[memory]\n", 3),
        ("id = 1\n\u{0}\n", 2),
    ] {
        let wrong = VeDefinition::parse("ve/web1.toml", text).unwrap_err();
        let first = wrong.iter().next().unwrap();
        assert_eq!((first.fault, first.line), (Fault::Syntax, line), "{text:?}: {wrong}");
        assert!(wrong.to_string().contains('^'), "{wrong}");
    }
}

#[test]
fn values_of_the_wrong_kind() {
    for (text, key) in [
        ("memory = 5", "memory"),
        ("memory.limit.x = 5", "memory.limit"),
        ("processes = 0", "processes"),
        ("processes = -1", "processes"),
        ("processes = 1.5", "processes"),
        ("cpu.cap = 0", "cpu.cap"),
        ("cpu.cap = inf", "cpu.cap"),
        ("cpu.weight = 10001", "cpu.weight"),
        ("cpu.pin = \"3-1\"", "cpu.pin"),
        ("cpu.count = 0", "cpu.count"),
        ("priority = 65536", "priority"),
        ("priority = 99999999999999999999999999", "priority"),
        ("description = \"a\\u001b[2J\"", "description"),
        ("description = \"a\\nb\"", "description"),
        ("hostname = \"a_b\"", "hostname"),
        ("share = \"all\"", "share"),
        ("stop.mode = \"kill\"", "stop.mode"),
        ("stop.timeout = \"soon\"", "stop.timeout"),
        ("dns = \"9.9.9.9\"", "dns"),
        ("dns = [[\"9.9.9.9\"]]", "dns.0"),
        ("guest.timezone = \"../etc/passwd\"", "guest.timezone"),
        ("network = \"public\"", "network"),
        ("network = [\"public\"]", "network.0"),
        ("[network]\nnetwork = \"public\"", "network"),
        ("[[network]]\nnetwork = \"a\"\naddresses = []", "network.0.addresses"),
        (
            "[[network]]\nnetwork = \"a\"\naddresses = \"none\"",
            "network.0.addresses",
        ),
        (
            "[[network]]\nnetwork = \"a\"\naddresses = [\"192.0.2.1\", \"192.0.2.1\"]",
            "network.0.addresses",
        ),
        (
            "[[network]]\nnetwork = \"a\"\n[[network]]\nnetwork = \"a\"",
            "network.1.network",
        ),
        ("onboot = 2026-01-01", "onboot"),
        ("\"a\\nb\" = 1", "a\nb"),
    ] {
        let wrong = ve(text).expect_err(text);
        assert_eq!(
            wrong.iter().map(|d| d.key.as_str()).collect::<Vec<_>>(),
            [key],
            "{text}"
        );
        assert!(!wrong.to_string().contains('\u{1b}'), "{text}");
    }
    // Numbers as TOML has them.
    assert!(ve("processes = 0x100\npriority = 1_000\ncpu.cap = 2\nmemory.limit = 1073741824").is_ok());
}

#[test]
fn a_clear_password_is_refused_and_not_repeated() {
    for text in [
        "[guest]\npassword_hash = \"hunter2\"",
        "[guest]\npassword_hash = hunter2",
        "[guest]\npassword = \"hunter2\"",
    ] {
        let wrong = ve(text).unwrap_err();
        let json = serde_json::to_string(&wrong).unwrap();
        if !text.contains("password =") {
            assert!(
                !wrong.to_string().contains("hunter2") && !json.contains("hunter2"),
                "{wrong}"
            );
        }
    }
}

#[test]
fn host_defaults() {
    let host = HostConfig::parse("/etc/hostel/hostel.toml", "").unwrap();
    assert_eq!(host, HostConfig::default());
    assert_eq!(host.paths.templates.to_str(), Some("/var/lib/hostel/templates"));
    assert_eq!(
        host.interface_prefix
            .interface("999999".parse().unwrap(), MAX_INTERFACES - 1),
        "hv999999.31"
    );
    let moved = HostConfig::parse("h", "paths.data = \"/srv/h\"\n[defaults]\nplan = \"tiny\"").unwrap();
    assert_eq!(moved.paths.templates.to_str(), Some("/srv/h/templates"));
    assert!(moved.says("defaults.plan") && !moved.says("defaults.tenant"));
    for (text, key) in [
        ("paths.data = \"var\"", "paths.data"),
        ("paths.data = \"/var/../etc\"", "paths.data"),
        ("cgroup_root = \"/hostel\"", "cgroup_root"),
        ("cgroup_root = \"a/../b\"", "cgroup_root"),
        ("cgroup_root = \"\"", "cgroup_root"),
        ("interface_prefix = \"hostels\"", "interface_prefix"),
        ("interface_prefix = \"1a\"", "interface_prefix"),
        ("interface_prefix = \"Hv\"", "interface_prefix"),
        ("nft_table = \"a; flush ruleset\"", "nft_table"),
        ("idmap.base = 65536", "idmap.base"),
        ("idmap.base = 1048577", "idmap.base"),
        ("idmap.count = 0", "idmap.count"),
        ("idmap.count = 32753", "idmap.count"),
        ("idmap.base = 2147418112", "idmap.base"),
        ("unenforceable = \"ignore\"", "unenforceable"),
        ("console.log_size = 0", "console.log_size"),
    ] {
        let wrong = HostConfig::parse("hostel.toml", text).expect_err(text);
        assert_eq!(
            wrong.iter().map(|d| d.key.as_str()).collect::<Vec<_>>(),
            [key],
            "{text}"
        );
    }
    assert!(HostConfig::parse("h", "idmap.count = 32752").is_ok());
    let longest = HostConfig::parse("h", "interface_prefix = \"hostel\"")
        .unwrap()
        .interface_prefix;
    assert!(longest.interface("999999".parse().unwrap(), MAX_INTERFACES - 1).len() <= 15);
}

#[test]
fn plans_say_what_could_starve_others() {
    let wrong = Plan::parse("plans/small.toml", "[memory]\nswap = 0\n").unwrap_err();
    let missing: BTreeSet<_> = wrong
        .iter()
        .filter(|d| d.fault == Fault::Missing)
        .map(|d| d.key.as_str())
        .collect();
    assert_eq!(missing, BTreeSet::from(["memory.limit", "processes", "disk.size"]));
    // The one whose table is there points at that table.
    assert!(
        wrong
            .iter()
            .any(|d| d.key == "memory.limit" && d.line == 1 && d.excerpt == "[memory]")
    );
    let plan = Plan::parse(
        "plans/small.toml",
        "processes = \"unlimited\"\nmemory.limit = \"1G\"\ndisk.size = \"1G\"\nio.read = \"50MiB/s\"",
    )
    .unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.resources.features.granted()),
        ("small", Features::default())
    );
    let wrong = Plan::parse(
        "plans/Small Plan.toml",
        "processes = 1\nmemory.limit = \"1G\"\ndisk.size = \"1G\"",
    )
    .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("the file's name is \"Small Plan\"; expected a plan name"),
        "{wrong}"
    );
}

#[test]
fn networks() {
    let network = |text: &str| Network::parse("networks/n.toml", text);
    let good = network("kind = \"routed\"\npools = [\"10.77.0.0/24\", \"2001:db8:77::/64\"]\nexclude = [\"10.77.0.1\", \"10.77.0.5-10.77.0.9\"]").unwrap();
    assert!(good.contains("10.77.0.9".parse().unwrap()) && good.excludes("10.77.0.9".parse().unwrap()));
    assert_eq!(good.quarantine, Span::seconds(3600));
    for (kind, masquerades) in [("nat", true), ("routed", false)] {
        let text = format!("kind = \"{kind}\"\npools = [\"10.77.0.0/24\"]");
        assert_eq!(network(&text).unwrap().masquerade, masquerades, "{kind}");
    }
    assert!(network("kind = \"nat\"\npools = [\"10.77.0.0/24\"]\nmasquerade = true").is_ok());
    assert!(!good.contains("10.77.1.1".parse().unwrap()) && !good.excludes("10.77.0.10".parse().unwrap()));
    for (text, key, expected) in [
        (
            "kind = \"bridged\"\npools = [\"10.0.0.0/8\"]",
            "kind",
            "expected \"routed\"",
        ),
        ("kind = \"routed\"\npools = []", "pools", "at least one prefix"),
        (
            "kind = \"routed\"\npools = [\"10.77.0.5/24\"]",
            "pools.0",
            "expected \"10.77.0.0/24\", the network",
        ),
        (
            "kind = \"routed\"\npools = [\"2001:db8::1/64\"]",
            "pools.0",
            "expected \"2001:db8::/64\", the network",
        ),
        (
            "kind = \"routed\"\npools = [\"10.77.0.5\"]",
            "pools.0",
            "a prefix such as",
        ),
        ("kind = \"routed\"\npools = [\"10.0.0.0/7\"]", "pools.0", "at least 8"),
        (
            "kind = \"routed\"\npools = [\"127.0.0.0/8\"]",
            "pools.0",
            "neither loopback",
        ),
        (
            "kind = \"routed\"\npools = [\"224.0.0.0/8\"]",
            "pools.0",
            "neither loopback",
        ),
        (
            "kind = \"routed\"\npools = [\"fe80::/64\"]",
            "pools.0",
            "neither loopback",
        ),
        ("kind = \"routed\"\npools = [\"::/0\"]", "pools.0", "at least 16"),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\", \"10.1.0.0/16\"]",
            "pools.1",
            "don't overlap",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nranges = [\"192.0.2.1\"]",
            "ranges.0",
            "inside one of the pools",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nranges = [\"2001:db8::1-2001:db8::5\"]",
            "ranges.0",
            "inside one of the pools",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nranges = [\"10.0.0.1-10.0.0.5\", \"10.0.0.9\", \"10.0.0.4-10.0.0.6\"]",
            "ranges.2",
            "unlike 10.0.0.1-10.0.0.5 and 10.0.0.4-10.0.0.6",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nexclude = [\"10.0.0.1\", \"9.255.255.250-10.0.0.5\"]",
            "exclude.1",
            "inside one of the pools",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nquarantine = \"soon\"",
            "quarantine",
            "a length of time",
        ),
        (
            "kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nexclude = [\"10.0.0.9-10.0.0.1\"]",
            "exclude.0",
            "from the lower to the higher",
        ),
        ("kind = \"routed\"\npools = [\"10.0.0.0/8\"]\nmtu = 1000", "mtu", "1280"),
        (
            "kind = \"nat\"\npools = [\"10.0.0.0/8\"]\nmasquerade = false",
            "masquerade",
            "always has the host's address",
        ),
        (
            "kind = \"nat\"\npools = [\"10.0.0.0/8\"]\nisolated = true",
            "isolated",
            "kind = \"bridge\"",
        ),
    ] {
        let wrong = network(text).expect_err(text);
        assert_eq!(
            wrong.iter().map(|d| d.key.as_str()).collect::<Vec<_>>(),
            [key],
            "{text}"
        );
        assert!(wrong.to_string().contains(expected), "{expected}\nis not in\n{wrong}");
    }
}

#[test]
fn a_wrong_element_is_shown_in_its_own_line() {
    let text = "kind = \"routed\"\npools = [\n  \"10.0.0.0/24\",\n]\nranges = [\n  \"10.0.0.1-10.0.0.5\",\n  \"10.0.1.9\",\n]\n";
    let wrong = Network::parse("networks/n.toml", text).unwrap_err();
    let found: Vec<_> = wrong.iter().map(|d| (d.key.as_str(), d.line, d.column)).collect();
    assert_eq!(found, [("ranges.1", 7, 3)], "{wrong}");
}

#[test]
fn tenants() {
    let none = Tenant::parse("tenants/acme.toml", "").unwrap();
    assert_eq!((none.name.as_str(), none.plans, none.memory), ("acme", None, None));
    let text = "plans = [\"small\"]\nmax_ves = 3\nmemory = \"4GiB\"\nshare = \"host\"";
    let tenant = Tenant::parse("tenants/acme.toml", text).unwrap();
    assert_eq!(
        (tenant.max_ves.map(Count::get), tenant.share),
        (Some(3), Some(Share::Host))
    );
    assert!(
        Tenant::parse("tenants/acme.toml", "plans = \"small\"\nmax_ve = 3")
            .unwrap_err()
            .iter()
            .count()
            == 2
    );
}

fn only_on_bridges(key: &str) -> bool {
    let all = [
        "bridge",
        "uplink",
        "vlan",
        "gateway",
        "host_addresses",
        "isolated",
        "pass_ra",
    ];
    all.contains(&key)
}

/// The examples in the tables of keys are what they are said to be.
#[test]
fn every_key_has_words_and_a_true_example() {
    let required = |kind| {
        let all = keys_of(kind).iter().filter(|k| k.required);
        all.map(|k| (k.key.clone(), k.example)).collect::<Vec<_>>()
    };
    for kind in [
        FileKind::Host,
        FileKind::Plan,
        FileKind::Network,
        FileKind::Tenant,
        FileKind::Schedule,
        FileKind::Ve,
    ] {
        let names: BTreeSet<_> = keys_of(kind).iter().map(|k| k.key.as_str()).collect();
        assert_eq!(names.len(), keys_of(kind).len(), "{kind:?} has a key twice");
        for k in keys_of(kind) {
            assert!(
                !k.doc.is_empty() && !k.doc.ends_with('.') && k.doc.len() < 80,
                "{}",
                k.key
            );
            assert!(!k.expected.is_empty(), "{}", k.key);
            // Examples with an ellipsis stand for something too long.
            if k.shape == Shape::Tables || k.example.contains('…') {
                continue;
            }
            let interface = k.key.strip_prefix("network.N.");
            let rule = k.key.strip_prefix("firewall.rule.N.");
            let forward = k.key.strip_prefix("forward.N.");
            let mut text: String = required(kind)
                .iter()
                .filter(|(key, _)| *key != k.key && !key.contains(".N."))
                .map(|(key, example)| format!("{key} = {example}\n"))
                .collect();
            match interface.or(forward) {
                Some("listen") => text += &format!("[[forward]]\nlisten = {}\n", k.example),
                Some(name) if forward.is_some() => {
                    text += &format!(
                        "[[network]]\nnetwork = \"private\"\n[[forward]]\nlisten = 1\n{name} = {}\n",
                        k.example
                    );
                }
                Some("network") => text += &format!("[[network]]\nnetwork = {}\n", k.example),
                Some(name) => text += &format!("[[network]]\nnetwork = \"a\"\n{name} = {}\n", k.example),
                None if rule.is_some() => text += &a_rule(rule.unwrap(), k.example),
                None => text += &format!("{} = {}\n", k.key.replace("openvz.KEY", "openvz.NUMFILE"), k.example),
            }
            if kind == FileKind::Network && only_on_bridges(&k.key) {
                text = text.replace("\"routed\"", "\"bridge\"");
                text += if k.key == "vlan" { "uplink = \"eth1\"\n" } else { "" };
            }
            text += match k.key.as_str() {
                "names_shared" => "names = \"hosts\"\n",
                "names_domain" => "names = \"dns\"\nnames_shared = true\n",
                _ => "",
            };
            let wrong = match kind {
                FileKind::Host => HostConfig::parse("hostel.toml", &text).err(),
                FileKind::Plan => Plan::parse("plans/a.toml", &text).err(),
                FileKind::Network => Network::parse("networks/a.toml", &text).err(),
                FileKind::Tenant => Tenant::parse("tenants/a.toml", &text).err(),
                FileKind::Schedule => Schedule::parse("schedules/a.toml", &text).err(),
                FileKind::Ve => VeDefinition::parse("ve/web1.toml", &text).err(),
            };
            assert_eq!(wrong.map(|w| w.to_string()), None, "{kind:?} {}", k.key);
        }
    }
    assert_eq!(key("network.12.addresses").unwrap().key, "network.N.addresses");
    assert!(key("network.N.addresses").is_none() && key("network..addresses").is_none() && key("memory").is_none());
}

/// A rule with this value of this key.
fn a_rule(key: &str, example: &str) -> String {
    let all = [("direction", "\"in\""), ("action", "\"deny\""), ("protocol", "\"tcp\"")];
    let others = all.iter().filter(|(k, _)| *k != key);
    let others: String = others.map(|(k, v)| format!("{k} = {v}\n")).collect();
    format!("[[firewall.rule]]\n{others}{key} = {example}\n")
}

/// A commented line of an example: `#key = value`, without the comment behind it.
fn uncommented(text: &str) -> String {
    let line = |l: &str| match l.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned() + "\n",
        _ => l.to_owned() + "\n",
    };
    text.lines().map(line).collect()
}

#[test]
fn the_examples_that_init_installs() {
    let host = include_str!("../../../config/hostel.toml");
    let installed = HostConfig::parse("hostel.toml", host).unwrap();
    // What it shows as defaults are the defaults, and every key is there.
    let shown = HostConfig::parse("hostel.toml", &uncommented(host)).unwrap();
    for k in keys_of(FileKind::Host) {
        assert!(shown.says(&k.key), "{} is missing in config/hostel.toml", k.key);
    }
    let plain = |h: &HostConfig| {
        let mut json = serde_json::to_value(h).unwrap();
        json["defaults"]["template"].take();
        json["defaults"]["network"].take();
        json["driver"].take();
        json["ledger"].take();
        json["connections"].take();
        json["traffic"].take();
        json["capacity"].take();
        json["metrics"].take();
        json
    };
    assert_eq!(plain(&shown), plain(&HostConfig::default()));

    let plans = [
        ("tiny", include_str!("../../../config/plans/tiny.toml")),
        ("small", include_str!("../../../config/plans/small.toml")),
        ("medium", include_str!("../../../config/plans/medium.toml")),
        ("large", include_str!("../../../config/plans/large.toml")),
    ]
    .map(|(name, text)| {
        Plan::parse(&format!("plans/{name}.toml"), &uncommented(text)).unwrap();
        let plan = Plan::parse(&format!("plans/{name}.toml"), text).unwrap();
        assert_eq!(plan.resources.features.granted(), Features::default(), "{name}");
        plan
    });
    let network = include_str!("../../../config/networks/private.toml");
    Network::parse("networks/private.toml", &uncommented(network)).unwrap();
    let network = Network::parse("networks/private.toml", network).unwrap();
    assert!(network.masquerade);
    let public = include_str!("../../../config/networks/public.toml.sample");
    let public = Network::parse("networks/public.toml", &uncommented(public)).unwrap();
    assert!(public.proxy.is_some() && !public.probe);
    let lan = include_str!("../../../config/networks/lan.toml.sample");
    assert!(
        Network::parse("networks/lan.toml", lan)
            .unwrap()
            .bridge
            .unwrap()
            .isolated
    );
    let tenant = include_str!("../../../config/tenants/default.toml");
    Tenant::parse("tenants/default.toml", &uncommented(tenant)).unwrap();
    let tenant = Tenant::parse("tenants/default.toml", tenant).unwrap();
    let nightly = include_str!("../../../config/schedules/nightly.toml.sample");
    assert!(!Schedule::parse("schedules/nightly.toml", nightly).unwrap().disabled);
    assert!(
        Schedule::parse("schedules/nightly.toml", &uncommented(nightly))
            .unwrap()
            .disabled
    );
    let sample = include_str!("../../../config/ve/example.toml.sample");
    let ve = VeDefinition::parse("ve/example.toml", sample).unwrap();
    let full = VeDefinition::parse("ve/example.toml", &uncommented(sample)).unwrap_err();
    // All but the two that stand for something longer.
    assert_eq!(
        full.iter().map(|d| d.key.as_str()).collect::<Vec<_>>(),
        ["guest.password_hash", "guest.ssh_keys.0"]
    );

    let catalog = crate::resolve::Catalog {
        host: installed,
        plans: plans.into(),
        networks: vec![network],
        tenants: vec![tenant],
    };
    let effective = catalog.resolve(&ve).unwrap();
    let existing = crate::policy::Existing::default();
    assert_eq!(crate::policy::check(&effective, &catalog.tenants[0], &existing), []);
    assert_eq!(catalog.host.defaults.network, Some(catalog.networks[0].name.clone()));
    assert_eq!(catalog.host.defaults.tenant, catalog.tenants[0].name);
    assert!(catalog.plans.iter().any(|p| p.name == catalog.host.defaults.plan));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file holds, it is read or refused with a place inside it.
    #[test]
    fn no_text_panics(text in "([a-z_.]{1,8} ?= ?[-0-9a-z\"'\\[\\],{}]{0,8}|\\[{1,2}[a-z.]{0,8}\\]{1,2}|[ -~äñ\u{0}-\u{1f}]{0,12}|\n){0,12}") {
        if let Err(wrong) = VeDefinition::parse("ve/web1.toml", &text) {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(wrong.iter().all(|d| d.line <= lines && d.column >= 1 && !d.to_string().is_empty()));
        }
        let _ = (HostConfig::parse("h", &text), Network::parse("n", &text));
    }
}
