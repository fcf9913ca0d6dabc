//! Counters and the activity line that `stat_workers` and `pg_stat_activity` show.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Written by the service, read by the main thread a few times a second.
#[derive(Debug, Default)]
pub struct Progress {
    items: AtomicU64,
    cycles: AtomicU64,
    errors: AtomicU64,
    busy: AtomicBool,
    activity: Mutex<String>,
    last_error: Mutex<Option<String>>,
}

/// A copy of [`Progress`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Things handled since the worker started.
    pub items: u64,
    /// Cycles finished.
    pub cycles: u64,
    /// Errors seen.
    pub errors: u64,
    /// Whether a cycle is under way.
    pub busy: bool,
    /// What it is doing, in words.
    pub activity: String,
    /// The newest error.
    pub last_error: Option<String>,
}

impl Progress {
    /// Adds to the things handled.
    pub fn add_items(&self, items: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    /// Says what is being done.
    pub fn set_activity(&self, activity: impl Into<String>) {
        *lock(&self.activity) = activity.into();
    }

    /// Marks a cycle as begun.
    pub fn begin_cycle(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// Marks a cycle as ended.
    pub fn end_cycle(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.cycles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error and remembers its text.
    pub fn error(&self, text: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = Some(text.into());
    }

    /// A copy.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            items: self.items.load(Ordering::Relaxed),
            cycles: self.cycles.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            activity: lock(&self.activity).clone(),
            last_error: lock(&self.last_error).clone(),
        }
    }
}

/// A poisoned lock only means that another task panicked while it set a string.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
