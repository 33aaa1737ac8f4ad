//! The memory of a program that stays.

/// Has all threads share one heap. Otherwise each new thread takes another, up to eight for each processor, and what one has
/// allocated and another frees stays with the first for good. For a program whose threads take turns.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a parameter of the allocator, under the allocator's own lock, and touches nothing of ours.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
