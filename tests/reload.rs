//! Rules that are loaded anew while VEs talk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::process::Stdio;

use house::{House, Ran, end_of};

/// A network whose definition changes the rules of all.
const ANOTHER: &str = "kind = \"nat\"\npools = [\"10.79.0.0/24\"]\n";
/// How often they are loaded anew.
const TIMES: usize = 6;

/// How many were sent in all runs of ping, and how many of them were answered.
fn counts(said: &str) -> (u64, u64) {
    let lines = said.lines().filter(|l| l.contains("packets transmitted"));
    let numbers = lines.map(|l| {
        l.split_whitespace()
            .filter_map(|w| w.parse::<u64>().ok())
            .collect::<Vec<_>>()
    });
    numbers.fold((0, 0), |(sent, answered), of| (sent + of[0], answered + of[1]))
}

#[test]
fn no_packet_between_ves_is_lost_by_it() {
    let h = House::new();
    for ve in ["a", "b"] {
        h.busybox(ve);
    }
    h.ok(&["create", "c", "--template", "busybox"]);
    let address = h.status("b", "addresses")[0].as_str().unwrap().to_owned();
    let pid = h.status("a", "pid").to_string();
    // As fast as answers come. Each run ends when it has got its last one.
    let enough = h.dir.join("enough");
    let line = format!(
        "until [ -e {} ]; do ping -f -q -c 500 -W 1 {address}; done",
        enough.display()
    );
    let ping = h
        .on_host("nsenter")
        .args(["--net", "--target", &pid, "sh", "-c", &line])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let version = || h.host_sh("nft list chains inet | grep version_ | sort");
    for n in 0..TIMES {
        let before = version();
        match n % 2 {
            0 => h.write("etc/networks/another.toml", ANOTHER),
            _ => std::fs::remove_file(h.dir.join("etc/networks/another.toml")).unwrap(),
        }
        h.ok(&["start", "c"]);
        assert_ne!(version(), before, "the rules are others");
        h.ok(&["kill", "c"]);
        h.until("it has been cleared up after", 10, || h.state("c") == "stopped");
    }
    h.write("enough", "");
    let said: Ran = end_of(ping);
    let (sent, answered) = counts(&said.out);
    assert!(sent > 1000 && answered == sent, "{answered} of {sent}\n{}", said.out);
}
