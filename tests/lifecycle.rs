//! The life of a VE as an admin types it.

mod house;

use house::House;

#[test]
fn a_busybox_ve_lives_and_dies() {
    let h = House::new();
    h.busybox("web1");
    assert_eq!(h.state("web1"), "running");
    assert_eq!(h.sh("web1", "id -u; hostname"), "0\nweb1");
    h.ok(&["stop", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["start", "web1"]);
    h.ok(&["kill", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["destroy", "web1"]);
    h.fails(3, &["status", "web1"]);
}

#[test]
fn a_debian_12_ve_boots_to_running() {
    let h = House::new();
    h.debian("d12", "debian-12");
    assert_eq!(
        h.ok(&["exec", "d12", "systemctl", "is-system-running"]).trim(),
        "running"
    );
    h.ok(&["stop", "d12"]);
    assert_eq!(h.state("d12"), "stopped");
}
