//! Editing a definition: a private copy, the person's editor, and again with the mistakes at the top until it is
//! right or given up.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hostel_engine::facade::SetReport;
use hostel_engine::{Class, Error};
use tempfile::TempDir;

use super::failure;
use super::paint::Paint;

/// Begins the lines that are ours, not the definition's.
const MARK: &str = "#! ";

/// What is edited.
pub struct Source<'a> {
    /// Its name, for messages and for the file.
    pub label: &'a str,
    /// Gives the text as it is now.
    pub read: &'a dyn Fn() -> Result<String, Error>,
    /// Takes the new text, which comes after the one that it was made of, if it is right and that is still the text.
    pub replace: &'a dyn Fn(&str, &str) -> Result<SetReport, Error>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Edited {
    /// The text is as it was.
    Unchanged,
    /// It was replaced.
    Replaced(SetReport),
}

/// The editor's program and its own arguments: $VISUAL, else $EDITOR, else vi. Split at blanks; no shell.
pub fn chosen() -> Vec<OsString> {
    let set = |name| std::env::var(name).ok().filter(|v: &String| !v.trim().is_empty());
    let text = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    text.split_whitespace().map(OsString::from).collect()
}

/// Lets a person edit `source`. `again`: there is a person to mend mistakes; else the first is the end.
pub fn edit(source: &Source, editor: &[OsString], again: bool) -> Result<Edited, Error> {
    let before = (source.read)()?;
    let copy = Copy::new(source.label)?;
    let mut text = before.clone();
    loop {
        copy.write(&text)?;
        run(editor, &copy.file)?;
        let edited = without_marks(&copy.read()?);
        if edited == before {
            return Ok(Edited::Unchanged);
        }
        if edited == without_marks(&text) {
            // Left as it was with its mistakes at the top: given up.
            let error = Error::new(
                Class::Usage,
                format!("the definition of {} was left with mistakes", source.label),
            );
            return Err(copy.keep(error));
        }
        match (source.replace)(&before, &edited) {
            Ok(report) => return Ok(Edited::Replaced(report)),
            Err(error) if again && mendable(error.class) => text = marked(&error, &edited),
            Err(error) => return Err(copy.keep(error)),
        }
    }
}

/// Is it the text that is to blame?
fn mendable(class: Class) -> bool {
    match class {
        Class::Usage | Class::NotFound | Class::Refused | Class::Limit => true,
        Class::Failed | Class::Busy | Class::Script | Class::Interrupted => false,
    }
}

/// The text with what is wrong with it above it.
fn marked(error: &Error, text: &str) -> String {
    let report = failure::text(error, None, Paint::OFF);
    let lines: String = report
        .lines()
        .map(|l| format!("{}\n", format!("{MARK}{l}").trim_end()))
        .collect();
    format!("{lines}{MARK}(lines that begin so are removed; leave the text as it is to give up)\n{text}")
}

/// The text without our lines at its top.
fn without_marks(text: &str) -> String {
    let ours = |line: &str| line.trim_end() == MARK.trim_end() || line.starts_with(MARK);
    text.split_inclusive('\n').skip_while(|line| ours(line)).collect()
}

fn run(editor: &[OsString], file: &Path) -> Result<(), Error> {
    let (program, args) = editor
        .split_first()
        .ok_or_else(|| Error::new(Class::Usage, "no editor is set"))?;
    let name = program.to_string_lossy();
    let hint = "set VISUAL or EDITOR to an editor's command";
    match Command::new(program).args(args).arg(file).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::new(
            Class::Failed,
            format!("the editor {name} failed, nothing was changed: {status}"),
        )),
        Err(e) => Err(Error::new(Class::Failed, format!("cannot run the editor {name}"))
            .because(e)
            .hint(hint)),
    }
}

/// The private copy: a file of mode 0600 in a directory of mode 0700, removed in the end.
struct Copy {
    dir: TempDir,
    file: PathBuf,
}

impl Copy {
    fn new(label: &str) -> Result<Self, Error> {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new()
            .prefix("hostel-edit-")
            .permissions(mode)
            .tempdir();
        let dir = dir.map_err(|e| Error::new(Class::Failed, "cannot make a directory to edit in").because(e))?;
        let file = dir.path().join(format!("{label}.toml"));
        Ok(Self { dir, file })
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.file);
        let written = open.and_then(|mut f| f.write_all(text.as_bytes()));
        written.map_err(|e| Error::new(Class::Failed, format!("cannot write {}", self.file.display())).because(e))
    }

    fn read(&self) -> Result<String, Error> {
        fs::read_to_string(&self.file)
            .map_err(|e| Error::new(Class::Failed, format!("cannot read back {}", self.file.display())).because(e))
    }

    /// Leaves the file where it is, so that no work is lost, and says where.
    fn keep(self, error: Error) -> Error {
        let _ = self.dir.keep();
        error.hint(format!("your text is kept in {}", self.file.display()))
    }
}
