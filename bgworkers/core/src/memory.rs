//! The memory budget of a worker (`bigbrotr.worker_memory`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts against a limit. Clones share it. `used` is fed by the allocator in the server, by hand in tests.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    used: fn() -> u64,
    limit: Arc<AtomicU64>,
}

impl MemoryBudget {
    /// A budget over a gauge of bytes in use.
    pub fn new(used: fn() -> u64, limit: u64) -> Self {
        Self { used, limit: Arc::new(AtomicU64::new(limit)) }
    }

    /// Without a limit, for tests.
    pub fn unlimited() -> Self {
        Self::new(|| 0, u64::MAX)
    }

    /// Changes the limit (at a reload), in bytes.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        (self.used)()
    }

    /// Above 80 %: stop reading sockets.
    pub fn is_tight(&self) -> bool {
        self.used() > self.limit.load(Ordering::Relaxed) / 5 * 4
    }

    /// At 100 %: the worker must leave in order.
    pub fn is_exhausted(&self) -> bool {
        self.used() >= self.limit.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more would leave memory at ease.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.limit.load(Ordering::Relaxed) / 5 * 4
    }

    /// Waits while memory is tight. Call before reading the next frame.
    pub async fn ready(&self) {
        while self.is_tight() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
