//! How long the host's tasks have waited for what they need: pressure stall information (kernel: accounting/psi.rst).

use std::path::Path;

use hostel_model::host_life::Stalled;

/// Reads `/proc/pressure`, or a directory like it. `None` if this kernel doesn't tell: built without, or booted with
/// `psi=0` (then the files are there, but can't be read).
pub fn stalled(dir: &Path) -> Option<Stalled> {
    let total = |resource: &str| total(&std::fs::read_to_string(dir.join(resource)).ok()?);
    Some(Stalled {
        cpu: total("cpu")?,
        io: total("io")?,
        memory: total("memory")?,
    })
}

/// The share of the last 10 s in which some task of the host waited for a resource ("cpu", "memory", "io"), in percent.
/// `None` if this kernel doesn't tell.
pub fn some_avg10(dir: &Path, resource: &str) -> Option<f32> {
    let text = std::fs::read_to_string(dir.join(resource)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = line.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok()
}

/// Microseconds in which some task waited.
fn total(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ')
        .find_map(|field| field.strip_prefix("total="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_some() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stalled(dir.path()), None);
        for (file, total) in [("cpu", 12), ("io", 34), ("memory", 56)] {
            let text = format!(
                "some avg10=0.00 avg60=1.25 avg300=0.00 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
            );
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let expected = Stalled {
            cpu: 12,
            io: 34,
            memory: 56,
        };
        assert_eq!(stalled(dir.path()), Some(expected));
        assert_eq!(some_avg10(dir.path(), "io"), Some(0.0));
        assert_eq!(some_avg10(dir.path(), "irq"), None);
        std::fs::write(dir.path().join("io"), "full avg10=0.00 total=3\n").unwrap();
        assert_eq!(stalled(dir.path()), None);
    }

    #[test]
    fn this_kernels_own() {
        match stalled(Path::new("/proc/pressure")) {
            Some(now) => assert!(stalled(Path::new("/proc/pressure")).unwrap().cpu >= now.cpu),
            None => println!("skipped because this kernel has no pressure stall information"),
        }
    }
}
