//! Makes events of what is due and puts them into `publication`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigbrotr_core::{StoreError, Value};
use bigbrotr_models::VerifiedEvent;
use bigbrotr_nips::nip66::{Draft, RELAY_LIST_KIND};
use tokio::time::Instant;

use super::Shared;
use super::due::{Due, Report};

/// Reports made at a time.
const BATCH: usize = 50;
/// Batches of one look.
const BATCHES: usize = 20;
/// Pause between two looks at every relay; the others look only at what was checked lately.
const FULL_LOOK: Duration = Duration::from_secs(300);
/// Pause between two looks at what the monitor says of itself.
const OWN_LOOK: Duration = Duration::from_secs(600);
/// Age at which that is said again, seconds.
const OWN_AGE_S: i64 = 86_400;
/// Relays without a usable URL that are remembered.
const MAX_SKIPPED: usize = 1000;

const OWN: &str = "SELECT kind, created_at, content_hash FROM bigbrotr.own_publications($1)";
const DUE: &str = "SELECT relay_id, url, checked_us, open_ms, read_ms, write_ms, needs_auth, nip11, dns, geo, net, documents, created_at, \
     content_hash, is_elapsed FROM bigbrotr.publish_due($1, $2, $3::double precision, $4, $5)";
const RECORD: &str = "SELECT bigbrotr.record_publications($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const UNCHANGED: &str = "SELECT bigbrotr.publication_unchanged($1, $2)";

/// Looks for what is due.
pub struct Composer {
    shared: Arc<Shared>,
    /// Checks since then, unix seconds, were not looked at; None: none was.
    after: Option<f64>,
    full_look_at: Instant,
    own_look_at: Instant,
    skipped: Vec<i32>,
}

impl Composer {
    /// One that has seen nothing.
    pub fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self { shared, after: None, full_look_at: now, own_look_at: now, skipped: Vec::new() }
    }

    /// Makes what is due now.
    ///
    /// # Errors
    /// What the store says.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        if now >= self.own_look_at {
            self.own_look_at = now + OWN_LOOK;
            self.own().await?;
        }
        if now >= self.full_look_at {
            self.full_look_at = now + FULL_LOOK;
            self.after = None;
        }
        let began = seconds();
        for _ in 0..BATCHES {
            self.shared.context.memory.ready().await;
            if self.reports().await? < BATCH {
                // Checks that had begun by then may be recorded later.
                self.after = Some(began - self.shared.plan.longest_check.as_secs_f64());
                break;
            }
        }
        Ok(())
    }

    /// The profile, relay list and announcement, where they changed or are old.
    ///
    /// # Errors
    /// What the store says.
    pub async fn own(&self) -> Result<(), StoreError> {
        let rows = self.shared.context.store.call(OWN, vec![self.pubkey()]).await?;
        let now = seconds() as i64;
        let mut batch = Batch::default();
        for draft in &self.shared.plan.own {
            let mut last = None;
            for row in &rows {
                if row.int(0)? == i32::from(draft.kind) {
                    last = Some((row.bigint(1)?, row.bytea(2)? == draft.fingerprint()));
                }
            }
            match last {
                Some((created_at, true)) if created_at > now - OWN_AGE_S => {}
                last => {
                    let created_at = last.map_or(now, |(last, _)| now.max(last.saturating_add(1)));
                    // A list of private relays is no news for public ones.
                    let is_private =
                        draft.kind == RELAY_LIST_KIND && self.shared.plan.targets.iter().all(|t| t.is_private);
                    let about = About { relay_id: 0, documents: Vec::new(), checked_us: now * 1_000_000, is_private };
                    batch.add(&self.shared, draft.clone(), created_at, about);
                }
            }
        }
        self.record(batch).await
    }

    /// One batch of reports; how many were due.
    async fn reports(&mut self) -> Result<usize, StoreError> {
        let plan = &self.shared.plan;
        let args = vec![
            self.pubkey(),
            Value::from(i32::try_from(plan.interval.as_secs()).unwrap_or(i32::MAX)),
            Value::from(self.after.map(|after| after.to_string())),
            Value::IntArray(self.skipped.clone()),
            Value::from(BATCH as i32),
        ];
        let rows = self.shared.context.store.call(DUE, args).await?;
        let mut batch = Batch::default();
        let (mut same, mut documents) = (Vec::new(), Vec::new());
        for row in &rows {
            let due = Due::read(row, plan.address_policy)?;
            let created_at = due.created_at();
            let Due { relay_id, report, checked_us, documents: digest, last_hash, is_elapsed, .. } = due;
            let Some(Report { draft, is_private }) = report.filter(|report| !batch.has(report.draft.d())) else {
                if self.skipped.len() < MAX_SKIPPED {
                    self.skipped.push(relay_id);
                }
                continue;
            };
            if !is_elapsed && last_hash.as_deref() == Some(&draft.fingerprint()) {
                same.push(Some(draft.d().to_owned()));
                documents.push(Some(digest));
                continue;
            }
            batch.add(&self.shared, draft, created_at, About { relay_id, documents: digest, checked_us, is_private });
        }
        if !same.is_empty() {
            let args = vec![Value::TextArray(same), Value::ByteaArray(documents)];
            self.shared.context.store.call(UNCHANGED, args).await?;
        }
        self.record(batch).await?;
        Ok(rows.len())
    }

    async fn record(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.kinds.is_empty() {
            return Ok(());
        }
        self.shared.context.store.call(RECORD, batch.args(self.pubkey())).await?;
        self.shared.news.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    fn pubkey(&self) -> Value {
        Value::Bytea(Some(self.shared.plan.pubkey.to_vec()))
    }
}

/// What an event is about, beyond what it says.
struct About {
    relay_id: i32,
    documents: Vec<u8>,
    checked_us: i64,
    is_private: bool,
}

/// Signed events, column by column.
#[derive(Default)]
struct Batch {
    names: HashSet<String>,
    kinds: Vec<i32>,
    ds: Vec<Option<String>>,
    relay_ids: Vec<i32>,
    event_ids: Vec<[u8; 32]>,
    created_ats: Vec<i64>,
    hashes: Vec<[u8; 32]>,
    documents: Vec<Option<Vec<u8>>>,
    checked_us: Vec<i64>,
    privates: Vec<bool>,
    events: Vec<Option<String>>,
}

impl Batch {
    /// Whether there is a report with this `d`.
    fn has(&self, d: &str) -> bool {
        self.names.contains(d)
    }

    fn add(&mut self, shared: &Shared, draft: Draft, created_at: i64, about: About) {
        let (d, hash) = (draft.d().to_owned(), draft.fingerprint());
        let event: VerifiedEvent = draft.sign(&shared.signer, created_at);
        self.kinds.push(i32::from(event.kind));
        self.names.insert(d.clone());
        self.ds.push(Some(d));
        self.relay_ids.push(about.relay_id);
        self.event_ids.push(event.id);
        self.created_ats.push(event.created_at);
        self.hashes.push(hash);
        self.documents.push(Some(about.documents));
        self.checked_us.push(about.checked_us);
        self.privates.push(about.is_private);
        self.events.push(Some(event.to_json()));
    }

    fn args(self, pubkey: Value) -> Vec<Value> {
        vec![
            pubkey,
            Value::IntArray(self.kinds),
            Value::TextArray(self.ds),
            Value::IntArray(self.relay_ids),
            Value::HashArray(self.event_ids),
            Value::BigIntArray(self.created_ats),
            Value::HashArray(self.hashes),
            Value::ByteaArray(self.documents),
            Value::BigIntArray(self.checked_us),
            Value::BoolArray(self.privates),
            Value::TextArray(self.events),
        ]
    }
}

/// Unix seconds.
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
