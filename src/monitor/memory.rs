//! What a monitor keeps in memory.

/// Unmaps the pages of code and constants that this process has touched. Those it needs again come back from the page
/// cache, the others were for what happens once: of a monitor that waits for years, little stays in memory.
pub fn forget_code() {
    // SAFETY: `forget` keeps dl_iterate_phdr(3)'s contract and is called only while that runs.
    unsafe { libc::dl_iterate_phdr(Some(forget), std::ptr::null_mut()) };
}

/// For one object of the program: its segments that can't be written, and so are as in the file.
unsafe extern "C" fn forget(info: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut libc::c_void) -> libc::c_int {
    const PAGE: u64 = 4096; // the least there is; where pages are larger, madvise refuses and all stays as it is
    // SAFETY: the caller hands over a valid info, whose table of headers has the length told beside it.
    let (base, headers) = unsafe {
        let info = &*info;
        (
            info.dlpi_addr,
            std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()),
        )
    };
    let constant = |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0;
    for header in headers.iter().filter(constant) {
        let start = (base + header.p_vaddr) & !(PAGE - 1);
        let end = (base + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE);
        // SAFETY: a private mapping of a file that was never written to reads the same when its pages come back
        // (madvise(2), MADV_DONTNEED).
        unsafe { libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED) };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped() -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_is_forgotten_is_there_when_it_is_needed() {
        let before = mapped();
        forget_code();
        let after = mapped();
        assert!(after < before, "{before} KiB before, {after} KiB after");
        assert_eq!(format!("{:?}", std::env::args().count() > 0), "true");
    }
}
