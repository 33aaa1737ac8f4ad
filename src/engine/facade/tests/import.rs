//! VEs and plans from the files of a host with OpenVZ.

use std::path::{Path, PathBuf};

use super::*;
use crate::facade::{Fate, ImportLine, ImportOrder};
use crate::op::create::Create;
use crate::op::proofs::prove;
use crate::testing::{again, fakes, host};

/// A private area, and a file beside it.
fn container(conf: &str) -> (tempfile::TempDir, ImportOrder) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let private = dir.path().join("private");
    for part in ["etc", "bin", "sbin", "srv"] {
        std::fs::create_dir_all(private.join(part)).unwrap();
    }
    std::fs::write(private.join("bin/busybox"), "").unwrap();
    std::fs::set_permissions(private.join("bin/busybox"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../bin/busybox", private.join("sbin/init")).unwrap();
    std::fs::write(private.join("srv/mine"), "mine").unwrap();
    std::fs::write(dir.path().join("150.conf"), conf).unwrap();
    let order = ImportOrder {
        conf: dir.path().join("150.conf"),
        private,
        ..ImportOrder::default()
    };
    (dir, order)
}

fn line<'l>(lines: &'l [ImportLine], key: &str) -> &'l ImportLine {
    lines
        .iter()
        .find(|line| line.key == key)
        .unwrap_or_else(|| panic!("no {key}: {lines:#?}"))
}

fn state_of(host: &Host) -> crate::ve::record::VeState {
    host.state(id(150)).unwrap()
}

#[test]
fn it_keeps_its_number_its_limits_and_its_tree() {
    let conf = "PHYSPAGES=\"0:65536\"\nNUMPROC=\"99\"\nIP_ADDRESS=\"10.77.0.9\"\nNAME=\"shop\"\nKMEMSIZE=\"1:2\"\nNUMPROC=\"88\"\n\
                OSTEMPLATE=\"debian-7\"\nCONFIGFILE=\"large\"\nDEVNODES=\"sda:rw\"\nnonsense\n";
    let (_dir, order) = container(conf);
    let host = host().make();
    let before = inventory(&host);
    let dry = ImportOrder {
        dry_run: true,
        ..order.clone()
    };
    let told = engine(&host).import_openvz(&dry, &Silent).unwrap();
    assert_eq!(inventory(&host), before);
    let made = engine(&host).import_openvz(&order, &Silent).unwrap();
    assert_eq!((&told.lines, told.bytes, &told.ve), (&made.lines, made.bytes, &made.ve));
    assert_eq!((made.ve.id, made.ve.name.as_str()), (id(150), "shop"));
    for (key, fate, what) in [
        ("PHYSPAGES", Fate::Became, "memory.limit="),
        ("IP_ADDRESS", Fate::Became, "network.0"),
        ("CONFIGFILE", Fate::Became, "plan=large"),
        ("NAME", Fate::Became, "its name"),
        ("KMEMSIZE", Fate::Kept, ""),
        ("OSTEMPLATE", Fate::Kept, "its own tree"),
        ("DEVNODES", Fate::Lost, "sda"),
        ("", Fate::Lost, "not of the form"),
    ] {
        let told = line(&made.lines, key);
        assert!(told.fate == fate && told.what.contains(what), "{told:?}");
    }
    let numbers: Vec<_> = made
        .lines
        .iter()
        .filter(|l| l.key == "NUMPROC")
        .map(|l| (l.line, l.fate))
        .collect();
    assert_eq!(numbers, [(2, Fate::Lost), (6, Fate::Became)]);
    let state = state_of(&host);
    assert!(
        state.settled_in && state.template.starts_with("imported-busybox-busybox/"),
        "{state:?}"
    );
    assert_eq!(
        state.addresses().map(|a| a.to_string()).collect::<Vec<_>>(),
        ["10.77.0.9"]
    );
    let effective = host
        .effective(&state.name, &mut crate::ve::registry::Catalogue::default())
        .unwrap();
    assert_eq!(effective.limits.memory.limit.map(|limit| limit.get()), Some(256 << 20));
    assert_eq!(effective.openvz.get("OSTEMPLATE"), Some("debian-7"));
    let files = fakes(&host).disks.files(&host.dirs.ve(id(150)));
    assert_eq!(std::fs::read_to_string(files.join("upper/srv/mine")).unwrap(), "mine");
    // A second one finds the template there, and its number taken.
    let other = ImportOrder {
        name: Some("shop2".into()),
        ..order
    };
    let again = engine(&host).import_openvz(&other, &Silent);
    assert!(again.is_err(), "its address is taken");
    let settings = vec![("network.0.addresses".to_owned(), "10.77.0.10".to_owned())];
    let again = engine(&host)
        .import_openvz(&ImportOrder { settings, ..other }, &Silent)
        .unwrap();
    assert_eq!(again.ve.id, id(101));
    assert!(line(&again.lines, "CTID").what.contains("gets another"));
}

/// Whatever fails, there is a whole VE or none.
#[test]
fn a_creation_with_a_tree() {
    let (_dir, order) = container("");
    let params = |host: &Host| {
        let other = again(host);
        let request = hostel_model::request::Create {
            name: Some("web1".into()),
            tree: Some(order.private.clone()),
            ..Default::default()
        };
        let mut params = engine(&other).plan_create(&request, &Silent).unwrap();
        params.state.seed = "0".repeat(32);
        params
    };
    prove::<Create>(|| host().make(), params);
}

#[test]
fn what_is_no_private_area_is_refused() {
    let (dir, order) = container("");
    let host = host().make();
    let refused = |private: PathBuf| {
        let order = ImportOrder {
            private,
            ..order.clone()
        };
        engine(&host).import_openvz(&order, &Silent).unwrap_err()
    };
    let before = inventory(&host);
    assert_eq!(refused(dir.path().join("none")).class, Class::NotFound);
    assert_eq!(refused(order.conf.clone()).class, Class::Usage);
    assert_eq!(refused(dir.path().to_owned()).class, Class::Usage);
    std::fs::write(dir.path().join("root.hdd"), "").unwrap();
    assert!(
        refused(dir.path().to_owned())
            .hints
            .iter()
            .any(|hint| hint.contains("ploop"))
    );
    assert_eq!(inventory(&host), before);
}

#[test]
fn a_sample_becomes_a_plan() {
    let host = host().make();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let sample = write(
        "ve-vswap-1g.conf-sample",
        "PHYSPAGES=\"0:1G\"\nDISKSPACE=\"2G:2G\"\nONBOOT=\"yes\"\nCPUUNITS=\"1000\"\n",
    );
    let import = |path: &Path, dry| engine(&host).import_sample(path, &[], dry);
    let dry = import(&sample, true).unwrap();
    assert!(!dry.path.exists());
    let made = import(&sample, false).unwrap();
    assert_eq!((made.plan.as_str(), &made.lines), ("vswap-1g", &dry.lines));
    assert_eq!(line(&made.lines, "ONBOOT").fate, Fate::Lost);
    assert_eq!(line(&made.lines, "PHYSPAGES").fate, Fate::Became);
    assert!(
        std::fs::read_to_string(&made.path)
            .unwrap()
            .contains("processes = \"unlimited\"")
    );
    assert_eq!(import(&sample, false).unwrap_err().class, Class::Refused);
    assert_eq!(import(&write("101.conf", ""), false).unwrap_err().class, Class::Usage);
    // It has to say how large a disk is.
    let error = import(&write("ve-none.conf-sample", "NUMPROC=\"5\"\n"), false).unwrap_err();
    assert!(crate::error::chain(&error).contains("disk.size"), "{error:?}");
    let settings = [("disk.size".to_owned(), "1GiB".to_owned())];
    engine(&host)
        .import_sample(&dir.path().join("ve-none.conf-sample"), &settings, false)
        .unwrap();
}
