//! A persistent wait set over the latch, the doorbell and the postmaster's life.

use std::time::Duration;

use pgrx::pg_sys;

use crate::doorbell::Doorbell;

/// Freed when dropped.
pub struct Waiter(*mut pg_sys::WaitEventSet);

impl Waiter {
    /// A set for the main thread of this process.
    pub fn new(doorbell: &Doorbell) -> Self {
        // SAFETY: the set lives in TopMemoryContext until it is freed; the latch is this process's, and the descriptor
        // stays open as long as the worker keeps its doorbell.
        unsafe {
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            let set = pg_sys::CreateWaitEventSet(std::ptr::null_mut(), 3);
            #[cfg(not(any(feature = "pg17", feature = "pg18")))]
            let set = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, 3);
            let none = std::ptr::null_mut();
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, pg_sys::PGINVALID_SOCKET, pg_sys::MyLatch, none);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_EXIT_ON_PM_DEATH, pg_sys::PGINVALID_SOCKET, none.cast(), none);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_SOCKET_READABLE, doorbell.descriptor(), none.cast(), none);
            Self(set)
        }
    }

    /// Sleeps until something happens or the time is over. True: another process set the latch.
    pub fn wait(&self, time: Duration) -> bool {
        // SAFETY: the set is ours; the event is written by the callee.
        unsafe {
            let mut event: pg_sys::WaitEvent = std::mem::zeroed();
            let count =
                pg_sys::WaitEventSetWait(self.0, time.as_millis() as _, &mut event, 1, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
            count > 0 && event.events & pg_sys::WL_LATCH_SET != 0
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // SAFETY: made in new(), used nowhere else.
        unsafe { pg_sys::FreeWaitEventSet(self.0) }
    }
}
