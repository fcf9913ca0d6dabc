//! The archive in the order it grew.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use bigbrotr_core::{Call, Context, Rows, ServiceError, StoreError, Value};
use bigbrotr_models::{AddressPolicy, RelayUrl};

use crate::urls::{self, ADD};

/// Events read at a time, at most.
const EVENTS: usize = 1_000;
/// After so many distinct keys the rest of a batch is left for the next: what is added and the watermark are one transaction,
/// and no transaction may be long.
const URLS: usize = 10_000;

pub const BATCH: &str = "SELECT seq, kind, tags, content FROM bigbrotr.finder_batch($1)";
pub const ADVANCE: &str = "SELECT bigbrotr.finder_advance($1)";

/// How many events to ask for: fewer after a failure, so that one that is too much for a transaction stands alone at last.
#[derive(Debug)]
pub struct BatchSize(AtomicUsize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(AtomicUsize::new(EVENTS))
    }
}

impl BatchSize {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn shrink(&self) {
        self.0.store((self.get() / 4).max(1), Ordering::Relaxed);
    }

    fn grow(&self) {
        self.0.store((self.get() * 2).min(EVENTS), Ordering::Relaxed);
    }
}

/// What was read.
#[derive(Debug, Default)]
pub struct Followed {
    /// Events.
    pub events: u64,
    /// Distinct keys in a batch, summed.
    pub urls: u64,
    /// Candidates newly added.
    pub new: u64,
}

/// What a batch of events names.
struct Found {
    urls: BTreeSet<RelayUrl>,
    events: u64,
    /// Of the last event looked at.
    seq: i64,
}

/// Reads one batch; its candidates and the watermark are one transaction. False: there was nothing more.
pub async fn follow(context: &Context, size: &BatchSize, followed: &mut Followed) -> Result<bool, ServiceError> {
    context.memory.ready().await;
    let outcome = read_batch(context, size.get()).await;
    match &outcome {
        Ok(Some(_)) => size.grow(),
        Ok(None) => {}
        Err(_) => size.shrink(),
    }
    let Some((found, new)) = outcome? else { return Ok(false) };
    followed.events += found.events;
    followed.urls += found.urls.len() as u64;
    followed.new += new;
    Ok(true)
}

async fn read_batch(context: &Context, size: usize) -> Result<Option<(Found, u64)>, ServiceError> {
    let max = i32::try_from(size).unwrap_or(i32::MAX);
    let rows = context.store.call(BATCH, vec![Value::Int(max)]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let policy = context.config().address_policy;
    let found = tokio::task::spawn_blocking(move || look(&rows, policy)).await;
    let found = found.map_err(|error| ServiceError::Other(error.to_string()))??;
    let additions = urls::additions(&found.urls, "event");
    let mut calls: Vec<Call> = additions.into_iter().map(|args| Call::new(ADD, args)).collect();
    let adding = calls.len();
    calls.push(Call::new(ADVANCE, vec![found.seq.into()]));
    let answers = context.store.transaction(calls).await?;
    let mut new = 0;
    for rows in answers.iter().take(adding) {
        new += urls::added(rows)?;
    }
    Ok(Some((found, new)))
}

fn look(rows: &Rows, policy: AddressPolicy) -> Result<Found, StoreError> {
    let mut found = Found { urls: BTreeSet::new(), events: 0, seq: 0 };
    for row in rows {
        found.urls.extend(urls::in_event(row.int(1)?, row.text(2)?, row.text(3)?, policy));
        found.events += 1;
        found.seq = row.bigint(0)?;
        if found.urls.len() >= URLS {
            break;
        }
    }
    Ok(found)
}
