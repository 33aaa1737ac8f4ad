//! Recipes: how a distribution template is built. A recipe is data; it holds no shell text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::definition::value::words;
use crate::distribution::{Family, InitKind};
use crate::id::TemplateName;
use crate::template::TemplateVersion;

/// A recipe file (`images/*.toml`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The template it builds.
    pub name: TemplateName,
    /// The version it builds; without one, the time of the build.
    pub version: Option<TemplateVersion>,
    /// The family of distributions.
    pub family: Family,
    /// How the tree comes into being.
    pub bootstrap: Bootstrap,
    /// What process 1 must turn out to be.
    pub init: ExpectedInit,
    /// What to delete from the finished tree, before files are written.
    #[serde(default)]
    pub remove: Vec<Pattern>,
    /// Files to write into the tree.
    #[serde(default, rename = "file")]
    pub files: Vec<RecipeFile>,
    /// Symbolic links to make in the tree.
    #[serde(default, rename = "link")]
    pub links: Vec<RecipeLink>,
    /// Commands to run inside the tree, before anything is deleted or written.
    #[serde(default, rename = "run")]
    pub runs: Vec<RecipeRun>,
}

/// How the tree comes into being.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// The program that makes it.
    pub tool: Tool,
    /// The release: `bookworm`, `noble`, `v3.22`.
    pub suite: Option<Word>,
    /// mmdebstrap's and debootstrap's variant: `minbase`, `apt`, …
    pub variant: Option<Word>,
    /// Sections of the archive: `main`, `universe`.
    #[serde(default)]
    pub components: Vec<Word>,
    /// Packages beyond the variant's own.
    #[serde(default)]
    pub packages: Vec<Word>,
    /// Where packages come from, if not where the tool looks by itself.
    pub mirror: Option<Mirror>,
    /// File on this host with the keys that the mirror's packages are signed with.
    pub keyring: Option<GuestPath>,
}

words! {
    /// A program that makes root trees.
    Tool, "mmdebstrap, debootstrap, apk or busybox",
    /// mmdebstrap(1), for Debian and Ubuntu.
    Mmdebstrap = "mmdebstrap",
    /// debootstrap(8), the same, older and slower.
    Debootstrap = "debootstrap",
    /// Alpine's package manager.
    Apk = "apk",
    /// One static busybox and its applets.
    Busybox = "busybox",
}

/// What process 1 must turn out to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedInit {
    /// Its kind.
    pub kind: InitKind,
}

/// A file to write into the tree; it replaces one that is there. Owner root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// Where.
    pub path: GuestPath,
    /// Its permission bits, in octal as text; `0644` if not given.
    #[serde(default)]
    pub mode: FileMode,
    /// What is in it.
    pub content: String,
}

/// A symbolic link to make in the tree; it replaces a file or link that is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeLink {
    /// Where.
    pub path: GuestPath,
    /// What it says.
    pub target: LinkTarget,
}

/// A command to run inside the tree (chroot, own mount and process namespaces).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeRun {
    /// Program and arguments; no shell takes them apart.
    pub argv: Argv,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $type:ident, $error:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        #[doc = concat!("A text that is not ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("{text:?} is not {what}", what = $what)]
        pub struct $error {
            text: String,
        }

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err($error { text }) }
            }
        }

        impl FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(t: $type) -> Self {
                t.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// Absolute, no empty, `.` or `..` part, no control character, at most 4095 bytes.
fn is_guest_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    text.len() < 4096
        && !text.chars().any(char::is_control)
        && rest
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
}

/// Begins with a letter or digit, so no tool takes it for an option; no space, comma or quote.
fn is_word(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._:~=/".contains(&b))
}

text_type!(
    /// A name that becomes part of a tool's arguments: a package, a suite, a component.
    Word,
    WordError,
    "a plain name; write letters, digits and any of + - . _ : ~ = /, a letter or digit first",
    is_word
);
text_type!(
    /// An absolute path inside the tree.
    GuestPath,
    GuestPathError,
    "an absolute path without \"..\"",
    is_guest_path
);
text_type!(
    /// An absolute path inside the tree whose parts may hold `*` (any run of characters) and `?` (any one). A `*`
    /// at the start of a part also matches names that begin with a dot, so `/var/log/*` empties the directory.
    Pattern,
    PatternError,
    "an absolute path pattern without \"..\"",
    is_guest_path
);
text_type!(
    /// Where packages come from.
    Mirror,
    MirrorError,
    "an address of a package archive; write one that begins with http://, https:// or file:///",
    |t| ["http://", "https://", "file:///"].iter().any(|scheme| t.starts_with(scheme))
        && t.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`,\\".contains(&b))
);
text_type!(
    /// The text of a symbolic link.
    LinkTarget,
    LinkTargetError,
    "what a symbolic link can hold; write 1 to 4095 bytes without control characters",
    |t| !t.is_empty() && t.len() < 4096 && !t.chars().any(char::is_control)
);

/// Permission bits of a file, `"0644"`; setuid, setgid and sticky may be among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a file mode; write it in octal as text, such as \"0644\"")]
pub struct FileModeError(String);

impl FileMode {
    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o644)
    }
}

impl TryFrom<String> for FileMode {
    type Error = FileModeError;
    fn try_from(text: String) -> Result<Self, FileModeError> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(FileModeError(text)),
        }
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Argv(Vec<String>);

/// A list that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a command; write the program's absolute path and its arguments, each a text without NUL")]
pub struct ArgvError(Vec<String>);

impl Argv {
    /// Program and arguments, at least the program.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Argv {
    type Error = ArgvError;
    fn try_from(argv: Vec<String>) -> Result<Self, ArgvError> {
        let program = argv.first().is_some_and(|p| is_guest_path(p));
        if program && argv.iter().all(|a| !a.contains('\0')) {
            Ok(Self(argv))
        } else {
            Err(ArgvError(argv))
        }
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// A recipe that can't be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// It isn't the TOML that a recipe is; the text has line, column and caret.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A key that this tool needs is missing.
    #[error("bootstrap.{key} is missing; {tool} needs it")]
    Missing {
        /// Which key of `[bootstrap]`.
        key: &'static str,
        /// Whose need.
        tool: Tool,
    },
    /// A key that means nothing to this tool.
    #[error("bootstrap.{key} means nothing to {tool}; remove it")]
    Meaningless {
        /// Which key of `[bootstrap]`.
        key: &'static str,
        /// For which tool.
        tool: Tool,
    },
    /// Two entries for one path.
    #[error("{path} is written twice; keep one of its [[file]] and [[link]] entries")]
    Twice {
        /// Which path.
        path: String,
    },
}

impl Recipe {
    /// Reads a recipe and checks it as a whole.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text)?;
        recipe.bootstrap.check()?;
        let mut paths: Vec<&GuestPath> = recipe
            .files
            .iter()
            .map(|f| &f.path)
            .chain(recipe.links.iter().map(|l| &l.path))
            .collect();
        paths.sort_by_key(|p| p.as_str());
        match paths.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(RecipeError::Twice {
                path: pair.iter().take(1).map(|p| p.to_string()).collect(),
            }),
            None => Ok(recipe),
        }
    }
}

impl Bootstrap {
    fn check(&self) -> Result<(), RecipeError> {
        let tool = self.tool;
        let debian = matches!(tool, Tool::Mmdebstrap | Tool::Debootstrap);
        if debian && self.suite.is_none() {
            return Err(RecipeError::Missing { key: "suite", tool });
        }
        // Alpine's tool finds the host's own release by itself; another one needs both its name and its place.
        if tool == Tool::Apk && self.suite.is_some() != self.mirror.is_some() {
            return Err(RecipeError::Missing {
                key: if self.suite.is_none() { "suite" } else { "mirror" },
                tool,
            });
        }
        let present = [
            ("suite", self.suite.is_some(), tool == Tool::Busybox),
            ("variant", self.variant.is_some(), !debian),
            ("components", !self.components.is_empty(), !debian),
            ("packages", !self.packages.is_empty(), tool == Tool::Busybox),
            ("mirror", self.mirror.is_some(), tool == Tool::Busybox),
            ("keyring", self.keyring.is_some(), tool == Tool::Busybox),
        ];
        match present
            .into_iter()
            .find(|(_, given, meaningless)| *given && *meaningless)
        {
            Some((key, ..)) => Err(RecipeError::Meaningless { key, tool }),
            None => Ok(()),
        }
    }
}

/// Does `name` match `pattern`, one part of a [`Pattern`]? `*` is any run of characters, `?` any one.
pub fn part_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if part_matches(rest, name) => true,
        (Some((b'*', _)), Some((_, tail))) => part_matches(pattern, tail),
        (Some((b'?', rest)), Some((_, tail))) => part_matches(rest, tail),
        (Some((p, rest)), Some((n, tail))) if p == n => part_matches(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "debian-12"
family = "debian"
remove = ["/var/lib/apt/lists/*"]

[bootstrap]
tool = "mmdebstrap"
suite = "bookworm"
variant = "minbase"
components = ["main"]
packages = ["systemd-sysv", "libstdc++6"]

[init]
kind = "systemd"

[[file]]
path = "/etc/machine-id"
mode = "0444"
content = ""

[[link]]
path = "/etc/systemd/system/sys-kernel-debug.mount"
target = "/dev/null"

[[run]]
argv = ["/usr/sbin/locale-gen"]
"#;

    #[test]
    fn reads_a_recipe() {
        let recipe = Recipe::parse(GOOD).unwrap();
        assert_eq!(recipe.bootstrap.tool, Tool::Mmdebstrap);
        assert_eq!(recipe.files.first().unwrap().mode.bits(), 0o444);
        assert_eq!(recipe.links.len(), 1);
        assert_eq!(recipe.runs.first().unwrap().argv.as_slice(), ["/usr/sbin/locale-gen"]);
    }

    #[test]
    fn mistakes_name_their_line_and_what_is_expected() {
        let cases = [
            ("packages =", "pakages =", "pakages"),
            ("\"systemd-sysv\"", "\"--hook-dir=x\"", "not a plain name"),
            ("\"systemd-sysv\"", "\"a,b\"", "not a plain name"),
            ("\"0444\"", "\"rw\"", "not a file mode"),
            ("\"/etc/machine-id\"", "\"etc/machine-id\"", "absolute path"),
            ("\"/etc/machine-id\"", "\"/etc/../machine-id\"", "absolute path"),
            ("\"/var/lib/apt/lists/*\"", "\"/var/../*\"", "pattern"),
            ("kind = \"systemd\"", "kind = \"upstart\"", "systemd"),
            ("[\"/usr/sbin/locale-gen\"]", "\"locale-gen\"", "sequence"),
            ("[\"/usr/sbin/locale-gen\"]", "[]", "not a command"),
            ("\"debian-12\"", "\"../x\"", "not a template name"),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let error = Recipe::parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("line"), "{to}: {error}");
        }
    }

    #[test]
    fn judges_the_whole() {
        let error = Recipe::parse(&GOOD.replace("suite = \"bookworm\"\n", "")).unwrap_err();
        assert_eq!(
            error,
            RecipeError::Missing {
                key: "suite",
                tool: Tool::Mmdebstrap
            }
        );
        let apk = GOOD.replace("\"mmdebstrap\"", "\"apk\"");
        assert_eq!(
            Recipe::parse(&apk).unwrap_err(),
            RecipeError::Missing {
                key: "mirror",
                tool: Tool::Apk
            }
        );
        let error = Recipe::parse(&apk.replace("suite = \"bookworm\"\n", "")).unwrap_err();
        assert_eq!(
            error,
            RecipeError::Meaningless {
                key: "variant",
                tool: Tool::Apk
            }
        );
        let error = Recipe::parse(&GOOD.replace("/etc/machine-id", "/etc/systemd/system/sys-kernel-debug.mount"));
        assert!(error.unwrap_err().to_string().contains("written twice"));
    }

    #[test]
    fn patterns_match_parts() {
        for (pattern, name, yes) in [
            ("*", ".hidden", true),
            ("*.deb", "a.deb", true),
            ("*.deb", "a.dem", false),
            ("ssh_host_*_key*", "ssh_host_rsa_key.pub", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(
                part_matches(pattern.as_bytes(), name.as_bytes()),
                yes,
                "{pattern} {name}"
            );
        }
    }
}
