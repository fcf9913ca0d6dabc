//! What a service is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

use crate::log::Log;
use crate::memory::MemoryBudget;
use crate::progress::Progress;
use crate::{Config, Store};

/// Everything a service may use; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The settings; `borrow_and_update` for the newest.
    pub config: watch::Receiver<Arc<Config>>,
    /// What `stat_workers` shows.
    pub progress: Arc<Progress>,
    /// Fires when somebody calls `bigbrotr.run_service`.
    pub wake: Arc<Notify>,
    /// Whether somebody called it since the last look; see [`Context::take_asked`].
    pub asked: Arc<AtomicBool>,
    /// Turns true when the worker is leaving.
    pub shutdown: watch::Receiver<bool>,
    /// How much memory is left.
    pub memory: MemoryBudget,
    /// The server log.
    pub log: Log,
}

impl Context {
    /// The settings now.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// Whether somebody asked for this cycle by `bigbrotr.run_service`: what is only waiting for its time is due now.
    pub fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    /// Whether the worker is leaving.
    pub fn is_shutting_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Resolves when the worker is leaving.
    pub async fn until_shutdown(&self) {
        let mut shutdown = self.shutdown.clone();
        // An error means the sender is gone: the worker is leaving too.
        let _ = shutdown.wait_for(|leaving| *leaving).await;
    }
}
