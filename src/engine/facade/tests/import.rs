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

/// What each line came to by itself isn't what it is beside the others.
#[test]
fn parameters_that_work_together_are_told_as_they_are_in_force() {
    let told = |conf: &str, key: &str| {
        let (_dir, order) = container(conf);
        let order = ImportOrder { dry_run: true, ..order };
        let told = engine(&host().make()).import_openvz(&order, &Silent).unwrap();
        let line = line(&told.lines, key);
        (line.fate, line.what.clone())
    };
    let rate = "RATE=\"eth0:1:2000\"\n";
    let bound = format!("RATEBOUND=\"yes\"\n{rate}");
    for key in ["RATE", "RATEBOUND"] {
        assert_eq!(told(&bound, key), (Fate::Became, "net.out=2000kbit".into()), "{key}");
    }
    let alone = told(rate, "RATE");
    assert!(alone.0 == Fate::Kept && alone.1.contains("ratebound"), "{alone:?}");
    let both = "PRIVVMPAGES=\"65536:69632\"\nPHYSPAGES=\"0:65536\"\n";
    let private = told(both, "PRIVVMPAGES");
    assert!(
        private.0 == Fate::Kept && private.1.contains("limited by"),
        "{private:?}"
    );
    assert_eq!(told(both, "PHYSPAGES"), (Fate::Became, "memory.limit=268435456".into()));
    let private = told("PRIVVMPAGES=\"65536:69632\"\n", "PRIVVMPAGES");
    assert_eq!(private, (Fate::Became, "memory.limit=285212672".into()));
    let unlimited = told("PRIVVMPAGES=\"65536:69632\"\nPHYSPAGES=\"0:unlimited\"\n", "PHYSPAGES");
    assert!(
        unlimited.0 == Fate::Kept && unlimited.1.contains("another line"),
        "{unlimited:?}"
    );
    let part = told("MEMGUARANTEE=\"50\"\nPHYSPAGES=\"0:65536\"\n", "MEMGUARANTEE");
    assert_eq!(part, (Fate::Became, "memory.guarantee=134217700".into()));
    let none = told("MEMGUARANTEE=\"50\"\n", "MEMGUARANTEE");
    assert!(none.0 == Fate::Kept && none.1.contains("no limit"), "{none:?}");
    // Addresses and interfaces have each their own.
    let address = told("IP_ADDRESS=\"10.77.0.9\"\nNUMPROC=\"9\"\n", "IP_ADDRESS");
    assert!(
        address.1.contains("network.0.addresses=10.77.0.9") && !address.1.contains("processes"),
        "{address:?}"
    );
}

#[test]
fn no_character_of_a_value_spoils_the_whole() {
    let conf = "OSTEMPLATE=\"debian\u{1}7\"\nORIGIN_SAMPLE=\"ba\u{7}sic\"\nNAME=\"My\u{1b}[2J Shop\"\nNETFILTER=\"fu\u{1b}ll\"\n";
    let (_dir, order) = container(conf);
    let host = host().make();
    let made = engine(&host).import_openvz(&order, &Silent).unwrap();
    for key in ["OSTEMPLATE", "ORIGIN_SAMPLE", "NAME"] {
        assert_eq!(line(&made.lines, key).fate, Fate::Kept, "{key}");
    }
    // This is none of the words that it can be.
    assert_eq!(line(&made.lines, "NETFILTER").fate, Fate::Lost);
    let kept = host
        .effective(&made.ve.name, &mut crate::ve::registry::Catalogue::default())
        .unwrap()
        .openvz;
    assert_eq!(kept.get("OSTEMPLATE"), Some("debian 7"));
    assert_eq!(kept.get("NAME"), Some("My [2J Shop"));
    // A name that is given leaves nothing of the old one, and that is told.
    let other = ImportOrder {
        name: Some("shop2".into()),
        dry_run: true,
        ..order
    };
    let told = engine(&host).import_openvz(&other, &Silent).unwrap();
    assert_eq!(line(&told.lines, "NAME").fate, Fate::Lost);
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
    // Whom no VE has.
    std::os::unix::fs::chown(order.private.join("srv/mine"), None, Some(100_000)).unwrap();
    let error = refused(order.private.clone());
    let said = crate::error::chain(&error);
    assert!(
        error.class == Class::Usage && said.contains("\"srv/mine\", with 100000"),
        "{said}"
    );
    std::os::unix::fs::chown(order.private.join("srv/mine"), None, Some(65_535)).unwrap();
    let dry = ImportOrder {
        dry_run: true,
        ..order.clone()
    };
    engine(&host).import_openvz(&dry, &Silent).unwrap();
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
        "PHYSPAGES=\"0:1G\"\nDISKSPACE=\"2G:2G\"\nONBOOT=\"yes\"\nCPUUNITS=\"1000\"\nKMEMSIZE=\"1:2\"\n\
         RATE=\"eth0:1:2000\"\nRATEBOUND=\"yes\"\nNAME=\"processes\"\nIP_ADDRESS=\"10.77.0.9\"\nDESCRIPTION=\"of cpu.weight\"\n",
    );
    let import = |path: &Path, dry| engine(&host).import_sample(path, &[], dry);
    let dry = import(&sample, true).unwrap();
    assert!(!dry.path.exists());
    let made = import(&sample, false).unwrap();
    assert_eq!((made.plan.as_str(), &made.lines), ("vswap-1g", &dry.lines));
    // What is lost is what isn't in it.
    for key in ["ONBOOT", "KMEMSIZE", "NAME", "IP_ADDRESS"] {
        assert_eq!(line(&made.lines, key).fate, Fate::Lost, "{key}");
    }
    for key in ["PHYSPAGES", "DISKSPACE", "CPUUNITS", "RATE", "RATEBOUND", "DESCRIPTION"] {
        assert_eq!(line(&made.lines, key).fate, Fate::Became, "{key}");
    }
    let plan = std::fs::read_to_string(&made.path).unwrap();
    for part in ["processes = \"unlimited\"", "out = ", "weight = 100", "of cpu.weight"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
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
