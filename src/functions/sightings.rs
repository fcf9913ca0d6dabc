//! Leaves of sightings.

use std::collections::HashMap;

use bigbrotr_models::sighting::{self, Leaf};
use pgrx::datum::DatumWithOid;
use pgrx::{Spi, pg_extern};

#[pg_extern]
fn sighting_members(members: &[u8]) -> Vec<i64> {
    sighting::members(members).unwrap_or_else(|error| pgrx::error!("bigbrotr: damaged sighting: {error}"))
}

#[pg_extern]
fn sighting_has(members: &[u8], seq: i64) -> bool {
    sighting::contains(members, seq).unwrap_or_else(|error| pgrx::error!("bigbrotr: damaged sighting: {error}"))
}

/// The relay's leaves that hold the times $2 … $3, and their nearest neighbours on both sides.
const LEAVES: &str = "\
    (SELECT lo, hi, members FROM bigbrotr.sighting WHERE relay_id = $1 AND lo <= $2 ORDER BY lo DESC LIMIT 1) \
    UNION ALL \
    (SELECT lo, hi, members FROM bigbrotr.sighting WHERE relay_id = $1 AND lo > $2 AND lo <= $3) \
    UNION ALL \
    (SELECT lo, hi, members FROM bigbrotr.sighting WHERE relay_id = $1 AND lo > $3 ORDER BY lo LIMIT 1)";
const TIMES: &str = "SELECT seq, created_at FROM bigbrotr.event WHERE seq = ANY ($1)";
const DELETE: &str = "DELETE FROM bigbrotr.sighting WHERE relay_id = $1 AND lo = ANY ($2)";
const UPSERT: &str = "INSERT INTO bigbrotr.sighting AS s (relay_id, lo, hi, members, n) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (relay_id, lo) DO UPDATE SET hi = excluded.hi, members = excluded.members, n = excluded.n";

#[pg_extern]
fn add_sightings(relay_id: i32, created_ats: Vec<i64>, seqs: Vec<i64>) -> i32 {
    let new: Vec<(i64, i64)> = created_ats.into_iter().zip(seqs).collect();
    let (Some(first), Some(last)) = (new.iter().map(|(time, _)| *time).min(), new.iter().map(|(time, _)| *time).max())
    else {
        return 0;
    };
    let outcome = Spi::connect_mut(|client| -> Result<i32, String> {
        let text = |error: pgrx::spi::SpiError| error.to_string();
        let mut existing = Vec::new();
        for row in client.select(LEAVES, None, &[relay_id.into(), first.into(), last.into()]).map_err(text)? {
            let lo = row.get::<i64>(1).map_err(text)?.unwrap_or_default();
            let hi = row.get::<i64>(2).map_err(text)?.unwrap_or_default();
            let members = row.get::<&[u8]>(3).map_err(text)?.unwrap_or_default();
            existing.push(Leaf::from_stored(lo, hi, members).map_err(|error| format!("damaged sighting: {error}"))?);
        }
        let times = |seqs: &[i64]| -> Result<HashMap<i64, i64>, String> {
            let mut times = HashMap::with_capacity(seqs.len());
            for row in client.select(TIMES, None, &[seqs.to_vec().into()]).map_err(text)? {
                let (Some(seq), Some(time)) = (row.get::<i64>(1).map_err(text)?, row.get::<i64>(2).map_err(text)?)
                else {
                    continue;
                };
                times.insert(seq, time);
            }
            Ok(times)
        };
        let changes = sighting::plan(existing, &new, times)?;
        if !changes.deleted.is_empty() {
            client.update(DELETE, None, &[relay_id.into(), changes.deleted.clone().into()]).map_err(text)?;
        }
        for leaf in &changes.upserted {
            let members = leaf.serialize();
            let n = i32::try_from(leaf.members.len()).unwrap_or(i32::MAX);
            let args: [DatumWithOid; 5] = [relay_id.into(), leaf.lo.into(), leaf.hi.into(), members.into(), n.into()];
            client.update(UPSERT, None, &args).map_err(text)?;
        }
        Ok(i32::try_from(changes.deleted.len() + changes.upserted.len()).unwrap_or(i32::MAX))
    });
    outcome.unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}
