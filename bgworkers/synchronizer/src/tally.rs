//! What was done: by one session, and by all of a worker since the last report.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// REQs sent.
    pub requests: u64,
    /// Events received, copies included.
    pub received: u64,
    /// Events newly archived.
    pub archived: u64,
    /// Events refused.
    pub refused: u64,
    /// Valid events that are not for storing (ephemeral, off the filter).
    pub unstored: u64,
}

impl Outcome {
    /// What was done since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            received: self.received.saturating_sub(earlier.received),
            archived: self.archived.saturating_sub(earlier.archived),
            refused: self.refused.saturating_sub(earlier.refused),
            unstored: self.unstored.saturating_sub(earlier.unstored),
        }
    }
}

/// Sums over the sessions of a worker, also those that go on.
#[derive(Debug, Default)]
pub struct Tally {
    requests: AtomicU64,
    received: AtomicU64,
    archived: AtomicU64,
    refused: AtomicU64,
    unstored: AtomicU64,
}

impl Tally {
    /// Adds what a session did.
    pub fn add(&self, done: &Outcome) {
        self.requests.fetch_add(done.requests, Ordering::Relaxed);
        self.received.fetch_add(done.received, Ordering::Relaxed);
        self.archived.fetch_add(done.archived, Ordering::Relaxed);
        self.refused.fetch_add(done.refused, Ordering::Relaxed);
        self.unstored.fetch_add(done.unstored, Ordering::Relaxed);
    }

    /// Everything since it was last taken.
    pub fn take(&self) -> Outcome {
        Outcome {
            requests: self.requests.swap(0, Ordering::Relaxed),
            received: self.received.swap(0, Ordering::Relaxed),
            archived: self.archived.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
            unstored: self.unstored.swap(0, Ordering::Relaxed),
        }
    }
}
