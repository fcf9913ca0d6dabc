//! Signals of a background worker and of its threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::{check_for_interrupts, pg_sys};

// pgrx's pg_sys functions are wrappers and cannot be passed as callbacks: the server's own symbols can.
unsafe extern "C-unwind" {
    fn die(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
}

/// Whether a SIGTERM came: `ProcDiePending` is cleared before the exit callbacks run.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Async-signal-safe: a store, then what every backend does.
extern "C-unwind" fn terminate(signal: i32) {
    TERMINATED.store(true, Ordering::Relaxed);
    // SAFETY: the server's own handler, called as a handler on the main thread (all others block every signal).
    unsafe { die(signal) }
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
        pqsignal(libc::SIGTERM, Some(terminate));
        // A reload that came while the server had SIGHUP ignored in this process would be missed for good.
        (&raw mut pg_sys::ConfigReloadPending).write_volatile(1);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Whether this process was told to end.
pub fn was_terminated() -> bool {
    TERMINATED.load(Ordering::Relaxed)
}

/// Serves interrupts between statements. A cancel (`pg_cancel_backend`, a statement timeout that fired late) finds nothing
/// to cancel and is dropped, as in an idle session: raised here it would end the process.
pub fn check_idle_interrupts() {
    // SAFETY: counters and flags of the main thread. While held off, a cancel stays pending (ProcessInterrupts()).
    unsafe {
        (&raw mut pg_sys::QueryCancelHoldoffCount).write((&raw const pg_sys::QueryCancelHoldoffCount).read() + 1);
        check_for_interrupts!();
        (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        (&raw mut pg_sys::QueryCancelHoldoffCount).write((&raw const pg_sys::QueryCancelHoldoffCount).read() - 1);
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

/// Sleeps until the latch is set or the time is over; ends the process when the postmaster dies. Inside a statement: a
/// cancel is an error.
pub fn wait_latch(time: Duration) {
    sleep(time);
    check_for_interrupts!();
}

/// The same between statements.
pub fn wait_idle(time: Duration) {
    sleep(time);
    check_idle_interrupts();
}

fn sleep(time: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process latch, on the main thread.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, time.as_millis() as _, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
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
