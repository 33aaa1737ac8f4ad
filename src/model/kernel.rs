//! Whether the host's kernel has the fixes of holes through which a guest's root gets at the host.

/// From which release on each series that kernel.org maintains has the fix of CVE-2026-46333, the youngest hole that
/// ordinary system calls reach: nothing but a newer kernel closes it. Whoever has it has the earlier ones, too.
const FIXED: [(u32, u32, u32); 7] = [
    (5, 10, 256),
    (5, 15, 207),
    (6, 1, 173),
    (6, 6, 139),
    (6, 12, 89),
    (6, 18, 31),
    (7, 0, 8),
];
/// Modules through which guests have got out, and which few hosts need.
const DOUBTFUL: [&str; 4] = ["esp4", "esp6", "rxrpc", "algif_"];

/// What is to be said of a kernel: `release` and `version` as uname(2) has them, `modules` the names of those loaded.
/// None: nothing.
pub fn doubts<'m>(release: &str, version: &str, modules: impl Iterator<Item = &'m str>) -> Vec<String> {
    let mut found = Vec::new();
    let upstream = upstream(release, version);
    let floor = upstream.and_then(|(major, minor, _)| FIXED.iter().find(|f| (f.0, f.1) == (major, minor)));
    match (upstream, floor) {
        (Some(is), Some(fixed)) if is < *fixed => {
            let (major, minor, patch) = fixed;
            found.push(format!(
                "a guest's root may get at this host by CVE-2026-46333: update to {major}.{minor}.{patch} or later"
            ));
        }
        (Some(is), None) if FIXED.last().is_some_and(|newest| is < *newest) => {
            found.push(
                "whether its holes are closed is for its distributor to say: kernel.org maintains no such series"
                    .into(),
            );
        }
        _ => {}
    }
    let loaded: Vec<&str> = modules.filter(|m| DOUBTFUL.iter().any(|d| m.starts_with(d))).collect();
    if !loaded.is_empty() {
        found.push(format!(
            "modules that guests have broken out by are loaded: {}; unload what this host doesn't need",
            loaded.join(", ")
        ));
    }
    found
}

/// The release of kernel.org that it is made of. Debian tells it in the version alone: "Debian 6.1.170-1".
fn upstream(release: &str, version: &str) -> Option<(u32, u32, u32)> {
    let debian = version.split_once("Debian ").map(|(_, rest)| rest);
    let mut numbers = debian.unwrap_or(release).split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?, next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "#1 SMP PREEMPT_DYNAMIC";

    fn told(release: &str, version: &str) -> String {
        doubts(release, version, std::iter::empty()).join("; ")
    }

    #[test]
    fn kernels_without_the_fix_are_told_of() {
        for (release, version) in [
            ("6.18.31", PLAIN),
            ("6.18.44-fc", PLAIN),
            ("7.0.8-rc1", PLAIN),
            ("7.3.0", PLAIN),
            (
                "6.1.0-49-cloud-amd64",
                "#1 SMP PREEMPT_DYNAMIC Debian 6.1.173-1 (2026-06-01)",
            ),
            ("nonsense", ""),
        ] {
            assert_eq!(told(release, version), "", "{release}");
        }
        for (release, version, says) in [
            ("6.18.30", PLAIN, "6.18.31 or later"),
            ("5.10.0", PLAIN, "5.10.256 or later"),
            // The number in the release is Debian's own.
            (
                "6.1.0-999-amd64",
                "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-1",
                "6.1.173 or later",
            ),
            ("6.8.0-60-generic", PLAIN, "its distributor"),
        ] {
            assert!(
                told(release, version).contains(says),
                "{release}: {}",
                told(release, version)
            );
        }
    }

    #[test]
    fn doubtful_modules_are_named() {
        let modules = ["ext4", "esp4", "algif_skcipher", "rxrpc"];
        let told = doubts("7.3.0", PLAIN, modules.into_iter()).join("; ");
        assert!(told.contains("esp4, algif_skcipher, rxrpc; unload"), "{told}");
    }
}
