//! The names that a guest knows its neighbours by: a block of its own in /etc/hosts, so that it can change while the
//! guest runs and nothing else of that file is touched.

use hostel_monitor::guest::{Op, When};

const BEGIN: &str = "# BEGIN Hostel names: VEs on its networks, rewritten up to END";
const END: &str = "# END Hostel names";

/// The block with these lines of hosts(5); without any, no block.
pub fn neighbours(lines: String) -> Op {
    Op::ManagedBlock {
        path: "/etc/hosts".to_owned(),
        begin: BEGIN.to_owned(),
        end: END.to_owned(),
        content: lines,
        mode: 0o644,
        comment_out: Vec::new(),
        when: When::Always,
    }
}
