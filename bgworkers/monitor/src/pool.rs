//! The checks under way: a continuous pool, fed by claims, emptied in batches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::{Context, StoreError, Value};
use bigbrotr_models::{Network, RelayUrl};
use bigbrotr_utils::HostLimits;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::batch::{Batch, Refusals};
use crate::check::{self, Found, Outcome, now};
use crate::reading::{Failure, Reading};
use crate::report::Report;
use crate::settings::Settings;

/// Seconds a claim lasts. Only a process that was killed leaves one behind, and its successor releases it at once.
const LEASE_S: i32 = 600;
/// Checks of one host that may wait at a time; more are put off, so that a busy host does not fill the pool.
const PER_HOST: usize = 8;
/// Seconds until a relay of an overlay that has as many checks as it may is claimed again.
const FULL_OVERLAY_S: i32 = 15;
/// Outcomes written in one transaction.
const BATCH: usize = 64;
/// Bytes of documents that make a batch full.
const BATCH_BYTES: usize = 1 << 20;
/// How long an outcome waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(250);

const CLAIM: &str = "SELECT relay_id, url FROM bigbrotr.claim_checks($1, $2, $3, $4)";
const DEFER: &str = "SELECT bigbrotr.defer_checks($1, $2)";

/// Who is being checked.
#[derive(Debug)]
struct UnderWay {
    relay_id: i32,
    host: String,
    network: Network,
}

/// The pool.
#[derive(Debug, Default)]
pub struct Pool {
    tasks: JoinSet<Outcome>,
    under_way: HashMap<Id, UnderWay>,
    relays: HashSet<i32>,
    hosts: HashMap<String, usize>,
    /// Of the overlays, whose connections are few.
    networks: HashMap<Network, usize>,
    limits: HostLimits,
    batch: Batch,
    batch_since: Option<Instant>,
    refusals: Refusals,
    /// Relays to put off, with seconds.
    deferred: Vec<(i32, i32)>,
    report: Report,
}

impl Pool {
    /// Relays claimed and not finished.
    pub fn under_way(&self) -> usize {
        self.tasks.len()
    }

    /// Nothing under way and nothing to write.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.batch.is_empty() && self.deferred.is_empty()
    }

    /// Whether there is room worth a claim. Some wait beyond the slots, so that none of these is ever free.
    pub fn wants_more(&self, settings: &Settings) -> bool {
        self.tasks.len() <= settings.concurrency
    }

    /// Claims relays that are due and starts their checks. False: nothing more is due now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn claim(&mut self, settings: &Arc<Settings>, context: &Context) -> Result<bool, StoreError> {
        let room = (settings.concurrency * 2).saturating_sub(self.tasks.len());
        // Those of an overlay that is full would stand before everybody else.
        let free = settings.networks.iter().filter(|network| !self.is_full(**network, settings));
        let networks = free.map(|network| Some(network.as_str().to_owned())).collect();
        let args = vec![
            Value::from(i32::try_from(room).unwrap_or(i32::MAX)),
            Value::from(LEASE_S),
            Value::from(settings.interval_s),
            Value::TextArray(networks),
        ];
        let rows = context.store.call(CLAIM, args).await?;
        let mut put_off: HashMap<String, i32> = HashMap::new();
        for row in &rows {
            let (relay_id, key) = (row.int(0)?, row.text(1)?);
            let host = authority(key);
            if self.relays.contains(&relay_id) {
                continue;
            }
            if self.hosts.get(host).is_some_and(|checks| *checks >= PER_HOST) {
                // One second more for each: about as long as those before it take.
                let seconds = put_off.entry(host.to_owned()).or_insert(1);
                *seconds = seconds.saturating_add(1);
                self.deferred.push((relay_id, *seconds));
                continue;
            }
            match RelayUrl::from_key(key).or_else(|_| RelayUrl::parse(key, settings.address_policy)) {
                // Not in a slot, nor in the way of one: a proxy that hangs must not cost the clearnet its checks.
                Ok(url) if self.is_full(url.network(), settings) => self.deferred.push((relay_id, FULL_OVERLAY_S)),
                Ok(url) => self.start(relay_id, host, url, settings, context),
                Err(error) => self.keep(unusable(relay_id, &format!("no relay URL: {error}"), settings)),
            }
        }
        Ok(rows.len() >= room)
    }

    fn is_full(&self, network: Network, settings: &Settings) -> bool {
        self.networks.get(&network).is_some_and(|checks| *checks >= settings.overlay_checks)
    }

    fn start(&mut self, relay_id: i32, host: &str, url: RelayUrl, settings: &Arc<Settings>, context: &Context) {
        let network = url.network();
        if network != Network::Clearnet {
            *self.networks.entry(network).or_default() += 1;
        }
        let (settings, limits, memory) = (settings.clone(), self.limits.clone(), context.memory.clone());
        let task = self.tasks.spawn(async move { check::check(relay_id, url, &settings, &limits, &memory).await });
        self.under_way.insert(task.id(), UnderWay { relay_id, host: host.to_owned(), network });
        self.relays.insert(relay_id);
        *self.hosts.entry(host.to_owned()).or_default() += 1;
    }

    /// Waits for the next check to end; for ever if none is under way. Cancel-safe.
    pub async fn advance(&mut self, context: &Context) {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(joined) => self.absorb(joined, context),
        }
        // Whatever else has ended by now.
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            self.absorb(joined, context);
            if self.batch.len() >= BATCH {
                return;
            }
        }
    }

    fn absorb(&mut self, joined: Result<(Id, Outcome), JoinError>, context: &Context) {
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(UnderWay { relay_id, host, network }) = self.under_way.remove(&id) else { return };
        self.relays.remove(&relay_id);
        if let Some(checks) = self.hosts.get_mut(&host) {
            *checks = checks.saturating_sub(1);
            if *checks == 0 {
                self.hosts.remove(&host);
            }
        }
        if let Some(checks) = self.networks.get_mut(&network) {
            *checks = checks.saturating_sub(1);
        }
        match outcome {
            Ok(outcome) if outcome.found.is_none() => {
                // A little longer than the other checks of that host may take.
                self.deferred.push((relay_id, 30));
            }
            Ok(outcome) => self.keep(outcome),
            // Its lease runs out and it is tried again.
            Err(error) => context.progress.error(format!("the check of relay {relay_id} failed: {error}")),
        }
    }

    fn keep(&mut self, outcome: Outcome) {
        self.batch_since.get_or_insert_with(Instant::now);
        self.batch.push(outcome);
    }

    /// When the batch is to be written.
    pub fn batch_due(&self) -> Option<Instant> {
        self.batch_since.map(|since| since + BATCH_DELAY)
    }

    /// Writes the batch if it is full or old.
    ///
    /// # Errors
    /// That the store is gone. What one outcome makes SQL say is counted.
    pub async fn record(&mut self, settings: &Settings, context: &Context) -> Result<(), StoreError> {
        let is_due = self.batch_due().is_some_and(|due| Instant::now() >= due);
        if is_due || self.batch.len() >= BATCH || self.batch.bytes() >= BATCH_BYTES || self.tasks.is_empty() {
            self.flush(settings, context).await?;
        }
        Ok(())
    }

    /// Writes everything finished.
    ///
    /// # Errors
    /// As [`Pool::record`].
    pub async fn flush(&mut self, settings: &Settings, context: &Context) -> Result<(), StoreError> {
        self.batch_since = None;
        if !self.deferred.is_empty() {
            let (ids, pauses) = self.deferred.iter().copied().unzip();
            let args = vec![Value::IntArray(ids), Value::IntArray(pauses)];
            let deferred = context.store.call(DEFER, args).await?;
            self.deferred.clear();
            let count = deferred.first().map(|row| row.int(0)).transpose()?.unwrap_or_default();
            self.report.deferred += u64::try_from(count).unwrap_or_default();
        }
        let batch = std::mem::take(&mut self.batch);
        batch.write(settings, context, &mut self.refusals, &mut self.report).await
    }

    /// The counts since the last call.
    pub fn take_report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }
}

/// `host:port` of a key, as it is written.
fn authority(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn unusable(relay_id: i32, text: &str, settings: &Settings) -> Outcome {
    let reading = Reading { failure: Some(Failure::new("url", text)), ..Reading::default() };
    let info = settings.checks.nip11.then(|| check::Info::Failed(Failure::new("url", text)));
    Outcome { relay_id, checked_at: now(), found: Some(Found { reading: Some(reading), info, ..Found::default() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_of_a_key_is_its_host_and_port() {
        assert_eq!(authority("wss://a.example/b/c"), "a.example");
        assert_eq!(authority("ws://[::1]:7777"), "[::1]:7777");
        assert_eq!(authority("nonsense"), "nonsense");
    }
}
