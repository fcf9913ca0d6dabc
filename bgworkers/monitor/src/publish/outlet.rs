//! One relay published to, with its back-off. Its trouble is nobody else's.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::backoff::{Backoff, jitter};
use bigbrotr_core::{StoreError, Value};
use tokio::time::Instant;

use super::Shared;
use super::answers::clean;
use super::plan::Target;
use super::queue::Queue;
use super::sending::{Ended, Memory, Sending};

/// Pauses after connections that failed.
const CONNECT_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(900));
/// Pauses after the relay refused everything.
const REFUSED_PAUSES: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(6 * 3600));

const RECORD: &str = "SELECT bigbrotr.record_publish_relay($1, $2, $3, $4::integer)";

/// Keeps the relay up to date.
///
/// # Errors
/// What the store says.
pub async fn run(shared: Arc<Shared>, target: Target) -> StoreError {
    match keep(&shared, &target).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn keep(shared: &Arc<Shared>, target: &Target) -> Result<std::convert::Infallible, StoreError> {
    let url = target.url.as_str();
    let mut queue = Queue::new(shared.clone(), url.to_owned());
    let mut memory = Memory::default();
    let mut failed = Backoff::new(CONNECT_PAUSES.0, CONNECT_PAUSES.1);
    let mut refused = Backoff::new(REFUSED_PAUSES.0, REFUSED_PAUSES.1);
    let mut news = shared.news.subscribe();
    loop {
        news.mark_unchanged();
        queue.fill(true).await?;
        if queue.is_empty() {
            // No connection while there is nothing to say.
            tokio::select! {
                _ = news.changed() => {}
                () = tokio::time::sleep_until(queue.again_at()) => {}
            }
            continue;
        }
        let pause = match shared.dialer.connect(&target.url).await {
            Err(error) => {
                let pause = jitter(failed.fail());
                record(shared, url, false, Some(error.to_string()), Some(pause)).await?;
                queue.restart();
                pause
            }
            Ok((connection, _)) => {
                record(shared, url, true, None, None).await?;
                let sending = Sending::new(shared.clone(), &target.url, connection, &mut queue, &mut memory);
                let (why, pause) = match sending.run().await? {
                    Ended::Lost { why, useful } => {
                        if useful {
                            failed.reset();
                            refused.reset();
                        }
                        (why, jitter(failed.fail()))
                    }
                    Ended::Unwanted(why) => (format!("refuses everything: {why}"), jitter(refused.fail())),
                };
                // A connection that is only going to wait would be closed for being idle.
                let pause = pause.max(memory.paused_until().saturating_duration_since(Instant::now()));
                record(shared, url, false, Some(why), Some(pause)).await?;
                pause
            }
        };
        tokio::time::sleep_until(Instant::now() + pause).await;
    }
}

/// Notes how the connection to a relay is, and for how long it pauses.
///
/// # Errors
/// What the store says.
pub async fn record(
    shared: &Shared,
    url: &str,
    is_connected: bool,
    error: Option<String>,
    pause: Option<Duration>,
) -> Result<(), StoreError> {
    let seconds = Value::from(pause.map(|pause| pause.as_secs().to_string()));
    let args = vec![Value::from(url), Value::from(is_connected), Value::from(error.map(|text| clean(&text))), seconds];
    shared.context.store.call(RECORD, args).await?;
    Ok(())
}
