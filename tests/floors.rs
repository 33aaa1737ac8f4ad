//! The house stands as docs/ARCHITECTURE.md draws it: floors look down only, and each keeps to its own work.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, the lowest first. Who stands on the same line may not know each other.
const FLOORS: [&[&str]; 5] = [
    &["hostel-model", "hostel-monitor"],
    &["hostel-system"],
    &["hostel-engine"],
    &["hostel-faces"],
    &["hostel"],
];

/// How long a file may be, without its tests.
const LINES: usize = 400;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A source file: where it lies, and its text without comments, strings and tests.
struct Source {
    name: String,
    text: String,
    code: String,
}

impl Source {
    /// In the folder of one of these crates?
    fn is_of(&self, crates: &[&str]) -> bool {
        crates.iter().any(|c| self.name.starts_with(&format!("src/{c}/")))
    }
}

/// All sources of the crates that aren't tests.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&top().join("src"), &mut paths);
    let mut found: Vec<Source> = paths
        .into_iter()
        .filter_map(|path| {
            let name = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (!is_test(&name)).then(|| Source {
                code: code_of(without_tests(&text)),
                name,
                text,
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 150, "only {} sources were found", found.len());
    found
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, into),
            false if path.extension().is_some_and(|e| e == "rs") => into.push(path),
            false => {}
        }
    }
}

/// Files that are only there for tests: their own, what tests stand on, and the fakes.
fn is_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let file = parts.last().unwrap().trim_end_matches(".rs");
    parts.iter().any(|p| ["tests", "testing"].contains(p))
        || ["tests", "testing", "testkit", "proofs", "fake", "faults"].contains(&file)
}

/// The part before the tests that stand at the end of a file.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// The code alone: no comments, and nothing within quotes.
fn code_of(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if next == '"' {
            quoted(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find('\'').map_or(rest.len(), |at| at + 2)
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skip..];
    }
    code
}

/// The hashes of the raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of the string that begins here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Is `word` there as a word of its own?
fn has_word(code: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .any(|(at, _)| !part(code[..at].chars().next_back()) && !part(code[at + word.len()..].chars().next()))
}

/// Fails with all that was found.
fn none(what: &str, found: impl IntoIterator<Item = String>) {
    let lines = found.into_iter().fold(String::new(), |mut text, line| {
        let _ = write!(text, "\n  {line}");
        text
    });
    assert!(lines.is_empty(), "{what}:{lines}");
}

#[test]
fn the_reader_of_code_sees_code_only() {
    let text = r###"let a = "unsafe \" // no"; // unsafe
let b = r#"unsafe " "#; let c = '"'; run(); /* kept */
#[cfg(test)]
mod tests { unsafe }"###;
    let code = code_of(without_tests(text));
    assert!(!has_word(&code, "unsafe"), "{code}");
    assert!(has_word(&code, "run") && !has_word(&code, "ru"), "{code}");
}

#[test]
fn floors_look_down_only() {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let mut wrong = Vec::new();
    let mut crates = 0;
    let folders = fs::read_dir(top().join("src"))
        .unwrap()
        .map(|e| e.unwrap().path().join("Cargo.toml"));
    for path in folders.filter(|p| p.exists()).chain([top().join("Cargo.toml")]) {
        let text = fs::read_to_string(&path).unwrap();
        let name = text
            .lines()
            .skip_while(|l| *l != "[package]")
            .find_map(|l| l.strip_prefix("name = "));
        let name = name.unwrap().trim_matches('"').to_owned();
        let own = floor(&name).unwrap_or_else(|| panic!("{name} stands on no floor of this test"));
        crates += 1;
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let needed = line.split(['.', ' ', '=']).next().unwrap();
            if section.contains("dependencies]") && !section.contains("workspace") && needed.starts_with("hostel") {
                let theirs = floor(needed).unwrap_or_else(|| panic!("{needed} stands on no floor of this test"));
                if theirs >= own {
                    wrong.push(format!("{name} needs {needed}"));
                }
            }
        }
    }
    assert_eq!(crates, FLOORS.iter().map(|f| f.len()).sum::<usize>());
    none("these look up or sideways", wrong);
}

#[test]
fn the_monitor_stays_small() {
    let text = fs::read_to_string(top().join("src/monitor/Cargo.toml")).unwrap();
    let own = text
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for heavy in ["tokio", "rtnetlink", "cgroups-rs", "tera", "clap", "hostel-"] {
        assert!(!own.contains(heavy), "hostel-monitor needs {heavy}");
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long = sources().into_iter().filter_map(|s| {
        let lines = without_tests(&s.text).lines().count();
        (lines > LINES).then(|| format!("{} has {lines} lines", s.name))
    });
    none(&format!("these have more than {LINES} lines"), long);
}

/// Only a face talks to a person.
#[test]
fn only_faces_print() {
    let loud = sources().into_iter().filter(|s| !s.is_of(&["faces"])).filter(|s| {
        ["println!", "eprintln!", "print!", "eprint!", "dbg!"]
            .iter()
            .any(|m| has_word(&s.code, m.trim_end_matches('!')) && s.code.contains(m))
    });
    none("these print", loud.map(|s| s.name));
}

#[test]
fn only_the_lowest_floors_are_unsafe() {
    let bold = sources()
        .into_iter()
        .filter(|s| !s.is_of(&["system", "monitor"]) && has_word(&s.code, "unsafe"));
    none("these have unsafe code", bold.map(|s| s.name));
}

/// Programs are run in one place, where their arguments and environment are looked after. The editor is the person's
/// own program, and runs on the person's own terminal.
#[test]
fn only_the_system_runs_programs() {
    const EDITOR: &str = "src/faces/cli/editor.rs";
    let (mut elsewhere, mut editor) = (Vec::new(), false);
    for source in sources().into_iter().filter(|s| !s.is_of(&["system"])) {
        let runs = has_word(&source.code, "Command::new") && source.code.contains("process::Command");
        editor |= runs && source.name == EDITOR;
        if runs && source.name != EDITOR {
            elsewhere.push(source.name);
        }
    }
    none("these run programs", elsewhere);
    assert!(editor, "{EDITOR} runs no editor any more: this test knows it wrong");
}

/// Crates whose types must not leave src/system: what they are is a detail of one adapter.
#[test]
fn kernel_crates_stay_below() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (crate_name, word) in [
            ("nix", "nix::"),
            ("rtnetlink", "rtnetlink::"),
            ("cgroups-rs", "cgroups_rs::"),
            ("tokio-postgres", "tokio_postgres::"),
            ("tokio-rustls", "tokio_rustls::"),
        ] {
            let at_home = source.is_of(&["system"]) || crate_name == "nix" && source.is_of(&["monitor"]);
            // `std::os::unix::` ends in the same letters.
            let used = source.code.match_indices(word).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            });
            if !at_home && used {
                wrong.push(format!("{} names {crate_name}", source.name));
            }
            if at_home && public_lines(&source.code).any(|line| has_word(line, word.trim_end_matches("::"))) {
                wrong.push(format!("{} shows {crate_name} to others", source.name));
            }
        }
    }
    none("types of kernel crates", wrong);
    for above in ["model", "engine", "faces"] {
        let text = fs::read_to_string(top().join("src").join(above).join("Cargo.toml")).unwrap();
        for kernel in ["nix.", "rtnetlink.", "cgroups-rs.", "rustix.", "libc."] {
            assert!(!text.lines().any(|l| l.starts_with(kernel)), "{above} needs {kernel}");
        }
    }
}

/// Lines that declare something for everybody: `pub fn`, `pub struct`, a public field, `pub use`.
fn public_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("pub "))
}

/// A merge that somebody left half done.
#[test]
fn no_merge_is_left_half_done() {
    fn files(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && ![".git", "target"].iter().any(|n| entry.file_name() == *n) {
                files(&entry.path(), into);
            } else if kind.is_file() {
                into.push(entry.path());
            }
        }
    }
    let mut all = Vec::new();
    files(top(), &mut all);
    assert!(all.iter().any(|p| p.ends_with("README.md")) && all.len() > 500);
    // Put together, as this file is one of them.
    let marks = ["<", ">", "|"].map(|c| format!("{} ", c.repeat(7)));
    let marked = all.iter().filter_map(|path| {
        let text = String::from_utf8(fs::read(path).unwrap()).ok()?;
        let at = text.lines().position(|l| marks.iter().any(|m| l.starts_with(m)))?;
        Some(format!("{}:{}", path.display(), at + 1))
    });
    none("marks of a merge", marked);
}

/// A test that no runner runs is no test: what lies in tests/ is a program or a part of one.
#[test]
fn every_test_file_is_run() {
    let entries: Vec<PathBuf> = fs::read_dir(top().join("tests"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    assert!(
        !manifest.contains("autotests") && !manifest.contains("[[test]]"),
        "tests/*.rs are found by lying there"
    );
    let programs: Vec<String> = entries
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| fs::read_to_string(p).unwrap())
        .collect();
    assert!(programs.len() > 5);
    let mut idle = Vec::new();
    for folder in entries.iter().filter(|p| p.join("mod.rs").exists()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        if !programs.iter().any(|text| text.contains(&format!("mod {name};"))) {
            idle.push(format!("tests/{name} is used by no test"));
        }
    }
    for (text, path) in programs
        .iter()
        .zip(entries.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")))
    {
        if !text.contains("#[test]") {
            idle.push(format!("{} has no test", path.display()));
        }
    }
    // Likewise inside the crates: a module that no other file names is not even compiled.
    let mut paths = Vec::new();
    walk(&top().join("src"), &mut paths);
    let all: Vec<(PathBuf, String)> = paths
        .into_iter()
        .map(|p| (p.clone(), fs::read_to_string(p).unwrap()))
        .collect();
    for (path, _) in &all {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = match stem {
            "lib" | "main" => continue,
            "mod" => path.parent().unwrap().file_name().unwrap().to_str().unwrap(),
            stem => stem,
        };
        if !all.iter().any(|(_, text)| text.contains(&format!("mod {module};"))) {
            idle.push(format!("{} belongs to nothing", path.display()));
        }
    }
    none("these never run", idle);
}
