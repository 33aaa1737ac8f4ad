//! The host's own ps, for who wants its columns.

use std::process::{Command, Stdio};

use crate::helper::confined;
use crate::{Error, Result};

/// What ps says with these options, and its exit code. It complains on standard error itself.
pub fn ps(options: &[String]) -> Result<(String, i32)> {
    let mut command = Command::new("ps");
    let output = confined(command.args(options).stdin(Stdio::null()).stderr(Stdio::inherit())).output();
    let output = output.map_err(|e| Error::os("run", "ps", e))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((text, output.status.code().unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_runs() {
        let own = std::process::id().to_string();
        let (text, code) = ps(&["-o".into(), "pid,comm".into(), "-p".into(), own.clone()]).unwrap();
        assert!(
            code == 0 && text.contains(&own) && text.starts_with("    PID"),
            "{code} {text}"
        );
        assert_ne!(ps(&["--no-such-option".into()]).unwrap().1, 0);
    }
}
