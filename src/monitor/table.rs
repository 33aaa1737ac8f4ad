//! A mount table that a guest has filled, read without believing that it is short: a guest's root can have 100,000 mounts
//! in each of his namespaces (/proc/sys/fs/mount-max), each on a path that costs whoever reads it far more than him.

use std::io::{BufRead, BufReader, Read, Result};

/// The longest line that is looked at. Paths are a quarter of that at most, where anybody can use them (PATH_MAX).
const LINE: u64 = 16 << 10;

/// Shows each line of a file such as /proc/PID/mountinfo (proc_pid_mountinfo(5)) until `look` says that it is enough. A
/// longer one than can be is passed over.
pub fn each_line(table: impl Read, mut look: impl FnMut(&str) -> bool) -> Result<()> {
    let mut table = BufReader::with_capacity(64 << 10, table);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut table).take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.pop() {
            // Whatever letters a path has: those that matter are in ASCII.
            Some(b'\n') => {
                if !look(&String::from_utf8_lossy(&line)) {
                    return Ok(());
                }
            }
            _ => drop(table.skip_until(b'\n')?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_passed_over_and_others_are_whole() {
        let long = "x".repeat(40 << 10);
        let table = format!("1 one\n{long}\n2 two\n{long}");
        let mut seen = Vec::new();
        each_line(table.as_bytes(), |line| {
            seen.push(line.to_owned());
            true
        })
        .unwrap();
        assert_eq!(seen, ["1 one", "2 two"]);
        let mut count = 0;
        each_line(&b"a\n\xff\nc\n"[..], |_| {
            count += 1;
            count < 2
        })
        .unwrap();
        assert_eq!(count, 2);
    }
}
