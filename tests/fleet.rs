//! Hosts that forward their ledgers to one PostgreSQL: real VEs, a real server, and managers that are killed at every step.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod house;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use house::House;
use house::postgres::Postgres;
use rustix::process::Signal;
use serde_json::Value;

/// A house that forwards there, and is measured each second.
fn house(url: &str) -> House {
    let h = House::with(&format!("ledger = {url:?}\n"));
    h.write(
        "hostel.toml",
        &(h.read("hostel.toml") + "\n[metering]\ninterval = \"1s\"\n"),
    );
    h
}

fn json(h: &House, args: &[&str]) -> Value {
    serde_json::from_str(&h.ok(args)).unwrap()
}

/// What was used in sum, by name.
fn usage(h: &House, books: &[&str]) -> Value {
    let args = [&["report", "--last", "1h", "--format", "json"], books].concat();
    json(h, &args)[0]["usage"].clone()
}

/// A number, which is a text where readers of JSON would round it.
fn number(value: &Value) -> u128 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().unwrap()
}

fn records(h: &House, books: &[&str]) -> Vec<Value> {
    let text = h.ok(&[&["ledger", "export"], books].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What these hosts' own ledgers come to; a report of them would bring them up to now.
fn sums(hosts: &[&House]) -> BTreeMap<String, u128> {
    let mut sums = BTreeMap::new();
    for record in hosts.iter().flat_map(|h| records(h, &[])) {
        for (name, value) in record["usage"].as_object().unwrap() {
            *sums.entry(name.clone()).or_default() += number(value);
        }
    }
    sums.retain(|name, n| *n > 0 && !name.ends_with(".peak"));
    sums
}

/// The same names of a report.
fn reported(usage: &Value) -> BTreeMap<String, u128> {
    let worked_out = [".peak", ".average", ".seconds", ".p95", "availability"];
    let all = usage.as_object().unwrap().iter();
    let all = all.filter(|(name, value)| !value.is_null() && !worked_out.iter().any(|end| name.ends_with(end)));
    all.map(|(name, value)| (name.clone(), number(value)))
        .filter(|(_, n)| *n > 0)
        .collect()
}

fn status(h: &House) -> Value {
    json(h, &["ledger", "status", "--json"])
}

/// This host's records are in the fleet's ledger, and prove to be what they are here.
#[track_caller]
fn has_all(h: &House) {
    let own = json(h, &["ledger", "verify", "--json"]);
    let id = status(h)["id"].as_str().unwrap().to_owned();
    let there = json(h, &["ledger", "verify", "--host", &id, "--json"]);
    for key in ["records", "thinned", "last", "hash", "broken"] {
        assert_eq!(own[key], there[0][key], "{key}");
    }
    assert_eq!(own["broken"], Value::Null);
    let mut there = records(h, &["--host", &id]);
    for record in &mut there {
        assert!(record.as_object_mut().unwrap().remove("host").is_some());
    }
    assert_eq!(there, records(h, &[]));
    assert_eq!(reported(&usage(h, &["--host", &id])), sums(&[h]));
}

/// A VE that runs for a moment and is stopped.
fn lives(h: &House, ve: &str) {
    h.ok(&["start", ve]);
    h.sh(ve, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    h.ok(&["stop", ve]);
}

#[test]
fn the_report_of_two_hosts_is_the_sum_of_both() {
    let Some(server) = Postgres::new() else { return };
    let (a, b) = (house(&server.url()), house(&server.url()));
    for (h, ve) in [(&a, "web1"), (&b, "db1")] {
        h.busybox(ve);
        h.ok(&["stop", ve]);
        lives(h, ve);
        // It tells how far it is, and brings up what is missing.
        assert!(status(h)["behind"].as_u64().unwrap() > 2);
        h.ok(&["report", "--all"]);
        assert!(h.ok(&["ledger", "forward"]).contains("records were forwarded"));
        assert_eq!(status(h)["behind"], 0);
        has_all(h);
    }
    assert_eq!(reported(&usage(&a, &["--fleet"])), sums(&[&a, &b]));
    assert_eq!(reported(&usage(&b, &["--fleet", "--ve", "web1"])), sums(&[&a]));
    let rows = json(&a, &["report", "--fleet", "--by", "host", "--format", "json"]);
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    let hosts = a.ok(&["ledger", "hosts"]);
    assert_eq!(hosts.lines().count(), 3, "{hosts}");
    assert_eq!(
        records(&a, &["--fleet"]).len(),
        records(&a, &[]).len() + records(&b, &[]).len()
    );
    // What makes no sense is refused.
    assert!(a.fails(2, &["report", "--by", "host"]).contains("--fleet"));
    a.fails(3, &["report", "--host", "nowhere"]);
    // A budget is each host's own, and nothing is left of it for all.
    a.write("etc/tenants/default.toml", "[traffic]\nmonth = \"1TiB\"\n");
    let budget = |books: &[&str]| {
        let args = [&["report", "--tenant", "default", "--format", "json"], books].concat();
        json(&a, &args)[0]["budget"].clone()
    };
    assert!(budget(&[])["left"].is_number());
    assert_eq!(budget(&["--fleet"]), Value::Null);
    // An invoice of the fleet's.
    a.write(
        "etc/prices.toml",
        "currency = \"EUR\"\n[[price]]\nname = \"There\"\nusage = \"kept\"\nprice = \"100\"\n",
    );
    let bill = a.ok(&["report", "--fleet", "--by", "tenant", "--invoice"]);
    assert!(bill.contains("There"), "{bill}");
    assert!(a.ok(&["info"]).contains("no hostel manager runs"));
}

#[test]
fn outages_keep_nothing_from_working_and_are_caught_up() {
    let Some(mut server) = Postgres::new() else { return };
    let h = house(&server.url());
    h.busybox("web1");
    let mut child = h.manager();
    let caught_up = |what: &str| {
        h.until(what, 60 * house::slowness(), || {
            let now = status(&h);
            now["behind"].as_u64() < Some(3) && now["trouble"].is_null() && now["forwarded"].as_u64() > Some(2)
        });
    };
    caught_up("it forwards by itself");
    server.kill();
    h.until("it says so", 60, || {
        status(&h)["trouble"]
            .as_str()
            .is_some_and(|why| why.contains("connect"))
    });
    // All goes on, and measuring as well.
    for _ in 0..3 {
        h.ok(&["restart", "web1"]);
    }
    h.until("it is behind", 60, || status(&h)["behind"].as_u64() > Some(8));
    assert!(h.ok(&["info"]).contains("records behind"));
    let behind = h.ok(&["metrics"]);
    let behind = behind
        .lines()
        .find_map(|l| l.strip_prefix("hostel_ledger_behind_records "));
    assert!(behind.unwrap().parse::<f64>().unwrap() > 8.0);
    server.start();
    caught_up("it has caught up after a death");
    // Whoever forwards is killed, and another goes on.
    child.kill().unwrap();
    child.wait().unwrap();
    h.ok(&["restart", "web1"]);
    let mut child = h.manager();
    caught_up("another has taken over");
    house::signal(&child, Signal::TERM);
    h.until("it ends", 30, || child.try_wait().unwrap().is_some());
    h.ok(&["stop", "web1"]);
    h.ok(&["report", "--all"]);
    h.ok(&["ledger", "forward"]);
    has_all(&h);
}

/// A server that takes connections and says nothing: whoever forwards gives up, and measuring waits for nobody.
#[test]
fn a_server_that_hangs_holds_up_nobody() {
    let h = house("postgres://hostel@127.0.0.1:5999/hostel");
    h.busybox("web1");
    let listen = "import socket, time; s = socket.create_server(('127.0.0.1', 5999)); print('ready', flush=True); time.sleep(600)";
    let mut python = h.on_host("python3");
    let mut listener = python.args(["-c", listen]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(listener.stdout.as_mut().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let before = Instant::now();
    let said = h.fails(1, &["ledger", "forward"]);
    assert!(said.contains("127.0.0.1"), "{said}");
    assert!(before.elapsed() < Duration::from_secs(30 * house::slowness()), "{said}");
    let mut child = h.manager();
    h.until("it has tried", 60, || !status(&h)["trouble"].is_null());
    let entered = || records(&h, &[]).len();
    let then = entered();
    h.until("measuring goes on", 60, || entered() > then + 3);
    h.ok(&["restart", "web1"]);
    house::signal(&child, Signal::TERM);
    h.until("it ends", 30, || child.try_wait().unwrap().is_some());
    listener.kill().unwrap();
    listener.wait().unwrap();
}

/// Whoever forwards is killed at each step of it.
#[cfg(feature = "crash-points")]
#[test]
fn forwarding_may_be_killed_anywhere() {
    let Some(server) = Postgres::new() else { return };
    let h = house(&server.url());
    h.busybox("web1");
    h.ok(&["stop", "web1"]);
    for (round, place) in [
        "begin:before",
        "records:before",
        "records:after",
        "note:before",
        "commit:before",
        "commit:after",
    ]
    .into_iter()
    .enumerate()
    {
        // First of all records, then of some more.
        for first in [true, false] {
            if first && round > 0 {
                // As if it had never been forwarded.
                server.sql("DROP SCHEMA hostel CASCADE");
            }
            lives(&h, "web1");
            h.ok(&["report", "--all"]);
            let mut forward = h.command(&["ledger", "forward"]);
            let ended = forward
                .env("HOSTEL_CRASH_AT", format!("forward.{place}"))
                .output()
                .unwrap();
            assert!(!ended.status.success(), "{place} was not reached: {ended:?}");
            let said = h.ok(&["ledger", "forward"]);
            assert_eq!(
                said.contains("nothing was left"),
                place == "commit:after",
                "{place}: {said}"
            );
            has_all(&h);
        }
    }
}

/// With a name and a certificate, and a password from a file.
#[test]
fn by_tls_only_to_who_the_certificate_says() {
    let Some(mut server) = Postgres::new() else { return };
    let dir = server.dir.display().to_string();
    let h = house("postgres://hostel@localhost/hostel");
    h.host_sh(&format!(
        "cd {dir} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ca -keyout \
         ca.key -out ca.pem 2>/dev/null && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj \
         /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr 2>/dev/null && openssl x509 \
         -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.pem \
         2>/dev/null && chown 65534 server.key && chmod 0600 server.key && ip link set lo up"
    ));
    let listening = ["listen_addresses=127.0.0.1"];
    let encrypted = [
        listening[0],
        "ssl=on",
        &format!("ssl_cert_file={dir}/server.pem"),
        &format!("ssl_key_file={dir}/server.key"),
    ];
    server.sql_as("postgres", "ALTER SYSTEM SET password_encryption = 'scram-sha-256'");
    std::fs::write(
        server.data().join("pg_hba.conf"),
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
    )
    .unwrap();
    let passwords = server.private("pass", "localhost:5432:hostel:hostel:a secret\n");
    let settings = h.read("hostel.toml");
    let to = |parameters: &str| {
        let url = format!(
            "postgres://hostel@localhost/hostel?passfile={}{parameters}",
            passwords.display()
        );
        h.write(
            "hostel.toml",
            &settings.replace("postgres://hostel@localhost/hostel", &url),
        );
    };
    let trusted = format!("&sslrootcert={dir}/ca.pem");
    h.busybox("web1");
    h.ok(&["stop", "web1"]);
    server.stop();
    server.in_network_of(h.namespace());
    // A server that has no TLS is not talked to.
    server.options(&listening);
    server.start();
    to(&trusted);
    assert!(h.fails(1, &["ledger", "forward"]).contains("TLS"));
    server.stop();
    server.options(&encrypted);
    server.start();
    // Nor one whose certificate nobody has signed that is trusted, or that is another's.
    to("");
    assert!(h.fails(1, &["ledger", "forward"]).contains("certificate"));
    let elsewhere = settings.replace(
        "@localhost/hostel",
        &format!("@127.0.0.1/hostel?sslrootcert={dir}/ca.pem"),
    );
    h.write("hostel.toml", &elsewhere);
    assert!(h.fails(1, &["ledger", "forward"]).contains("certificate"));
    // Nor with a password that others can read, or none.
    to(&trusted);
    h.host_sh(&format!("chmod 0640 {}", passwords.display()));
    assert!(
        h.fails(1, &["ledger", "forward"])
            .contains("others than its owner may read it")
    );
    h.host_sh(&format!("chmod 0600 {0}; sed -i s/5432/1/ {0}", passwords.display()));
    assert!(h.fails(1, &["ledger", "forward"]).contains("no line of it"));
    h.host_sh(&format!(
        "sed -i 's/:1:/:5432:/; s/secret/mistake/' {}",
        passwords.display()
    ));
    assert!(h.fails(1, &["ledger", "forward"]).contains("password"));
    h.host_sh(&format!("sed -i s/mistake/secret/ {}", passwords.display()));
    h.ok(&["ledger", "forward"]);
    assert_eq!(server.sql("SELECT count(*) > 0 FROM hostel.record"), "t");
    has_all(&h);
}
