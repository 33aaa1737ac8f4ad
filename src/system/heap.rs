//! The memory of a program that stays.

/// Pieces of so many bytes and more are the kernel's again as soon as they are freed, and so is as much at the heap's end.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// Has all threads share one heap, and gives what isn't used any more back soon. Otherwise each new thread takes another heap,
/// up to eight for each processor, and what one has allocated and another frees stays with the first for good. For a program
/// whose threads take turns.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a parameter of the allocator, under the allocator's own lock, and touches nothing of ours.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Said explicitly, it stays so: by itself it grows with each large piece that is freed, and the next ones of that
        // size are cut from the heap, which can't give them back from below what was taken later.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}
