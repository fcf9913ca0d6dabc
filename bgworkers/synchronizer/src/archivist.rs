//! The one task that writes: gathers pages of many relays into batches, checks the signatures of what is new, and
//! commits each batch in one transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::{Call, Config, Context, StoreError, Value};
use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Receipt};
use crate::known::{Arrival, Known};

/// Pages that may wait.
const QUEUE: usize = 32;
/// Events of a batch, about.
const BATCH_EVENTS: usize = 5000;
/// How long a small batch waits for more.
const GATHER: Duration = Duration::from_millis(15);
/// Tries of a batch whose transaction failed for a passing reason.
const TRIES: u32 = 4;

const QUARANTINE: &str = "SELECT bigbrotr.quarantine($1, $2, $3)";

/// A page of one relay.
pub struct Job {
    /// `relay.id`.
    pub relay_id: i32,
    /// To be archived.
    pub events: Vec<Arrival>,
    /// Refused already: why, and the bytes.
    pub refused: Vec<(&'static str, Vec<u8>)>,
    /// What the page proves, in the same transaction.
    pub cover: Option<Call>,
    /// Told when it is committed, or why not.
    pub receipt: oneshot::Sender<Result<Receipt, String>>,
}

/// The way to it.
#[derive(Clone)]
pub struct Archivist {
    jobs: mpsc::Sender<Job>,
    known: Known,
}

impl Archivist {
    /// Starts the task; it ends when the last handle is dropped.
    pub fn start(context: Context, config: Arc<Config>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let known = Known::default();
        tokio::spawn(Writer { context, config, known: known.clone() }.run(receiver));
        Self { jobs: sender, known }
    }

    /// What is known to be archived.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Hands over a page. False: the worker is leaving.
    pub async fn submit(&self, job: Job) -> bool {
        self.jobs.send(job).await.is_ok()
    }
}

struct Writer {
    context: Context,
    config: Arc<Config>,
    known: Known,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            let mut events = first.events.len();
            let mut batch = vec![first];
            let gathered = tokio::time::Instant::now() + GATHER;
            while events < BATCH_EVENTS {
                match tokio::time::timeout_at(gathered, jobs.recv()).await {
                    Ok(Some(job)) => {
                        events += job.events.len();
                        batch.push(job);
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            self.write(batch).await;
        }
    }

    /// Commits the jobs together; one that cannot be committed does not stop the others.
    async fn write(&mut self, jobs: Vec<Job>) {
        // Halves that wait, instead of recursion.
        let mut stack = vec![jobs];
        while let Some(mut jobs) = stack.pop() {
            match self.commit(&jobs).await {
                Ok(receipts) => {
                    for (job, receipt) in jobs.into_iter().zip(receipts) {
                        self.context.progress.add_items(receipt.archived);
                        // The pass may have been cancelled; the page is archived all the same.
                        let _ = job.receipt.send(Ok(receipt));
                    }
                }
                Err(error) if jobs.len() > 1 && is_about_data(&error) => {
                    let half = jobs.split_off(jobs.len() / 2);
                    stack.push(half);
                    stack.push(jobs);
                }
                Err(error) => {
                    let outcome = if is_about_data(&error) { self.isolate(jobs.pop()).await } else { Err(error) };
                    if let Err(error) = outcome {
                        self.context.progress.error(format!("batch not archived: {error}"));
                        for job in jobs {
                            let _ = job.receipt.send(Err(error.to_string()));
                        }
                    }
                }
            }
        }
    }

    /// Finds the events of a page that the database refuses, puts them into quarantine, and archives the rest.
    async fn isolate(&mut self, job: Option<Job>) -> Result<(), StoreError> {
        let Some(Job { relay_id, events, refused, cover, receipt }) = job else { return Ok(()) };
        let mut total = Receipt::default();
        let mut refused = refused;
        let mut stack = vec![events];
        while let Some(mut events) = stack.pop() {
            let part = self.part(relay_id, events.clone(), Vec::new(), None);
            match self.commit(&[part]).await {
                Ok(receipts) => {
                    total.archived += receipts.iter().map(|receipt| receipt.archived).sum::<u64>();
                    total.refused += receipts.iter().map(|receipt| receipt.refused).sum::<u64>();
                }
                Err(error) if is_about_data(&error) && events.len() > 1 => {
                    let half = events.split_off(events.len() / 2);
                    stack.push(half);
                    stack.push(events);
                }
                Err(error) if is_about_data(&error) => {
                    self.context.progress.error(format!("event refused by the database: {error}"));
                    total.refused += events.len() as u64;
                    let bytes = events.iter().filter_map(|arrival| match arrival {
                        Arrival::Event(event, _) => Some(("database_error", event.to_json().into_bytes())),
                        Arrival::Copy(..) => None,
                    });
                    refused.extend(bytes);
                }
                Err(error) => {
                    let _ = receipt.send(Err(error.to_string()));
                    return Err(error);
                }
            }
        }
        let last = self.part(relay_id, Vec::new(), refused, cover);
        let outcome = self.commit(&[last]).await;
        let _ = receipt.send(outcome.map(|_| total).map_err(|error| error.to_string()));
        self.context.progress.add_items(total.archived);
        Ok(())
    }

    /// A job nobody waits for.
    fn part(
        &self,
        relay_id: i32,
        events: Vec<Arrival>,
        refused: Vec<(&'static str, Vec<u8>)>,
        cover: Option<Call>,
    ) -> Job {
        Job { relay_id, events, refused, cover, receipt: oneshot::channel().0 }
    }

    /// One transaction, tried again when the reason may pass.
    async fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Receipt>, StoreError> {
        let mut pause = Duration::from_millis(100);
        for _ in 1..TRIES {
            match self.try_commit(jobs).await {
                Err(StoreError::Sql { sqlstate, .. }) if is_passing(&sqlstate) => {
                    self.known.clear();
                    // A user's open transaction after event_insert() holds the archive lock, for instance.
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                }
                outcome => return outcome,
            }
        }
        self.try_commit(jobs).await
    }

    async fn try_commit(&mut self, jobs: &[Job]) -> Result<Vec<Receipt>, StoreError> {
        let mut batch = Batch::new(jobs.iter().map(|job| (job.relay_id, job.events.as_slice())));
        batch.look_up(&self.context, &self.config, &self.known).await?;
        batch.verify().await?;
        let mut calls = batch.calls(&self.config);
        let archiving = calls.len();
        let mut refused: HashMap<i32, Refused> = HashMap::new();
        let early = jobs
            .iter()
            .flat_map(|job| job.refused.iter().map(|(reason, bytes)| (job.relay_id, *reason, bytes.clone())));
        for (relay_id, reason, bytes) in early.chain(batch.refused()) {
            let of_relay = refused.entry(relay_id).or_default();
            of_relay.reasons.push(Some(reason.to_owned()));
            of_relay.bytes.push(Some(bytes));
        }
        for (relay_id, Refused { reasons, bytes }) in refused {
            calls.push(Call::new(
                QUARANTINE,
                vec![Value::Int(relay_id), Value::TextArray(reasons), Value::ByteaArray(bytes)],
            ));
        }
        calls.extend(jobs.iter().filter_map(|job| job.cover.clone()));
        if calls.is_empty() {
            return Ok(vec![Receipt::default(); jobs.len()]);
        }
        let answers = self.context.store.transaction(calls).await?;
        let answer = archiving.checked_sub(1).and_then(|last| answers.get(last)).cloned().unwrap_or_default();
        batch.settle(&answer, &self.known)
    }
}

/// Arguments of `quarantine()` for one relay.
#[derive(Default)]
struct Refused {
    reasons: Vec<Option<String>>,
    bytes: Vec<Option<Vec<u8>>>,
}

/// Whether trying the same again can help: serialization, deadlock, lock and statement timeouts, and BB001, with which
/// archive() says that an event left the archive after it was looked up. Unique and exclusion violations pass once what is
/// remembered is looked up again.
fn is_passing(sqlstate: &str) -> bool {
    matches!(sqlstate, "40001" | "40P01" | "55P03" | "57014" | "23505" | "23P01" | "BB001")
}

/// Whether the error is about what was to be stored, so that fewer events can do better.
fn is_about_data(error: &StoreError) -> bool {
    match error {
        StoreError::Sql { sqlstate, .. } => {
            matches!(sqlstate.get(..2), Some("22" | "23" | "54")) || sqlstate == "57014"
        }
        StoreError::Closed | StoreError::Shape(_) => false,
    }
}
