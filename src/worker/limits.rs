//! What a worker asks of the operating system and of the C library.

/// More descriptors would not be used, and some systems have no limit at all.
const DESCRIPTORS: libc::rlim_t = 65_536;

/// Before any thread starts.
pub fn apply() {
    // Each thread would otherwise get an arena of its own, which keeps what others freed.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a tunable of malloc, set while there is one thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
    // The server counts its own descriptors against the soft limit and knows nothing of our sockets.
    // SAFETY: fills and reads a local structure; lowering nothing.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            let wanted = DESCRIPTORS.min(limit.rlim_max);
            if limit.rlim_cur < wanted {
                limit.rlim_cur = wanted;
                // A refusal leaves things as they were.
                let _ = libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
        }
    }
}

/// Gives the operating system back what a burst of work needed and freed. The C library keeps most of it otherwise, for as long as
/// anything above it in the heap is in use.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes malloc's own locks, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
