//! The finder: follows the archive by `seq` and asks HTTP APIs for relay URLs nobody has tried yet.

mod api;
mod archive;
mod mentions;
mod naming;
mod urls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};
use serde_json::json;

use crate::api::{Dialers, Sources};
use crate::archive::{BatchSize, Followed};
use crate::naming::Room;

/// A cycle that is behind the archive ends after this, so that it can be reported and APIs have their turn.
const LONGEST: Duration = Duration::from_secs(30);

/// The service.
#[derive(Debug, Default)]
pub struct Finder {
    dialers: Dialers,
    batch: BatchSize,
    /// Whether the last cycle of this process ended in order, with every API source it claimed done.
    is_clean: AtomicBool,
}

impl Service for Finder {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Finder
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(self.find(context))
    }

    fn interval(&self, config: &Config) -> Duration {
        config.finder_interval
    }
}

impl Finder {
    async fn find(&self, context: &Context) -> Result<CycleReport, ServiceError> {
        if !self.is_clean.swap(false, Ordering::Relaxed) {
            api::release(context).await?;
        }
        let until = Instant::now() + LONGEST;
        let (mut followed, mut room) = (Followed::default(), Room::default());
        let caught_up = loop {
            if context.is_shutting_down() || Instant::now() >= until {
                break false;
            }
            context.progress.set_activity(format!("reading the archive, {} events done", followed.events));
            let before = followed.events;
            let more = archive::follow(context, &self.batch, &mut room, &mut followed).await?;
            context.progress.add_items(followed.events - before);
            if !more {
                break true;
            }
        };
        let mut sources = Sources::default();
        if !context.is_shutting_down() {
            api::fetch_due(context, &self.dialers, &mut room, &mut sources).await?;
            self.is_clean.store(!context.is_shutting_down(), Ordering::Relaxed);
        }
        let mut outcome = followed.outcome;
        outcome.add(sources.outcome);
        Ok(CycleReport {
            items: followed.events,
            detail: json!({
                "events": followed.events,
                "urls": followed.urls,
                "new": followed.outcome.added,
                "over_author_limit": outcome.over_author,
                "over_domain_limit": outcome.over_domain,
                "over_limit": outcome.over_total,
                "sources": sources.fetched,
                "failed_sources": sources.failed,
                "source_urls": sources.urls,
                "source_new": sources.outcome.added,
            }),
            next: if caught_up { Next::After(context.config().finder_interval) } else { Next::Now },
            record: followed.events + sources.fetched > 0,
        })
    }
}

#[cfg(test)]
mod tests;
