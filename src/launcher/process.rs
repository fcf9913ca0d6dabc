//! A worker process as its launcher holds it.

use std::ffi::c_char;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::shmem::Place;

/// A dynamic background worker that is never restarted by the postmaster: that is the launcher's business.
pub struct Process {
    handle: *mut pg_sys::BackgroundWorkerHandle,
    started: Instant,
    asked_to_leave: Option<Instant>,
    /// Which state of the seeds it was started for.
    pub seeds: u64,
}

impl Process {
    /// Asks the postmaster for one. None: no slot of `max_worker_processes` is free.
    pub fn start(kind: &str, name: &str, place: Place, seeds: u64) -> Option<Self> {
        let mut worker = pg_sys::BackgroundWorker {
            bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
            bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
            bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
            bgw_main_arg: pg_sys::Datum::from(place.encode()),
            // SAFETY: the process id never changes.
            bgw_notify_pid: unsafe { pg_sys::MyProcPid },
            ..Default::default()
        };
        copy(&mut worker.bgw_name, name);
        copy(&mut worker.bgw_type, kind);
        copy(&mut worker.bgw_library_name, "bigbrotr");
        copy(&mut worker.bgw_function_name, "bigbrotr_worker_main");
        let mut handle = std::ptr::null_mut();
        // SAFETY: the handle is allocated in the current context, which must outlive this tick.
        let registered = unsafe {
            let previous = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
            pg_sys::MemoryContextSwitchTo(previous);
            registered
        };
        registered.then(|| Self { handle, started: Instant::now(), asked_to_leave: None, seeds })
    }

    /// Whether the postmaster has seen its end (or could not start it).
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle came from RegisterDynamicBackgroundWorker and is freed by drop() only.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }

    /// Time since it was asked for.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the launcher wants it gone.
    pub fn is_leaving(&self) -> bool {
        self.asked_to_leave.is_some()
    }

    /// True the first time: somebody has to tell it. Later, when its time is over, it gets a SIGTERM.
    pub fn leave_within(&mut self, patience: Duration) -> bool {
        let Some(since) = self.asked_to_leave else {
            self.asked_to_leave = Some(Instant::now());
            return true;
        };
        if since.elapsed() > patience {
            // SAFETY: as above.
            unsafe { pg_sys::TerminateBackgroundWorker(self.handle) };
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: nothing else keeps the handle.
        unsafe { pg_sys::pfree(self.handle.cast()) }
    }
}

/// Copies as much as fits, NUL-terminated.
fn copy(target: &mut [c_char], text: &str) {
    let room = target.len() - 1;
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (byte, source) in target.iter_mut().zip(text.bytes().take(end)) {
        *byte = source as c_char;
    }
}
