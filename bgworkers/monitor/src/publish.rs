//! Publishing (NIP-66), a task beside the checks: what these found becomes signed events in `publication`, and from there
//! each relay of `publish_relays` gets what it has not had, over a connection of its own.

mod answers;
mod auth;
mod compose;
mod due;
mod outlet;
mod plan;
mod queue;
mod sending;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::backoff::{Backoff, jitter};
use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context, StoreError, Value};
use bigbrotr_models::{Signer, hex};
use bigbrotr_utils::Dialer;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::compose::Composer;
use self::plan::Plan;

/// Pause between two looks for reports that are due.
const LOOK: Duration = Duration::from_secs(2);
/// Pause before a key file that could not be read is read again.
const KEY_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause after the database refused something.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A stretch that went well for so long makes up for the failures before it.
const HEALTHY: Duration = Duration::from_secs(300);

const CLOSE: &str = "SELECT bigbrotr.close_publishing()";
const OPEN: &str = "SELECT bigbrotr.open_publishing($1, $2, $3)";

/// The task, as the service holds it.
#[derive(Debug, Default)]
pub struct Publisher(Option<JoinHandle<()>>);

impl Publisher {
    /// Starts the task unless it runs. It does nothing while `publish_enabled` is off.
    pub fn keep_running(&mut self, context: &Context) {
        if self.0.as_ref().is_none_or(JoinHandle::is_finished) && !context.is_shutting_down() {
            self.0 = Some(tokio::spawn(run(context.clone())));
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// What the tasks of a stretch of publishing share.
struct Shared {
    context: Context,
    plan: Plan,
    signer: Signer,
    dialer: Dialer,
    /// Changes with every event made.
    news: watch::Sender<u64>,
}

async fn run(context: Context) {
    tokio::select! {
        () = follow(&context) => {}
        () = context.until_shutdown() => {}
    }
}

/// Publishes as the settings of the moment want it.
async fn follow(context: &Context) {
    let mut changes = context.config.clone();
    let mut complaint = None;
    // By a predecessor, for all we know.
    let mut was_open = true;
    let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
    loop {
        let config = changes.borrow_and_update().clone();
        let plan = Plan::new(&config);
        if !matches!(plan, Ok(Some(_))) && was_open {
            // What a view shows is not worth a failure.
            was_open = context.store.call(CLOSE, Vec::new()).await.is_err();
        }
        let pause = match plan {
            Ok(None) => None,
            Err(error) => {
                // Once, not once a minute.
                if complaint.as_ref() != Some(&error) {
                    context.log.write(Level::Warning, format!("publishing is off: {error}"));
                    context.progress.error(format!("publishing is off: {error}"));
                    complaint = Some(error);
                }
                Some(KEY_PAUSE)
            }
            Ok(Some((plan, signer))) => {
                complaint = None;
                was_open = true;
                let began = Instant::now();
                let replanned = until_replanned(&mut changes, &plan);
                tokio::select! {
                    () = replanned => continue,
                    error = publish(context, plan.clone(), signer) => match error {
                        StoreError::Closed => return,
                        error => {
                            if began.elapsed() >= HEALTHY {
                                backoff.reset();
                            }
                            if backoff.failures().is_multiple_of(10) {
                                context.log.write(Level::Warning, format!("publishing failed: {error}"));
                            }
                            context.progress.error(format!("publishing failed: {error}"));
                            Some(jitter(backoff.fail()))
                        }
                    },
                }
            }
        };
        let waiting = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Resolves when the settings, or the key file at a reload, no longer lead to this plan.
async fn until_replanned(changes: &mut watch::Receiver<Arc<Config>>, plan: &Plan) {
    while changes.changed().await.is_ok() {
        let config = changes.borrow_and_update().clone();
        if !matches!(Plan::new(&config), Ok(Some((now, _))) if now == *plan) {
            // Seen by whoever looks next.
            changes.mark_changed();
            return;
        }
    }
    std::future::pending().await
}

/// Publishes until the database fails.
async fn publish(context: &Context, plan: Plan, signer: Signer) -> StoreError {
    let dialer = Dialer::new(plan.dialer.clone());
    let shared = Shared { context: context.clone(), plan, signer, dialer, news: watch::Sender::new(0) };
    match begin(Arc::new(shared)).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn begin(shared: Arc<Shared>) -> Result<std::convert::Infallible, StoreError> {
    let plan = &shared.plan;
    let urls = plan.targets.iter().map(|target| Some(target.url.as_str().to_owned())).collect();
    let privates = plan.targets.iter().map(|target| target.is_private).collect();
    let kinds = plan.own.iter().map(|draft| i32::from(draft.kind)).collect();
    let args = vec![Value::TextArray(urls), Value::BoolArray(privates), Value::IntArray(kinds)];
    shared.context.store.call(OPEN, args).await?;
    let (key, relays) = (hex::encode(&shared.signer.pubkey()), plan.targets.len());
    shared.context.log.write(Level::Log, format!("publishing NIP-66 events of {key} to {relays} relays"));
    for remark in &plan.remarks {
        shared.context.log.write(Level::Warning, remark.clone());
    }
    let mut composer = Composer::new(shared.clone());
    // Before anybody sends what was true under other settings.
    composer.own().await?;
    let mut outlets = JoinSet::new();
    for target in plan.targets.clone() {
        outlets.spawn(outlet::run(shared.clone(), target));
    }
    loop {
        composer.look().await?;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            Some(ended) = outlets.join_next() => return Err(ended.unwrap_or_else(|error| {
                StoreError::Shape(format!("a task that publishes failed: {error}"))
            })),
        }
    }
}
