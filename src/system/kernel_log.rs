//! The kernel's log, for what it says of killing for want of memory (kernel: ABI/testing/dev-kmsg).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// A kill for want of memory, as the kernel's log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomKill {
    /// How long after the host's boot.
    pub since_boot: Duration,
    /// The control group whose limit it was.
    pub limit_of: String,
    /// The process.
    pub pid: u32,
    /// Its name; the guest chose it.
    pub name: String,
}

/// The kills in control groups at or below `group` (a path such as `/hostel/101`), the oldest first. `None` if the log
/// can't be read. It is a ring: old lines are lost.
pub fn oom_kills(device: &Path, group: &str) -> Option<Vec<OomKill>> {
    let mut log = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(device)
        .ok()?;
    let (mut kills, mut record) = (Vec::new(), [0_u8; 8192]);
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(n) => kills.extend(parse(&String::from_utf8_lossy(record.get(..n)?), group)),
            // What was to be read next has been overwritten; the following read goes on after it.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Some(kills)
}

/// A record: `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT`. The kernel escapes what isn't printable in the text, so that a
/// process's name can't begin a line of its own.
fn parse(record: &str, group: &str) -> Option<OomKill> {
    let (head, text) = record.split_once(';')?;
    // The kernel's own lines have facility 0; programs may write others.
    let mut fields = head.split(',');
    if fields.next()?.parse::<u32>().ok()? >> 3 != 0 {
        return None;
    }
    let since_boot = Duration::from_micros(fields.nth(1)?.parse().ok()?);
    let text = text.lines().next()?;
    let rest = text.strip_prefix("oom-kill:")?;
    // The name comes last but two, and may have commas: so from the front, and the end from behind.
    let field = |key: &str| rest.split(',').find_map(|f| f.strip_prefix(key));
    let limit_of = field("oom_memcg=")?;
    let within = limit_of.strip_prefix(group)?;
    if !within.is_empty() && !within.starts_with('/') {
        return None;
    }
    let (before, _uid) = rest.rsplit_once(",uid=")?;
    let (before, pid) = before.rsplit_once(",pid=")?;
    let (_, name) = before.split_once(",task=")?;
    Some(OomKill {
        since_boot,
        limit_of: limit_of.to_owned(),
        pid: pid.parse().ok()?,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: &str = "6,1234,5000000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,\
        oom_memcg=/hostel/101,task_memcg=/hostel/101/payload,task=a,b,pid=77,uid=1000000\n SUBSYSTEM=x\n";

    #[test]
    fn kills_of_one_group() {
        let kill = parse(KILL, "/hostel/101").unwrap();
        assert_eq!((kill.pid, kill.name.as_str()), (77, "a,b"));
        assert_eq!(kill.since_boot, Duration::from_secs(5));
        assert_eq!(parse(KILL, "/hostel/10"), None, "another VE whose number begins so");
        assert!(parse(KILL, "/hostel").is_some());
        assert_eq!(
            parse(&KILL.replace("6,1234", "14,1234"), "/hostel/101"),
            None,
            "a program's"
        );
        assert_eq!(parse("6,1,2,-;usb: hello\n", "/hostel/101"), None);
        assert_eq!(parse("garbage", "/hostel/101"), None);
    }

    #[test]
    fn a_log_that_cant_be_read_is_unknown() {
        assert_eq!(oom_kills(Path::new("/nowhere"), "/hostel"), None);
        match oom_kills(Path::new("/dev/kmsg"), "/no-such-group") {
            Some(kills) => assert_eq!(kills, []),
            None => println!("skipped because the kernel's log can't be read here"),
        }
    }
}
