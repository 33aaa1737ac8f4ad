//! Dying at once, for tests that prove what a sudden death leaves.

/// Ends this process as `kill -9` would: nothing is flushed, dropped or undone.
pub fn kill_self() -> ! {
    // SAFETY: kill(2) and getpid(2) take and keep no pointer.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The signal is delivered before kill returns (kill(2): a process that signals itself).
    std::process::abort()
}
