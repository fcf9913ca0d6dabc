//! Outcomes on their way into the database: many in one transaction, and one by one where one of them makes SQL fail.

use std::collections::HashMap;
use std::time::Duration;

use bigbrotr_core::log::Level;
use bigbrotr_core::{Call, Context, StoreError, Value};
use tokio::time::Instant;

use crate::check::{Info, Outcome};
use crate::document::Body;
use crate::report::Report;
use crate::settings::Settings;

/// A relay whose page differs each time gives one row of quarantine in this time.
const QUARANTINE_PAUSE: Duration = Duration::from_secs(24 * 3600);

const CHECK: &str = "SELECT bigbrotr.record_check($1, $2, $3, $4::real, $5::real, NULL, $6, $7, $8)";
const METADATA: &str = "SELECT bigbrotr.record_metadata($1, 'nip11_info', $2, $3, $4)";
const QUARANTINE: &str = "SELECT bigbrotr.quarantine($1, ARRAY[$2], ARRAY[$3])";

/// When a relay last put something into quarantine. At most one entry a relay, and only since the process started.
pub type Refusals = HashMap<i32, Instant>;

/// Finished checks.
#[derive(Debug, Default)]
pub struct Batch {
    outcomes: Vec<Outcome>,
    bytes: usize,
}

impl Batch {
    /// Number of outcomes.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// Bytes of their documents.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one.
    pub fn push(&mut self, outcome: Outcome) {
        if let Some(Info::Body(body, raw)) = outcome.found.as_ref().and_then(|found| found.info.as_ref()) {
            self.bytes += raw.len();
            if let Body::Document { data, .. } = body {
                self.bytes += data.len();
            }
        }
        self.outcomes.push(outcome);
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// That the store is gone or answers nonsense. What SQL refuses is logged and counted, and the rest is written.
    pub async fn write(
        self,
        settings: &Settings,
        context: &Context,
        refusals: &mut Refusals,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry> =
            self.outcomes.into_iter().map(|outcome| Entry::new(outcome, settings.interval_s, refusals)).collect();
        let all = entries.iter().flat_map(Entry::calls).cloned().collect();
        match context.store.transaction(all).await {
            Ok(_) => entries.iter().for_each(|entry| entry.count(context, report)),
            Err(StoreError::Sql { .. }) => {
                for entry in entries {
                    entry.write_alone(context, report).await?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What one check writes and counts.
struct Entry {
    relay_id: i32,
    check: Call,
    /// Its document, or what goes to quarantine.
    body: Option<Call>,
    counts: Report,
}

impl Entry {
    fn new(outcome: Outcome, interval_s: i32, refusals: &mut Refusals) -> Self {
        let Outcome { relay_id, checked_at, found } = outcome;
        let mut counts = Report { checked: 1, ..Report::default() };
        let (mut open, mut read, mut remark, mut failure, mut info) = (None, None, None, None, None);
        if let Some(found) = found {
            failure = found.failure();
            if let Some(reading) = found.reading {
                (open, read, remark) = (reading.open_ms, reading.read_ms, reading.remark);
            }
            info = found.info;
        }
        match &failure {
            None => counts.ok = 1,
            Some(failure) => _ = counts.failed.insert(failure.class, 1),
        }
        let number = |value: Option<f64>| Value::from(value.map(|value| format!("{value:.3}")));
        let (class, text) = match &failure {
            None => (None, remark),
            Some(failure) => (Some(failure.class.to_owned()), Some(failure.text.replace('\0', "\u{FFFD}"))),
        };
        let check = Call::new(
            CHECK,
            vec![
                Value::from(relay_id),
                Value::from(checked_at),
                Value::from(failure.is_none()),
                number(open),
                number(read),
                Value::from(class),
                Value::from(text),
                Value::from(interval_s),
            ],
        );
        let body = match info {
            None => None,
            Some(Info::Body(Body::Document { id, data }, _)) => {
                counts.documents = 1;
                let id = Value::Bytea(Some(id.to_vec()));
                Some(Call::new(METADATA, vec![Value::from(relay_id), id, Value::from(data), Value::from(checked_at)]))
            }
            Some(Info::Body(Body::Refused(reason), raw)) if may_quarantine(relay_id, refusals) => {
                counts.quarantined = 1;
                let raw = Value::Bytea(Some(raw));
                Some(Call::new(QUARANTINE, vec![Value::from(relay_id), Value::from(reason), raw]))
            }
            Some(_) => {
                counts.no_document = 1;
                None
            }
        };
        Self { relay_id, check, body, counts }
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        std::iter::once(&self.check).chain(&self.body)
    }

    fn count(&self, context: &Context, report: &mut Report) {
        report.add(&self.counts);
        context.progress.add_items(1);
    }

    /// In a transaction of its own; the check without the document if that is what SQL refuses.
    async fn write_alone(mut self, context: &Context, report: &mut Report) -> Result<(), StoreError> {
        loop {
            match context.store.transaction(self.calls().cloned().collect()).await {
                Ok(_) => {
                    self.count(context, report);
                    return Ok(());
                }
                Err(error @ StoreError::Sql { .. }) => {
                    report.unrecorded += 1;
                    let relay = self.relay_id;
                    context.log.write(Level::Warning, format!("an outcome of relay {relay} was refused: {error}"));
                    if self.body.take().is_none() {
                        return Ok(());
                    }
                    (self.counts.documents, self.counts.quarantined) = (0, 0);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn may_quarantine(relay_id: i32, refusals: &mut Refusals) -> bool {
    let now = Instant::now();
    let is_due = refusals.get(&relay_id).is_none_or(|last| now.duration_since(*last) >= QUARANTINE_PAUSE);
    if is_due {
        refusals.insert(relay_id, now);
    }
    is_due
}
