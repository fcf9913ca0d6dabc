//! The validator: tries candidates and promotes those that prove to be Nostr relays.

mod dial;
mod failure;
mod likeness;
mod pool;
mod probe;
mod proof;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};
use bigbrotr_utils::HostLimits;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::dial::Dialers;
use crate::pool::Pool;
use crate::queue::Tally;

/// How soon new candidates are noticed, whatever `validator_interval`: the look is one index probe.
const LOOK: Duration = Duration::from_secs(5);
/// How soon they are noticed while tries are under way.
const LOOK_BUSY: Duration = Duration::from_secs(1);
/// Candidates claimed at a time.
const CLAIM: usize = 128;
/// Outcomes written in one transaction.
const BATCH: usize = 128;
/// After this a cycle in which nothing else is left to do does not wait for busy hosts any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this a cycle claims nothing more, so that it can be reported.
const LONGEST: Duration = Duration::from_secs(600);

/// The service.
#[derive(Debug, Default)]
pub struct Validator {
    dialers: Dialers,
    hosts: HostLimits,
    /// Whether the last cycle of this process ended in order, without leases of its own left behind.
    is_clean: AtomicBool,
    schedule: Mutex<Schedule>,
}

/// Candidates that failed before are tried again once an interval; new ones soon after they were found.
#[derive(Debug, Default)]
struct Schedule {
    full_at: Option<Instant>,
}

impl Schedule {
    /// Whether a cycle that nobody asked for takes all that is due.
    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| now >= at)
    }

    /// The pause after a cycle.
    fn pause(&mut self, now: Instant, was_full: bool, interval: Duration) -> Duration {
        // A setting that was lowered counts from now on.
        let planned = self.full_at.filter(|_| !was_full).map_or(interval, |at| at.saturating_duration_since(now));
        self.full_at = Some(now + planned.min(interval));
        LOOK.min(planned).min(interval)
    }

    /// The next cycle begins at once and goes on with what this one could not.
    fn again(&mut self, was_full: bool) {
        if was_full {
            self.full_at = None;
        }
    }
}

impl Service for Validator {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Validator
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(self.validate(context))
    }

    fn interval(&self, config: &Config) -> Duration {
        config.validator_interval
    }
}

impl Validator {
    fn schedule(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn validate(&self, context: &Context) -> Result<CycleReport, ServiceError> {
        if !self.is_clean.swap(false, Ordering::Relaxed) {
            queue::release(context).await?;
        }
        let is_full = context.take_asked() || self.schedule().is_full(Instant::now());
        if is_full {
            queue::recheck_aliases(context).await?;
        }
        let mut cycle = Cycle::new(context, self.hosts.clone(), !is_full);
        cycle.run(&self.dialers).await?;
        self.is_clean.store(cycle.tally.unrecorded == 0 && cycle.pool.is_empty(), Ordering::Relaxed);

        let next = if cycle.is_cut_short() {
            self.schedule().again(is_full);
            Next::Now
        } else {
            Next::After(self.schedule().pause(Instant::now(), is_full, context.config().validator_interval))
        };
        let tally = cycle.tally;
        Ok(CycleReport {
            items: tally.tried,
            detail: json!({
                "tried": tally.tried,
                "promoted": tally.promoted,
                "aliases": tally.aliases,
                "known": tally.known,
                "failed": tally.failures.values().sum::<u64>(),
                "failures": tally.failures,
                "deferred": tally.deferred,
                "unrecorded": tally.unrecorded,
            }),
            next,
            record: tally.tried + tally.deferred + tally.unrecorded > 0,
        })
    }
}

/// One cycle: the pool is filled as its slots fall free, until nothing is due.
struct Cycle<'a> {
    context: &'a Context,
    pool: Pool,
    tally: Tally,
    untried_only: bool,
    started: Instant,
    /// When it last turned out that nothing more is due.
    exhausted: Option<Instant>,
}

impl<'a> Cycle<'a> {
    fn new(context: &'a Context, hosts: HostLimits, untried_only: bool) -> Self {
        let (pool, tally) = (Pool::new(hosts), Tally::default());
        Self { context, pool, tally, untried_only, started: Instant::now(), exhausted: None }
    }

    /// Ended because of its length, with more to do.
    fn is_cut_short(&self) -> bool {
        self.exhausted.is_none() && self.started.elapsed() >= LONGEST
    }

    async fn run(&mut self, dialers: &Dialers) -> Result<(), ServiceError> {
        while !self.context.is_shutting_down() {
            self.fill(dialers).await?;
            if self.pool.is_empty() {
                return Ok(());
            }
            let (running, tried) = (self.pool.running(), self.tally.tried);
            self.context.progress.set_activity(format!("trying {running} candidates, {tried} done"));
            tokio::select! {
                finished = self.pool.finished(BATCH), if self.pool.running() > 0 || self.pool.has_put_off() => {
                    let before = self.tally.tried;
                    let in_doubt = queue::write(self.context, finished, &mut self.tally).await?;
                    self.pool.push_in_doubt(in_doubt);
                    self.context.progress.add_items(self.tally.tried - before);
                }
                // Memory may have become free, candidates may have come in.
                () = sleep(LOOK_BUSY) => {}
                () = self.context.until_shutdown() => {}
            }
        }
        Ok(())
    }

    async fn fill(&mut self, dialers: &Dialers) -> Result<(), ServiceError> {
        // Read anew each time: a cycle may be long.
        let config = self.context.config();
        let slots = config.validator_concurrency.max(1);
        let dialers = dialers.get(&config, &self.context.log);
        if self.started.elapsed() >= if self.exhausted.is_some() { PATIENCE } else { LONGEST } {
            self.pool.put_off();
        }
        loop {
            self.pool.start(slots, &dialers, &self.context.memory);
            let has_room = self.pool.running() < slots && self.pool.wants_more() && !self.context.memory.is_tight();
            if !has_room || !self.may_claim() || self.context.is_shutting_down() {
                return Ok(());
            }
            let (candidates, refused) = queue::claim(self.context, &config, CLAIM, self.untried_only).await?;
            if candidates.len() + refused.len() < CLAIM {
                // What is due again while the rest is still being tried waits for the next cycle.
                self.exhausted = Some(Instant::now());
                self.untried_only = true;
            } else {
                self.exhausted = None;
            }
            queue::refuse(self.context, refused, &mut self.tally).await?;
            self.pool.push(candidates);
        }
    }

    fn may_claim(&self) -> bool {
        self.started.elapsed() < LONGEST && self.exhausted.is_none_or(|at| at.elapsed() >= LOOK_BUSY)
    }
}

#[cfg(test)]
mod tests;
