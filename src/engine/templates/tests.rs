//! The store with real trees: busybox is built each time, Debian once into a cache.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hostel_model::distribution::InitKind;
use hostel_model::recipe::Recipe;
use hostel_system::archive::find_program;

use super::*;
use crate::facade::Progress;

#[derive(Default)]
struct Words(Mutex<Vec<String>>);

impl Progress for Words {
    fn step(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(format!("note: {what}"));
    }
}

fn recipe(name: &str) -> (Recipe, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../images")
        .join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    (
        Recipe::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        text,
    )
}

fn store(dir: &Path) -> Templates {
    Templates::new(dir.join("templates"), dir.join("data"))
}

fn busybox(templates: &Templates) -> Template {
    let (recipe, text) = recipe("busybox");
    templates.build(&recipe, &text, &Words::default()).unwrap()
}

#[test]
fn all_recipes_parse_and_are_named_after_their_files() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
    let mut count = 0;
    for entry in std::fs::read_dir(images).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(recipe(stem).0.name.as_str(), stem);
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn busybox_is_built_listed_verified_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let built = busybox(&templates);
    assert_eq!(built.record.init.kind, InitKind::Busybox);
    assert_eq!(templates.resolve("busybox").unwrap(), built);
    assert_eq!(templates.resolve(&built.record.reference().to_string()).unwrap(), built);
    assert_eq!(templates.list().unwrap(), std::slice::from_ref(&built));
    assert_eq!(templates.verify(&built).unwrap(), Vec::<String>::new());
    assert!(built.root().join("sbin/init").symlink_metadata().unwrap().is_symlink());
    assert!(built.path.join("build.log").is_file());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(built.path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(built.root().metadata().unwrap().permissions().mode() & 0o777, 0o755);

    std::fs::write(built.root().join("etc/passwd"), "root::0:0::/:/bin/sh\n").unwrap();
    std::fs::write(built.root().join("new"), "").unwrap();
    std::fs::remove_file(built.root().join("etc/hosts")).unwrap();
    let changes = templates.verify(&built).unwrap().join("\n");
    for expected in ["./etc/passwd: was size=", "./new: is new", "./etc/hosts: is gone"] {
        assert!(changes.contains(expected), "{changes}");
    }

    let users = |_: &Template| Ok(vec!["web1".parse().unwrap()]);
    let refused = templates.remove(&built.record.reference(), &users).unwrap_err();
    assert!(refused.to_string().contains("in use by web1"));
    templates
        .remove(&"busybox".parse().unwrap(), &|_| Ok(Vec::new()))
        .unwrap();
    assert!(templates.list().unwrap().is_empty());
    assert_eq!(templates.resolve("busybox").unwrap_err().class, Class::NotFound);
    assert!(!dir.path().join("templates/busybox").exists());
}

#[test]
fn a_failed_build_leaves_nothing_and_shows_why() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let (_, text) = recipe("busybox");
    let text = format!("{text}\n[[run]]\nargv = [\"/bin/sh\", \"-c\", \"echo it went wrong; exit 3\"]\n");
    let error = templates
        .build(&Recipe::parse(&text).unwrap(), &text, &Words::default())
        .unwrap_err();
    let chain = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(
        chain.contains("it went wrong") && chain.contains("exit status: 3"),
        "{chain}"
    );
    assert!(templates.list().unwrap().is_empty());
    assert!(templates.leftovers().unwrap().is_empty());
    let kept = dir.path().join("templates/busybox/failed-build.log");
    assert!(std::fs::read_to_string(&kept).unwrap().contains("it went wrong"));
    assert!(error.hints.concat().contains("failed-build.log"));

    let wrong_init = recipe("busybox").1.replace("kind = \"busybox\"", "kind = \"systemd\"");
    let error = templates
        .build(&Recipe::parse(&wrong_init).unwrap(), &wrong_init, &Words::default())
        .unwrap_err();
    assert!(error.to_string().contains("init is busybox"), "{error}");
}

#[test]
fn what_is_missing_on_the_host_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let (_, text) = recipe("ubuntu-24.04");
    let text = text.replace(
        "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        "/nonexistent/ubuntu-archive-keyring.gpg",
    );
    let error = templates
        .build(&Recipe::parse(&text).unwrap(), &text, &Words::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/ubuntu-archive-keyring.gpg"),
        "{error}"
    );
    assert!(error.hints.concat().contains("ubuntu-keyring"));
    if find_program("apk").is_some() {
        println!("skipped because apk is installed: its half");
        return;
    }
    let (alpine, text) = recipe("alpine");
    let error = templates.build(&alpine, &text, &Words::default()).unwrap_err();
    assert!(error.to_string().contains("the program apk"), "{error}");
    assert!(
        error.hints.concat().contains("package apk-tools-static"),
        "{:?}",
        error.hints
    );
    assert!(templates.leftovers().unwrap().is_empty());
}

#[test]
fn commands_run_inside_the_tree_with_devices_that_do_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let script = "echo $$ > /pid; ls / > /ls; head -c 3 /dev/zero > /zeros; ls /proc/self > /dev/null || exit 1";
    let text = format!(
        "{}\n[[run]]\nargv = [\"/bin/sh\", \"-c\", \"{script}\"]\n",
        recipe("busybox").1
    );
    let built = templates
        .build(&Recipe::parse(&text).unwrap(), &text, &Words::default())
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(built.root().join(name)).unwrap();
    assert_eq!(read("pid"), "1\n");
    assert!(read("ls").contains("sbin") && !read("ls").contains("work"));
    assert_eq!(read("zeros"), "\0\0\0");
    assert_eq!(std::fs::read_dir(built.root().join("dev")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(built.root().join("proc")).unwrap().count(), 0);
}

#[test]
fn copies_are_whole_and_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let built = busybox(&templates);
    let share = Share::Tenant("acme".parse().unwrap());
    let roots: Vec<PathBuf> = std::thread::scope(|scope| {
        let make = || templates.lower_for(&built, &share, &Words::default()).unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let expected = dir
        .path()
        .join("data/tenants/acme/templates")
        .join(built.record.reference().to_string())
        .join("root");
    assert!(roots.iter().all(|r| *r == expected), "{roots:?}");
    let recorded = std::fs::read_to_string(built.path.join("manifest")).unwrap();
    assert_eq!(
        archive::verify(&Tree::open(&expected).unwrap(), &recorded).unwrap(),
        Vec::<String>::new()
    );
    use std::os::unix::fs::MetadataExt;
    let inode = |p: &Path| p.join("bin/busybox").metadata().unwrap().ino();
    assert_ne!(inode(&expected), inode(&built.root()));

    assert_eq!(
        templates.lower_for(&built, &Share::Host, &Words::default()).unwrap(),
        built.root()
    );
    let own = templates
        .lower_for(&built, &Share::None(dir.path().join("data/ve/101")), &Words::default())
        .unwrap();
    assert!(own.starts_with(dir.path().join("data/ve/101")) && own.join("bin/busybox").is_file());

    let copies = templates.copies().unwrap();
    let whose: Vec<&str> = copies.iter().map(|c| c.whose.as_str()).collect();
    assert_eq!(whose, ["tenant acme", "VE 101"]);
    assert_eq!(copies[0].path.join("root"), expected);
    for copy in &copies {
        assert_eq!(templates.verify_copy(copy).unwrap(), Vec::<String>::new());
    }
    templates.remove_copy(&copies[0]).unwrap();
    templates.remove_copy(&copies[0]).unwrap();
    assert!(!expected.exists() && built.root().exists());
    assert_eq!(templates.copies().unwrap(), copies[1..]);
}

/// One bit, and neither size nor times tell of it.
fn flip_a_bit(file: &Path) {
    use std::os::unix::fs::FileExt;
    let times = file.metadata().unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0u8];
    file.read_exact_at(&mut byte, 4096).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 4096).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
}

#[test]
fn a_flipped_bit_is_found_in_the_store_and_in_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let built = busybox(&templates);
    let share = Share::Tenant("acme".parse().unwrap());
    let copy = templates.lower_for(&built, &share, &Words::default()).unwrap();
    flip_a_bit(&copy.join("bin/busybox"));
    let found = templates.verify_copy(&templates.copies().unwrap()[0]).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("./bin/busybox: was sha256digest="), "{found:?}");
    assert_eq!(templates.verify(&built).unwrap(), Vec::<String>::new());

    flip_a_bit(&built.root().join("bin/busybox"));
    assert_eq!(templates.verify(&built).unwrap().len(), 1);
    let other = Share::Tenant("other".parse().unwrap());
    let error = templates.lower_for(&built, &other, &Words::default()).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.starts_with("./bin/busybox: was sha256digest="), "{why}");
    assert!(error.hints.concat().contains("hostel template verify"), "{error:?}");
    assert_eq!(templates.copies().unwrap().len(), 1, "nothing was made of it");
    assert!(templates.leftovers().unwrap().is_empty());
    // The list of files itself.
    let manifest = built.path.join("manifest");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("mode=", "mode=1", 1)).unwrap();
    assert!(templates.verify(&built).unwrap()[0].starts_with("manifest: "));
}

#[test]
fn leftovers_are_those_whose_owner_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let store = dir.path().join("templates");
    let alive = Staging::new(&store, &store.join("busybox")).unwrap();
    let dead = store.join("busybox/.staging-1-0");
    std::fs::create_dir_all(dead.join("root/etc")).unwrap();
    assert_eq!(templates.leftovers().unwrap(), std::slice::from_ref(&dead));
    assert_eq!(templates.remove_leftovers().unwrap(), std::slice::from_ref(&dead));
    assert!(alive.path().is_dir() && !dead.exists());
    let path = alive.path().to_owned();
    drop(alive);
    assert!(!path.exists());
}

/// Not a test of its own: the build that the next test kills.
#[test]
fn hangs_if_told_to() {
    let Some(dir) = std::env::var_os("HOSTEL_TEST_HANG") else {
        return;
    };
    let dir = PathBuf::from(dir);
    let seconds = format!("1000.{}", std::process::id());
    let script = format!("touch /here; sleep {seconds} & wait");
    let text = format!(
        "{}\n[[run]]\nargv = [\"/bin/sh\", \"-c\", \"{script}\"]\n",
        recipe("busybox").1
    );
    let _ = store(&dir).build(&Recipe::parse(&text).unwrap(), &text, &Words::default());
}

#[test]
fn a_killed_build_leaves_staging_only_and_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "templates::tests::hangs_if_told_to"])
        .env("HOSTEL_TEST_HANG", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed().as_secs() < 20, "never: {what}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let mark = format!("1000.{}", child.id());
    let sleeps = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.split(|b| *b == 0).nth(1) == Some(mark.as_bytes())
        })
    };
    until("the command inside runs", &sleeps);
    assert!(templates.leftovers().unwrap().is_empty(), "its owner is alive");
    child.kill().unwrap();
    child.wait().unwrap();
    until("all it started has died", &|| !sleeps());
    let left = templates.leftovers().unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "a mount was left");
    // The next build sweeps first.
    let words = Words::default();
    let (recipe, text) = recipe("busybox");
    templates.build(&recipe, &text, &words).unwrap();
    assert!(
        words
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|w| w.contains("a build that was killed left"))
    );
    assert!(!left.iter().any(|l| l.exists()));
}

/// A root tree as a tarball, made by GNU tar from the built busybox.
fn tarball(template: &Template, to: &Path) {
    let tar = std::process::Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf"])
        .arg(to)
        .arg("-C")
        .arg(template.root())
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
}

#[test]
fn imports_tell_what_they_are_and_refuse_what_has_no_init() {
    let dir = tempfile::tempdir().unwrap();
    let templates = store(dir.path());
    let built = busybox(&templates);
    let archive = dir.path().join("rootfs.tar");
    tarball(&built, &archive);
    let name: TemplateName = "mine".parse().unwrap();
    let imported = templates
        .import(&name, Some("1".parse().unwrap()), &archive, &Words::default())
        .unwrap();
    assert_eq!(
        imported.record.checksum, built.record.checksum,
        "the tree survived whole"
    );
    assert_eq!(
        (imported.record.family.as_str(), imported.record.init.kind),
        ("busybox", InitKind::Busybox)
    );
    assert_eq!(imported.record.source, "import of tarball rootfs.tar");

    let error = templates
        .import(&name, Some("1".parse().unwrap()), &archive, &Words::default())
        .unwrap_err();
    assert!(error.to_string().contains("mine/1 exists already"), "{error}");

    let copy = templates
        .import(&name, Some("2".parse().unwrap()), &built.root(), &Words::default())
        .unwrap();
    assert_eq!(copy.record.checksum, built.record.checksum);
    assert_eq!(templates.latest(&name).unwrap(), copy);
    let error = templates
        .remove(&"mine".parse().unwrap(), &|_| Ok(Vec::new()))
        .unwrap_err();
    assert!(error.hints.concat().contains("mine/1"), "{error:?}");

    std::fs::create_dir_all(dir.path().join("app/etc")).unwrap();
    let error = templates
        .import(&name, None, &dir.path().join("app"), &Words::default())
        .unwrap_err();
    assert!(error.to_string().contains("not a system template"), "{error}");
    assert!(templates.leftovers().unwrap().is_empty());
    assert_eq!(templates.versions(&name).unwrap().len(), 2);
}

/// Where trees that take long to make are kept between runs.
fn cache() -> Templates {
    let dir =
        std::env::var_os("HOSTEL_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/hostel-test"), PathBuf::from);
    store(&dir)
}

fn cached(name: &str, tool: &str) -> Option<Template> {
    let templates = cache();
    if let Ok(template) = templates.resolve(name) {
        return Some(template);
    }
    if find_program(tool).is_none() {
        println!("skipped because {tool} isn't installed");
        return None;
    }
    let (recipe, text) = recipe(name);
    let words = Words::default();
    match templates.build(&recipe, &text, &words) {
        Ok(template) => Some(template),
        Err(e) => {
            let why = std::error::Error::source(&e)
                .map(ToString::to_string)
                .unwrap_or_default();
            // No network is no fault of ours; anything else is.
            assert!(
                why.contains("Failed to fetch") || why.contains("Could not resolve"),
                "{e}: {why}"
            );
            println!("skipped because the archive can't be reached: {e}");
            None
        }
    }
}

fn check_debian(name: &str, suite: &str) {
    let Some(template) = cached(name, "mmdebstrap") else {
        return;
    };
    assert_eq!(template.record.init.kind, InitKind::Systemd);
    assert!(template.record.packages > 100, "{}", template.record.packages);
    let read = |path: &str| std::fs::read_to_string(template.root().join(path)).unwrap();
    assert!(read("etc/os-release").contains(suite));
    assert_eq!(read("etc/machine-id"), "");
    assert!(
        !template
            .root()
            .join("etc/localtime")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
    let debug = template.root().join("etc/systemd/system/sys-kernel-debug.mount");
    assert_eq!(debug.read_link().unwrap(), Path::new("/dev/null"));
    let keys = std::fs::read_dir(template.root().join("etc/ssh")).unwrap();
    assert!(
        keys.flatten()
            .all(|e| !e.file_name().to_string_lossy().starts_with("ssh_host_"))
    );
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        template.root().join("usr/bin/su").metadata().unwrap().mode() & 0o7777,
        0o4755
    );
}

#[test]
fn debian_12() {
    check_debian("debian-12", "bookworm");
}

#[test]
fn debian_13() {
    check_debian("debian-13", "trixie");
}

#[test]
fn busybox_in_the_cache() {
    let templates = cache();
    if templates.resolve("busybox").is_err() {
        busybox(&templates);
    }
}
