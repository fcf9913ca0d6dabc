//! Outcomes on their way into the database: many in one transaction, and one by one where one of them makes SQL fail.

use std::collections::HashMap;
use std::time::Duration;

use bigbrotr_core::log::Level;
use bigbrotr_core::{Call, Context, StoreError, Value};
use tokio::time::Instant;

use crate::check::{Info, Outcome};
use crate::checks::write::Written;
use crate::document::Body;
use crate::report::Report;
use crate::settings::Settings;

/// A relay whose page differs each time gives one row of quarantine in this time.
const QUARANTINE_PAUSE: Duration = Duration::from_secs(24 * 3600);

const CHECK: &str = "SELECT bigbrotr.record_check($1, $2, $3, $4::real, $5::real, $6::real, $7, $8, $9)";
const METADATA: &str = "SELECT bigbrotr.record_metadata($1, $2, $3, $4, $5)";
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
        if let Some(found) = &outcome.found {
            self.bytes += found.facts.iter().map(|fact| fact.data.len()).sum::<usize>();
            if let Some(Info::Body(body, raw)) = &found.info {
                self.bytes += raw.len();
                if let Body::Document { data, .. } = body {
                    self.bytes += data.len();
                }
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
            // What else is wrong, such as a full disk, is wrong with all of them, and passes: nothing is recorded, and they are due again.
            Err(error) if error.is_of_the_rows() || error.is_contention() => {
                let mut is_held_up = false;
                for entry in entries {
                    match entry.write_alone(context, report).await {
                        // One row that somebody holds must not cost the others; but nobody waits for each of many.
                        Err(error) if error.is_contention() && !is_held_up => {
                            is_held_up = true;
                            report.unrecorded += 1;
                            context.progress.error(error.to_string());
                        }
                        outcome => outcome?,
                    }
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
    /// Its documents, and what goes to quarantine.
    bodies: Vec<Call>,
    counts: Report,
}

impl Entry {
    fn new(outcome: Outcome, interval_s: i32, refusals: &mut Refusals) -> Self {
        let Outcome { relay_id, checked_at, found } = outcome;
        let mut counts = Report { checked: 1, ..Report::default() };
        let (mut open, mut read, mut write, mut remark, mut failure) = (None, None, None, None, None);
        let mut bodies = Vec::new();
        if let Some(found) = found {
            failure = found.failure();
            if let Some(reading) = found.reading {
                (open, read, remark) = (reading.open_ms, reading.read_ms, reading.remark);
            }
            if let Some(written) = found.written {
                counts.wrote(&written);
                let (ms, said) = outcome_of(written);
                write = ms;
                remark = [remark, said].into_iter().flatten().reduce(|first, second| format!("{first}; {second}"));
            }
            bodies.extend(
                found.info.into_iter().flat_map(|info| info_calls(relay_id, checked_at, info, refusals, &mut counts)),
            );
            for fact in found.facts {
                *counts.facts.entry(fact.kind).or_default() += 1;
                bodies.push(metadata(relay_id, fact.kind, fact.id, fact.data, checked_at));
            }
        }
        match &failure {
            None => counts.ok = 1,
            Some(failure) => _ = counts.failed.insert(failure.class, 1),
        }
        let number = |value: Option<f64>| Value::from(value.map(|value| format!("{value:.3}")));
        let (class, text) = match &failure {
            None => (None, remark),
            Some(failure) => (Some(failure.class.to_owned()), Some(failure.text.clone())),
        };
        let check = Call::new(
            CHECK,
            vec![
                Value::from(relay_id),
                Value::from(checked_at),
                Value::from(failure.is_none()),
                number(open),
                number(read),
                number(write),
                Value::from(class),
                Value::from(text.map(|text| text.replace('\0', "\u{FFFD}"))),
                Value::from(interval_s),
            ],
        );
        Self { relay_id, check, bodies, counts }
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        std::iter::once(&self.check).chain(&self.bodies)
    }

    fn count(&self, context: &Context, report: &mut Report) {
        report.add(&self.counts);
        context.progress.add_items(1);
    }

    /// In a transaction of its own; the check without its documents if it is these that SQL refuses, and each of them by itself.
    async fn write_alone(mut self, context: &Context, report: &mut Report) -> Result<(), StoreError> {
        let whole = match context.store.transaction(self.calls().cloned().collect()).await {
            Ok(_) => {
                self.count(context, report);
                return Ok(());
            }
            Err(error) if error.is_of_the_rows() => error,
            Err(error) => return Err(error),
        };
        if self.bodies.is_empty() {
            self.refused(&whole, context, report);
            return Ok(());
        }
        // What was counted of the bodies is not known to be there any more.
        self.counts.forget_bodies();
        let bodies = std::mem::take(&mut self.bodies);
        for call in std::iter::once(self.check.clone()).chain(bodies) {
            let is_check = call.sql == CHECK;
            match context.store.transaction(vec![call]).await {
                Ok(_) if is_check => self.count(context, report),
                Ok(_) => {}
                Err(error) if error.is_of_the_rows() => self.refused(&error, context, report),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn refused(&self, error: &StoreError, context: &Context, report: &mut Report) {
        report.unrecorded += 1;
        let relay = self.relay_id;
        context.log.write(Level::Warning, format!("an outcome of relay {relay} was refused: {error}"));
    }
}

/// Why the bytes of a document that is stored are kept as well.
const REPAIRED: &str = "nip11_repaired";

fn metadata(relay_id: i32, kind: &str, id: [u8; 32], data: String, seen_at: f64) -> Call {
    let id = Value::Bytea(Some(id.to_vec()));
    Call::new(METADATA, vec![Value::from(relay_id), Value::from(kind), id, Value::from(data), Value::from(seen_at)])
}

/// The calls for a NIP-11 document, and for a body that is none or had to be mended.
fn info_calls(relay_id: i32, seen_at: f64, info: Info, refusals: &mut Refusals, counts: &mut Report) -> Vec<Call> {
    let mut calls = Vec::new();
    let (reason, raw) = match info {
        Info::Body(Body::Document { id, data, is_repaired }, raw) => {
            counts.documents = 1;
            calls.push(metadata(relay_id, "nip11_info", id, data, seen_at));
            (is_repaired.then_some(REPAIRED), raw)
        }
        Info::Body(Body::Refused(reason), raw) => (Some(reason), raw),
        _ => (None, Vec::new()),
    };
    if let Some(reason) = reason
        && may_quarantine(relay_id, refusals)
    {
        counts.quarantined = 1;
        calls.push(Call::new(QUARANTINE, vec![Value::from(relay_id), Value::from(reason), Value::Bytea(Some(raw))]));
    }
    if calls.is_empty() {
        counts.no_document = 1;
    }
    calls
}

/// Milliseconds, or what to say of an event that was not taken. Where a relay's document forbids writing there is nothing to say: it says so itself.
fn outcome_of(written: Written) -> (Option<f64>, Option<String>) {
    match written {
        Written::Accepted(ms) => (Some(ms), None),
        Written::Refused(said) => (None, Some(format!("write: {said}"))),
        Written::NotTried(_) => (None, None),
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
