//! Dying at once and being interrupted, for tests that prove what that leaves.

/// Ends this process as `kill -9` would: nothing is flushed, dropped or undone.
pub fn kill_self() -> ! {
    // SAFETY: kill(2) and getpid(2) take and keep no pointer.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The signal is delivered before kill returns (kill(2): a process that signals itself).
    std::process::abort()
}

/// What Ctrl-C does on a terminal: SIGINT to this process and to all that it has started in its process group. Only if
/// the group is its own; else to it alone, for the others may be the test itself.
pub fn interrupt_group() {
    // SAFETY: getpid(2), getpgrp(2) and kill(2) take and keep no pointer.
    unsafe {
        let own = libc::getpid();
        libc::kill(if libc::getpgrp() == own { -own } else { own }, libc::SIGINT);
    }
}
