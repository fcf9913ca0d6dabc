//! `candidate` as the validator sees it: what is due, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bigbrotr_core::{Call, Config, Context, Row, ServiceError, StoreError, Value};
use bigbrotr_models::RelayUrl;

use crate::dial;
use crate::failure::Failure;
use crate::likeness::Evidence;
use crate::probe::{Answered, Candidate, Doubt, Outcome};

pub const CLAIM: &str = "SELECT url, may_try_tls FROM bigbrotr.claim_candidates($1, $2, $3, $4)";
pub const RELEASE: &str = "SELECT bigbrotr.release_candidates()";
pub const ADMIT: &str = "SELECT verdict, relay_id, relay_url FROM bigbrotr.admit_candidate($1, $2, $3, $4::jsonb, $5)";
pub const MERGE: &str = "SELECT bigbrotr.merge_candidate($1, $2, $3, $4, $5::jsonb)";
pub const TWIN: &str = "SELECT bigbrotr.add_twin($1, $2)";
pub const FAIL: &str = "SELECT bigbrotr.fail_candidate($1, $2, $3)";
pub const DEFER: &str = "SELECT bigbrotr.defer_candidates($1, $2)";
pub const RECHECK: &str = "SELECT bigbrotr.recheck_aliases()";

/// Seconds a lease lasts beyond the time one try may take: a claimed candidate may wait for its turn.
const LEASE_SLACK: u64 = 900;
/// Seconds until a candidate is due again whose host was busy.
const DEFER_SECONDS: i32 = 60;

/// What a cycle did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Candidates that were tried.
    pub tried: u64,
    /// Of these, relays now.
    pub promoted: u64,
    /// Of these, by another URL than the candidate's.
    pub aliases: u64,
    /// Of those tried, relays that were known under another URL.
    pub known: u64,
    /// Failures by class.
    pub failures: BTreeMap<&'static str, u64>,
    /// Put off because their host was busy.
    pub deferred: u64,
    /// Outcomes the database would not take.
    pub unrecorded: u64,
}

/// What became of one candidate, under its own URL.
pub type Finished = (RelayUrl, Outcome);

/// Leases up to `max` due candidates. URLs that are no keys come back as failures.
pub async fn claim(
    context: &Context,
    config: &Config,
    max: usize,
    untried_only: bool,
) -> Result<(Vec<Candidate>, Vec<(String, Failure)>), StoreError> {
    let networks = dial::networks(config);
    let names = networks.iter().map(|network| Some(network.as_str().to_owned())).collect();
    let args = vec![
        Value::Int(i32::try_from(max).unwrap_or(i32::MAX)),
        Value::Int(lease_seconds(config)),
        Value::TextArray(names),
        Value::Bool(untried_only),
    ];
    let (mut candidates, mut refused) = (Vec::new(), Vec::new());
    for row in context.store.call(CLAIM, args).await? {
        let text = row.text(0)?;
        match RelayUrl::from_key(text) {
            Ok(url) => candidates.push(Candidate { url, may_try_tls: row.bool(1)?, doubt: None }),
            Err(error) => refused.push((text.to_owned(), Failure::lasting("url", error.to_string()))),
        }
    }
    Ok((candidates, refused))
}

fn lease_seconds(config: &Config) -> i32 {
    // Both schemes and their comparison, and then with five suspects.
    let connect = config.connect_timeout.max(config.overlay_connect_timeout);
    let attempt: Duration = (connect + config.request_timeout.max(config.overlay_request_timeout)) * 16;
    i32::try_from(attempt.as_secs() + LEASE_SLACK).unwrap_or(i32::MAX)
}

/// Ends the leases a validator left that did not end in order.
pub async fn release(context: &Context) -> Result<(), StoreError> {
    context.store.call(RELEASE, Vec::new()).await.map(drop)
}

/// Lets aliases that were not looked at for long be candidates again.
pub async fn recheck_aliases(context: &Context) -> Result<(), StoreError> {
    context.store.call(RECHECK, Vec::new()).await.map(drop)
}

/// Writes failures of what is no URL.
pub async fn refuse(context: &Context, refused: Vec<(String, Failure)>, tally: &mut Tally) -> Result<(), ServiceError> {
    let mut writes = Vec::with_capacity(refused.len());
    for (url, failure) in &refused {
        *tally.failures.entry(failure.class).or_default() += 1;
        writes.push(Write { call: fail(url, failure), admission: None });
    }
    write_all(context, writes, tally).await.map(drop)
}

/// A call, and whom it may let in.
struct Write {
    call: Call,
    admission: Option<Admission>,
}

struct Admission {
    candidate: RelayUrl,
    answered: Answered,
    compared: Vec<i32>,
}

/// Writes outcomes, together if the database lets us, else one by one, so that one row cannot hold up the others.
/// Returns those who answered but may be relays we know: they stay leased and are to be compared.
pub async fn write(
    context: &Context,
    mut finished: Vec<Finished>,
    tally: &mut Tally,
) -> Result<Vec<Candidate>, ServiceError> {
    // One order for all writers of `candidate`: no deadlock.
    finished.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut writes = Vec::with_capacity(finished.len());
    let mut deferred = Vec::new();
    for (candidate, outcome) in finished {
        match outcome {
            Outcome::Relay { answered, apart, compared } => {
                if let Some(twin) = apart {
                    // While the row it was found by is there.
                    let call = Call::new(TWIN, vec![candidate.as_str().into(), twin.as_str().into()]);
                    writes.push(Write { call, admission: None });
                }
                writes.push(admit(candidate, answered, compared));
            }
            Outcome::Known { answered, relay_id, evidence } => {
                tally.tried += 1;
                tally.known += 1;
                writes.push(Write { call: merge(&candidate, &answered, relay_id, evidence), admission: None });
            }
            Outcome::Failed(failure) => {
                tally.tried += 1;
                *tally.failures.entry(failure.class).or_default() += 1;
                writes.push(Write { call: fail(candidate.as_str(), &failure), admission: None });
            }
            // The pool keeps those in doubt; one of them may be left when it ends.
            Outcome::NotTried | Outcome::Later(_) => deferred.push(Some(candidate.as_str().to_owned())),
        }
    }
    let in_doubt = write_all(context, writes, tally).await?;
    if !deferred.is_empty() {
        tally.deferred += deferred.len() as u64;
        // A transaction of its own: rows are locked in one order within each.
        let args = vec![Value::TextArray(deferred), Value::Int(DEFER_SECONDS)];
        match context.store.call(DEFER, args).await {
            Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
            // Their leases run out.
            Err(error) => {
                tally.unrecorded += 1;
                context.progress.error(error.to_string());
            }
            Ok(_) => {}
        }
    }
    Ok(in_doubt)
}

fn admit(candidate: RelayUrl, answered: Answered, compared: Vec<i32>) -> Write {
    let (reason, json) = answered.evidence.clone().map(|evidence| (evidence.reason, evidence.json)).unzip();
    let call = Call::new(
        ADMIT,
        vec![
            candidate.as_str().into(),
            answered.url.as_str().into(),
            Value::Text(reason),
            Value::Text(json),
            Value::IntArray(compared.clone()),
        ],
    );
    Write { call, admission: Some(Admission { candidate, answered, compared }) }
}

fn merge(candidate: &RelayUrl, answered: &Answered, relay_id: i32, evidence: Evidence) -> Call {
    let args = vec![
        candidate.as_str().into(),
        answered.url.as_str().into(),
        Value::Int(relay_id),
        evidence.reason.into(),
        evidence.json.into(),
    ];
    Call::new(MERGE, args)
}

fn fail(url: &str, failure: &Failure) -> Call {
    Call::new(FAIL, vec![url.into(), failure.to_string().into(), failure.is_lasting.into()])
}

async fn write_all(context: &Context, writes: Vec<Write>, tally: &mut Tally) -> Result<Vec<Candidate>, ServiceError> {
    let mut in_doubt = Vec::new();
    if writes.is_empty() {
        return Ok(in_doubt);
    }
    match context.store.transaction(writes.iter().map(|write| write.call.clone()).collect()).await {
        Ok(answers) => {
            for (write, rows) in writes.into_iter().zip(answers) {
                in_doubt.extend(admitted(write, &rows, tally)?);
            }
            return Ok(in_doubt);
        }
        Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
        Err(_) => {}
    }
    let mut written = false;
    let mut last = None;
    for write in writes {
        match context.store.transaction(vec![write.call.clone()]).await {
            Ok(answers) => {
                written = true;
                in_doubt.extend(admitted(write, answers.first().map_or(&[], Vec::as_slice), tally)?);
            }
            Err(error) => {
                tally.tried += u64::from(write.admission.is_some());
                tally.unrecorded += 1;
                context.progress.error(error.to_string());
                last = Some(error);
            }
        }
    }
    // Where not one row can be written, the fault is not in the rows.
    match last {
        Some(error) if !written => Err(error.into()),
        _ => Ok(in_doubt),
    }
}

/// Reads what became of somebody who answered. `Some`: compare first.
fn admitted(write: Write, rows: &[Row], tally: &mut Tally) -> Result<Option<Candidate>, StoreError> {
    let Some(Admission { candidate, answered, compared }) = write.admission else { return Ok(None) };
    let mut suspects = Vec::new();
    for row in rows {
        match row.text(0)? {
            "compare" => match RelayUrl::from_key(row.text(2)?) {
                Ok(url) => suspects.push((row.int(1)?, url)),
                Err(_) => continue,
            },
            "refused" => *tally.failures.entry("limit").or_default() += 1,
            _ => {
                tally.promoted += 1;
                tally.aliases += u64::from(answered.evidence.is_some());
            }
        }
    }
    if suspects.is_empty() {
        tally.tried += 1;
        return Ok(None);
    }
    let doubt = Some(Doubt { answered, suspects, compared, delays: 0 });
    Ok(Some(Candidate { url: candidate, may_try_tls: true, doubt }))
}
