//! Looking for deadlocks again and again while a transaction of ours runs.
//!
//! PostgreSQL looks once, `deadlock_timeout` after a process began to wait (`ProcSleep()` in
//! src/backend/storage/lmgr/proc.c). A worker that began to wait for a user's lock before that user began to wait for
//! ours would never look again, and the user's statement (a DROP EXTENSION, say) would be the one that fails.

use std::sync::OnceLock;

use pgrx::pg_sys;

// timeout.h and proc.h; the callback runs in the handler of SIGALRM and only sets a flag and the latch.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: i32, handler: Option<unsafe extern "C-unwind" fn()>) -> i32;
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    fn enable_timeout_every(id: i32, end: pg_sys::TimestampTz, delay_ms: i32);
    fn disable_timeout(id: i32, keep_indicator: bool);
    fn CheckDeadLockAlert();
}

/// `USER_TIMEOUT` of the enum `TimeoutId`: RegisterTimeout() hands out the first free id from it on.
const USER_TIMEOUT: i32 = if cfg!(feature = "pg14") {
    10
} else if cfg!(any(feature = "pg15", feature = "pg16")) {
    12
} else {
    13
};

/// Milliseconds between two looks: a user's process looks after a second.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
const INTERVAL: i32 = 250;

/// Runs `transaction`, which must not raise an error.
pub fn watched<T>(transaction: impl FnOnce() -> T) -> T {
    static TIMEOUT: OnceLock<i32> = OnceLock::new();
    // SAFETY: on the main thread, after InitializeTimeouts(). Registered once: ids are few.
    let timeout = *TIMEOUT.get_or_init(|| unsafe { RegisterTimeout(USER_TIMEOUT, Some(CheckDeadLockAlert)) });
    // Repeated timeouts came with PostgreSQL 15. Before, a worker gives up by its lock_timeout.
    // SAFETY: a timeout of ours; the flag it sets means nothing to a process that does not wait for a lock.
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    unsafe {
        enable_timeout_every(timeout, pg_sys::GetCurrentTimestamp() + i64::from(INTERVAL) * 1000, INTERVAL);
    }
    let outcome = transaction();
    // SAFETY: as above.
    unsafe { disable_timeout(timeout, false) };
    outcome
}
