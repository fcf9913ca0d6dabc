//! Leaves of sightings.

use std::cell::RefCell;
use std::collections::HashMap;

use bigbrotr_models::sighting::{self, Leaf};
use pgrx::datum::DatumWithOid;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiError, SpiTupleTable};
use pgrx::{PgBuiltInOids, PgOid, Spi, pg_extern};

#[pg_extern]
fn sighting_members(members: &[u8]) -> Vec<i64> {
    sighting::members(members).unwrap_or_else(|error| pgrx::error!("bigbrotr: damaged sighting: {error}"))
}

#[pg_extern]
fn sighting_has(members: &[u8], seq: i64) -> bool {
    sighting::contains(members, seq).unwrap_or_else(|error| pgrx::error!("bigbrotr: damaged sighting: {error}"))
}

const INT: PgBuiltInOids = PgBuiltInOids::INT4OID;
const BIGINT: PgBuiltInOids = PgBuiltInOids::INT8OID;
const BIGINTS: PgBuiltInOids = PgBuiltInOids::INT8ARRAYOID;

/// A statement of this file with the types of its arguments.
struct Statement {
    sql: &'static str,
    types: &'static [PgBuiltInOids],
}

/// The relay's leaves that hold the times $2 … $3, and their nearest neighbours on both sides.
const LEAVES: Statement = Statement {
    sql: "(SELECT lo, hi, members, EXTRACT(epoch FROM seen_at)::float8 FROM bigbrotr.sighting \
           WHERE relay_id = $1 AND lo <= $2 ORDER BY lo DESC LIMIT 1) \
          UNION ALL \
          (SELECT lo, hi, members, EXTRACT(epoch FROM seen_at)::float8 FROM bigbrotr.sighting \
           WHERE relay_id = $1 AND lo > $2 AND lo <= $3) \
          UNION ALL \
          (SELECT lo, hi, members, EXTRACT(epoch FROM seen_at)::float8 FROM bigbrotr.sighting \
           WHERE relay_id = $1 AND lo > $3 ORDER BY lo LIMIT 1)",
    types: &[INT, BIGINT, BIGINT],
};
const TIMES: Statement =
    Statement { sql: "SELECT seq, created_at FROM bigbrotr.stored_event WHERE seq = ANY ($1)", types: &[BIGINTS] };
const DELETE: Statement =
    Statement { sql: "DELETE FROM bigbrotr.sighting WHERE relay_id = $1 AND lo = ANY ($2)", types: &[INT, BIGINTS] };
const UPSERT: Statement = Statement {
    sql: "INSERT INTO bigbrotr.sighting (relay_id, lo, hi, members, n, seen_at) \
          VALUES ($1, $2, $3, $4, $5, COALESCE(pg_catalog.to_timestamp($6), pg_catalog.now())) \
          ON CONFLICT (relay_id, lo) DO UPDATE SET hi = excluded.hi, members = excluded.members, n = excluded.n",
    types: &[INT, BIGINT, BIGINT, PgBuiltInOids::BYTEAOID, INT, PgBuiltInOids::FLOAT8OID],
};
/// The leaves, of all relays, that may hold one of the events ($1: created_at).
const HOLDERS: Statement = Statement {
    sql: "SELECT DISTINCT s.relay_id, s.lo, s.members FROM pg_catalog.unnest($1) AS u (created_at) \
          JOIN bigbrotr.sighting AS s ON s.lo <= u.created_at AND s.hi >= u.created_at",
    types: &[BIGINTS],
};
const SHRINK: Statement = Statement {
    sql: "UPDATE bigbrotr.sighting SET members = $3, n = $4 WHERE relay_id = $1 AND lo = $2",
    types: &[INT, BIGINT, PgBuiltInOids::BYTEAOID, INT],
};

thread_local! {
    /// Plans of this session. Leaked on purpose: freeing them at exit would call into a server that is going down.
    static PLANS: RefCell<HashMap<&'static str, &'static OwnedPreparedStatement>> = RefCell::default();
}

fn run<'conn>(
    client: &mut SpiClient<'conn>,
    statement: &Statement,
    args: &[DatumWithOid],
) -> Result<SpiTupleTable<'conn>, SpiError> {
    let plan = PLANS.with_borrow(|plans| plans.get(statement.sql).copied());
    let plan = match plan {
        Some(plan) => plan,
        None => {
            let types: Vec<PgOid> = statement.types.iter().map(|oid| PgOid::BuiltIn(*oid)).collect();
            let plan: &'static OwnedPreparedStatement =
                Box::leak(Box::new(client.prepare_mut(statement.sql, &types)?.keep()));
            PLANS.with_borrow_mut(|plans| plans.insert(statement.sql, plan));
            plan
        }
    };
    client.update(plan, None, args)
}

fn text(error: SpiError) -> String {
    error.to_string()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[pg_extern]
fn add_sightings(relay_id: i32, created_ats: Vec<i64>, seqs: Vec<i64>) -> i32 {
    let new: Vec<(i64, i64)> = created_ats.into_iter().zip(seqs).collect();
    let times = || new.iter().map(|(time, _)| *time);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return 0 };
    let outcome = Spi::connect_mut(|client| -> Result<i32, String> {
        let mut existing = Vec::new();
        let mut seen: Vec<(i64, i64, f64)> = Vec::new();
        for row in run(client, &LEAVES, &[relay_id.into(), first.into(), last.into()]).map_err(text)? {
            let lo = row.get::<i64>(1).map_err(text)?.unwrap_or_default();
            let hi = row.get::<i64>(2).map_err(text)?.unwrap_or_default();
            let members = row.get::<&[u8]>(3).map_err(text)?.unwrap_or_default();
            let members = sighting::deserialize(members).map_err(|error| format!("damaged sighting: {error}"))?;
            existing.push(Leaf { lo, hi, members });
            seen.push((lo, hi, row.get::<f64>(4).map_err(text)?.unwrap_or_default()));
        }
        let times_of = |seqs: &[i64]| -> Result<HashMap<i64, i64>, String> {
            let mut times = HashMap::with_capacity(seqs.len());
            for row in run(client, &TIMES, &[seqs.to_vec().into()]).map_err(text)? {
                let (seq, time) = (row.get::<i64>(1).map_err(text)?, row.get::<i64>(2).map_err(text)?);
                times.extend(seq.zip(time));
            }
            Ok(times)
        };
        let changes = sighting::plan(existing, &new, times_of)?;
        if !changes.deleted.is_empty() {
            run(client, &DELETE, &[relay_id.into(), changes.deleted.clone().into()]).map_err(text)?;
        }
        for leaf in &changes.upserted {
            // A leaf that moved or was split keeps the time of what it came from.
            let first_seen = seen
                .iter()
                .filter(|(lo, hi, _)| *lo <= leaf.hi && *hi >= leaf.lo)
                .map(|(_, _, at)| *at)
                .reduce(f64::min);
            let members = sighting::serialize(&leaf.members);
            let n = count(usize::try_from(leaf.n()).unwrap_or(usize::MAX));
            let args = [relay_id.into(), leaf.lo.into(), leaf.hi.into(), members.into(), n.into(), first_seen.into()];
            run(client, &UPSERT, &args).map_err(text)?;
        }
        Ok(count(changes.deleted.len() + changes.upserted.len()))
    });
    outcome.unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}

#[pg_extern]
fn remove_sightings(created_ats: Vec<i64>, seqs: Vec<i64>) -> i32 {
    let outcome = Spi::connect_mut(|client| -> Result<i32, String> {
        let mut holders = Vec::new();
        for row in run(client, &HOLDERS, &[created_ats.into()]).map_err(text)? {
            let relay_id = row.get::<i32>(1).map_err(text)?.unwrap_or_default();
            let lo = row.get::<i64>(2).map_err(text)?.unwrap_or_default();
            let members = row.get::<&[u8]>(3).map_err(text)?.unwrap_or_default();
            holders.push((
                relay_id,
                lo,
                sighting::deserialize(members).map_err(|error| format!("damaged sighting: {error}"))?,
            ));
        }
        let mut changed = 0;
        for (relay_id, lo, mut members) in holders {
            let before = members.len();
            for seq in &seqs {
                members.remove(seq.unsigned_abs());
            }
            if members.len() == before {
                continue;
            }
            changed += 1;
            if members.is_empty() {
                run(client, &DELETE, &[relay_id.into(), vec![lo].into()]).map_err(text)?;
            } else {
                let n = count(usize::try_from(members.len()).unwrap_or(usize::MAX));
                run(client, &SHRINK, &[relay_id.into(), lo.into(), sighting::serialize(&members).into(), n.into()])
                    .map_err(text)?;
            }
        }
        Ok(changed)
    });
    outcome.unwrap_or_else(|error| pgrx::error!("bigbrotr: {error}"))
}
