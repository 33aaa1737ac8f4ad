//! What parameters come to.

use super::whole::OF_PLANS;
use super::*;
use crate::openvz::{Conf, option, parameter};

const NETWORKS: [(&str, &str); 3] = [
    (
        "public",
        "kind = \"routed\"\npools = [\"203.0.113.0/24\", \"2001:db8::/64\"]",
    ),
    ("lan", "kind = \"bridge\"\nbridge = \"br0\"\npools = [\"10.1.0.0/24\"]"),
    ("dmz", "kind = \"bridge\"\npools = [\"10.2.0.0/24\"]"),
];

fn networks() -> Vec<Network> {
    let one = |(name, text): &(&str, &str)| Network::parse(&format!("networks/{name}.toml"), text).unwrap();
    NETWORKS.iter().map(one).collect()
}

fn held(network: &str, addresses: &[&str]) -> Held {
    Held {
        name: match network {
            "public" => "eth0",
            "lan" => "eth1",
            _ => "eth2",
        }
        .to_owned(),
        network: network.parse().unwrap(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
    }
}

/// What `vzctl set` with these options comes to, on a VE with these interfaces and this memory of it.
fn set(words: &[&str], creating: bool, interfaces: Vec<Held>, remembered: &Remembered) -> Result<Translation, Refused> {
    let networks = networks();
    let around = Surroundings {
        cpus: 4,
        creating,
        remembered,
        memory_limit: Some(1 << 30),
        interfaces,
        networks: &networks,
        default_network: Some("public".parse().unwrap()),
        no_io_weight: None,
    };
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(named) = words.next() {
        let key = option(named.trim_start_matches('-')).unwrap();
        let value = if key.valued { words.next().unwrap() } else { "" };
        given.push(Given { key, named, value });
    }
    translate(&given, &around)
}

/// Its settings as one text.
#[track_caller]
fn settings(words: &[&str]) -> String {
    let done = set(words, false, Vec::new(), &Remembered::default());
    text(&done.unwrap())
}

fn text(done: &Translation) -> String {
    let all: Vec<String> = done.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    all.join(" ")
}

#[track_caller]
fn refused(words: &[&str]) -> (u8, String) {
    let e = set(words, false, vec![held("lan", &["10.1.0.5"])], &Remembered::default()).unwrap_err();
    (e.code.number, e.message)
}

#[test]
fn limits() {
    for (words, expected) in [
        (
            "--ram 512M --swap 1G",
            "openvz.PHYSPAGES=0:131072 memory.limit=536870912 memory.swap=1073741824",
        ),
        ("--physpages 0:65536", "openvz.PHYSPAGES=0:65536 memory.limit=268435456"),
        ("--swappages 0:unlimited", "memory.swap=unlimited"),
        ("--numproc 240:250", "processes=250"),
        ("-p unlimited", "processes=unlimited"),
        ("--cpuunits 1000", "openvz.CPUUNITS=1000 cpu.weight=100"),
        ("--cpuunits 8", "openvz.CPUUNITS=8 cpu.weight=1"),
        ("--cpulimit 150", "cpu.cap=150%"),
        ("--cpulimit 25%", "cpu.cap=100%"),
        ("--cpulimit 0", "cpu.cap=unlimited"),
        ("--cpus 2", "cpu.count=2"),
        ("--cpumask 0,2-3", "cpu.pin=0,2-3"),
        ("--cpumask all", "cpu.pin=unlimited"),
        ("--diskspace 2G:2.2G", "openvz.DISKSPACE=2G:2.2G disk.size=2362232012"),
        (
            "--diskspace 10485760",
            "openvz.DISKSPACE=10485760 disk.size=10737418240",
        ),
        ("--ioprio 4", "io.weight=100"),
        ("--iolimit 10", "io.read=10485760 io.write=10485760"),
        ("--iolimit 512K", "io.read=524288 io.write=524288"),
        ("--iolimit 0", "io.read=unlimited io.write=unlimited"),
        ("--iopslimit 500", "io.read_ops=500 io.write_ops=500"),
        (
            "--vmguarpages 33792:unlimited",
            "openvz.VMGUARPAGES=33792:unlimited memory.guarantee=138412032",
        ),
        (
            "--memguarantee 50%",
            "openvz.MEMGUARANTEE=50% memory.guarantee=536870900",
        ),
        ("--kmemsize 14372700:14790164", "openvz.KMEMSIZE=14372700:14790164"),
        (
            "--onboot yes --bootorder 5 --disabled no",
            "onboot=true priority=5 disabled=false",
        ),
        ("--stop-timeout 30", "stop.timeout=30s"),
        ("--stop-timeout 0", "stop.timeout="),
        ("--hostname web1.example.org", "hostname=web1.example.org"),
        ("--nameserver 9.9.9.9 --nameserver 1.1.1.1", "dns=9.9.9.9,1.1.1.1"),
        ("--nameserver inherit", "dns="),
        (
            "--rate eth0:1:2000 --ratebound yes",
            "openvz.RATEBOUND=yes openvz.RATE=eth0:1:2000 net.out=2000kbit",
        ),
        ("--devnodes net/tun:rw", "features.tun=true"),
        ("--devices c:10:200:rw", "features.tun=true"),
        ("--devnodes fuse:none", "features.fuse=false"),
        ("--features fuse:on,nfs:on", "features.fuse=true openvz.FEATURES=nfs:on"),
    ] {
        assert_eq!(settings(&words.split(' ').collect::<Vec<_>>()), expected, "{words}");
    }
    assert_eq!(
        settings(&["--description", "one\ntwo"]),
        "openvz.DESCRIPTION=one two description=one two"
    );
}

#[test]
fn a_plan_is_in_force_as_a_whole_but_for_what_is_said_beside_it() {
    let done = settings(&["--ram", "1G", "--applyconfig", "small"]);
    let unset: String = OF_PLANS.iter().map(|key| format!(" {key}=")).collect();
    assert_eq!(
        done,
        format!("plan=small{unset} openvz.PHYSPAGES=0:262144 memory.limit=1073741824")
    );
    let made = set(&["--config", "small"], true, Vec::new(), &Remembered::default()).unwrap();
    assert_eq!(text(&made), "plan=small network-=public");
    let other = ["description", "disk.inodes", "disk.driver"];
    let of_plans = crate::definition::keys_of(crate::definition::FileKind::Plan)
        .iter()
        .map(|k| k.key.as_str());
    let of_plans: Vec<&str> = of_plans
        .filter(|k| !other.contains(k) && !k.starts_with("features."))
        .collect();
    assert_eq!(of_plans, OF_PLANS);
}

#[test]
fn what_has_no_effect_is_remembered_and_told() {
    let done = set(
        &[
            "--numfile",
            "9312",
            "-k",
            "1M:2M",
            "--netfilter",
            "full",
            "--skip_arpdetect",
        ],
        false,
        Vec::new(),
        &Remembered::default(),
    )
    .unwrap();
    assert_eq!(
        text(&done),
        "openvz.NUMFILE=9312 openvz.KMEMSIZE=1M:2M openvz.NETFILTER=full"
    );
    let told: Vec<&str> = done.without_effect.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, ["--numfile", "-k", "--netfilter", "--skip_arpdetect"]);
}

/// Part by part, as each is given: a client sends one in a call.
#[test]
fn what_is_given_part_by_part_is_remembered_as_a_whole() {
    for (words, before, after) in [
        (
            ["--capability", "net_admin:on"],
            ("CAPABILITY", "sys_time:off"),
            "openvz.CAPABILITY=sys_time:off,net_admin:on",
        ),
        (
            ["--capability", "net_admin:on"],
            ("CAPABILITY", "NET_ADMIN:on"),
            "openvz.CAPABILITY=net_admin:on",
        ),
        (
            ["--features", "nfs:off"],
            ("FEATURES", "nfs:on,sit:on"),
            "openvz.FEATURES=sit:on,nfs:off",
        ),
        (
            ["--devnodes", "null:rw"],
            ("DEVNODES", "zero:rw null:r"),
            "openvz.DEVNODES=zero:rw null:rw",
        ),
        (
            ["--devices", "c:1:3:rw"],
            ("DEVICES", "c:1:3:r"),
            "openvz.DEVICES=c:1:3:rw",
        ),
    ] {
        let done = set(&words, false, Vec::new(), &Remembered::from([before])).unwrap();
        assert_eq!(text(&done), after);
    }
    let twice = settings(&["--devnodes", "null:rw", "--devnodes", "zero:rw"]);
    assert!(twice.ends_with("openvz.DEVNODES=null:rw zero:rw"), "{twice}");
    let beside = settings(&["--devnodes", "net/tun:rw null:rw"]);
    assert_eq!(beside, "features.tun=true openvz.DEVNODES=null:rw");
    assert_eq!(settings(&["--devnodes", "none"]), "");
}

#[test]
fn a_private_limit_counts_only_where_there_is_no_other() {
    assert_eq!(
        settings(&["--privvmpages", "65536:69632"]),
        "openvz.PRIVVMPAGES=65536:69632 memory.limit=285212672"
    );
    let both = settings(&["--privvmpages", "unlimited", "--ram", "1G"]);
    assert!(!both.contains("memory.limit=unlimited"), "{both}");
    let vswap = Remembered::from([("PHYSPAGES", "0:262144")]);
    let later = set(&["--privvmpages", "2G"], false, Vec::new(), &vswap).unwrap();
    assert_eq!(text(&later), "openvz.PRIVVMPAGES=2G");
    assert_eq!(later.without_effect.len(), 1);
}

#[test]
fn files_of_a_disk_are_counted_when_it_is_made() {
    let done = set(&["--diskinodes", "1000:2000"], true, Vec::new(), &Remembered::default()).unwrap();
    assert!(text(&done).contains("disk.inodes=2000"), "{done:?}");
    assert_eq!(settings(&["--diskinodes", "1000:2000"]), "openvz.DISKINODES=1000:2000");
}

#[test]
fn refusals_have_the_codes_that_scripts_know() {
    for (words, code, why) in [
        ("--ram lots", 21, "--ram: \"lots\" is not"),
        ("--hostname a_b!", 70, "host name"),
        ("--ipadd 1.2.3", 71, "not an address"),
        ("--ipadd 198.51.100.1", 89, "no pool"),
        ("--nameserver x", 72, "an address"),
        ("--netdev_add eth1", 104, "--netdev_add"),
        ("--pci_add 00:1f.0", 86, "no device"),
        ("--devnodes sda:rw", 86, "sda"),
        ("--devices b:8:0:rw", 86, "b:8:0"),
        ("--devices c:8:x:y:z", 21, "MAJOR"),
        ("--capability sys_time:on", 13, "SYS_TIME"),
        ("--capability net_admin:off", 13, "NET_ADMIN"),
        ("--features warp:on", 21, "warp"),
        ("--local_uid 0", 21, "root on the host"),
        ("--bindmount_add /home:/home", 86, "push"),
        ("--mac 02:68:00:00:65:00", 21, "--ifname"),
        ("--netif_add eth1,,,,br9", 130, "br9"),
        ("--netif_add eth1,,,,br0", 130, "already"),
        ("--netif_del eth7", 130, "eth7"),
        ("--ipdel 10.1.0.5", 71, "--netif_del"),
        ("--diskspace unlimited", 21, "always limited"),
        ("--userpasswd root", 21, "USER:PASSWORD"),
    ] {
        let (got, message) = refused(&words.split(' ').collect::<Vec<_>>());
        assert!(got == code && message.contains(why), "{words}: {got} {message}");
    }
    assert_eq!(
        settings(&["--capability", "net_admin:on,sys_time:off"]),
        "openvz.CAPABILITY=net_admin:on,sys_time:off"
    );
}

#[test]
fn addresses_go_to_the_network_that_has_them() {
    let with = |words: &[&str], interfaces| set(words, false, interfaces, &Remembered::default());
    let first = with(&["--ipadd", "203.0.113.5/32"], Vec::new()).unwrap();
    assert_eq!(text(&first), "network+=public network.0.addresses=203.0.113.5");
    let more = with(&["--ipadd", "2001:db8::5"], vec![held("public", &["203.0.113.5"])]).unwrap();
    assert_eq!(text(&more), "network.0.addresses=203.0.113.5,2001:db8::5");
    let replaced = with(
        &["--ipdel", "all", "--ipadd", "203.0.113.9"],
        vec![held("public", &["203.0.113.5"])],
    )
    .unwrap();
    // Whatever else stands in its table stays.
    assert_eq!(text(&replaced), "network.0.addresses=203.0.113.9");
    let by_name = with(
        &["--ipdel", "203.0.113.5", "--ipadd", "203.0.113.9"],
        vec![held("public", &["203.0.113.5"])],
    );
    assert_eq!(text(&by_name.unwrap()), "network.0.addresses=203.0.113.9");
    let on_bridge = with(
        &["--ipdel", "10.1.0.5", "--ipadd", "10.1.0.6"],
        vec![held("lan", &["10.1.0.5"])],
    );
    assert_eq!(text(&on_bridge.unwrap()), "network.0.addresses=10.1.0.6");
    let elsewhere = with(
        &["--ipdel", "all", "--ipadd", "203.0.113.9"],
        vec![held("other", &["192.0.2.1"])],
    );
    assert_eq!(
        text(&elsewhere.unwrap()),
        "network-=other network+=public network.0.addresses=203.0.113.9"
    );
    let both = vec![held("public", &["203.0.113.5"]), held("lan", &["10.1.0.5"])];
    let none = with(&["--ipdel", "203.0.113.5"], both.clone()).unwrap();
    assert_eq!(text(&none), "network-=public");
    let all = with(&["--ipdel", "all"], both).unwrap();
    assert_eq!(text(&all), "network-=public");
    let again = with(&["--ipadd", "203.0.113.5"], vec![held("public", &["203.0.113.5"])]).unwrap();
    assert_eq!(text(&again), "");
}

#[test]
fn what_is_made_has_the_addresses_asked_for_and_no_others() {
    let made = |words: &[&str]| text(&set(words, true, Vec::new(), &Remembered::default()).unwrap());
    assert_eq!(made(&["--hostname", "a"]), "hostname=a network-=public");
    assert_eq!(
        made(&["--ipadd", "203.0.113.5", "--ipadd", "203.0.113.6"]),
        "network.0.network=public network.0.addresses=203.0.113.5,203.0.113.6"
    );
}

#[test]
fn interfaces_on_bridges() {
    let with = |words: &[&str], interfaces| set(words, false, interfaces, &Remembered::default());
    let added = with(&["--netif_add", "eth0,02:00:00:00:00:01,,,br0"], Vec::new()).unwrap();
    assert_eq!(
        text(&added),
        "network+=lan network.0.mac=02:00:00:00:00:01 network.0.addresses=auto"
    );
    let second = with(
        &["--netif_add", "eth5,,,,dmz", "--ifname", "eth5", "--mac_filter", "off"],
        vec![held("public", &["203.0.113.5"]), held("lan", &["10.1.0.5"])],
    )
    .unwrap();
    assert_eq!(
        text(&second),
        "network+=dmz network.2.allow_mac_spoofing=true network.2.addresses=auto"
    );
    assert_eq!(second.notes.len(), 1);
    let both = vec![held("public", &["203.0.113.5"]), held("lan", &["10.1.0.5"])];
    assert_eq!(
        text(&with(&["--netif_del", "eth1"], both.clone()).unwrap()),
        "network-=lan"
    );
    assert_eq!(
        text(&with(&["--netif_del", "all"], both.clone()).unwrap()),
        "network-=lan"
    );
    let moved = with(&["--ifname", "eth1", "--bridge", "dmz"], both.clone()).unwrap();
    assert_eq!(text(&moved), "network.1.network=dmz network.1.addresses=auto");
    let stays = with(&["--ifname", "eth1", "--bridge", "br0"], both.clone()).unwrap();
    assert_eq!(text(&stays), "");
    // By the name that it has inside: eth0 is the one of the routed addresses.
    let refused = with(&["--ifname", "eth0", "--mac_filter", "off"], both.clone()).unwrap_err();
    assert!(
        refused.code.number == 130 && refused.message.contains("routed network \"public\""),
        "{refused:?}"
    );
    let last = with(&["--ifname", "eth1", "--ipdel", "10.1.0.5"], both).unwrap_err();
    assert_eq!(last.code.number, 71);
}

/// There is one switch for both families: whoever wants one of them has it.
#[test]
fn a_lease_of_one_family_is_a_lease() {
    let with = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        text(&set(&words, false, vec![held("lan", &["10.1.0.5"])], &Remembered::default()).unwrap())
    };
    for (words, on) in [
        ("--dhcp yes --dhcp6 no", true),
        ("--dhcp no --dhcp6 yes", true),
        ("--dhcp no --dhcp6 no", false),
        ("--dhcp6 no", false),
    ] {
        let expected = format!("network.0.allow_dhcp_client={on}");
        assert_eq!(with(&format!("--ifname eth1 {words}")), expected, "{words}");
    }
    let added = with("--netif_add eth2,,,,dmz --ifname eth2 --dhcp yes --dhcp6 no");
    assert!(added.contains("network.1.allow_dhcp_client=true"), "{added}");
}

/// What is on a bridge is called as it was asked for, where a VE is made with an address beside it.
#[test]
fn names_inside() {
    let made = |words: &[&str]| set(words, true, Vec::new(), &Remembered::default()).unwrap();
    let both = made(&["--ipadd", "203.0.113.5", "--netif_add", "eth0,,,,br0"]);
    assert!(
        text(&both).contains("network.0.network=lan") && both.notes.is_empty(),
        "{both:?}"
    );
    let at_once = made(&["--ipadd", "10.1.0.7", "--netif_add", "eth0,,,,br0"]);
    assert_eq!(text(&at_once), "network.0.network=lan network.0.addresses=10.1.0.7");
    let words = ["--netif_add", "eth0,,,,br0"];
    let later = set(
        &words,
        false,
        vec![held("public", &["203.0.113.5"])],
        &Remembered::default(),
    )
    .unwrap();
    assert_eq!(later.notes, ["eth0: its name inside is eth1, the first that is free"]);
}

/// Each file that a client may send through `import` is translated or refused, and nothing panics.
#[test]
fn a_whole_file() {
    let text = "ONBOOT=\"yes\"\nPHYSPAGES=\"0:65536\"\nSWAPPAGES=\"0:131072\"\nDISKSPACE=\"2097152:2306867\"\n\
        CPUUNITS=\"1000\"\nIP_ADDRESS=\"203.0.113.5 203.0.113.6\"\nNETIF=\"ifname=eth0,bridge=br0,mac=02:00:00:00:00:07\"\n\
        HOSTNAME=\"web1\"\nCAPABILITY=\"NET_ADMIN:on SYS_TIME:off\"\nIOLIMIT=\"1048576\"\n";
    let (conf, problems) = Conf::parse(text);
    assert!(problems.is_empty());
    let entries: Vec<_> = conf.entries().collect();
    let given: Vec<Given<'_>> = entries
        .iter()
        .map(|e| Given {
            key: parameter(&e.name).unwrap(),
            named: &e.name,
            value: &e.value,
        })
        .collect();
    let (networks, remembered) = (networks(), Remembered::default());
    let around = Surroundings {
        cpus: 2,
        creating: true,
        remembered: &remembered,
        memory_limit: None,
        interfaces: Vec::new(),
        networks: &networks,
        default_network: None,
        no_io_weight: None,
    };
    let done = translate(&given, &around).unwrap();
    for part in [
        "io.read=1048576",
        "network.1.addresses=203.0.113.5,203.0.113.6",
        "network.0.network=lan",
        "network.0.mac=02:00:00:00:00:07",
    ] {
        assert!(super::tests::text(&done).contains(part), "{part}: {done:?}");
    }
}

/// What a definition can't hold would make all of it unfit.
#[test]
fn what_is_remembered_is_one_line() {
    for words in [["--rate", "eth0:1:2000 \u{7}x"], ["--privvmpages", "65536\t:\t69632"]] {
        let done = set(&words, false, Vec::new(), &Remembered::default()).unwrap();
        assert!(!text(&done).contains(crate::definition::is_unfit), "{done:?}");
    }
}

mod any {
    use proptest::prelude::*;

    use super::*;
    use crate::openvz::table;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_value_of_any_parameter_panics(n in 0_usize..512, value in "[-a-z0-9:,.%=/ ]{0,20}|.{0,12}", creating: bool) {
            let keys: Vec<_> = table().collect();
            let key = keys[n % keys.len()];
            let named = key.title();
            let (networks, remembered) = (networks(), Remembered::from([("RATE", value.as_str())]));
            let around = Surroundings {
                cpus: 2,
                creating,
                remembered: &remembered,
                memory_limit: None,
                interfaces: vec![held("lan", &["10.1.0.5"]), held("public", &["203.0.113.5"])],
                networks: &networks,
                default_network: None,
                no_io_weight: None,
            };
            if let Ok(done) = translate(&[Given { key, named: &named, value: &value }], &around) {
                // What is accepted can be written into a definition.
                for (name, text) in done.settings {
                    prop_assert!(!text.chars().any(crate::definition::is_unfit), "{name}={text:?}");
                }
            }
        }
    }
}
