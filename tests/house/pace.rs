//! How fast a VE's disk is, seen from inside.

use super::{House, until};

/// Seconds that a dd inside takes. Direct, so that it is the disk that is measured.
#[track_caller]
fn dd(h: &House, name: &str, args: &str) -> f64 {
    let line = format!(
        "now() {{ read u x </proc/uptime; t=${{u%.*}}${{u#*.}}; }}; \
                        now; t0=$t; dd {args} 2>/dev/null || exit 9; now; echo $((t - t0))"
    );
    h.sh(name, &line).parse::<f64>().unwrap() / 100.0
}

/// It takes as long as the limit makes it: never less, and not much more as soon as the host's other load lets it.
#[track_caller]
pub fn takes(h: &House, name: &str, args: &str, seconds: f64) {
    until(&format!("dd {args} takes {seconds} s"), 40, || {
        let took = dd(h, name, args);
        // The kernel lets through what has gathered in the first slice of time (100 ms) at once.
        assert!(took >= seconds * 0.8, "dd {args} took {took} s, not {seconds}");
        took <= seconds * 1.3
    });
}

pub const WRITE: &str = "if=/dev/zero of=/big bs=256k count=16 oflag=direct conv=notrunc";
pub const READ: &str = "if=/big of=/dev/null bs=256k count=16 iflag=direct";
pub const WRITES: &str = "if=/dev/zero of=/big bs=4k count=60 oflag=direct conv=notrunc";
pub const READS: &str = "if=/big of=/dev/null bs=4k count=60 iflag=direct";

#[track_caller]
pub fn is_free(h: &House, name: &str, args: &str) {
    until(&format!("dd {args} is not held back"), 40, || dd(h, name, args) < 0.5);
}
