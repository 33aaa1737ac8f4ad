//! Hosts of fakes and a real PostgreSQL, which is killed as often as it takes.

#[allow(dead_code, clippy::print_stdout)] // each test uses its part of it
#[path = "../../../tests/house/postgres.rs"]
mod postgres;

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hostel_model::usage::{DAY, HOUR, Sums};
use postgres::Postgres;

use super::Sent;
use crate::error::{Class, chain};
use crate::facade::{Books, By, Row, Silent, Whose, Window};
use crate::host::Host;
use crate::ledger::tests::chain::{MONTH, reading};
use crate::ledger::{Ledger, Line, Policy, Said};
use crate::testing::{engine, fakes, host};

const EVER: Window = Window {
    from_ns: MONTH - DAY,
    to_ns: MONTH + 400 * DAY,
};

/// A host that forwards to this server.
fn one(server: &Postgres) -> Arc<Host> {
    host().hostel(&format!("ledger = {:?}\n", server.url())).make()
}

fn ledger(host: &Host) -> Ledger {
    Ledger::open(&host.dirs.ledger()).unwrap()
}

/// Minutes in which this VE runs, from the first to before the last.
fn live(host: &Host, ve: &str, tenant: &str, minutes: std::ops::Range<u64>) {
    let all: Vec<_> = minutes.map(|n| reading(ve, n * 60, tenant)).collect();
    ledger(host).enter(&all, &mut Vec::new()).unwrap();
}

fn thin(host: &Host, hours: i64) {
    let policy = Policy {
        samples_ns: 12 * HOUR,
        hours_ns: DAY,
        wait_ns: 0,
    };
    ledger(host).thin(MONTH + hours * HOUR, policy).unwrap();
}

fn forward(host: &Arc<Host>) -> crate::error::Result<Sent> {
    engine(host).forward_ledger(false, &Silent)
}

fn rows(host: &Arc<Host>, books: &Books, by: By) -> Vec<Row> {
    engine(host).report(books, EVER, &Whose::All, by, &Silent).unwrap().rows
}

/// What is in a host's own ledger in sum; a report of it would bring it up to the host's time.
fn own(host: &Arc<Host>) -> Sums {
    let mut sums = Sums::default();
    let mut see = |line: Line| {
        if let Said::Usage(interval, _) = line.said {
            sums.add(&interval.amounts);
        }
        Ok(())
    };
    ledger(host).each((i64::MIN, i64::MAX), false, &mut see).unwrap();
    sums
}

fn fleet(host: &Arc<Host>) -> Sums {
    rows(host, &Books::Fleet, By::Ve)[0].sums.clone()
}

/// The fleet's ledger has what these hosts have, each record and nothing else, and proves it.
#[track_caller]
fn has_all_of(server: &Postgres, hosts: &[&Arc<Host>]) {
    let mut all = Sums::default();
    for host in hosts {
        all.add_all(&own(host));
        let (last, hash) = ledger(host).head().unwrap();
        let id = ledger(host).known_id().unwrap().unwrap();
        let verified = engine(host).verify_fleet(&Books::Host(id)).unwrap().remove(0).verified;
        assert_eq!(
            (verified.broken, verified.last, verified.hash),
            (None, last, crate::ledger::hex(&hash))
        );
        let here = engine(host).verify_ledger().unwrap();
        assert_eq!((verified.records, verified.thinned), (here.records, here.thinned));
    }
    assert_eq!(fleet(hosts[0]), all);
    assert_eq!(
        server.sql("SELECT count(*) FROM hostel.record a JOIN hostel.host b ON b.number = a.host WHERE a.seq > b.seq"),
        "0"
    );
}

#[test]
fn two_hosts_one_ledger() {
    let Some(server) = Postgres::new() else { return };
    let (a, b) = (one(&server), one(&server));
    live(&a, "a", "acme", 0..90);
    live(&b, "b", "acme", 0..30);
    live(&b, "c", "zeta", 10..50);
    // Both at once are the first.
    thread::scope(|scope| {
        for host in [&a, &b] {
            scope.spawn(|| assert!(forward(host).unwrap().records > 30));
        }
    });
    has_all_of(&server, &[&a, &b]);
    assert_eq!(forward(&a).unwrap().records, 0);
    // It goes on.
    live(&a, "a", "acme", 90..100);
    assert_eq!(forward(&a).unwrap().records, 10);
    has_all_of(&server, &[&a, &b]);
    let of = |whose: Whose, by: By| {
        engine(&a)
            .report(&Books::Fleet, EVER, &whose, by, &Silent)
            .unwrap()
            .rows
    };
    let acme = of(Whose::Tenant("acme".into()), By::Ve);
    assert_eq!((acme[0].ves, acme.len()), (2, 3));
    assert!(acme[1].group.as_ref().unwrap().starts_with("ve-a (101 on "), "{acme:?}");
    // Both are on this machine, and so have one name.
    let hosts = engine(&a).fleet_hosts().unwrap();
    assert!(hosts.len() == 2 && hosts[0].name == hosts[1].name && hosts.iter().all(|h| !h.aside && h.caught_up_ns > 0));
    let by_host = rows(&a, &Books::Fleet, By::Host);
    assert_eq!(by_host.len(), 3);
    let id = ledger(&b).known_id().unwrap().unwrap();
    assert_eq!(rows(&a, &Books::Host(id), By::Ve)[0].sums, own(&b));
    let heard = crate::facade::tests::Heard::default();
    engine(&a)
        .report(&Books::Fleet, EVER, &Whose::All, By::Ve, &heard)
        .unwrap();
    let told = heard.notes();
    assert!(
        told.iter().any(|note| note.contains("there are two ledgers of hosts")),
        "{told:?}"
    );
    let nobody = engine(&a).report(&Books::Fleet, EVER, &Whose::Tenant("nobody".into()), By::Ve, &Silent);
    assert_eq!(nobody.unwrap_err().class, Class::NotFound);
    let nowhere = engine(&a).report(&Books::Host("nowhere".into()), EVER, &Whose::All, By::Ve, &Silent);
    assert_eq!(nowhere.unwrap_err().class, Class::NotFound);
    // Whoever changes it there is found.
    server.sql("UPDATE hostel.record SET ends = ends + 1 WHERE seq = 20 AND host = 1");
    let verified = engine(&a).verify_fleet(&Books::Fleet).unwrap();
    let broken: Vec<_> = verified.iter().filter_map(|one| one.verified.broken.as_ref()).collect();
    assert!(broken.len() == 1 && broken[0].seq == 20, "{verified:?}");
}

/// What is thinned here is thinned there, by the same records, and no total changes on the way. Also what was thinned
/// before it could be forwarded.
#[test]
fn thinning_goes_along_also_over_an_outage() {
    let Some(mut server) = Postgres::new() else { return };
    let a = one(&server);
    live(&a, "a", "acme", 0..600);
    forward(&a).unwrap();
    for day in 1_u64..4 {
        live(&a, "a", "acme", day * 600..(day + 1) * 600);
        let before = own(&a);
        forward(&a).unwrap();
        assert_eq!(fleet(&a), before);
        thin(&a, day as i64 * 20);
        assert_eq!(fleet(&a), before);
        forward(&a).unwrap();
        assert_eq!(fleet(&a), before);
        has_all_of(&server, &[&a]);
    }
    // Days pass, and PostgreSQL is not there; it is thinned to hours and to days.
    server.kill();
    for day in 4_u64..10 {
        live(&a, "a", "zeta", day * 600..(day + 1) * 600);
        thin(&a, day as i64 * 20);
        let failed = forward(&a).unwrap_err();
        assert!(chain(&failed).contains("connect"), "{}", chain(&failed));
    }
    let behind = engine(&a).forwarding_of_ledger().unwrap();
    assert!(
        behind.behind > 10 && behind.trouble.is_some() && behind.behind_since_ns.is_some(),
        "{behind:?}"
    );
    server.start();
    forward(&a).unwrap();
    has_all_of(&server, &[&a]);
    let caught_up = engine(&a).forwarding_of_ledger().unwrap();
    assert_eq!((caught_up.behind, caught_up.trouble), (0, None));
    assert_eq!(server.sql("SELECT count(*) FROM hostel.record"), ledger_size(&a));
}

fn ledger_size(host: &Host) -> String {
    let count = ledger(host)
        .connection
        .query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0));
    count.unwrap().to_string()
}

/// The server is killed while it takes records, while it moves the host's place, and while it commits.
#[test]
fn whenever_the_server_is_killed_nothing_is_lost_or_doubled() {
    let Some(mut server) = Postgres::new() else { return };
    let (a, b) = (one(&server), one(&server));
    live(&b, "b", "acme", 0..20);
    forward(&b).unwrap();
    live(&a, "a", "acme", 0..50);
    forward(&a).unwrap();
    server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$",
    );
    let mut minute = 50;
    for trigger in [
        "TRIGGER slow BEFORE INSERT ON hostel.record FOR EACH STATEMENT",
        "TRIGGER slow AFTER INSERT ON hostel.record FOR EACH STATEMENT",
        "TRIGGER slow AFTER UPDATE ON hostel.host FOR EACH STATEMENT",
        "CONSTRAINT TRIGGER slow AFTER UPDATE ON hostel.host DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
    ] {
        let table = if trigger.contains("hostel.host") {
            "hostel.host"
        } else {
            "hostel.record"
        };
        server.sql(&format!("CREATE {trigger} EXECUTE FUNCTION slow()"));
        live(&a, "a", "acme", minute..minute + 30);
        minute += 30;
        thread::scope(|scope| {
            let forwarding = scope.spawn(|| forward(&a));
            let end = Instant::now() + Duration::from_secs(60);
            let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            while server.sql(sleeps) != "1" {
                assert!(Instant::now() < end && !forwarding.is_finished(), "{trigger}");
                thread::sleep(Duration::from_millis(20));
            }
            server.kill();
            assert!(forwarding.join().unwrap().is_err(), "{trigger}");
        });
        server.start();
        server.sql(&format!("DROP TRIGGER slow ON {table}"));
        assert_eq!(forward(&a).unwrap().records, 30, "{trigger}");
        has_all_of(&server, &[&a, &b]);
    }
}

/// An older copy of the ledger has come back, or another host has a copy of it: neither overwrites anything.
#[test]
fn another_ledger_under_the_same_id_is_refused() {
    let Some(server) = Postgres::new() else { return };
    let (a, b) = (one(&server), one(&server));
    live(&a, "a", "acme", 0..30);
    forward(&a).unwrap();
    fs::copy(a.dirs.ledger(), b.dirs.ledger()).unwrap();
    let copy = fs::read(a.dirs.ledger()).unwrap();
    // Both are what was forwarded.
    assert_eq!(forward(&b).unwrap().records, 0);
    live(&a, "a", "acme", 30..40);
    forward(&a).unwrap();
    let (before, whole) = (fleet(&a), own(&a));
    let refused = |host: &Arc<Host>, why: &str| {
        let e = forward(host).unwrap_err();
        assert!(e.class == Class::Refused && chain(&e).contains(why), "{}", chain(&e));
        assert_eq!(fleet(&a), before);
    };
    refused(&b, "which is not here");
    live(&b, "a", "acme", 31..60);
    refused(&b, "another record");
    // The older copy on the first host itself; it goes on for days and is thinned before anybody looks.
    fs::write(a.dirs.ledger(), copy).unwrap();
    refused(&a, "which is not here");
    live(&a, "a", "acme", 33..3000);
    thin(&a, 48);
    refused(&a, "can't be compared");
    // Somebody decides that the ledger here is what counts.
    engine(&a).forward_ledger(true, &Silent).unwrap();
    has_all_of(&server, &[&a]);
    let hosts = engine(&a).fleet_hosts().unwrap();
    let aside: Vec<_> = hosts.iter().filter(|host| host.aside).collect();
    assert!(hosts.len() == 2 && aside.len() == 1, "{hosts:?}");
    assert_eq!(rows(&a, &Books::Host(aside[0].id.clone()), By::Ve)[0].sums, whole);
    live(&a, "a", "acme", 3000..3010);
    assert_eq!(forward(&a).unwrap().records, 10);
    has_all_of(&server, &[&a]);
}

/// The server's older copy is filled again from the host's.
#[test]
fn an_older_copy_of_the_fleets_ledger_is_filled_again() {
    let Some(mut server) = Postgres::new() else { return };
    let a = one(&server);
    live(&a, "a", "acme", 0..30);
    forward(&a).unwrap();
    server.stop();
    let (data, copy) = (server.data(), server.dir.join("copy"));
    let cp = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.unwrap().success());
    };
    cp(&data, &copy);
    server.start();
    live(&a, "a", "acme", 30..40);
    forward(&a).unwrap();
    server.stop();
    fs::remove_dir_all(&data).unwrap();
    cp(&copy, &data);
    server.start();
    live(&a, "a", "acme", 40..45);
    assert_eq!(forward(&a).unwrap().records, 15);
    has_all_of(&server, &[&a]);
}

#[test]
fn tables_of_the_future_are_refused() {
    let Some(server) = Postgres::new() else { return };
    let a = one(&server);
    live(&a, "a", "acme", 0..30);
    let none = engine(&a).fleet_hosts().unwrap_err();
    assert_eq!(none.class, Class::NotFound);
    forward(&a).unwrap();
    live(&a, "a", "acme", 30..40);
    server.sql("UPDATE hostel.version SET version = 2");
    for e in [forward(&a).unwrap_err(), engine(&a).fleet_hosts().unwrap_err()] {
        assert!(chain(&e).contains("version 2 is newer"), "{}", chain(&e));
    }
    server.sql("UPDATE hostel.version SET version = 1");
    assert_eq!(forward(&a).unwrap().records, 10);
    // Somebody has taken some away, which the host would replace.
    server.sql("DELETE FROM hostel.record WHERE seq = 12");
    thin(&a, 48);
    let e = forward(&a).unwrap_err();
    assert!(chain(&e).contains("changed by somebody else"), "{}", chain(&e));
    engine(&a).forward_ledger(true, &Silent).unwrap();
    has_all_of(&server, &[&a]);
    // No server of a host that has none.
    let alone = host().make();
    assert_eq!(forward(&alone).unwrap_err().class, Class::Refused);
}

/// A host that has sent all that it has entered, but has entered nothing for long.
#[test]
fn what_was_not_read_of_ves_is_not_complete() {
    let Some(server) = Postgres::new() else { return };
    let a = one(&server);
    crate::testing::with_ve(&a, &[]);
    crate::testing::started(&a);
    let until = || engine(&a).fleet_hosts().unwrap()[0].caught_up_ns;
    for _ in 0..2 {
        fakes(&a).time.pass(60);
        let before = a.moment().wall_ns;
        crate::manager::Sampler::new(&a).pass(&Silent, &|| {}).unwrap();
        let read = before..a.moment().wall_ns;
        for _ in 0..2 {
            fakes(&a).time.pass(3_000);
            a.forward(&mut None, false).unwrap();
            assert!(read.contains(&until()), "{read:?} {}", until());
        }
    }
}
