//! vzlist on made-up VEs.

use std::time::Duration;

use hostel_engine::facade::{Allocated, DiskUsage, Hits, Port, Usage};
use hostel_model::definition::{DriverName, HostConfig, Network, Plan, Tenant, VeDefinition};
use hostel_model::resolve::{Catalog, Effective};

use super::*;
use crate::cli::tests::golden;

const MIB: u64 = 1 << 20;

fn effective(id: u32, name: &str, more: &str) -> Effective {
    let catalog = Catalog {
        host: HostConfig::parse("hostel.toml", "").unwrap(),
        plans: vec![
            Plan::parse(
                "plans/small.toml",
                "processes = 100\n[cpu]\ncap = 1.5\n[memory]\nlimit = \"256MiB\"\n[disk]\nsize = \"1GiB\"\n",
            )
            .unwrap(),
        ],
        networks: vec![
            Network::parse(
                "networks/private.toml",
                "kind = \"routed\"\npools = [\"10.77.0.0/24\"]\n",
            )
            .unwrap(),
        ],
        tenants: vec![Tenant::parse("tenants/acme.toml", "").unwrap()],
    };
    let text =
        format!("id = {id}\nname = {name:?}\ntenant = \"acme\"\ntemplate = \"debian-12\"\nplan = \"small\"\n{more}");
    let definition = VeDefinition::parse(&format!("ve/{name}.toml"), &text).unwrap();
    catalog.resolve(&definition).unwrap()
}

fn ve(id: u32, name: &str, state: State, more: &str) -> VeLook {
    let id_ = id.try_into().unwrap();
    VeLook {
        id: id_,
        record: Some(Allocated {
            name: name.into(),
            template: "debian-12/20260101T000000Z".into(),
            family: "debian".into(),
            driver: DriverName::Image,
            disk_size: 1 << 30,
            interfaces: vec![Port {
                inside: "eth0".into(),
                outside: format!("hv{id}.0"),
                mac: "02:68:00:00:65:00".parse().unwrap(),
                network: "private".parse().unwrap(),
                addresses: vec![format!("10.77.0.{}", id - 99).parse().unwrap()],
            }],
        }),
        state: Some(state),
        pid: None,
        uptime: None,
        definition: Some(effective(id, name, more)),
        problem: None,
        places: (
            format!("/var/lib/hostel/ve/{id}").into(),
            format!("/run/hostel/{id}/root").into(),
        ),
        usage: None,
        hits: None,
        disk: DiskUsage {
            used: Some(100 * MIB),
            inodes_used: Some(1234),
            ..DiskUsage::default()
        },
        io: None,
        traffic: None,
        rates: None,
    }
}

/// One that runs, two that don't.
pub fn house() -> Vec<VeLook> {
    let mut web = ve(
        101,
        "web1",
        State::Running,
        "hostname = \"web1.acme.example\"\nonboot = true\npriority = 7\ndescription = \"shop \\\"front\\\"\"\n",
    );
    web.pid = Some(4242);
    web.uptime = Some(Duration::from_secs(3 * 86_400 + 4 * 3600 + 5 * 60 + 6));
    web.usage = Some(Usage {
        memory: Some(10 * MIB),
        swap: Some(0),
        processes: Some(33),
        ..Usage::default()
    });
    web.hits = Some(Hits {
        memory: Some(2),
        memory_peak: Some(64 * MIB),
        processes: Some(0),
        ..Hits::default()
    });
    web.disk.free = Some(900 * MIB);
    web.disk.inodes = Some(65_536);
    vec![
        web,
        ve(
            102,
            "db1",
            State::Stopped,
            "onboot = false\n[memory]\nlimit = \"unlimited\"\n",
        ),
        ve(109, "mail", State::Suspended, ""),
    ]
}

fn query(line: &str) -> Query {
    let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    match parse(&words) {
        Ok(Ask::List(query)) => query,
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(line: &str) -> String {
    let query = query(line);
    query.text(&query.pick(house(), false))
}

#[test]
fn as_clients_ask() {
    let mut text = String::new();
    for line in [
        "",
        "-a",
        "-a -H -o veid,hostname,ip,status",
        "-a -ovpsid,status -H",
        "-ovpsid -H -S",
        "-a1",
        "-n -a",
        "-a -o ctid,onboot,bootorder,layout,uptime,laverage",
        "-a -H -o physpages.l",
        "-a -o ctid,physpages,physpages.m,physpages.b,physpages.l,physpages.f",
        "-a -o ctid,diskspace,diskspace.s,diskspace.h,diskinodes,diskinodes.h",
        "-a -o cpulimit,cpuunits,cpus,nameserver,ostemplate,origin_sample,private",
        "-a -jo hostname,laverage,vpsid,diskspace,cpulimit,cpuunits,description",
        "-a -j -o ctid,physpages,onboot,uptime,ip,features",
        "-a -t -o hostname,ctid",
        "-a -o description,ctid -N web*",
    ] {
        text.push_str(&format!("$ vzlist {line}\n{}", shown(line)));
    }
    golden("tests/golden/vz/vzlist.txt", &text);
    golden("tests/golden/vz/vzlist-j.txt", &shown("-j"));
    golden("tests/golden/vz/vzlist-L.txt", &show::fields());
}

#[test]
fn sorted_as_what_it_is() {
    let ids = |line: &str| {
        shown(&format!("-a -H -o ctid {line}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(ids(""), "101 102 109");
    assert_eq!(ids("-s -ctid"), "109 102 101");
    assert_eq!(ids("-s hostname"), "102 109 101");
    assert_eq!(ids("-s ip"), "101 102 109", "10.77.0.10 is after 10.77.0.3");
    assert_eq!(ids("-s -ip"), "109 102 101");
    assert_eq!(
        ids("-s physpages.l"),
        "101 109 102",
        "unlimited is more than any number"
    );
    assert_eq!(ids("-s uptime"), "101 102 109", "what is unknown comes last");
    assert_eq!(ids("-s -uptime"), "101 102 109");
}

#[test]
fn chosen_by_state_and_pattern() {
    let ids = |line: &str| {
        shown(&format!("-1 {line}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(ids(""), "101");
    assert_eq!(ids("-a"), "101 102 109");
    assert_eq!(ids("-S"), "102 109");
    assert_eq!(ids("-a -h *.example"), "101");
    assert_eq!(ids("-a --name_filter *1"), "101 102");
    assert_eq!(ids("-a -d shop*"), "101");
    // By the name that is shown, and no other.
    let named = || {
        let mut ves = house();
        ves.push(ve(103, "db3", State::Stopped, "[openvz]\nNAME = \"Web_1\"\n"));
        ves.push(ve(104, "ct104", State::Stopped, ""));
        ves
    };
    let by_name = |pattern: &str| {
        let query = query(&format!("-a -1 -N {pattern}"));
        assert!(query.aspects().has(Aspects::DEFINITION));
        query
            .text(&query.pick(named(), false))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(by_name("Web*"), "103");
    assert_eq!(by_name("db*"), "102");
    assert_eq!(by_name("ct*"), "");
    assert_eq!(ids("-h nobody"), "");
    let named = query("-1 102");
    assert_eq!(
        named.pick(house(), true).len(),
        3,
        "of those named the state doesn't matter"
    );
    assert_eq!(query("-S 102").pick(house(), true).len(), 2);
}

#[test]
fn nothing_is_looked_at_that_was_not_asked_for() {
    assert_eq!(query("-a -H -o ctid").aspects(), Aspects::NONE);
    assert_eq!(query("-a -H -o ctid,status").aspects(), Aspects::STATE);
    assert_eq!(query("-H -o ip").aspects(), Aspects::RECORD | Aspects::STATE);
    assert!(!query("-a -o numproc,physpages.l").aspects().has(Aspects::DISK));
    assert!(!query("-a -j").aspects().has(Aspects::RATES), "it would take 80 ms");
    assert!(
        query("-a -o ctid -s diskspace -h x")
            .aspects()
            .has(Aspects::DISK | Aspects::DEFINITION)
    );
}

/// An address with a part missing would be another, and so would a number.
#[test]
fn a_column_is_cut_between_addresses() {
    let mut ves = house();
    let several = ["2001:db8:1:2:3:4:5:6", "10.0.0.1", "10.0.0.2", "2001:db8::1"];
    for (at, of) in [(0, 0..2), (1, 1..3), (2, 1..4)] {
        let record = ves[at].record.as_mut().unwrap();
        record.interfaces[0].addresses = several[of].iter().map(|a| a.parse().unwrap()).collect();
    }
    let query = query("-a -H -o ip,ctid");
    assert_eq!(
        query.text(&ves),
        "2001:db8:1:2:3:4:5:6        101\n10.0.0.1               102\n10.0.0.1               109\n"
    );
}

/// What is text in one VE is text in all, whatever it looks like.
#[test]
fn words_are_words_in_json() {
    let more =
        "[openvz]\nNODEMASK = \"0\"\nMOUNT_OPTS = \"7\"\nUUID = \"12\"\nVM_OVERCOMMIT = \"1.5\"\nHA_PRIO = \"3\"\n";
    let query = query("-a -j -o nodemask,mount_opts,uuid,vm_overcommit,ha_prio");
    let text = query.text(&[ve(101, "web1", State::Stopped, more)]);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "nodemask": "0", "mount_opts": "7", "uuid": "12", "vm_overcommit": 1.5, "ha_prio": 3,
    });
    assert_eq!(rows[0], expected);
}

#[test]
fn mistakes() {
    for (line, said) in [
        ("-o colour", "Unknown field: colour"),
        ("-o physpages.x", "Unknown field: physpages.x"),
        ("-o physpages.", "Unknown field: physpages."),
        ("-o hostname.m", "Unknown field: hostname.m"),
        ("-o ctid,", "Unknown field: "),
        ("-s -", "Unknown field: "),
        (
            "-j -o physpages.l",
            "physpages.l is part of an object in JSON; ask for physpages",
        ),
        ("-x", "invalid option -- 'x'"),
    ] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(parse(&words).unwrap_err(), said, "{line}");
    }
    assert_eq!(query("101 -H 7").ves, ["101", "7"]);
}

#[test]
fn every_field_has_a_name_of_its_own_and_can_be_shown() {
    let mut names: Vec<&str> = FIELDS.iter().flat_map(|field| field.names).copied().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    for ve in house() {
        for field in FIELDS {
            let column = whole(field);
            assert!(!column.value(&ve).shown().is_empty(), "{}", column.name);
            assert_eq!(
                column.json(&ve).is_object(),
                !field.parts().is_empty() || column.name == "features"
            );
        }
    }
}
