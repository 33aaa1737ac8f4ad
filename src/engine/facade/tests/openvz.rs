//! What the OpenVZ dialect adds: VEs out of service, and their CTID.conf.

use super::*;
use crate::testing::{fakes, host, order, started, with_ve};

fn set(host: &Arc<Host>, key: &str, value: &str) {
    let settings = [(key.to_owned(), value.to_owned())];
    let ve = VeRef::Id(id(101));
    engine(host).set(&ve, &settings, false, &Silent).unwrap();
}

/// Two who give a name at once: each finds it free, and one of them gets it.
#[test]
fn a_name_is_given_once() {
    let host = host().make();
    with_ve(&host, &[]);
    let mut other = order("web2", &[]);
    other.settings.push(("tenant".into(), "acme".into()));
    let two = engine(&host).create(&other, &Silent).unwrap().id;
    let called = || vec![("openvz.NAME".to_owned(), "Shop".to_owned())];
    let mut meanwhile = || {
        engine(&host).set(&VeRef::Id(two), &called(), false, &Silent)?;
        Ok(called())
    };
    let error = engine(&host)
        .set_made(&VeRef::Id(id(101)), &mut meanwhile, &Silent)
        .unwrap_err();
    assert_eq!(error.class, Class::Busy, "{error:?}");
    assert_eq!(engine(&host).openvz_named("Shop").unwrap(), Some(two));
    // Whoever has it may have it again.
    set(&host, "openvz.NAME", "Other");
    set(&host, "onboot", "true");
    set(&host, "openvz.NAME", "Other");
}

#[test]
fn nobody_starts_what_is_disabled() {
    let host = host().make();
    with_ve(&host, &[]);
    set(&host, "onboot", "true");
    set(&host, "disabled", "true");
    let start = || act(&host, &Action::Start(StartOptions::default()));
    let error = start().unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert!(
        error.message.contains("is disabled") && error.hints[0].contains("disabled=no"),
        "{error:?}"
    );
    let heard = Heard::default();
    assert!(engine(&host).boot(&heard).unwrap().ves().is_empty());
    assert!(
        heard.notes().iter().any(|note| note.contains("it is disabled")),
        "{:?}",
        heard.notes()
    );
    assert!(engine(&host).why(&VeRef::Id(id(101))).is_ok());
    let forced = StartOptions {
        disabled_too: true,
        ..StartOptions::default()
    };
    act(&host, &Action::Start(forced)).unwrap();
    set(&host, "disabled", "false");
    act(&host, &Action::Stop { timeout: None }).unwrap();
    start().unwrap();
}

#[test]
fn a_reboot_of_what_is_disabled_ends_it() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    set(&host, "disabled", "true");
    fakes(&host).guests.halt(101);
    let error = engine(&host).settle(id(101), "reboot", &Silent).unwrap_err();
    assert!(error.message.contains("is disabled"), "{error:?}");
    assert!(fakes(&host).guests.init(101).is_none());
}

#[test]
fn a_ctid_conf_is_kept_where_there_is_a_place_for_it() {
    let host = host().make();
    let conf = host.openvz_conf(id(101));
    with_ve(&host, &[]);
    assert!(!conf.exists());
    std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
    set(&host, "memory.limit", "1GiB");
    let text = std::fs::read_to_string(&conf).unwrap();
    assert!(
        text.contains("PHYSPAGES=\"0:262144\"") && text.contains("VE_PRIVATE=\""),
        "{text}"
    );
    std::fs::write(&conf, format!("#UUID: 0a1b\n{text}")).unwrap();
    set(&host, "memory.limit", "2GiB");
    let text = std::fs::read_to_string(&conf).unwrap();
    assert!(
        text.starts_with("#UUID: 0a1b\n") && text.contains("PHYSPAGES=\"0:524288\""),
        "{text}"
    );
    engine(&host)
        .create(&order("other", &[("openvz.NAME", "Other_1")]), &Silent)
        .unwrap();
    assert!(
        std::fs::read_to_string(host.openvz_conf(id(102)))
            .unwrap()
            .contains("NAME=\"Other_1\"")
    );
    assert_eq!(engine(&host).openvz_named("Other_1").unwrap(), Some(id(102)));
    act(&host, &Action::Destroy { force: true }).unwrap();
    assert!(!conf.exists());
}

/// What waits for a start comes into force with it, whatever started the VE.
#[test]
fn a_ctid_conf_is_noted_anew_whatever_starts_it() {
    let host = host().make();
    let conf = host.openvz_conf(id(101));
    std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
    with_ve(&host, &[]);
    started(&host);
    let restart = Action::Restart {
        timeout: None,
        start: StartOptions::default(),
    };
    for address in ["10.77.0.71", "10.77.0.72"] {
        let text = definition(&host);
        let line = text.lines().find(|line| line.starts_with("addresses = ")).unwrap();
        edit_by_hand(&host, &text.replace(line, &format!("addresses = [\"{address}\"]")));
        match address {
            "10.77.0.71" => drop(act(&host, &restart).unwrap()),
            _ => {
                fakes(&host).guests.halt(101);
                engine(&host).settle(id(101), "reboot", &Silent).unwrap();
            }
        }
        let text = std::fs::read_to_string(&conf).unwrap();
        assert!(text.contains(&format!("IP_ADDRESS=\"{address}\"")), "{text}");
    }
}
