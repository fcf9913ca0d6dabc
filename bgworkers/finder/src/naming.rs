//! Writing what was named: `name_candidates`.

use bigbrotr_core::{Call, Context, Row, StoreError, Value};

use crate::mentions::Mentions;

/// Keys per call of `name_candidates`.
const BATCH: usize = 1_000;

pub const NAME: &str = "SELECT n.added, n.over_author, n.over_domain, n.over_total \
     FROM bigbrotr.name_candidates($1, $2, $3, $4, $5, NULLIF($6, '{}'), NULLIF($7, '{}'), $8) AS n";
pub const ROOM: &str = "SELECT bigbrotr.candidate_room()";

/// What became of keys.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Candidates newly added.
    pub added: u64,
    /// Kept out by `max_candidates_per_author`.
    pub over_author: u64,
    /// Kept out by `max_candidates_per_domain`.
    pub over_domain: u64,
    /// Kept out by `max_candidates`.
    pub over_total: u64,
}

impl Outcome {
    /// Counts further keys.
    pub fn add(&mut self, more: Self) {
        self.added += more.added;
        self.over_author += more.over_author;
        self.over_domain += more.over_domain;
        self.over_total += more.over_total;
    }

    fn read(rows: &[Row]) -> Result<Self, StoreError> {
        let Some(row) = rows.first() else { return Ok(Self::default()) };
        let count = |column| Ok(u64::try_from(row.int(column)?).unwrap_or_default());
        Ok(Self { added: count(0)?, over_author: count(1)?, over_domain: count(2)?, over_total: count(3)? })
    }
}

/// How many candidates may still come in. Counting them takes a moment when they are many, so it is asked for once a cycle,
/// and only if something was named.
#[derive(Debug, Default)]
pub struct Room(Option<i32>);

impl Room {
    async fn get(&mut self, context: &Context) -> Result<i32, StoreError> {
        if let Some(room) = self.0 {
            return Ok(room);
        }
        let rows = context.store.call(ROOM, Vec::new()).await?;
        let room = rows.first().map_or(Ok(0), |row| row.int(0))?;
        self.0 = Some(room);
        Ok(room)
    }

    fn spend(&mut self, added: u64) {
        let added = i32::try_from(added).unwrap_or(i32::MAX);
        self.0 = self.0.map(|room| room.saturating_sub(added).max(0));
    }
}

/// Writes all of `mentions` and what follows as one transaction; a transaction for each thousand of them where nothing follows.
pub async fn write(
    context: &Context,
    mentions: &Mentions,
    source: &'static str,
    room: &mut Room,
    then: Option<Call>,
) -> Result<Outcome, StoreError> {
    let mut calls = Vec::new();
    if mentions.len() > 0 {
        let left = room.get(context).await?;
        // Each call keeps to the room by itself: where it might not do for all of them there is but one.
        let is_tight = usize::try_from(left).unwrap_or_default() < mentions.len();
        for mut args in mentions.calls(source, if is_tight { usize::MAX } else { BATCH }) {
            args.push(Value::Int(left));
            calls.push(Call::new(NAME, args));
        }
    }
    if calls.is_empty() && then.is_none() {
        return Ok(Outcome::default());
    }
    let mut outcome = Outcome::default();
    if then.is_none() {
        // No transaction may be long, and each of these stands for itself.
        for call in calls {
            let one = Outcome::read(&context.store.call(call.sql, call.args).await?)?;
            room.spend(one.added);
            outcome.add(one);
        }
        return Ok(outcome);
    }
    let naming = calls.len();
    calls.extend(then);
    for rows in context.store.transaction(calls).await?.iter().take(naming) {
        outcome.add(Outcome::read(rows)?);
    }
    room.spend(outcome.added);
    Ok(outcome)
}
