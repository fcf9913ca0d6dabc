//! What a service is: something that runs in cycles and reports on each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{BoxFuture, Config, Context, StoreError};

/// The six services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ServiceKind {
    /// Puts known relay URLs into `candidate`.
    Seeder = 0,
    /// Finds URLs in archived events.
    Finder = 1,
    /// Promotes candidates that answer.
    Validator = 2,
    /// Watches the health of relays.
    Monitor = 3,
    /// Archives events.
    Synchronizer = 4,
    /// Statistics and maintenance.
    Refresher = 5,
}

impl ServiceKind {
    /// In the order they depend on one another's rows.
    pub const ALL: [Self; 6] =
        [Self::Seeder, Self::Finder, Self::Validator, Self::Monitor, Self::Synchronizer, Self::Refresher];

    /// The name users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seeder => "seeder",
            Self::Finder => "finder",
            Self::Validator => "validator",
            Self::Monitor => "monitor",
            Self::Synchronizer => "synchronizer",
            Self::Refresher => "refresher",
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServiceKind {
    type Err = ();
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(())
    }
}

/// When the next cycle should begin. A wake (`bigbrotr.run_service`) or a changed setting begins it earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// After this pause.
    After(Duration),
    /// Not again until the service's source changes: the worker may exit (`finished`).
    Finished,
}

/// What a cycle did.
#[derive(Debug, Clone, PartialEq)]
pub struct CycleReport {
    /// Things handled: candidates, relays, events.
    pub items: u64,
    /// `stat_cycles.detail`.
    pub detail: serde_json::Value,
    /// When to run again.
    pub next: Next,
    /// Whether this cycle deserves a row in `stat_cycles` (an idle look does not).
    pub record: bool,
}

/// Why a cycle failed as a whole. What fails for one relay is that relay's error, not the cycle's.
#[derive(Debug)]
pub enum ServiceError {
    /// The store refused.
    Store(StoreError),
    /// Anything else, as text for `stat_cycles.error`.
    Other(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ServiceError {}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One of the six loops.
pub trait Service: Send + Sync + 'static {
    /// Which one.
    fn kind(&self) -> ServiceKind;

    /// One round of work. Must return soon after `context.shutdown` fires; may be dropped at any await.
    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>>;

    /// The pause the runner makes after a failed cycle, before back-off.
    fn interval(&self, config: &Config) -> Duration;
}
