//! What every service stands on: configuration, the store, the cycle loop, limits, progress. No network, no Postgres.

pub mod backoff;
pub mod config;
pub mod context;
pub mod log;
pub mod memory;
pub mod progress;
pub mod retention;
pub mod runner;
pub mod service;
pub mod store;

pub use config::Config;
pub use context::Context;
pub use retention::Retention;
pub use service::{CycleReport, Next, Service, ServiceError, ServiceKind};
pub use store::{Call, Row, Rows, Store, StoreError, Value};

/// A boxed future, for traits that must stay object-safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
