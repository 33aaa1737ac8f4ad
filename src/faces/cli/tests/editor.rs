//! The loop of editing, with scripts as editors.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hostel_engine::facade::SetReport;
use hostel_engine::{Class, Error};

use crate::cli::editor::{Edited, Source, edit};

/// A definition that refuses any text with "bad" in it, and an editor that is a shell script.
struct Desk {
    dir: tempfile::TempDir,
    text: RefCell<String>,
    tries: Cell<usize>,
    class: Class,
}

impl Desk {
    fn new() -> Self {
        let text = RefCell::new("# a comment\nplan = \"small\"\n".to_owned());
        Self {
            dir: tempfile::tempdir().unwrap(),
            text,
            tries: Cell::new(0),
            class: Class::Usage,
        }
    }

    /// An editor: `script` with the file as `$1`, and the number of the run in `$n`.
    fn editor(&self, script: &str) -> Vec<OsString> {
        let count = self.dir.path().join("count");
        let seen = self.dir.path().join("seen");
        let count = format!(
            "n=$(cat {0} 2>/dev/null || echo 0); n=$((n+1)); echo $n > {0}",
            count.display()
        );
        let file = self.dir.path().join("editor.sh");
        fs::write(&file, format!("{count}\ncp \"$1\" {}.$n\n{script}\n", seen.display())).unwrap();
        vec!["sh".into(), file.into()]
    }

    /// What the editor found on its nth run.
    fn seen(&self, n: usize) -> String {
        fs::read_to_string(self.dir.path().join(format!("seen.{n}"))).unwrap()
    }

    fn edit(&self, script: &str, again: bool) -> Result<Edited, Error> {
        let source = Source {
            label: "web1",
            read: &|| Ok(self.text.borrow().clone()),
            replace: &|before, text| {
                assert_eq!(before, *self.text.borrow(), "what the new text was made of");
                self.tries.set(self.tries.get() + 1);
                if text.contains("bad") {
                    return Err(
                        Error::new(self.class, "web1.toml:2: no plan \"bad\"").hint("plans are small and large")
                    );
                }
                text.clone_into(&mut self.text.borrow_mut());
                Ok(SetReport::default())
            },
        };
        edit(&source, &self.editor(script), again)
    }
}

/// Where an error says that the text is kept.
fn kept(error: &Error) -> PathBuf {
    let hint = error.hints.iter().find_map(|h| h.strip_prefix("your text is kept in "));
    PathBuf::from(hint.expect("a hint where the text is"))
}

/// Removes the directory in which a text was kept.
fn forget(error: &Error) {
    fs::remove_dir_all(kept(error).parent().unwrap()).unwrap();
}

#[test]
fn replaces_a_good_text() {
    let desk = Desk::new();
    assert_eq!(
        desk.edit("sed -i s/small/large/ \"$1\"", true).unwrap(),
        Edited::Replaced(SetReport::default())
    );
    assert_eq!(*desk.text.borrow(), "# a comment\nplan = \"large\"\n");
}

#[test]
fn an_unchanged_text_touches_nothing() {
    let desk = Desk::new();
    assert_eq!(desk.edit("touch \"$1\"", true).unwrap(), Edited::Unchanged);
    assert_eq!(desk.tries.get(), 0);
}

#[test]
fn mistakes_come_back_on_top_and_are_taken_off() {
    let desk = Desk::new();
    desk.edit(
        "case $n in 1) sed -i s/small/bad/ \"$1\";; *) sed -i s/^plan.*/plan=1/ \"$1\";; esac",
        true,
    )
    .unwrap();
    assert_eq!(
        desk.seen(2),
        "\
#! error: web1.toml:2: no plan \"bad\"
#!   hint: plans are small and large
#! (lines that begin so are removed; leave the text as it is to give up)
# a comment
plan = \"bad\"
"
    );
    assert_eq!(*desk.text.borrow(), "# a comment\nplan=1\n");
    assert_eq!(desk.tries.get(), 2);
}

#[test]
fn going_back_to_the_old_text_is_no_change() {
    let desk = Desk::new();
    let script = "case $n in 1) sed -i s/small/bad/ \"$1\";; *) sed -i s/=.*bad.$/'= \"small\"'/ \"$1\";; esac";
    assert_eq!(desk.edit(script, true).unwrap(), Edited::Unchanged);
}

#[test]
fn leaving_mistakes_gives_up_and_keeps_the_text() {
    let desk = Desk::new();
    let error = desk
        .edit("[ $n = 1 ] && sed -i s/small/bad/ \"$1\"; true", true)
        .unwrap_err();
    assert_eq!(error.class, Class::Usage);
    let file = kept(&error);
    assert!(fs::read_to_string(&file).unwrap().ends_with("plan = \"bad\"\n"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(*desk.text.borrow(), "# a comment\nplan = \"small\"\n");
    forget(&error);
}

#[test]
fn without_a_person_the_first_mistake_is_the_end() {
    let desk = Desk::new();
    let error = desk.edit("sed -i s/small/bad/ \"$1\"", false).unwrap_err();
    assert_eq!(error.message, "web1.toml:2: no plan \"bad\"");
    assert_eq!(desk.tries.get(), 1);
    forget(&error);
}

#[test]
fn what_no_edit_can_mend_ends_it() {
    let desk = Desk {
        class: Class::Busy,
        ..Desk::new()
    };
    let error = desk.edit("sed -i s/small/bad/ \"$1\"", true).unwrap_err();
    assert_eq!((error.class, desk.tries.get()), (Class::Busy, 1));
    forget(&error);
}

/// Whoever replaces it, under the VE's lock, is told what was read, and says whether it is that still.
#[test]
fn a_change_by_another_is_not_overwritten() {
    let desk = Desk::new();
    let source = Source {
        label: "web1",
        read: &|| {
            desk.tries.set(desk.tries.get() + 1);
            Ok(format!("version = {}\n", desk.tries.get()))
        },
        replace: &|before, text| {
            assert_eq!((before, text), ("version = 1\n", "version = 1\nx\n"));
            Err(Error::new(Class::Busy, "changed by somebody else"))
        },
    };
    let error = edit(&source, &desk.editor("echo x >> \"$1\""), true).unwrap_err();
    assert_eq!((error.class, desk.tries.get()), (Class::Busy, 1));
    assert_eq!(fs::read_to_string(kept(&error)).unwrap(), "version = 1\nx\n");
    forget(&error);
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let desk = Desk::new();
    let error = desk.edit("sed -i s/small/large/ \"$1\"; exit 3", true).unwrap_err();
    assert!(error.message.contains("exit status: 3"), "{}", error.message);
    assert_eq!(desk.tries.get(), 0);
    let source = Source {
        label: "web1",
        read: &|| Ok(String::new()),
        replace: &|_, _| panic!("replaced"),
    };
    let error = edit(&source, &["/nonexistent/editor".into()], true).unwrap_err();
    assert!(!error.hints.is_empty());
}
