//! The steps of a cycle. What fails in one does not keep the others from being done.

use bigbrotr_core::{Call, Config, Context, ServiceError, StoreError, Value};
use tokio::time::{Duration, Instant};

use crate::counts::Counts;
use crate::retention::Sweep;

/// Rows of each table in one step of [`MAINTAIN`].
const MAINTAIN_ROWS: i32 = 5000;
/// Events in one step: they hold the archive lock, which the synchronizer waits for.
const EVENT_ROWS: i32 = 1000;
/// Steps of one kind take at most so long in one cycle; the next one goes on, without a pause.
const LONGEST_STRETCH: Duration = Duration::from_secs(60);
/// Tables analyzed in one cycle; there are fewer.
const TABLES: usize = 64;

const MAINTAIN: &str = "SELECT bigbrotr.maintain($1, $2, $3)::text";
const APPLY_BLOCKS: &str = "SELECT bigbrotr.apply_blocks()::text";
const ANALYZE: &str = "SELECT bigbrotr.analyze_next()";
pub const LOCK: &str = "SELECT bigbrotr.lock_archive()";
const PURGE: &str = "SELECT bigbrotr.purge_vanished($1)::text";

/// One cycle under way.
pub struct Round<'a> {
    pub(crate) context: &'a Context,
    counts: Counts,
    has_more: bool,
    failure: Option<StoreError>,
}

impl<'a> Round<'a> {
    /// Nothing done yet.
    pub fn new(context: &'a Context) -> Self {
        Self { context, counts: Counts::default(), has_more: false, failure: None }
    }

    /// All steps.
    ///
    /// # Errors
    /// The first failure of a step, after all others were done; at once if the store is gone.
    pub async fn run(&mut self, config: &Config, sweep: &mut Sweep) -> Result<(), ServiceError> {
        let blocks = self.apply_blocks().await;
        self.note(blocks)?;
        let maintained = self.maintain(config).await;
        self.note(maintained)?;
        if config.vanish_enabled {
            let purged = self.purge_vanished().await;
            self.note(purged)?;
        }
        let expired = self.expire_events(config, sweep).await;
        self.note(expired)?;
        let shrunk = self.shrink(config, sweep).await;
        self.note(shrunk)?;
        // Last: deletions are changes too.
        let analyzed = self.analyze().await;
        self.note(analyzed)?;
        self.failure.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether a stretch ended before its work did.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// What was done.
    pub fn into_counts(self) -> Counts {
        self.counts
    }

    fn note(&mut self, outcome: Result<(), StoreError>) -> Result<(), ServiceError> {
        match outcome {
            Err(error @ StoreError::Sql { .. }) => {
                self.failure.get_or_insert(error);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Whether a stretch that began at `started` may take another step.
    pub(crate) fn may_go_on(&mut self, started: Instant) -> bool {
        if self.context.is_shutting_down() {
            return false;
        }
        if started.elapsed() >= LONGEST_STRETCH {
            self.has_more = true;
            return false;
        }
        true
    }

    /// One transaction of a step that answers with one JSON object.
    async fn step(&mut self, calls: Vec<Call>) -> Result<bool, StoreError> {
        let rows = self.context.store.transaction(calls).await?.pop().unwrap_or_default();
        let before = self.counts.total();
        let more = match rows.first() {
            Some(row) => self.counts.add_object(row.text(0)?)?,
            None => false,
        };
        self.context.progress.add_items(self.counts.total() - before);
        Ok(more)
    }

    async fn apply_blocks(&mut self) -> Result<(), StoreError> {
        self.context.progress.set_activity("applying blocks");
        self.step(vec![Call::new(APPLY_BLOCKS, Vec::new())]).await.map(drop)
    }

    async fn maintain(&mut self, config: &Config) -> Result<(), StoreError> {
        self.context.progress.set_activity("deleting old history");
        let started = Instant::now();
        loop {
            let args = vec![
                Value::from(seconds(config.history_retention)),
                Value::from(seconds(config.quarantine_retention)),
                Value::from(MAINTAIN_ROWS),
            ];
            if !self.step(vec![Call::new(MAINTAIN, args)]).await? || !self.may_go_on(started) {
                return Ok(());
            }
        }
    }

    async fn purge_vanished(&mut self) -> Result<(), StoreError> {
        self.context.progress.set_activity("deleting what vanished authors wrote");
        let started = Instant::now();
        loop {
            let purge = Call::new(PURGE, vec![Value::from(EVENT_ROWS)]);
            if !self.step(vec![Call::new(LOCK, Vec::new()), purge]).await? || !self.may_go_on(started) {
                return Ok(());
            }
        }
    }

    /// Adds to what was done under a name.
    pub(crate) fn count(&mut self, name: &str, number: u64) {
        self.counts.add(name, number);
        self.context.progress.add_items(number);
    }

    async fn analyze(&mut self) -> Result<(), StoreError> {
        self.context.progress.set_activity("analyzing tables");
        let started = Instant::now();
        for _ in 0..TABLES {
            let rows = self.context.store.call(ANALYZE, Vec::new()).await?;
            let Some(table) = rows.first().map(|row| row.opt_text(0)).transpose()?.flatten() else { return Ok(()) };
            // The same again: its statistics have not arrived yet.
            if !self.counts.add_analyzed(table) || !self.may_go_on(started) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}
