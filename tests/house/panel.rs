//! A house on which `vzctl` is called, as panels and scripts do.

use std::process::Command;

use super::{House, Ran, hostel, template};

/// A house with a link by which the command is called as `vzctl`.
pub struct Panel {
    pub h: House,
}

impl Panel {
    pub fn new() -> Self {
        Self::of(House::new())
    }

    pub fn of(h: House) -> Self {
        template("busybox");
        std::os::unix::fs::symlink(hostel(), h.dir.join("vzctl")).unwrap();
        std::fs::create_dir_all(h.dir.join("etc/vz/conf")).unwrap();
        Self { h }
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.h.on_host(self.h.dir.join("vzctl"));
        command.args(words).env("HOSTEL_CONFIG", self.h.dir.join("hostel.toml"));
        command
    }

    /// The command that a line says. Words in single quotes stay together.
    pub fn typed(&self, line: &str) -> Command {
        let mut words = Vec::new();
        for (n, part) in line.split('\'').enumerate() {
            match n % 2 {
                0 => words.extend(part.split_whitespace()),
                _ => words.push(part),
            }
        }
        self.command(&words)
    }

    pub fn run(&self, line: &str) -> Ran {
        self.typed(line).output().unwrap().into()
    }

    /// It must end with this code. What it said on standard output, trimmed.
    #[track_caller]
    pub fn ends(&self, code: i32, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "vzctl {line}\n{}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }

    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.ends(0, line)
    }

    /// The words of its status behind the CTID.
    #[track_caller]
    pub fn status(&self, ctid: u32) -> String {
        let line = self.ok(&format!("status {ctid}"));
        line.strip_prefix(&format!("CTID {ctid} ")).unwrap().to_owned()
    }

    pub fn conf(&self, ctid: u32) -> String {
        self.h.read(&format!("etc/vz/conf/{ctid}.conf"))
    }
}
