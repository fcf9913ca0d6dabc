//! The steps of a cycle. What fails in one does not keep the others from being done.

use bigbrotr_core::{Call, Config, Context, ServiceError, StoreError, Value};
use tokio::time::{Duration, Instant};

use crate::counts::Counts;

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
const LOCK: &str = "SELECT bigbrotr.lock_archive()";
const EXPIRE: &str = "SELECT bigbrotr.expire_events($1, $2)";
const PURGE: &str = "SELECT bigbrotr.purge_vanished($1)::text";

/// One cycle under way.
pub struct Round<'a> {
    context: &'a Context,
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
    pub async fn run(&mut self, config: &Config) -> Result<(), ServiceError> {
        let blocks = self.apply_blocks().await;
        self.note(blocks)?;
        let maintained = self.maintain(config).await;
        self.note(maintained)?;
        if config.vanish_enabled {
            let purged = self.purge_vanished().await;
            self.note(purged)?;
        }
        if config.event_retention.is_some() {
            let expired = self.expire_events(config.oldest_kept()).await;
            self.note(expired)?;
        }
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
    fn may_go_on(&mut self, started: Instant) -> bool {
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

    async fn expire_events(&mut self, oldest: i64) -> Result<(), StoreError> {
        self.context.progress.set_activity("deleting events beyond their retention");
        let started = Instant::now();
        loop {
            let expire = Call::new(EXPIRE, vec![Value::from(oldest), Value::from(EVENT_ROWS)]);
            let rows = self.context.store.transaction(vec![Call::new(LOCK, Vec::new()), expire]).await?.pop();
            let expired = rows.unwrap_or_default().first().map(|row| row.int(0)).transpose()?.unwrap_or_default();
            let count = u64::try_from(expired).unwrap_or_default();
            self.counts.add("expired", count);
            self.context.progress.add_items(count);
            if expired < EVENT_ROWS || !self.may_go_on(started) {
                return Ok(());
            }
        }
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
