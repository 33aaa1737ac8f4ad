//! Kernel settings that guests need. They don't outlive a boot of the host, so `hostel init` raises them and every start
//! looks again.

use hostel_system::sysctl;

use crate::error::chain;
use crate::host::Host;

/// systemd watches a lot of files, every guest has processes, and the host's kernel log is none of theirs.
const LEAST: [(&str, u64); 6] = [
    ("fs/inotify/max_user_instances", 1_048_576),
    ("fs/inotify/max_user_watches", 1_048_576),
    ("fs/inotify/max_queued_events", 1_048_576),
    ("kernel/keys/maxkeys", 2_000),
    ("kernel/pid_max", 4_194_304),
    ("kernel/dmesg_restrict", 1),
];

/// The kernel asks each VE's monitor before somebody reads its beancounters, and a user has 128 such askers if nothing
/// else is said.
const LEAST_TO_ASK: (&str, u64) = ("fs/fanotify/max_user_groups", 1_048_576);

impl Host {
    /// A value that is lower is raised. What was done is told, and where a host refuses: a VE starts without all the
    /// same.
    pub(crate) fn raise_settings(&self) -> Vec<String> {
        let raise = |(name, least): (&str, u64)| match sysctl::raise(&self.proc_sys, name, least) {
            Ok(None) => None,
            Ok(Some(old)) => Some(format!("raised {} from {old} to {least}", name.replace('/', "."))),
            Err(e) => Some(chain(&crate::error::Error::from(e))),
        };
        let more = self.config.proc.beancounters.then_some(LEAST_TO_ASK);
        LEAST.into_iter().chain(more).filter_map(raise).collect()
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::request::{Action, StartOptions};

    use crate::facade::tests::Heard;
    use crate::testing::{engine, host, id, with_ve};

    #[test]
    fn a_start_raises_what_a_boot_of_the_host_lowered() {
        let host = host().make();
        with_ve(&host, &[]);
        let file = host.proc_sys.join("fs/inotify/max_user_instances");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "128\n").unwrap();
        let start = || {
            let heard = Heard::default();
            let options = StartOptions::default();
            engine(&host).act(id(101), &Action::Start(options), &heard).unwrap();
            engine(&host).act(id(101), &Action::Kill, &heard).unwrap();
            heard.notes()
        };
        let notes = start();
        assert!(
            notes.contains(&"raised fs.inotify.max_user_instances from 128 to 1048576".to_owned()),
            "{notes:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1048576");
        assert_eq!(start(), Vec::<String>::new());
        // What makes no sense is told, and the VE starts.
        std::fs::write(&file, "many").unwrap();
        assert!(start()[0].contains("max_user_instances"));
    }
}
