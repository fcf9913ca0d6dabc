//! The synchronizer: archives the events of every relay, and knows what it does not have.
//!
//! A pool of sessions, one relay each ([`session`]), without barriers between relays. A session subscribes to what arrives
//! ([`live`]), asks for what its relay's ledger lacks, page by page ([`history`]), and hands what comes to the one
//! [`archivist`], which checks what is new and commits events, sightings and coverage together. It stays connected while
//! there is a seat for it ([`budget`]).

mod answer;
mod archivist;
mod auth;
mod batch;
mod budget;
mod guard;
mod history;
mod inbox;
mod known;
mod learned;
mod link;
mod live;
mod pool;
mod recheck;
mod reconcile;
mod session;
mod tally;
mod verdict;

use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Service, ServiceError, ServiceKind};
use tokio::sync::Mutex;

use pool::Pool;

/// The service. Sessions outlive cycles, so that one slow relay holds up nobody.
#[derive(Default)]
pub struct Synchronizer {
    pool: Mutex<Option<Pool>>,
}

impl Service for Synchronizer {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Synchronizer
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(async move {
            let mut pool = self.pool.lock().await;
            let config = context.config();
            // A changed setting may change what a connection does: running sessions end, new ones begin with it.
            if pool.as_ref().is_some_and(|pool| !pool.fits(&config)) {
                *pool = None;
            }
            pool.get_or_insert_with(|| Pool::new(context, config)).turn(context).await
        })
    }

    fn interval(&self, config: &Config) -> Duration {
        config.synchronizer_interval
    }
}

/// Unix seconds now.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
