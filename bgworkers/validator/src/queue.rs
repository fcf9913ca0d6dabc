//! `candidate` as the validator sees it: what is due, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bigbrotr_core::{Call, Config, Context, ServiceError, StoreError, Value};
use bigbrotr_models::RelayUrl;

use crate::dial;
use crate::probe::{Candidate, Failure, Outcome};

pub const CLAIM: &str = "SELECT url, may_try_tls FROM bigbrotr.claim_candidates($1, $2, $3, $4)";
pub const RELEASE: &str = "SELECT bigbrotr.release_candidates()";
pub const PROMOTE: &str = "SELECT bigbrotr.promote_candidate($1, $2)";
pub const FAIL: &str = "SELECT bigbrotr.fail_candidate($1, $2)";
pub const DEFER: &str = "SELECT bigbrotr.defer_candidates($1, $2)";

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
            Ok(url) => candidates.push(Candidate { url, may_try_tls: row.bool(1)? }),
            Err(error) => refused.push((text.to_owned(), Failure::new("url", error.to_string()))),
        }
    }
    Ok((candidates, refused))
}

fn lease_seconds(config: &Config) -> i32 {
    let attempt: Duration = (config.connect_timeout + config.request_timeout) * 2;
    i32::try_from(attempt.as_secs() + LEASE_SLACK).unwrap_or(i32::MAX)
}

/// Ends the leases a validator left that did not end in order.
pub async fn release(context: &Context) -> Result<(), StoreError> {
    context.store.call(RELEASE, Vec::new()).await.map(drop)
}

/// Writes failures of what is no URL.
pub async fn refuse(context: &Context, refused: Vec<(String, Failure)>, tally: &mut Tally) -> Result<(), ServiceError> {
    let calls = refused.iter().map(|(url, failure)| fail(url, failure)).collect();
    for (_, failure) in &refused {
        *tally.failures.entry(failure.class).or_default() += 1;
    }
    write_calls(context, calls, tally).await
}

/// Writes outcomes, together if the database lets us, else one by one, so that one row cannot hold up the others.
pub async fn write(context: &Context, mut finished: Vec<Finished>, tally: &mut Tally) -> Result<(), ServiceError> {
    // One order for all writers of `candidate`: no deadlock.
    finished.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut calls = Vec::with_capacity(finished.len());
    let mut deferred = Vec::new();
    for (candidate, outcome) in finished {
        match outcome {
            Outcome::Relay { url, alias } => {
                tally.tried += 1;
                tally.promoted += 1;
                tally.aliases += u64::from(alias.is_some());
                let alias = Value::Text(alias.map(|alias| alias.as_str().to_owned()));
                calls.push(Call::new(PROMOTE, vec![url.as_str().into(), alias]));
            }
            Outcome::Failed(failure) => {
                tally.tried += 1;
                *tally.failures.entry(failure.class).or_default() += 1;
                calls.push(fail(candidate.as_str(), &failure));
            }
            Outcome::NotTried => deferred.push(Some(candidate.as_str().to_owned())),
        }
    }
    if !deferred.is_empty() {
        tally.deferred += deferred.len() as u64;
        calls.push(Call::new(DEFER, vec![Value::TextArray(deferred), Value::Int(DEFER_SECONDS)]));
    }
    write_calls(context, calls, tally).await
}

fn fail(url: &str, failure: &Failure) -> Call {
    Call::new(FAIL, vec![url.into(), format!("{}: {}", failure.class, failure.text).into()])
}

async fn write_calls(context: &Context, calls: Vec<Call>, tally: &mut Tally) -> Result<(), ServiceError> {
    if calls.is_empty() {
        return Ok(());
    }
    match context.store.transaction(calls.clone()).await {
        Ok(_) => return Ok(()),
        Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
        Err(_) => {}
    }
    let mut written = false;
    let mut last = None;
    for call in calls {
        match context.store.transaction(vec![call]).await {
            Ok(_) => written = true,
            Err(error) => {
                tally.unrecorded += 1;
                context.progress.error(error.to_string());
                last = Some(error);
            }
        }
    }
    // Where not one row can be written, the fault is not in the rows.
    match last {
        Some(error) if !written => Err(error.into()),
        _ => Ok(()),
    }
}
