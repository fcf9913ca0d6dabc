//! The refresher: keeps the database small and its plans good. Every step is one short transaction, so that nothing ever waits long for it.

mod counts;
mod retention;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};
use tokio::sync::Mutex;

use crate::retention::Sweep;
use crate::steps::Round;

/// The service.
#[derive(Debug, Default)]
pub struct Refresher {
    sweep: Mutex<Sweep>,
}

impl Service for Refresher {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Refresher
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(async move {
            let config = context.config();
            let mut round = Round::new(context);
            round.run(&config, &mut *self.sweep.lock().await).await?;
            let next = if round.has_more() { Next::Now } else { Next::After(config.refresher_interval) };
            let counts = round.into_counts();
            Ok(CycleReport { items: counts.total(), detail: counts.detail(), next, record: true })
        })
    }

    fn interval(&self, config: &Config) -> Duration {
        config.refresher_interval
    }
}
