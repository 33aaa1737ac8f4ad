//! What is typed, and the request that it becomes.

use std::time::Duration;

use hostel_model::request::{self, Action, Selection, StartOptions};

use super::{parse, parse_list};
use crate::cli::args::{Command, GROUPS};
use crate::cli::{args, context};

fn action(words: &str) -> Action {
    match parse(words).unwrap().command {
        Command::Start(c) => c.action(),
        Command::Stop(c) => c.action(),
        Command::Kill(c) => c.action(),
        Command::Restart(c) => c.action(),
        Command::Pause(c) => c.action(),
        Command::Unpause(c) => c.action(),
        Command::Suspend(c) => c.action(),
        Command::Resume(c) => c.action(),
        Command::Destroy(c) => c.action(),
        Command::Mount(c) => c.action(),
        Command::Umount(c) => c.action(),
        Command::Compact(c) => c.action(),
        other => panic!("{other:?} is no verb"),
    }
}

fn secs(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

#[test]
fn verbs_become_actions() {
    let waiting = |timeout| StartOptions {
        wait: true,
        timeout,
        ..StartOptions::default()
    };
    let table = [
        ("start web1", Action::Start(StartOptions::default())),
        (
            "start --discard web1",
            Action::Start(StartOptions {
                discard: true,
                ..StartOptions::default()
            }),
        ),
        ("start --wait 101", Action::Start(waiting(None))),
        ("start web1 --wait --timeout 90s", Action::Start(waiting(secs(90)))),
        ("start web1 --wait --timeout 1m30s", Action::Start(waiting(secs(90)))),
        ("stop --all", Action::Stop { timeout: None }),
        ("stop web1 --timeout 5", Action::Stop { timeout: secs(5) }),
        ("kill web1", Action::Kill),
        (
            "restart web1",
            Action::Restart {
                timeout: None,
                start: StartOptions::default(),
            },
        ),
        (
            "restart web1 --timeout 5s --wait --boot-timeout 2m",
            Action::Restart {
                timeout: secs(5),
                start: waiting(secs(120)),
            },
        ),
        ("pause web1", Action::Pause),
        ("unpause web1", Action::Unpause),
        ("suspend web1", Action::Suspend { timeout: None }),
        ("resume --all", Action::Resume),
        ("destroy web1", Action::Destroy { force: false }),
        ("destroy -f web1", Action::Destroy { force: true }),
        ("mount web1", Action::Mount),
        ("umount web1", Action::Umount),
        ("compact web1", Action::Compact),
    ];
    for (words, expected) in table {
        assert_eq!(action(words), expected, "{words}");
    }
}

#[test]
fn selections_are_names_a_tenant_or_all() {
    let selection = |words: &str| match parse(words).unwrap().command {
        Command::Kill(c) => c.selected.selection(),
        other => panic!("{other:?}"),
    };
    let refs = |texts: &[&str]| Selection::Some(texts.iter().map(|t| t.parse().unwrap()).collect());
    assert_eq!(selection("kill web1 102"), refs(&["web1", "102"]));
    assert_eq!(selection("kill --all"), Selection::All);
    assert_eq!(
        selection("kill --tenant acme"),
        Selection::Tenant("acme".parse().unwrap())
    );
}

#[test]
fn nonsense_is_refused_at_the_door() {
    let table = [
        "",
        "kill",
        "kill web1 --all",
        "kill --all --tenant acme",
        "kill Web1",
        "kill 7",
        "start web1 --timeout 5s",
        "start web1 --wait --timeout soon",
        "start web1 --wait --timeout -5s",
        "create",
        "create web1 --wait",
        "create 101",
        "create web1 --id 7",
        "create web1 --share everybody",
        "create web1 --set memory",
        "create web1 --address=",
        "create web1 --password-hash x --password-file y",
        "exec web1",
        "exec web1 --env PATH -- ls",
        "list -o nosuch",
        "list -s nosuch",
        "list --state sleeping",
        "set web1",
        "set web1 memory.limit",
        "set web1 =5",
        "completions tcsh",
        "template",
        "strat web1",
        "list --quiet --verbose",
    ];
    for words in table {
        let error = parse(words).expect_err(words);
        assert_eq!(error.exit_code(), 2, "{words}");
    }
}

#[test]
fn create_becomes_settings() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.pub");
    std::fs::write(&keys, "# mine\nssh-ed25519 AAAA me@here\n\nssh-rsa BBBB you@there\n").unwrap();
    let words = "create web1 --template debian-12 --plan small --tenant acme --network public --address 203.0.113.10 \
                 --address auto --hostname web1.example --password-hash $6$x --set memory.limit=2GiB --set a=b=c \
                 --id 105 --share host --onboot --start --wait --timeout 90s --ssh-key";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(keys.to_str().unwrap());
    let Command::Create(create) = parse_list(&words).unwrap().command else {
        panic!("no create")
    };
    let expected = [
        ("id", "105"),
        ("template", "debian-12"),
        ("plan", "small"),
        ("tenant", "acme"),
        ("hostname", "web1.example"),
        ("onboot", "true"),
        ("share", "host"),
        ("network.0.network", "public"),
        ("network.0.addresses", "203.0.113.10,auto"),
        ("guest.password_hash", "$6$x"),
        ("guest.ssh_keys", "ssh-ed25519 AAAA me@here\nssh-rsa BBBB you@there"),
        ("memory.limit", "2GiB"),
        ("a", "b=c"),
    ];
    let request = create.request().unwrap();
    assert_eq!(request.name.as_deref(), Some("web1"));
    assert_eq!(request.settings, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(
        request.start,
        Some(StartOptions {
            wait: true,
            timeout: secs(90),
            disabled_too: false,
            discard: false,
        })
    );
}

#[test]
fn create_says_only_what_was_typed() {
    let Command::Create(create) = parse("create --file x.toml").unwrap().command else {
        panic!("no create")
    };
    let expected = request::Create {
        file: Some("x.toml".into()),
        ..request::Create::default()
    };
    assert_eq!(create.request().unwrap(), expected);
}

fn exec(words: &[&str]) -> request::Exec {
    match parse_list(words).unwrap().command {
        Command::Exec(c) => c.request(false),
        Command::Enter(c) => c.request(false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn exec_leaves_arguments_untouched() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &["exec", "web1", "--", "ls", "-l", "--", "-v"],
            &["ls", "-l", "--", "-v"],
        ),
        (
            &["exec", "web1", "ls", "-l", "--json", "--help"],
            &["ls", "-l", "--json", "--help"],
        ),
        (&["exec", "-u", "bob", "web1", "--", "--odd", ""], &["--odd", ""]),
        (&["exec", "web1", "-T", "--", "-c"], &["-c"]),
        (
            &["exec", "web1", "--", "sh", "-c", "exit 3", "--no-color", "-q"],
            &["sh", "-c", "exit 3", "--no-color", "-q"],
        ),
    ];
    for (words, argv) in table {
        assert_eq!(exec(words).argv, *argv, "{words:?}");
    }
}

#[test]
fn exec_takes_its_own_options() {
    let request = exec(&[
        "exec", "-e", "A=1", "--env", "B=x=y", "-w", "/srv", "-u", "www:www", "web1", "--", "id",
    ]);
    let env = [("A", "1"), ("B", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let expected = request::Exec {
        argv: vec!["id".into()],
        user: Some("www:www".into()),
        env: env.into(),
        cwd: Some("/srv".into()),
        pty: false,
    };
    assert_eq!(request, expected);
}

#[test]
fn a_terminal_is_given_where_both_ends_are_one() {
    let pty = |words: &str, interactive| match parse(words).unwrap().command {
        Command::Exec(c) => c.request(interactive).pty,
        other => panic!("{other:?}"),
    };
    assert!(pty("exec web1 -- sh", true));
    assert!(!pty("exec web1 -- sh", false));
    assert!(pty("exec -t web1 -- sh", false));
    assert!(!pty("exec -T web1 -- sh", true));
    assert!(pty("exec -T -t web1 -- sh", false), "the last one counts");
    assert_eq!(context::interactive(), context::interactive());
}

#[test]
fn enter_asks_for_the_users_shell() {
    let request = exec(&["enter", "web1", "--user", "bob"]);
    assert_eq!(
        request,
        request::Exec {
            user: Some("bob".into()),
            ..request::Exec::default()
        }
    );
}

#[test]
fn runscript_leaves_arguments_untouched() {
    let Command::Runscript(c) = parse("runscript web1 ./x.sh -v --json -- a").unwrap().command else {
        panic!()
    };
    let args = ["-v", "--json", "--", "a"].map(str::to_owned);
    assert_eq!(c.parts(), (std::path::Path::new("./x.sh"), &args[..]));
    assert!(parse("runscript web1").is_err());
}

#[test]
fn global_options_stand_anywhere() {
    let before = parse("--wait-lock 3 -q --config /x list").unwrap().global;
    let after = parse("list --wait-lock 3s -q --config /x").unwrap().global;
    for global in [before, after] {
        assert_eq!(global.wait_lock, Duration::from_secs(3));
        assert_eq!(global.config, std::path::Path::new("/x"));
        assert!(global.quiet && !global.verbose);
    }
}

#[test]
fn every_subcommand_is_in_one_group() {
    let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let command = args::command();
    let mut defined: Vec<&str> = command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(clap::Command::get_name)
        .collect();
    grouped.sort_unstable();
    defined.sort_unstable();
    assert_eq!(grouped, defined);
}

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    args::command().debug_assert();
}
