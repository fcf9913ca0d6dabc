//! The archive in the order it grew.

use std::sync::atomic::{AtomicUsize, Ordering};

use bigbrotr_core::{Call, Context, Rows, ServiceError, StoreError};
use bigbrotr_models::AddressPolicy;

use crate::mentions::Mentions;
use crate::naming::{self, Outcome, Room};
use crate::urls;

/// Events read at a time, at most.
const READ: usize = 1_000;
/// Events whose mentions are written together, at most: a popular URL's row is written once for all of them.
const EVENTS: usize = 20_000;
/// After so many distinct keys what was read is written: that and the watermark are one transaction, and no transaction may be
/// long.
const URLS: usize = 10_000;

pub const BATCH: &str = "SELECT seq, kind, tags, content, author_id FROM bigbrotr.finder_batch(NULLIF($1, 0), $2)";
pub const ADVANCE: &str = "SELECT bigbrotr.finder_advance($1)";

/// How many events to write at a time: fewer after a failure, so that one that is too much for a transaction stands alone at
/// last.
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

/// What was read and written.
#[derive(Debug, Default)]
pub struct Followed {
    /// Events.
    pub events: u64,
    /// Distinct keys in what was written together, summed.
    pub urls: u64,
    /// What became of them.
    pub outcome: Outcome,
}

/// What a stretch of the archive names.
#[derive(Debug, Default)]
struct Found {
    mentions: Mentions,
    events: usize,
    /// Of the last event looked at.
    seq: Option<i64>,
}

/// Reads a stretch; its mentions and the watermark are one transaction, so an event is counted exactly once, whatever happens
/// in between. False: there was nothing more.
pub async fn follow(
    context: &Context,
    size: &BatchSize,
    room: &mut Room,
    followed: &mut Followed,
) -> Result<bool, ServiceError> {
    let outcome = one_stretch(context, size.get(), room).await;
    match &outcome {
        Ok((found, ..)) if found.events > 0 => size.grow(),
        Ok(_) => {}
        Err(_) => size.shrink(),
    }
    let (found, outcome, more) = outcome?;
    followed.events += found.events as u64;
    followed.urls += found.mentions.len() as u64;
    followed.outcome.add(outcome);
    Ok(more)
}

async fn one_stretch(context: &Context, size: usize, room: &mut Room) -> Result<(Found, Outcome, bool), ServiceError> {
    let policy = context.config().address_policy;
    let mut found = Found::default();
    let mut more = true;
    while found.events < size && found.mentions.len() < URLS && !context.is_shutting_down() {
        context.memory.ready().await;
        let most = i32::try_from((size - found.events).min(READ)).unwrap_or(i32::MAX);
        // 0, which no event has: after the watermark.
        let rows = context.store.call(BATCH, vec![found.seq.unwrap_or(0).into(), most.into()]).await?;
        if rows.is_empty() {
            more = false;
            break;
        }
        let looked = tokio::task::spawn_blocking(move || look(&rows, policy, found)).await;
        found = looked.map_err(|error| ServiceError::Other(error.to_string()))??;
    }
    let Some(seq) = found.seq else { return Ok((found, Outcome::default(), more)) };
    let advance = Call::new(ADVANCE, vec![seq.into()]);
    let outcome = naming::write(context, &found.mentions, "event", room, Some(advance)).await?;
    Ok((found, outcome, more))
}

fn look(rows: &Rows, policy: AddressPolicy, mut found: Found) -> Result<Found, StoreError> {
    for row in rows {
        let author_id = row.int(4)?;
        for url in urls::in_event(row.int(1)?, row.text(2)?, row.text(3)?, policy) {
            found.mentions.add_event(url, author_id);
        }
        found.events += 1;
        found.seq = Some(row.bigint(0)?);
        if found.mentions.len() >= URLS {
            break;
        }
    }
    Ok(found)
}
