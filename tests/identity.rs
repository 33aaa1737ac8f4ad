//! Who a guest thinks it is.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;

#[test]
fn a_debian_12_ve_is_somebody() {
    is_somebody("debian-12");
}

#[test]
fn a_debian_13_ve_is_somebody() {
    is_somebody("debian-13");
}

fn is_somebody(template: &str) {
    let h = House::new();
    house::template(template);
    h.write(
        "keys",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Jmzr0c9Mb5YbGdIbIDE0vnJ4QnPQf4C7sQkXz1AbC ann@desk\n",
    );
    h.write("password", "correct horse\n");
    let (keys, password) = (h.dir.join("keys"), h.dir.join("password"));
    for name in ["a", "b"] {
        h.ok(&[
            "create",
            name,
            "--template",
            template,
            "--plan",
            "small",
            "--hostname",
            &format!("{name}.acme.example"),
            "--ssh-key",
            keys.to_str().unwrap(),
            "--password-file",
            password.to_str().unwrap(),
            "--set",
            "dns=192.0.2.53",
            "--set",
            "search=acme.example",
            "--start",
            "--wait",
        ]);
    }
    let address = h.status("a", "addresses")[0].as_str().unwrap().to_owned();
    assert_eq!(
        h.sh("a", "hostname; hostname -f; cat /etc/hostname"),
        "a.acme.example\na.acme.example\na.acme.example"
    );
    let hosts = h.sh("a", "getent hosts a.acme.example; cat /etc/hosts");
    assert!(
        hosts.contains("a.acme.example") && hosts.contains("127.0.0.1"),
        "{hosts}"
    );
    let resolv = h.sh("a", "cat /etc/resolv.conf");
    assert!(
        resolv.contains("nameserver 192.0.2.53") && resolv.contains("acme.example"),
        "{resolv}"
    );
    assert!(h.sh("a", "ip addr show eth0").contains(&address));
    // The password is there as a hash that fits it, and nowhere in the clear.
    let hash = h.sh("a", "awk -F: '$1==\"root\"{print $2}' /etc/shadow");
    assert!(hash.starts_with("$6$") || hash.starts_with("$y$"), "{hash}");
    let fits = h.sh(
        "a",
        &format!("perl -e 'print crypt(\"correct horse\", q({hash})) eq q({hash}) ? \"fits\" : \"not\"'"),
    );
    assert_eq!(fits, "fits");
    assert!(!h.read("etc/ve/a.toml").contains("correct horse"));
    assert!(
        h.sh("a", "cat /root/.ssh/authorized_keys")
            .contains(h.read("keys").trim())
    );
    assert_eq!(
        h.sh("a", "stat -c %a /root/.ssh /root/.ssh/authorized_keys"),
        "700\n600"
    );
    let id = |ve: &str| h.sh(ve, "cat /etc/machine-id");
    let host_keys = |ve: &str| h.sh(ve, "cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f2 | sort");
    let (first, first_keys) = (id("a"), host_keys("a"));
    assert!(first.len() == 32 && first != id("b"), "{first}");
    assert!(!first_keys.is_empty() && first_keys != host_keys("b"));
    // What the guest changes stays changed, and who it is stays.
    h.sh(
        "a",
        "echo root:other | chpasswd; echo mine >> /root/.ssh/authorized_keys",
    );
    let changed = h.sh("a", "awk -F: '$1==\"root\"{print $2}' /etc/shadow");
    h.ok(&["stop", "a"]);
    h.ok(&["start", "a", "--wait"]);
    assert_eq!((id("a"), host_keys("a")), (first, first_keys));
    assert_eq!(h.sh("a", "awk -F: '$1==\"root\"{print $2}' /etc/shadow"), changed);
    assert!(h.sh("a", "cat /root/.ssh/authorized_keys").contains("mine"));
    assert_eq!(h.sh("a", "systemctl is-system-running"), "running");
}

/// What `start` or `restart` says, which must succeed.
#[track_caller]
fn told(h: &House, args: &[&str]) -> String {
    let ran = h.run(args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
    ran.err
}

#[test]
fn a_password_that_finds_no_room_is_told_and_set_when_there_is() {
    const HASH: &str = "$5$rounds=5000$saltsalt$dT0Y2kVnCZ1tjTBRIQdKhyMgpHsp6Kq0f0OLSoxZhQA";
    let h = House::new();
    h.busybox("ve");
    let is_set = || h.sh("ve", "cat /etc/shadow || true").contains(HASH);
    h.sh(
        "ve",
        "mkdir /fill; for size in 64k 4k 1; do dd if=/dev/zero of=/fill/$size bs=$size 2>/dev/null; sync; done; \
         ! dd if=/dev/zero of=/fill/more bs=1 count=1 2>/dev/null",
    );
    h.ok(&["set", "ve", &format!("guest.password_hash={HASH}")]);
    for _ in 0..2 {
        let said = told(&h, &["restart", "ve"]);
        assert!(
            said.contains("guest.password_hash is not set inside: /etc/shadow: No space left on device"),
            "{said}"
        );
        assert!(!is_set());
    }
    h.sh("ve", "rm -r /fill; sync");
    let said = told(&h, &["restart", "ve"]);
    assert!(is_set() && !said.contains("inside"), "{said}");
    // From here on it is the guest's to change.
    h.sh("ve", "sed -i '/^root:/d' /etc/shadow");
    told(&h, &["restart", "ve"]);
    assert!(!is_set());
}

/// As an image may have it: a host key that can't be removed at the first start is removed at a later one, and what the
/// guest has made its own since stays.
#[test]
fn what_is_left_of_the_template_goes_as_soon_as_it_can() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "ve", "--template", "busybox"]);
    let immutable = |sign: &str| {
        h.in_mounted_root("ve", |root| {
            std::fs::create_dir_all(root.join("etc/ssh")).unwrap();
            let of_all = root.join("etc/ssh");
            if sign == "+i" {
                std::fs::write(of_all.join("ssh_host_rsa_key"), "everybody's\n").unwrap();
            }
            let changed = std::process::Command::new("chattr").arg(sign).arg(&of_all).status();
            assert!(changed.unwrap().success(), "chattr {sign}");
        });
    };
    immutable("+i");
    let first = told(&h, &["start", "ve"]);
    assert!(first.contains("not changed inside: /etc/ssh: "), "{first}");
    assert_eq!(h.sh("ve", "cat /etc/ssh/ssh_host_rsa_key"), "everybody's");
    h.sh("ve", "echo mine > /etc/machine-id");
    h.ok(&["stop", "ve"]);
    immutable("-i");
    let second = told(&h, &["start", "ve"]);
    assert!(!second.contains("inside"), "{second}");
    assert_eq!(h.sh("ve", "ls /etc/ssh; cat /etc/machine-id"), "mine");
    // And once it is done it isn't done again.
    h.sh("ve", "echo own > /etc/ssh/ssh_host_rsa_key");
    told(&h, &["restart", "ve"]);
    assert_eq!(h.sh("ve", "cat /etc/ssh/ssh_host_rsa_key"), "own");
}

#[test]
fn a_ve_that_names_no_name_servers_has_its_hosts() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "a", "--template", "busybox", "--start"]);
    let facts = serde_json::from_str::<serde_json::Value>(&h.ok(&["info", "--json"])).unwrap();
    let known = facts
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["what"] == "name servers")
        .unwrap();
    let resolv = h.sh("a", "cat /etc/resolv.conf");
    let servers: Vec<&str> = resolv.lines().filter_map(|l| l.strip_prefix("nameserver ")).collect();
    match known["value"].as_str().unwrap() {
        "none" => assert!(servers.is_empty(), "{resolv}"),
        all => assert_eq!(servers, all.split(' ').take(3).collect::<Vec<_>>(), "{resolv}"),
    }
    // An empty list leaves the file to the guest.
    h.ok(&["create", "b", "--template", "busybox", "--set", "dns=[]", "--start"]);
    assert_eq!(h.sh("b", "cat /etc/resolv.conf"), "");
}

/// Two VEs get new disks and stay who they are; what is refused changes nothing.
#[test]
fn reinstalled_they_stay_who_they_are() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    h.sh("a", "echo mine >/root/mine");
    let (address, mine) = (h.status("a", "addresses"), || {
        h.sh("a", "cat /root/mine 2>/dev/null || echo none")
    });
    let refused = h.fails(4, &["reinstall", "a", "b"]);
    assert!(
        refused.contains("a: it is running") && refused.contains("stop it first"),
        "{refused}"
    );
    assert_eq!(mine(), "mine");
    h.ok(&["kill", "a", "b"]);
    h.fails(3, &["reinstall", "a", "--template", "none-such"]);
    h.fails(3, &["reinstall", "a", "nobody"]);
    h.ok(&["start", "a"]);
    assert_eq!(mine(), "mine");
    h.ok(&["kill", "a"]);
    let done = h.ok(&["reinstall", "a", "b", "--template", "busybox", "--json"]);
    let done: Vec<serde_json::Value> = done.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        done.len() == 2 && done.iter().all(|ve| ve["ok"] == true && ve["done"] == "reinstalled"),
        "{done:?}"
    );
    h.ok(&["start", "a"]);
    assert_eq!((mine(), h.status("a", "addresses")), ("none".to_owned(), address));
}
