//! Events leave the archive: by age and kind, and by size. What is to go is looked for without the archive lock; it goes in
//! small transactions with it, so that whoever archives meanwhile waits for one of them at most.

use bigbrotr_core::retention::Rule;
use bigbrotr_core::{Call, Config, Retention, StoreError, Value};
use tokio::time::{Duration, Instant};

use crate::steps::{LOCK, Round};

/// Events looked through at a time.
const STRETCH: i32 = 20_000;
/// Events of the first transaction; how long each takes decides on the next.
const FIRST_BATCH: usize = 500;
const BATCHES: std::ops::RangeInclusive<usize> = 50..=2000;
/// A transaction should hold the archive lock no longer.
const LONG: Duration = Duration::from_millis(250);
/// What was archived while its time came: how far back a rule is followed again, in seconds.
const OVERLAP: i64 = 3600;
/// Walks over all that is old before only what has aged since is looked at: the second one finds what workers archived
/// before they heard of new settings.
const FULL_WALKS: u8 = 2;
/// After so long everything is walked again: restores and other servers know nothing of settings.
const FULL_EVERY: Duration = Duration::from_secs(86_400);

const OLD: &str = "SELECT seqs, newest, more FROM bigbrotr.old_events($1, $2, $3, $4, $5, $6, $7)";
const DELETE: &str = "SELECT bigbrotr.delete_events($1)";
const SIZE: &str = "SELECT s.bytes, s.events, bigbrotr.event_floor() FROM bigbrotr.live_size() AS s";
const FLOOR: &str = "SELECT bigbrotr.set_event_floor($1)";
const NO_FLOOR: &str = "SELECT bigbrotr.set_event_floor(0) WHERE bigbrotr.event_floor() <> 0";

/// How far one rule has been followed.
#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    from: i64,
    finished: u8,
}

/// What is remembered between cycles.
#[derive(Debug)]
pub struct Sweep {
    retention: Retention,
    walks: Vec<Walk>,
    began: Instant,
    batch: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { retention: Retention::default(), walks: Vec::new(), began: Instant::now(), batch: FIRST_BATCH }
    }
}

/// A stretch of [`OLD`].
struct Found {
    seqs: Vec<i64>,
    newest: Option<i64>,
    more: bool,
}

impl Sweep {
    fn follow(&mut self, retention: &Retention) {
        if self.retention != *retention || self.began.elapsed() >= FULL_EVERY {
            self.retention = retention.clone();
            self.walks = vec![Walk::default(); retention.rules().len()];
            self.began = Instant::now();
        }
    }
}

impl Round<'_> {
    /// Takes out what is older than its kind is kept.
    pub async fn expire_events(&mut self, config: &Config, sweep: &mut Sweep) -> Result<(), StoreError> {
        sweep.follow(&config.retention);
        let started = Instant::now();
        for (place, rule) in config.retention.rules().iter().enumerate() {
            let (Some(up_to), Some(mut walk)) = (Retention::expired_up_to(rule), sweep.walks.get(place).copied())
            else {
                continue;
            };
            self.context.progress.set_activity("deleting events beyond their retention");
            let earlier = config.retention.rules().get(..place).unwrap_or_default();
            loop {
                let found = self.old_events(rule, earlier, walk.from, up_to, STRETCH).await?;
                self.delete(&found.seqs, None, "expired", sweep).await?;
                if let (true, Some(newest)) = (found.more, found.newest) {
                    walk.from = newest.saturating_add(1);
                } else {
                    walk.finished = walk.finished.saturating_add(1);
                    walk.from = if walk.finished < FULL_WALKS { 0 } else { up_to.saturating_sub(OVERLAP) };
                }
                if let Some(kept) = sweep.walks.get_mut(place) {
                    *kept = walk;
                }
                if !self.may_go_on(started) {
                    return Ok(());
                }
                if !found.more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes out the oldest events while what is alive is larger than it may be.
    pub async fn shrink(&mut self, config: &Config, sweep: &mut Sweep) -> Result<(), StoreError> {
        let Some(limit) = config.event_retention_size else {
            return self.context.store.call(NO_FLOOR, Vec::new()).await.map(drop);
        };
        let everything = Rule { first: 0, last: u16::MAX, keep: bigbrotr_core::retention::Keep::Always };
        let started = Instant::now();
        loop {
            self.context.progress.set_activity("measuring the archive");
            let rows = self.context.store.call(SIZE, Vec::new()).await?;
            let Some(row) = rows.first() else { return Ok(()) };
            let (bytes, events, floor) = (row.bigint(0)?.unsigned_abs(), row.bigint(1)?.unsigned_abs(), row.bigint(2)?);
            if bytes <= limit {
                // There is room again, by a higher limit, say: what is older is welcome.
                if floor > 0 && bytes < limit / 5 * 4 {
                    self.context.store.call(NO_FLOOR, Vec::new()).await?;
                }
                return Ok(());
            }
            // A little below the limit, so that not every cycle has to remove.
            let excess = u128::from(bytes - limit / 50 * 49);
            let count = (u128::from(events) * excess).div_ceil(u128::from(bytes)).max(1);
            let count = i32::try_from(count).unwrap_or(STRETCH).min(STRETCH);
            self.context.progress.set_activity("deleting the oldest events: event_retention_size");
            let found = self.old_events(&everything, &[], 0, i64::MAX, count).await?;
            let Some(newest) = found.newest else { return Ok(()) };
            self.delete(&found.seqs, Some(newest.saturating_add(1)), "expired_by_size", sweep).await?;
            if !self.may_go_on(started) {
                return Ok(());
            }
        }
    }

    async fn old_events(
        &self,
        rule: &Rule,
        but: &[Rule],
        from: i64,
        up_to: i64,
        stretch: i32,
    ) -> Result<Found, StoreError> {
        let kinds = |end: fn(&Rule) -> u16| Value::IntArray(but.iter().map(|rule| i32::from(end(rule))).collect());
        let args = vec![
            Value::Int(rule.first.into()),
            Value::Int(rule.last.into()),
            kinds(|rule| rule.first),
            kinds(|rule| rule.last),
            Value::BigInt(from),
            Value::BigInt(up_to),
            Value::Int(stretch),
        ];
        let rows = self.context.store.call(OLD, args).await?;
        let Some(row) = rows.first() else { return Ok(Found { seqs: Vec::new(), newest: None, more: false }) };
        let seqs = row.opt_bigints(0)?.unwrap_or_default().to_vec();
        Ok(Found { seqs, newest: row.opt_bigint(1)?, more: row.opt_bool(2)?.unwrap_or(false) })
    }

    /// In as many transactions as it takes. `floor`: from the first of them on nothing older is taken in.
    async fn delete(
        &mut self,
        mut seqs: &[i64],
        mut floor: Option<i64>,
        name: &str,
        sweep: &mut Sweep,
    ) -> Result<(), StoreError> {
        while !seqs.is_empty() && !self.context.is_shutting_down() {
            let (batch, rest) = seqs.split_at(sweep.batch.min(seqs.len()));
            seqs = rest;
            let mut calls = vec![Call::new(LOCK, Vec::new())];
            calls.extend(floor.take().map(|floor| Call::new(FLOOR, vec![Value::BigInt(floor)])));
            calls.push(Call::new(DELETE, vec![Value::BigIntArray(batch.to_vec())]));
            let started = Instant::now();
            let rows = self.context.store.transaction(calls).await?.pop().unwrap_or_default();
            // A wait for the lock counts too: then there are others, and less at a time is kinder to them.
            let took = started.elapsed();
            if took > LONG {
                sweep.batch = (sweep.batch / 2).max(*BATCHES.start());
            } else if took < LONG / 4 {
                sweep.batch = (sweep.batch * 2).min(*BATCHES.end());
            }
            let gone = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or_default();
            self.count(name, u64::try_from(gone).unwrap_or_default());
        }
        Ok(())
    }
}
