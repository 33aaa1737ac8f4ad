//! What processes hold while they are suspended: timers, locks, files without a name, and what waits to be read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;
mod probe;

use house::House;
use serde_json::Value;

/// Sends what comes on standard input to a UDP port, and prints each answer.
const CLIENT: &str = "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(30)\n\
                      s.connect((sys.argv[1],7001))\nfor line in sys.stdin:\n s.send(line.strip().encode());\
                      print(s.recv(600).decode(),flush=True)\n";

/// One program that holds one of each, asked over UDP by one socket throughout. It goes on as if nothing had happened, twice.
#[test]
fn timers_locks_and_what_waits_to_be_read_are_kept() {
    let Some(h) = House::with_criu() else { return };
    if h.on_host("python3").arg("--version").output().is_err() {
        println!("skipped because there is no python3 to ask with");
        return;
    }
    h.busybox("ve");
    let program = probe::built("keeper", &["keeper.c"]);
    h.ok(&["push", "ve", program.to_str().unwrap(), "/usr/bin/keeper"]);
    // In memory too, where a watch and a file without a name are another matter than on the disk.
    h.sh("ve", "mkdir /root/held /dev/shm/held");
    for (port, place) in [(7001, "/root/held"), (7002, "/dev/shm/held")] {
        h.sh(
            "ve",
            &format!("keeper {port} {place} </dev/null >/dev/null 2>/root/wrong &"),
        );
    }
    h.until("both hold everything", 10, || {
        h.sh("ve", "netstat -uln").matches(":700").count() == 2
    });
    let address = h.status("ve", "addresses")[0].as_str().unwrap().to_owned();
    let mut asked: Vec<Asked> = [7001, 7002].map(|port| Asked::new(&h, &address, port)).into();
    let mut before: Vec<Value> = asked.iter_mut().map(|a| a.ask("how")).collect();
    for round in 1..=2 {
        h.ok(&["suspend", "ve"]);
        h.ok(&["resume", "ve"]);
        for place in ["/root/held", "/dev/shm/held"] {
            h.sh("ve", &format!("touch {place}/new{round}"));
        }
        for (a, before) in asked.iter_mut().zip(&mut before) {
            let number = |v: &Value, key: &str| v[key].as_u64().unwrap();
            let _ = &before;
            h.until("all timers go on", 20, || {
                let now = a.ask("how");
                ["timerfd", "itimer", "timer"]
                    .iter()
                    .all(|t| number(&now, t) > number(before, t) + 3)
            });
            let now = a.ask("how");
            assert_eq!(now["pid"], before["pid"]);
            assert_eq!(now["ghost"], "ghost", "{now}");
            assert!(number(&now, "created") > number(before, "created"), "{now} {before}");
            // Far fewer than the hours that a clock of another boot would make.
            assert!(number(&now, "timerfd") < 3_000, "{now}");
            *before = now;
        }
    }
    for (a, (before, place)) in asked.iter_mut().zip(before.iter().zip(["/root/held", "/dev/shm/held"])) {
        let end = a.ask("end");
        assert_eq!(
            (&end["pipe"], &end["datagram"], &end["eventfd"]),
            (&"unread".into(), &"datagram".into(), &7.into()),
            "{end}"
        );
        let held = format!("fcntl {} flock taken", before["pid"]);
        assert_eq!(h.sh("ve", &format!("keeper {place}")), held);
        // Each answer wrote one byte behind the last, and counted in shared memory.
        assert_eq!(h.sh("ve", &format!("stat -c %s {place}/log")), end["asked"].to_string());
    }
    assert_eq!(h.sh("ve", "cat /root/wrong"), "");
}

/// Somebody outside with one socket.
struct Asked(house::Talk);

impl Asked {
    fn new(h: &House, address: &str, port: u16) -> Self {
        let client = CLIENT.replace("7001", &port.to_string());
        let piped = std::process::Stdio::piped;
        let mut python = h.on_host("python3");
        python.args(["-c", &client, address]).stdin(piped()).stdout(piped());
        Self(house::Talk::new(python.spawn().unwrap()))
    }

    fn ask(&mut self, what: &str) -> Value {
        let whole = |talk: &house::Talk| talk.heard().matches('\n').count();
        let before = whole(&self.0);
        self.0.say(&format!("{what}\n"));
        house::until("it answers", 60, || whole(&self.0) > before);
        serde_json::from_str(self.0.heard().lines().nth(before).unwrap()).unwrap()
    }
}
