//! One transaction's worth of events: who brought what, which are new, which are what they claim to be.

use std::collections::HashMap;
use std::sync::Arc;

use bigbrotr_core::{Call, Config, Context, Rows, StoreError, Value};
use bigbrotr_models::Event;

use crate::known::{Arrival, AsOf, Held, Id, Known, Print};

/// Signatures checked in one task.
const CHUNK: usize = 64;

const KNOWN: &str = "SELECT place, seq FROM bigbrotr.known_events($1)";
const LOCK: &str = "SELECT bigbrotr.lock_archive()";
const ARCHIVE: &str = "SELECT inserted, last_seq, last_removal, place_seqs \
                       FROM bigbrotr.archive($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// A committed page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events of it that were new. An event that two pages of a batch bring counts for the first.
    pub archived: u64,
    /// Events whose signature was bad.
    pub refused: u64,
}

/// What is to become of a distinct id.
enum Fate {
    /// In the archive, there: only sightings.
    Known(i64),
    /// Not there: to be checked.
    New,
    /// Checked, and its stored form.
    Verified(Arc<Event>, Vec<u8>),
    /// No copy had a good signature.
    Refused,
    /// Retention would take it out again.
    KeptOut,
}

struct Entry<'a> {
    created_at: i64,
    /// Copies that differ in their signature; nearly always one, none where only known bytes came.
    copies: Vec<(i32, &'a Arc<Event>)>,
    print: Option<Print>,
    fate: Fate,
    /// The first job that brought it.
    job: usize,
}

/// Distinct events in order of first arrival.
pub struct Batch<'a> {
    ids: Vec<Id>,
    entries: Vec<Entry<'a>>,
    /// `(relay, entry)`, each once per copy.
    sightings: Vec<(i32, usize)>,
    /// `(entry, place)` of the ids handed to the archive, places from 1.
    handed: Vec<usize>,
    as_of: AsOf,
    refused: Vec<(i32, &'static str, Vec<u8>)>,
    refused_of_job: Vec<u64>,
}

impl<'a> Batch<'a> {
    /// Gathers the events of some jobs.
    pub fn new(jobs: impl Iterator<Item = (i32, &'a [Arrival])>) -> Self {
        let mut places: HashMap<Id, usize> = HashMap::new();
        let mut batch = Self {
            ids: Vec::new(),
            entries: Vec::new(),
            sightings: Vec::new(),
            handed: Vec::new(),
            as_of: AsOf::default(),
            refused: Vec::new(),
            refused_of_job: Vec::new(),
        };
        for (job, (relay_id, arrivals)) in jobs.enumerate() {
            batch.refused_of_job.push(0);
            for arrival in arrivals {
                let place = *places.entry(arrival.id()).or_insert_with(|| {
                    batch.ids.push(arrival.id());
                    let created_at = arrival.created_at();
                    batch.entries.push(Entry { created_at, copies: Vec::new(), print: None, fate: Fate::New, job });
                    batch.entries.len() - 1
                });
                batch.sightings.push((relay_id, place));
                let entry = &mut batch.entries[place];
                if let Arrival::Event(event, print) = arrival {
                    entry.print = entry.print.or(Some(*print));
                    if entry.copies.iter().all(|(_, copy)| copy.sig != event.sig) {
                        entry.copies.push((relay_id, event));
                    }
                }
            }
        }
        batch
    }

    /// Asks the archive which ids it has.
    pub async fn look_up(&mut self, context: &Context, config: &Config, known: &Known) -> Result<(), StoreError> {
        let (seqs, as_of) = known.places(self.ids.iter().copied());
        self.as_of = as_of;
        let mut unknown = Vec::new();
        for (place, (entry, seq)) in self.entries.iter_mut().zip(seqs).enumerate() {
            match seq {
                Some(seq) => entry.fate = Fate::Known(seq),
                None => unknown.push(place),
            }
        }
        if !unknown.is_empty() {
            let ids = unknown.iter().map(|place| self.ids[*place]).collect();
            for row in context.store.call(KNOWN, vec![Value::HashArray(ids)]).await? {
                let index = usize::try_from(row.int(0)?).unwrap_or(0).wrapping_sub(1);
                if let Some(place) = unknown.get(index) {
                    self.entries[*place].fate = Fate::Known(row.bigint(1)?);
                }
            }
        }
        for entry in &mut self.entries {
            if let (Fate::New, Some((_, event))) = (&entry.fate, entry.copies.first())
                && !config.retention.keeps(event.kind, event.created_at)
            {
                entry.fate = Fate::KeptOut;
            }
            if matches!(entry.fate, Fate::New) && entry.copies.is_empty() {
                // Its bytes are gone: whoever brought it has to ask for the page again.
                return Err(StoreError::Shape("an event left the archive while a copy of it arrived".to_owned()));
            }
        }
        Ok(())
    }

    /// Checks the signatures of what is new and packs what is good, in parallel.
    pub async fn verify(&mut self) -> Result<(), StoreError> {
        let new: Vec<usize> =
            (0..self.entries.len()).filter(|place| matches!(self.entries[*place].fate, Fate::New)).collect();
        let mut tasks = Vec::new();
        for places in new.chunks(CHUNK) {
            let copies: Vec<(usize, Arc<Event>)> = places
                .iter()
                .flat_map(|place| self.entries[*place].copies.iter().map(|(_, event)| (*place, Arc::clone(event))))
                .collect();
            tasks.push(tokio::spawn(async move {
                let check = |copies: &[(usize, Arc<Event>)]| {
                    let (_, good) = copies.iter().find(|(_, copy)| copy.check_signature().is_ok())?;
                    Some((Arc::clone(good), good.pack()))
                };
                let entries = copies.chunk_by(|(one, _), (other, _)| one == other);
                entries.filter_map(|copies| Some((copies.first()?.0, check(copies)))).collect::<Vec<_>>()
            }));
        }
        for task in tasks {
            // A panic in there says nothing about the events.
            let checked = task.await.map_err(|error| StoreError::Shape(format!("signature check: {error}")))?;
            for (place, verified) in checked {
                let entry = &mut self.entries[place];
                match verified {
                    Some((event, body)) => entry.fate = Fate::Verified(event, body),
                    None => {
                        entry.fate = Fate::Refused;
                        self.refused_of_job[entry.job] += 1;
                        for (relay_id, event) in &entry.copies {
                            self.refused.push((*relay_id, "bad_signature", event.to_json().into_bytes()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What was refused here: relay, why, the bytes.
    pub fn refused(&self) -> impl Iterator<Item = (i32, &'static str, Vec<u8>)> + '_ {
        self.refused.iter().cloned()
    }

    /// The statements that archive it; the last gives what [`Self::settle`] takes.
    pub fn calls(&mut self, config: &Config) -> Vec<Call> {
        let archived = |entry: &Entry| matches!(entry.fate, Fate::Known(_) | Fate::Verified(..));
        self.handed = (0..self.entries.len()).filter(|place| archived(&self.entries[*place])).collect();
        if self.handed.is_empty() {
            return Vec::new();
        }
        // Rows of one time lie together, and so do their entries in the indexes.
        self.handed.sort_unstable_by_key(|place| (self.entries[*place].created_at, self.ids[*place]));
        let mut ordinal = vec![0_i32; self.entries.len()];
        let (mut ids, mut times, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut new, mut kinds, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        let (mut authors, mut author_places, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        for (place, number) in self.handed.iter().zip(1..) {
            let entry = &mut self.entries[*place];
            ordinal[*place] = number;
            ids.push(self.ids[*place]);
            times.push(entry.created_at);
            match &mut entry.fate {
                Fate::Verified(event, body) => {
                    seqs.push(None);
                    new.push(number);
                    kinds.push(i32::from(event.kind));
                    bodies.push(Some(std::mem::take(body)));
                    let next = i32::try_from(numbers.len()).unwrap_or(i32::MAX).saturating_add(1);
                    author_places.push(*numbers.entry(event.pubkey).or_insert_with(|| {
                        authors.push(event.pubkey);
                        next
                    }));
                }
                Fate::Known(seq) => seqs.push(Some(*seq)),
                _ => {}
            }
        }
        let seen = self.sightings.iter().filter(|(_, entry)| ordinal[*entry] > 0);
        let (relays, seen): (Vec<i32>, Vec<i32>) = seen.map(|(relay_id, entry)| (*relay_id, ordinal[*entry])).unzip();
        vec![
            Call::new(LOCK, Vec::new()),
            Call::new(
                ARCHIVE,
                vec![
                    Value::HashArray(ids),
                    Value::BigIntArray(times),
                    Value::NullableBigIntArray(seqs),
                    Value::BigInt(self.as_of.last_seq),
                    Value::BigInt(self.as_of.last_removal),
                    Value::IntArray(new),
                    Value::HashArray(authors),
                    Value::IntArray(author_places),
                    Value::IntArray(kinds),
                    Value::ByteaArray(bodies),
                    Value::IntArray(relays),
                    Value::IntArray(seen),
                    Value::Bool(config.vanish_enabled),
                ],
            ),
        ]
    }

    /// Remembers what the committed transaction archived, by what `archive()` answered.
    pub fn settle(self, answer: &Rows, known: &Known) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts: Vec<Receipt> =
            self.refused_of_job.iter().map(|refused| Receipt { archived: 0, refused: *refused }).collect();
        let Some(row) = answer.first() else { return Ok(receipts) };
        let as_of = AsOf { last_seq: row.bigint(1)?, last_removal: row.bigint(2)? };
        let mut learned = Vec::with_capacity(self.handed.len());
        for (place, seq) in self.handed.iter().zip(row.bigints(3)?) {
            let entry = &self.entries[*place];
            let event = match &entry.fate {
                Fate::Verified(event, _) => {
                    if let Some(receipt) = receipts.get_mut(entry.job).filter(|_| *seq > 0) {
                        receipt.archived += 1;
                    }
                    event
                }
                _ => match entry.copies.first() {
                    Some((_, event)) => event,
                    // Known bytes are known already.
                    None => continue,
                },
            };
            // Bytes that came with another signature than the one stored are no copies of it.
            let print = entry.print.filter(|_| entry.copies.len() == 1);
            if *seq > 0 {
                let held = Held { seq: *seq, created_at: event.created_at, kind: event.kind, pubkey: event.pubkey };
                learned.push((self.ids[*place], held, print));
            }
        }
        known.learn(learned.into_iter(), as_of);
        Ok(receipts)
    }
}
