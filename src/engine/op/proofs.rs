//! The proofs of `step::testkit` for every operation, on hosts of fakes: each step twice, a failure at every step and
//! at every call to an adapter or to a file, every undo twice, death at every place.

use std::sync::Arc;

use hostel_model::definition::DriverName;
use hostel_model::request::Action;

use super::create::Create;
use super::destroy::Destroy;
use super::mount::{Mount, Umount};
use super::reinstall::Reinstall;
use super::relocate::Relocate;
use super::resume::Resume;
use super::set::Set;
use super::start::Start;
use super::stop::Stop;
use super::suspend::Suspend;
use super::{destroy, relocate, set, stop};
use crate::facade::Silent;
use crate::host::Host;
use crate::step::Operation;
use crate::step::testkit::Case;
use crate::testing::{FAIL_CALLS, engine, fakes, host, id, inventory, order, started, with_ve};
use crate::ve::registry::Catalogue;

pub(crate) fn prove<O: Operation<Host = Host>>(host: impl Fn() -> Arc<Host>, params: impl Fn(&Host) -> O::Params) {
    let case: Case<'_, O> = Case {
        host: &host,
        id: id(101),
        params: &params,
        inventory: &inventory,
        fail_calls: FAIL_CALLS,
    };
    case.prove();
}

/// A VE with everything: two interfaces, several addresses, limits of its traffic, a password.
const RICH: &[(&str, &str)] = &[
    ("network.0.network", "private"),
    ("network.1.network", "public"),
    ("net.in", "100Mbit"),
    ("network.1.rate_out", "2Mbit"),
    (
        "guest.password_hash",
        "$6$abcdefgh$0CykFGMl0rPqt9zCEeYTMyiKnsmsaTZ5FHBAv5q7u3Bl7f1uGYcYsk7hMlnV4nBQ.MKp7kQ1W5ZUo5x6hpJbG/",
    ),
];

pub(crate) fn made(settings: &[(&str, &str)]) -> Arc<Host> {
    let host = host().make();
    with_ve(&host, settings);
    host
}

pub(crate) fn running(settings: &[(&str, &str)]) -> Arc<Host> {
    let host = made(settings);
    started(&host);
    host
}

#[test]
fn create() {
    for share in ["tenant", "host", "none"] {
        let settings = [("share", share), ("tenant", "acme")];
        // What is planned has to be the same for the same host: the seed is drawn once.
        prove::<Create>(
            || host().make(),
            |h| {
                let other = crate::testing::again(h);
                let mut params = engine(&other).plan_create(&order("web1", &settings), &Silent).unwrap();
                params.state.seed = "0".repeat(32);
                params
            },
        );
    }
}

/// Made of a file that a person has put in the definition's place: whatever fails, it is as it was.
#[test]
fn create_in_place() {
    let file = |host: &Host| host.dirs.definition(&"web1".parse().unwrap());
    let dropped = || {
        let host = host().make();
        let text = "# mine\ntenant = \"acme\"\ntemplate = \"tiny\"\nplan = \"small\"\n";
        std::fs::write(file(&host), text).unwrap();
        host
    };
    prove::<Create>(dropped, |host| {
        let request = hostel_model::request::Create {
            file: Some(file(host)),
            ..Default::default()
        };
        let other = crate::testing::again(host);
        let mut params = engine(&other).plan_create(&request, &Silent).unwrap();
        params.state.seed = "0".repeat(32);
        params
    });
}

#[test]
fn start() {
    // With space put by, as every host has it.
    let host = || {
        let host = made(RICH);
        host.reserve.refill();
        host
    };
    prove::<Start>(host, |_| super::VeAlone {});
}

/// One whose interfaces were changed by hand: if it fails, the VE has what it had.
#[test]
fn start_with_other_interfaces() {
    for (settings, from, to) in [
        (
            RICH,
            "network = \"public\"\naddresses = \"auto\"",
            "network = \"public\"\naddresses = [\"203.0.113.7\"]",
        ),
        (
            &[][..],
            "[[network]]",
            "[[network]]\nnetwork = \"public\"\naddresses = \"auto\"\n[[network]]",
        ),
        (
            &[][..],
            "[[network]]\nnetwork = \"private\"\naddresses = \"auto\"\n",
            "",
        ),
    ] {
        let host = || {
            let host = made(settings);
            host.reserve.refill();
            let path = host.dirs.definition(&"web1".parse().unwrap());
            let text = std::fs::read_to_string(&path).unwrap();
            let changed = text.replace(from, to);
            assert_ne!(text, changed);
            std::fs::write(&path, changed).unwrap();
            host
        };
        prove::<Start>(host, |_| super::VeAlone {});
    }
}

#[test]
fn stop() {
    for grace in [0, 1000] {
        prove::<Stop>(|| running(&[]), |_| stop::Params { grace });
    }
    let stubborn = || {
        let host = running(RICH);
        fakes(&host).guests.stubborn(true);
        host
    };
    prove::<Stop>(stubborn, |_| stop::Params { grace: 1 });
    let paused = || {
        let host = running(&[]);
        engine(&host).act(id(101), &Action::Pause, &Silent).unwrap();
        host
    };
    prove::<Stop>(paused, |_| stop::Params { grace: 0 });
}

#[test]
fn suspend() {
    prove::<Suspend>(|| running(RICH), |_| super::suspend::Params::default());
}

#[test]
fn resume() {
    let suspended = || {
        let host = running(RICH);
        engine(&host)
            .act(id(101), &Action::Suspend { timeout: None }, &Silent)
            .unwrap();
        host
    };
    prove::<Resume>(suspended, |_| super::VeAlone {});
}

#[test]
fn destroy() {
    for share in ["tenant", "none"] {
        prove::<Destroy>(
            || made(&[("share", share)]),
            |_| destroy::Params {
                name: "web1".parse().unwrap(),
            },
        );
    }
}

/// Whatever fails, there is one whole disk, the record says of which template, and all else of it is as it was.
#[test]
fn reinstall() {
    for (share, template) in [("tenant", None), ("none", None), ("none", Some("other"))] {
        let filled = || {
            let host = made(&[("share", share)]);
            crate::testing::add_template(&host, "other/20260202T000000Z");
            let files = fakes(&host).disks.files(&host.dirs.ve(id(101)));
            std::fs::create_dir_all(files.join("upper/etc")).unwrap();
            std::fs::write(files.join("upper/etc/motd"), "mine").unwrap();
            host
        };
        let params = |host: &Host| {
            let template = template.map(|name| name.parse().unwrap());
            let other = crate::testing::again(host);
            let was = host.state(id(101)).unwrap();
            let mut params = engine(&other).plan_reinstall(was, template.as_ref(), &Silent).unwrap();
            params.is.seed = "0".repeat(32);
            params
        };
        prove::<Reinstall>(filled, params);
    }
}

#[test]
fn mount() {
    prove::<Mount>(|| made(&[]), |_| super::VeAlone {});
}

#[test]
fn umount() {
    let mounted = || {
        let host = made(&[]);
        engine(&host).act(id(101), &Action::Mount, &Silent).unwrap();
        host
    };
    prove::<Umount>(mounted, |_| super::VeAlone {});
}

fn change(key: &'static str, value: &'static str) -> impl Fn(&Host) -> set::Params {
    move |host| {
        let path = host.dirs.definition(&"web1".parse().unwrap());
        let old = std::fs::read_to_string(&path).unwrap();
        let new = hostel_model::edit::edit("web1.toml", &old, &[(key, value)]).unwrap();
        let size = |v: &str| v.parse::<hostel_model::units::Bytes>().unwrap().get();
        let disk_size = (key == "disk.size").then(|| size(value));
        set::Params {
            waiting: [key.to_owned()].into(),
            old,
            new,
            disk_size,
            tree: None,
            interfaces: None,
        }
    }
}

#[test]
fn set() {
    for (key, value) in [("memory.limit", "300MiB"), ("disk.size", "2GiB")] {
        prove::<Set>(|| made(&[]), change(key, value));
        prove::<Set>(|| running(&[]), change(key, value));
    }
    prove::<Set>(|| made(&[]), change("disk.size", "512MiB"));
}

/// To another tenant, whose copy of the template it takes: by its own word, or as the tenants share it.
#[test]
fn set_tenant() {
    use hostel_model::definition::Share;
    for of_acme in [Share::Tenant, Share::None] {
        let filled = || {
            let host = made(&[("share", "tenant")]);
            let files = fakes(&host).disks.files(&host.dirs.ve(id(101)));
            std::fs::create_dir_all(files.join("upper/etc")).unwrap();
            std::fs::write(files.join("upper/etc/motd"), "mine").unwrap();
            host
        };
        let params = |host: &Host| set::Params {
            tree: Some(super::tree::Tree {
                tenant: "acme".parse().unwrap(),
                share: of_acme,
            }),
            ..change("tenant", "acme")(host)
        };
        prove::<Set>(filled, params);
    }
}

/// Of a tenant with budgets for what runs: nothing is left of the word that one is about to.
#[test]
fn start_within_budgets() {
    let host = || {
        let host = host()
            .file("tenants/default.toml", "memory = \"1GiB\"\ncpu = 64\n")
            .make();
        with_ve(&host, &[]);
        host.reserve.refill();
        host
    };
    prove::<Start>(host, |_| super::VeAlone {});
}

/// Limits of traffic: one that ends, and one that comes.
#[test]
fn set_rates() {
    let limited = || running(&[("net.in", "100Mbit")]);
    prove::<Set>(limited, change("net.in", "unlimited"));
    prove::<Set>(limited, change("net.out", "1Gbit"));
}

/// Addresses: of a VE that is stopped, and of one that runs; some come, some go.
#[test]
fn set_addresses() {
    let params = |host: &Host| {
        let set::Params { old, .. } = change("hostname", "www")(host);
        let key = |n: usize| format!("network.{n}.addresses");
        let settings = [(key(0), "10.77.0.2,10.77.0.9"), (key(1), "203.0.113.5")];
        let new = hostel_model::edit::edit("web1.toml", &old, &settings).unwrap();
        let had = host.state(id(101)).unwrap().interfaces;
        let mut has = had.clone();
        has[0].addresses.push("10.77.0.9".parse().unwrap());
        has[1].addresses = vec!["203.0.113.5".parse().unwrap()];
        set::Params {
            waiting: [].into(),
            old,
            new,
            disk_size: None,
            tree: None,
            interfaces: Some(set::Interfaces { old: had, new: has }),
        }
    };
    prove::<Set>(|| made(RICH), params);
    prove::<Set>(|| running(RICH), params);
}

/// Access rules: those of a VE that runs change, or come, or go.
#[test]
fn set_access() {
    const RULE: (&str, &str) = ("firewall.in", "deny");
    prove::<Set>(|| running(&[RULE]), change("firewall.out", "deny"));
    prove::<Set>(|| running(&[RULE]), change("firewall.in", "allow"));
    prove::<Set>(|| running(&[]), change("firewall.in", "deny"));
    prove::<Start>(|| made(&[RULE]), |_| super::VeAlone {});
    prove::<Stop>(|| running(&[RULE]), |_| stop::Params { grace: 0 });
}

/// Ports of the host, of a VE that runs: one comes, one goes, one leads elsewhere.
#[test]
fn set_forwards() {
    let with = |text: &str| {
        let host = made(RICH);
        let file = host.dirs.definition(&"web1".parse().unwrap());
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{old}{text}")).unwrap();
        started(&host);
        host
    };
    let before = "[[forward]]\nlisten = 80\n[[forward]]\nlisten = 81\n";
    let params = |host: &Host| {
        let old = std::fs::read_to_string(host.dirs.definition(&"web1".parse().unwrap())).unwrap();
        let new = old.replace(
            before,
            "[[forward]]\nlisten = 80\nto = 8080\n[[forward]]\nprotocol = \"udp\"\nlisten = 81\n",
        );
        let had = host.state(id(101)).unwrap().interfaces;
        let mut has = had.clone();
        assert_eq!(has[0].forwards.len(), 2);
        has[0].forwards[0].to = 8080;
        has[0].forwards[1].protocol = hostel_model::definition::Protocol::Udp;
        set::Params {
            waiting: [].into(),
            old,
            new,
            disk_size: None,
            tree: None,
            interfaces: Some(set::Interfaces { old: had, new: has }),
        }
    };
    prove::<Set>(|| with(before), params);
}

/// Networks and prefixes: one comes, one goes.
#[test]
fn set_networks() {
    let params = |key: &'static str, network: &'static str| {
        move |host: &Host| {
            let set::Params { old, new, .. } = change(key, network)(host);
            let had = host.state(id(101)).unwrap().interfaces;
            let definition = hostel_model::definition::VeDefinition::parse("web1.toml", &new).unwrap();
            let after = host.resolve(&definition, &mut Catalogue::default()).unwrap();
            let has = host
                .interfaces(&after, &had, &host.taken(Some(id(101))).unwrap())
                .unwrap();
            assert_ne!(had, has);
            set::Params {
                waiting: [].into(),
                old,
                new,
                disk_size: None,
                tree: None,
                interfaces: Some(set::Interfaces { old: had, new: has }),
            }
        }
    };
    prove::<Set>(|| made(&[]), params("network+", "public"));
    prove::<Set>(|| running(&[]), params("network+", "public"));
    prove::<Set>(|| running(RICH), params("network-", "private"));
    prove::<Set>(|| running(&[]), params("network.0.routes", "198.51.100.0/28"));
}

/// Of addresses that the host answers for, nothing is left of what failed.
#[test]
fn what_the_host_answers_for() {
    let near = |running: bool| {
        let lan = "kind = \"routed\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nproxy = \"eth0\"\n";
        let host = host().file("networks/private.toml", lan).make();
        with_ve(&host, &[]);
        host.reserve.refill();
        if running {
            started(&host);
        }
        host
    };
    prove::<Start>(|| near(false), |_| super::VeAlone {});
    prove::<Stop>(|| near(true), |_| stop::Params { grace: 0 });
    let suspended = || {
        let host = near(true);
        engine(&host)
            .act(id(101), &Action::Suspend { timeout: None }, &Silent)
            .unwrap();
        host
    };
    prove::<Resume>(suspended, |_| super::VeAlone {});
}

/// Whatever fails, there is one whole disk with all that was on it, and the record says of which driver.
#[test]
fn move_disk() {
    let filled = || {
        let host = made(&[]);
        let files = fakes(&host).disks.files(&host.dirs.ve(id(101)));
        std::fs::create_dir_all(files.join("upper/etc")).unwrap();
        std::fs::write(files.join("upper/etc/motd"), "mine").unwrap();
        host
    };
    for (to, disk_size) in [(DriverName::Project, 1 << 30), (DriverName::Btrfs, 512 << 20)] {
        let params = |host: &Host| {
            let old = std::fs::read_to_string(host.dirs.definition(&"web1".parse().unwrap())).unwrap();
            let new = format!("{old}\n[disk]\nsize = \"{disk_size}\"\ndriver = \"{to}\"\n");
            relocate::Params {
                old,
                new,
                from: DriverName::Image,
                to,
                disk_size,
                inodes: None,
            }
        };
        prove::<Relocate>(filled, params);
    }
}
