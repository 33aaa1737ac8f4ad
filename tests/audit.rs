//! `hostel audit`: every kind of orphan is planted, told by its kind and removed, and nothing else is touched.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod house;

use std::path::{Path, PathBuf};

use house::{House, Ran, template};
use serde_json::Value;
use sha2::Digest;

/// A number that no VE of a house has.
const NOBODY: u32 = 777;
/// The first VE's.
const ID: u32 = 101;

impl Planted<'_> {
    /// It is told with this kind and object, --fix removes it, and then nothing is found.
    #[track_caller]
    fn is_found_and_removed(&self, kind: &str, object: &str) {
        let h = self.house;
        let told = h.run(&["audit"]);
        assert!(told.code == 1 && told.out.contains(kind), "{}{}", told.out, told.err);
        let found = only(h.audit(), kind);
        assert!(found["object"].as_str().unwrap().contains(object), "{found:#?}");
        assert_eq!((&found["fixed"], &found["error"]), (&Value::Bool(false), &Value::Null));
        assert!(!found["why"].as_str().unwrap().is_empty());
        let fixed: Value = serde_json::from_str(&h.ok(&["audit", "--fix", "--json"])).unwrap();
        let fixed = only(fixed.as_array().unwrap().clone(), kind);
        assert_eq!(fixed["fixed"], Value::Bool(true), "{fixed:#?}");
        h.ok(&["audit"]);
        assert!(h.audit().is_empty());
    }
}

struct Planted<'a> {
    house: &'a House,
}

/// The one finding, which has exactly the keys that are documented.
#[track_caller]
fn only(found: Vec<Value>, kind: &str) -> Value {
    assert_eq!(found.len(), 1, "{found:#?}");
    let keys: Vec<&String> = found[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error", "fixed", "kind", "object", "why"]);
    assert_eq!(found[0]["kind"], kind, "{found:#?}");
    found[0].clone()
}

fn planted(house: &House) -> Planted<'_> {
    Planted { house }
}

/// Runs a shell line in the namespace that plays the host.
#[track_caller]
fn on_host(h: &House, line: &str) -> String {
    let ran: Ran = h.on_host("sh").args(["-c", line]).output().unwrap().into();
    assert_eq!(ran.code, 0, "{line}\n{}{}", ran.out, ran.err);
    ran.out.trim().to_owned()
}

fn groups(h: &House) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|l| l.contains(" cgroup"))
        .filter_map(|l| l.split(' ').nth(1));
    points
        .map(|p| Path::new(p).join(&h.cgroup_root))
        .filter(|p| p.exists())
        .collect()
}

/// A process that sits in a group until it is killed.
fn sit_in(group: &Path) -> std::process::Child {
    let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    child
}

#[test]
fn a_house_without_orphans() {
    let h = House::new();
    h.busybox("web1");
    assert_eq!(h.ok(&["audit", "--json"]).trim(), "[]");
    let told = h.run(&["audit"]);
    assert!(
        told.code == 0 && told.err.contains("nothing found"),
        "{}{}",
        told.out,
        told.err
    );
}

#[test]
fn a_cgroup() {
    let h = House::new();
    h.busybox("web1");
    let root = groups(&h).remove(0);
    let group = root.join(NOBODY.to_string());
    std::fs::create_dir(&group).unwrap();
    let mut sitting = sit_in(&group);
    planted(&h).is_found_and_removed("cgroup", &NOBODY.to_string());
    assert!(!group.exists());
    sitting.wait().unwrap(); // it was killed with its group
    assert_eq!(h.state("web1"), "running");
}

#[test]
fn a_cgroup_of_somebody_else_is_left_alone() {
    let h = House::new();
    h.busybox("web1");
    // Beside the root, and below it by a name that is no VE's.
    let root = groups(&h).remove(0);
    let beside = root.with_file_name(format!("{}-other", h.cgroup_root));
    let below = root.join("0777");
    for group in [&beside, &below] {
        std::fs::create_dir(group).unwrap();
    }
    let found = h.audit();
    let fixed = h.run(&["audit", "--fix"]);
    let there = (beside.exists(), below.exists());
    for group in [&beside, &below] {
        std::fs::remove_dir(group).unwrap();
    }
    assert!(found.is_empty() && fixed.code == 0, "{found:#?}");
    assert_eq!(there, (true, true));
}

#[test]
fn an_interface() {
    let h = House::new();
    h.busybox("web1");
    let name = format!("hv{NOBODY}.0");
    on_host(
        &h,
        &format!("ip link add {name} type veth peer name peer0 && ip link set {name} alias 'hostel VE {NOBODY}'"),
    );
    planted(&h).is_found_and_removed("interface", &name);
    on_host(&h, &format!("! ip link show {name} 2>/dev/null"));
}

#[test]
fn an_interface_too_many_of_a_ve_that_runs() {
    let h = House::new();
    h.busybox("web1");
    let name = format!("hv{ID}.7");
    on_host(
        &h,
        &format!("ip link add {name} type veth peer name peer0 && ip link set {name} alias 'hostel VE {ID}'"),
    );
    planted(&h).is_found_and_removed("interface", &name);
    on_host(&h, &format!("ip link show hv{ID}.0"));
}

#[test]
fn an_interface_of_somebody_else_is_left_alone() {
    let h = House::new();
    h.busybox("web1");
    // Our prefix and not our alias; our alias and not our prefix.
    on_host(
        &h,
        &format!("ip link add hv{NOBODY}.0 type veth peer name a0 && ip link set hv{NOBODY}.0 alias mine"),
    );
    on_host(
        &h,
        "ip link add other0 type veth peer name b0 && ip link set other0 alias 'hostel VE 777'",
    );
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    h.ok(&["audit", "--fix"]);
    on_host(&h, &format!("ip link show hv{NOBODY}.0 && ip link show other0"));
}

#[test]
fn an_interface_that_is_missing() {
    let mut h = House::new();
    h.unchecked();
    h.busybox("web1");
    on_host(&h, &format!("ip link del hv{ID}.0"));
    let found = only(h.audit(), "interface");
    assert!(found["why"].as_str().unwrap().contains("restart"), "{found:#?}");
    h.ok(&["restart", "web1"]);
    assert!(h.audit().is_empty());
}

/// The name of this house's table.
fn table(h: &House) -> String {
    let tables = on_host(h, "nft list tables");
    let table = tables.lines().next().expect("a table").split(' ').nth(2).unwrap();
    table.to_owned()
}

#[test]
fn a_firewall_element() {
    let h = House::new();
    h.busybox("web1");
    // A second VE's membership is kept beyond its end by putting back what the kernel had.
    h.busybox("web2");
    let name = format!("hv{}.0", ID + 1);
    let table = table(&h);
    let sets = on_host(&h, &format!("nft -j list table inet {table}"));
    let sets: Value = serde_json::from_str(&sets).unwrap();
    let with_elements: Vec<(String, Value)> = sets["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|o| [o.get("set"), o.get("map")])
        .flatten()
        .filter_map(|s| Some((s["name"].as_str()?.to_owned(), s.get("elem")?.clone())))
        .collect();
    h.ok(&["stop", "web2"]);
    assert!(h.audit().is_empty());
    let mut put_back = Vec::new();
    for (set, elements) in with_elements {
        let its: Vec<&Value> = elements
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e.to_string().contains(&name))
            .collect();
        if !its.is_empty() {
            let element = serde_json::json!({"family": "inet", "table": table, "name": set, "elem": its});
            put_back.push(serde_json::json!({"add": {"element": element}}));
        }
    }
    assert!(!put_back.is_empty());
    h.write(
        "elements.json",
        &serde_json::json!({ "nftables": put_back }).to_string(),
    );
    on_host(&h, &format!("nft -j -f {}", h.dir.join("elements.json").display()));
    planted(&h).is_found_and_removed("firewall element", &name);
    assert!(!on_host(&h, &format!("nft list table inet {table}")).contains(&name));
    assert!(on_host(&h, &format!("nft list table inet {table}")).contains(&format!("hv{ID}.0")));
}

#[test]
fn a_firewall_that_was_flushed_by_hand() {
    let h = House::new();
    h.busybox("web1");
    h.busybox("web2");
    on_host(&h, &format!("nft delete table inet {}", table(&h)));
    let found = h.audit();
    assert!(
        found.len() == 2 && found.iter().all(|f| f["kind"] == "firewall element"),
        "{found:#?}"
    );
    h.ok(&["audit", "--fix"]);
    assert!(h.audit().is_empty());
    let address = h.status("web2", "addresses")[0].as_str().unwrap().to_owned();
    h.sh("web1", &format!("ping -c 1 -W 5 {address}"));
}

#[test]
fn what_was_changed_by_hand_beside_ves_that_run() {
    let h = House::new();
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\n",
    );
    h.busybox_with("web1", &["net.in=100Mbit", "net.out=100Mbit"]);
    h.busybox_with("web2", &["network.0.network=lan"]);
    let (own, port) = (format!("hv{ID}.0"), format!("hv{}.0", ID + 1));
    let table = table(&h);
    for harm in [
        format!("nft add element inet {table} ve4 '{{ \"{own}\" . 192.0.2.99 }}'"),
        format!("nft add element bridge {table} any_ip '{{ \"{port}\" }}'"),
        format!("ip route flush dev {own} proto 104"),
        format!("ip link del hv{ID}.i"),
        format!("bridge link set dev {port} locked off learning on"),
    ] {
        on_host(&h, &harm);
    }
    let told = |found: &[Value]| -> Vec<String> {
        let text = |f: &Value, key: &str| f[key].as_str().unwrap().to_owned();
        found
            .iter()
            .map(|f| text(f, "kind") + " " + &text(f, "object"))
            .collect()
    };
    let expected = [
        format!("interface hv{ID}.i"),
        format!("interface {own}"),
        format!("interface {port}"),
        format!("firewall element elements of {own}"),
        format!("firewall element elements of {port}"),
    ];
    assert_eq!(told(&h.audit()), expected);
    let fix = || -> Vec<Value> {
        let fixed: Value = serde_json::from_str(&h.ok(&["audit", "--fix", "--json"])).unwrap();
        fixed.as_array().unwrap().clone()
    };
    assert_eq!(told(&fix()), expected);
    assert!(h.audit().is_empty());
    for harm in ["flush chain inet T prerouting", "insert rule bridge T source4 accept"] {
        on_host(&h, &format!("nft {}", harm.replace('T', &table)));
        assert_eq!(told(&fix()), [format!("firewall table {table}")]);
        assert!(h.audit().is_empty());
    }
    let address = h.status("web1", "addresses")[0].as_str().unwrap().to_owned();
    on_host(&h, &format!("ping -c 1 -w 5 {address}"));
}

#[test]
fn a_loop_device() {
    let h = House::new();
    h.busybox("web1");
    h.ok(&["create", "web2", "--template", "busybox"]);
    let image = h.dir.join(format!("data/ve/{}/disk.img", ID + 1));
    let node = on_host(&h, &format!("losetup -f --show {}", image.display()));
    planted(&h).is_found_and_removed("loop device", &node);
    assert_eq!(on_host(&h, &format!("losetup -j {}", image.display())), "");
    h.ok(&["start", "web2"]);
}

#[test]
fn a_loop_device_whose_disk_is_gone() {
    let h = House::new();
    h.busybox("web1");
    let dir = h.dir.join(format!("data/ve/{NOBODY}"));
    std::fs::create_dir(&dir).unwrap();
    let image = dir.join("disk.img");
    let line = format!(
        "truncate -s 32M {0} && losetup -f --show {0} && rm -r {1}",
        image.display(),
        dir.display()
    );
    let node = on_host(&h, &line);
    planted(&h).is_found_and_removed("loop device", &node);
}

#[test]
fn a_loop_device_of_somebody_else_is_left_alone() {
    let h = House::new();
    let image = h.dir.join("other.img");
    let node = on_host(
        &h,
        &format!("truncate -s 32M {0} && losetup -f --show {0}", image.display()),
    );
    let found = h.audit();
    h.run(&["audit", "--fix"]);
    let there = on_host(&h, &format!("losetup -j {}", image.display()));
    on_host(&h, &format!("losetup -d {node}"));
    assert!(found.is_empty() && there.contains(&node), "{found:#?} {there}");
}

#[test]
fn staging_directories() {
    let h = House::new();
    h.busybox("web1");
    for name in [format!(".creating-{NOBODY}"), format!(".destroyed-{NOBODY}")] {
        let dir = h.dir.join("data/ve").join(&name);
        h.write(&format!("data/ve/{name}/disk.img"), "half a disk");
        planted(&h).is_found_and_removed("staging file", &name);
        assert!(!dir.exists());
    }
    let half_built = templates_of(&h).join("busybox/.staging-1-0");
    h.write(
        "data/tenants/default/templates/busybox/.staging-1-0/root/etc/passwd",
        "half a copy",
    );
    planted(&h).is_found_and_removed("staging file", ".staging-1-0");
    assert!(!half_built.exists());
}

#[test]
fn a_dump_and_a_firewall_table_of_a_suspend_that_is_forgotten() {
    let h = House::new();
    h.busybox("web1");
    h.ok(&["create", "web2", "--template", "busybox"]);
    // A dump that is complete is stale only if its VE runs.
    for (id, name) in [(ID, ".dump"), (ID, "dump"), (ID + 1, ".dump"), (ID + 1, ".resumed")] {
        let dir = format!("data/ve/{id}/{name}");
        h.write(&format!("{dir}/manifest.toml"), "version = 1\n");
        planted(&h).is_found_and_removed("dump", &dir);
        assert!(!h.dir.join(&dir).exists());
    }
    for id in [ID, NOBODY] {
        let table = format!("{}_held_{id}", table(&h));
        on_host(
            &h,
            &format!("nft add table inet {table}; nft add table inet {table}_of_others"),
        );
        planted(&h).is_found_and_removed("firewall table", &table);
        let left = on_host(&h, "nft list tables");
        assert!(
            left.ends_with(&format!("{table}_of_others")) && !left.contains(&format!("{table}\n")),
            "{left}"
        );
        on_host(&h, &format!("nft delete table inet {table}_of_others"));
    }
    assert_eq!((h.state("web1"), h.state("web2")), ("running".into(), "stopped".into()));
}

/// Where the copies of a tenant lie (the store of all templates is shared with other tests).
fn templates_of(h: &House) -> PathBuf {
    h.dir.join("data/tenants/default/templates")
}

#[test]
fn a_runtime_directory() {
    let h = House::new();
    h.busybox("web1");
    let dir = h.run.join(NOBODY.to_string());
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("console.log"), "once upon a time").unwrap();
    planted(&h).is_found_and_removed("runtime directory", &NOBODY.to_string());
    assert!(!dir.exists() && h.run.join(ID.to_string()).exists());
}

#[test]
fn a_mount_and_never_what_is_mounted() {
    let h = House::new();
    h.busybox("web1");
    h.ok(&["create", "web2", "--template", "busybox"]);
    // A disk that stayed mounted, with something on it; its VE is stopped.
    let point = h.run.join(format!("{}/disk", ID + 1));
    let treasure = h.dir.join("treasure");
    std::fs::create_dir_all(&point).unwrap();
    h.write("treasure/gold", "1 kg");
    on_host(&h, &format!("mount --bind {} {}", treasure.display(), point.display()));
    planted(&h).is_found_and_removed("mount", &point.display().to_string());
    // In a runtime directory of no VE: both are removed, what is mounted stays whole.
    let point = h.run.join(format!("{NOBODY}/root"));
    std::fs::create_dir_all(&point).unwrap();
    on_host(&h, &format!("mount --bind {} {}", treasure.display(), point.display()));
    let kinds: Vec<String> = h
        .audit()
        .iter()
        .map(|f| f["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["mount", "runtime directory"]);
    h.ok(&["audit", "--fix"]);
    assert!(h.audit().is_empty());
    assert_eq!(h.read("treasure/gold"), "1 kg");
    // A mount of a person's in there is none of ours: it is kept, and so is what it stands in.
    let point = h.run.join(format!("{NOBODY}/mine"));
    std::fs::create_dir_all(&point).unwrap();
    on_host(&h, &format!("mount --bind {} {}", treasure.display(), point.display()));
    let fixed = h.run(&["audit", "--fix", "--json"]);
    let gold = h.read("treasure/gold");
    on_host(&h, &format!("umount {}", point.display()));
    let fixed: Value = serde_json::from_str(&fixed.out).unwrap();
    assert!(fixed[0]["error"].as_str().unwrap().contains("mounted"), "{fixed:#?}");
    assert_eq!(gold, "1 kg");
    h.ok(&["audit", "--fix"]);
}

#[test]
fn a_mounted_ve_is_no_orphan() {
    let h = House::new();
    template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    h.ok(&["mount", "web1"]);
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    h.ok(&["umount", "web1"]);
    assert!(h.audit().is_empty());
}

#[test]
fn a_definition_without_a_ve_is_told_and_kept() {
    let h = House::new();
    h.busybox("web1");
    let definition = h
        .read("etc/ve/web1.toml")
        .replace("web1", "ghost")
        .replace("101", "150");
    h.write("etc/ve/ghost.toml", &definition);
    let found = only(h.audit(), "definition");
    let file = h.dir.join("etc/ve/ghost.toml").display().to_string();
    assert_eq!(found["object"], file.as_str());
    assert_eq!(h.run(&["audit", "--fix"]).code, 1, "a person's file is not removed");
    // What it says to do works; and if it fails, the file is as it was.
    assert!(
        found["why"]
            .as_str()
            .unwrap()
            .contains(&format!("hostel create --file {file}")),
        "{found}"
    );
    let settings: [(i32, &[&str]); 3] = [
        (3, &["--set", "template=debian-99"]),
        (2, &["--set", "disk.inodes=1"]),
        (4, &["--id", "101"]),
    ];
    for (code, setting) in settings {
        h.fails(code, &[&["create", "--file", &file], setting].concat());
        assert_eq!(h.read("etc/ve/ghost.toml"), definition);
    }
    let refusal = h.fails(4, &["create", "ghost", "--template", "busybox"]);
    assert!(refusal.contains(&format!("hostel create --file {file}")), "{refusal}");
    h.ok(&["create", "--file", &file]);
    assert!(h.audit().is_empty());
    assert_eq!(h.status("ghost", "id"), 150);
    h.fails(4, &["create", "--file", &file]);
    assert_eq!(h.state("ghost"), "stopped");
}

/// A record with something changed in it, as whoever changes it by hand would: without its checksum.
fn changed(record: &str, from: &str, to: &str) -> String {
    assert!(record.contains(from), "{record}");
    let lines = record.lines().filter(|l| !l.starts_with("# checksum"));
    lines.map(|l| format!("{}\n", l.replace(from, to))).collect()
}

#[test]
fn an_id_range_or_an_address_given_twice() {
    let mut h = House::new();
    h.unchecked();
    template("busybox");
    for name in ["web1", "web2"] {
        h.ok(&["create", name, "--template", "busybox"]);
    }
    let second = format!("data/ve/{}/state.toml", ID + 1);
    let record = h.read(&second);
    let slot = |text: &str| text.lines().find(|l| l.starts_with("slot")).unwrap().to_owned();
    let first = h.read(&format!("data/ve/{ID}/state.toml"));
    h.write(&second, &changed(&record, &slot(&record), &slot(&first)));
    let found = only(h.audit(), "id range");
    assert!(found["why"].as_str().unwrap().contains("101") && found["why"].as_str().unwrap().contains("102"));
    let address = |ve: &str| h.status(ve, "addresses")[0].as_str().unwrap().to_owned();
    h.write(&second, &changed(&record, &address("web2"), &address("web1")));
    let found = only(h.audit(), "address");
    assert_eq!(found["object"].as_str().unwrap(), address("web1"));
    assert_eq!(h.run(&["audit", "--fix"]).code, 1, "a person has to choose");
    h.write(&second, &record);
    assert!(h.audit().is_empty());
}

#[test]
fn a_directory_of_a_ve_that_was_copied() {
    let mut h = House::new();
    h.unchecked();
    h.busybox("web1");
    on_host(&h, &format!("cd {}/data/ve && cp -r {ID} 150", h.dir.display()));
    let found = only(h.audit(), "record");
    assert!(found["why"].as_str().unwrap().contains("101"), "{found:#?}");
    let list = h.ok(&["list"]);
    assert!(list.contains("broken") && list.contains("running"), "{list}");
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    std::fs::remove_dir_all(h.dir.join("data/ve/150")).unwrap();
    assert!(h.audit().is_empty());
}

#[test]
fn a_journal_that_cannot_be_read() {
    let h = House::new();
    h.busybox("web1");
    h.write(&format!("data/journal/{ID}.journal"), "0000000000000000 {\"n\":0}\n");
    let found = only(h.audit(), "journal");
    assert!(found["object"].as_str().unwrap().contains("101"));
    h.ok(&["audit", "--fix"]);
    assert!(h.audit().is_empty());
    // Found by a command instead, it is put aside, and the command goes on.
    h.write(&format!("data/journal/{ID}.journal"), "0000000000000000 {\"n\":0}\n");
    let ran = h.run(&["stop", "web1"]);
    assert!(ran.code == 0 && ran.err.contains("journal"), "{}{}", ran.out, ran.err);
    planted(&h).is_found_and_removed("journal", "corrupt");
}

#[test]
fn an_audit_in_the_middle_of_everything_finds_nothing() {
    let h = House::new();
    template("busybox");
    std::thread::scope(|scope| {
        let threads = ["web1", "web2", "web3"].map(|name| {
            let h = &h;
            scope.spawn(move || {
                for round in 0..6 {
                    h.ok(&["create", name, "--template", "busybox", "--start"]);
                    if round % 2 == 0 {
                        h.run(&["exec", name, "--", "/bin/sh", "-c", "poweroff -f"]);
                        h.until("it has ended", 20, || h.state(name) == "stopped");
                    }
                    h.ok(&["destroy", name, "--force"]);
                }
            })
        });
        // Until one has done, or has failed.
        while threads.iter().all(|thread| !thread.is_finished()) {
            let found = h.audit();
            assert!(found.is_empty(), "{found:#?}");
        }
    });
}

/// Records carry their own checksum; a test that changes one on purpose relies on this form.
#[test]
fn a_record_names_its_checksum() {
    let h = House::new();
    template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let record = h.read(&format!("data/ve/{ID}/state.toml"));
    let (head, below) = record.split_once("# checksum of what follows: ").unwrap();
    assert!(head.starts_with("# Hostel's own record"));
    let (sum, text) = below.split_once('\n').unwrap();
    let digest: String = sha2::Sha256::digest(text)
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(sum, digest);
}
