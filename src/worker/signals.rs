//! Signals of a background worker and of its threads.

use std::ffi::CString;
use std::time::Duration;

use pgrx::{check_for_interrupts, pg_sys};

// pgrx's pg_sys functions are wrappers and cannot be passed as callbacks: the server's own symbols can.
unsafe extern "C-unwind" {
    fn die(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
}

/// SIGTERM interrupts a running query (`die`), SIGHUP asks for a reload.
pub fn attach_signals() {
    #[cfg(not(feature = "pg18"))]
    use pg_sys::pqsignal;
    #[cfg(feature = "pg18")]
    use pg_sys::pqsignal_be as pqsignal;
    // SAFETY: the usual handlers of a backend, installed before signals are unblocked.
    unsafe {
        pqsignal(libc::SIGHUP, Some(SignalHandlerForConfigReload));
        pqsignal(libc::SIGTERM, Some(die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Reads the configuration file again if a SIGHUP came. True: it did.
pub fn reload_if_asked() -> bool {
    // SAFETY: flag of the main thread, set by its signal handler.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() == 0 {
            return false;
        }
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
    }
    true
}

/// Sleeps until the latch is set or the time is over; ends the process when the postmaster dies.
pub fn wait_latch(time: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process latch, on the main thread.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, time.as_millis() as _, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    check_for_interrupts!();
}

/// Names this process in `pg_stat_activity`.
pub fn set_application_name(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: a setting any session may change; the strings are copied.
    unsafe {
        pg_sys::SetConfigOption(
            c"application_name".as_ptr(),
            name.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
        );
        pg_sys::pgstat_report_appname(name.as_ptr());
    }
}

/// Blocks every signal in the calling thread: they are the main thread's.
pub fn block_all() {
    // SAFETY: fills and uses a local set.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// Runs `build` with every signal blocked, so that the threads it starts are born that way.
pub fn with_all_blocked<T>(build: impl FnOnce() -> T) -> T {
    // SAFETY: saves the mask of this thread and puts it back.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let built = build();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        built
    }
}
