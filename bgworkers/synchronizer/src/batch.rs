//! One transaction's worth of events: who brought what, which are new, which are what they claim to be.

use std::collections::{HashMap, HashSet};

use bigbrotr_core::{Call, Config, Context, StoreError, Value};
use bigbrotr_models::{Event, VerifiedEvent};

type Id = [u8; 32];

/// Signatures checked in one task.
const CHUNK: usize = 64;

const KNOWN: &str = "SELECT bigbrotr.known_events($1, $2)";
const LOCK: &str = "SELECT bigbrotr.lock_archive()";
const ARCHIVE: &str = "SELECT bigbrotr.archive($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// A committed page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events of it that were new. An event that two pages of a batch bring counts for the first.
    pub archived: u64,
    /// Events whose signature was bad.
    pub refused: u64,
}

/// Ids known to be in the archive: two generations, so that forgetting is cheap and bounded.
pub struct Known {
    young: HashSet<Id>,
    old: HashSet<Id>,
    most: usize,
}

impl Known {
    /// Remembers `most` ids, about.
    pub fn new(most: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), most }
    }

    fn contains(&self, id: &Id) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    fn insert(&mut self, id: Id) {
        if self.young.len() >= self.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

/// What is to become of a distinct id.
enum Fate {
    /// In the archive: only sightings.
    Known,
    /// Not there: to be checked.
    New,
    /// Checked and to be stored.
    Verified(Box<VerifiedEvent>),
    /// No copy had a good signature.
    Refused,
}

struct Entry<'a> {
    /// Copies that differ in their signature; nearly always one.
    copies: Vec<(i32, &'a Event)>,
    fate: Fate,
    /// The first job that brought it.
    job: usize,
}

/// Distinct events in order of first arrival.
pub struct Batch<'a> {
    entries: Vec<Entry<'a>>,
    /// `(relay, entry)`, each once per copy.
    sightings: Vec<(i32, usize)>,
    refused: Vec<(i32, &'static str, Vec<u8>)>,
    refused_of_job: Vec<u64>,
    jobs: usize,
}

impl<'a> Batch<'a> {
    /// Gathers the events of some jobs.
    pub fn new(jobs: impl Iterator<Item = (i32, &'a [Event])>) -> Self {
        let mut places: HashMap<Id, usize> = HashMap::new();
        let mut batch = Self {
            entries: Vec::new(),
            sightings: Vec::new(),
            refused: Vec::new(),
            refused_of_job: Vec::new(),
            jobs: 0,
        };
        for (job, (relay_id, events)) in jobs.enumerate() {
            batch.jobs = job + 1;
            for event in events {
                let place = *places.entry(event.id).or_insert_with(|| {
                    batch.entries.push(Entry { copies: Vec::new(), fate: Fate::New, job });
                    batch.entries.len() - 1
                });
                let copies = &mut batch.entries[place].copies;
                if copies.iter().all(|(_, copy)| copy.sig != event.sig) {
                    copies.push((relay_id, event));
                }
                batch.sightings.push((relay_id, place));
            }
        }
        batch.refused_of_job = vec![0; batch.jobs];
        batch
    }

    /// Asks the archive which ids it has.
    pub async fn look_up(&mut self, context: &Context, known: &mut Known) -> Result<(), StoreError> {
        let (mut places, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (place, entry) in self.entries.iter_mut().enumerate() {
            let Some((_, event)) = entry.copies.first() else { continue };
            if known.contains(&event.id) {
                entry.fate = Fate::Known;
            } else {
                places.push(place);
                ids.push(Some(event.id.to_vec()));
                times.push(event.created_at);
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        for row in context.store.call(KNOWN, vec![Value::ByteaArray(ids), Value::BigIntArray(times)]).await? {
            let index = usize::try_from(row.int(0)?).unwrap_or(0).wrapping_sub(1);
            if let Some(place) = places.get(index) {
                self.entries[*place].fate = Fate::Known;
            }
        }
        Ok(())
    }

    /// Checks the signatures of what is new, in parallel.
    pub async fn verify(&mut self) -> Result<(), StoreError> {
        let mut tasks = Vec::new();
        let new: Vec<usize> =
            (0..self.entries.len()).filter(|place| matches!(self.entries[*place].fate, Fate::New)).collect();
        for places in new.chunks(CHUNK) {
            let copies: Vec<(usize, Vec<Event>)> = places
                .iter()
                .map(|place| (*place, self.entries[*place].copies.iter().map(|(_, event)| (*event).clone()).collect()))
                .collect();
            tasks.push(tokio::spawn(async move {
                let check = |copies: Vec<Event>| copies.into_iter().find_map(|copy| copy.verify().ok());
                copies.into_iter().map(|(place, copies)| (place, check(copies))).collect::<Vec<_>>()
            }));
        }
        for place in new {
            self.entries[place].fate = Fate::Refused;
        }
        for task in tasks {
            // A panic in there says nothing about the events.
            let checked = task.await.map_err(|error| StoreError::Shape(format!("signature check: {error}")))?;
            for (place, verified) in checked {
                if let Some(event) = verified {
                    self.entries[place].fate = Fate::Verified(Box::new(event));
                }
            }
        }
        for entry in &self.entries {
            if matches!(entry.fate, Fate::Refused) {
                self.refused_of_job[entry.job] += 1;
                for (relay_id, event) in &entry.copies {
                    self.refused.push((*relay_id, "bad_signature", event.to_json().into_bytes()));
                }
            }
        }
        Ok(())
    }

    /// What was refused here: relay, why, the bytes.
    pub fn refused(&self) -> impl Iterator<Item = (i32, &'static str, Vec<u8>)> + '_ {
        self.refused.iter().cloned()
    }

    /// The statements that archive it.
    pub fn calls(&self, config: &Config) -> Vec<Call> {
        let mut ordinal = vec![0_i32; self.entries.len()];
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        let (mut places, mut pubkeys, mut kinds, mut tags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut contents, mut sigs, mut raws) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, ordinal) in self.entries.iter().zip(&mut ordinal) {
            let event: &Event = match (&entry.fate, entry.copies.first()) {
                (Fate::Verified(event), _) => event,
                (Fate::Known, Some((_, event))) => event,
                _ => continue,
            };
            ids.push(Some(event.id.to_vec()));
            times.push(event.created_at);
            *ordinal = i32::try_from(ids.len()).unwrap_or(i32::MAX);
            if matches!(entry.fate, Fate::Verified(_)) {
                places.push(*ordinal);
                pubkeys.push(Some(event.pubkey.to_vec()));
                kinds.push(i32::from(event.kind));
                tags.push(Some(event.stored_tags()));
                contents.push(Some(event.stored_content().into_owned()));
                sigs.push(Some(event.sig.to_vec()));
                raws.push(event.raw());
            }
        }
        if ids.is_empty() {
            return Vec::new();
        }
        let seen = self.sightings.iter().filter(|(_, entry)| ordinal[*entry] > 0);
        let (relays, seen): (Vec<i32>, Vec<i32>) = seen.map(|(relay_id, entry)| (*relay_id, ordinal[*entry])).unzip();
        vec![
            Call::new(LOCK, Vec::new()),
            Call::new(
                ARCHIVE,
                vec![
                    Value::ByteaArray(ids),
                    Value::BigIntArray(times),
                    Value::IntArray(places),
                    Value::ByteaArray(pubkeys),
                    Value::IntArray(kinds),
                    Value::TextArray(tags),
                    Value::TextArray(contents),
                    Value::ByteaArray(sigs),
                    Value::ByteaArray(raws),
                    Value::IntArray(relays),
                    Value::IntArray(seen),
                    Value::Bool(config.vanish_enabled),
                    Value::BigInt(config.oldest_kept()),
                ],
            ),
        ]
    }

    /// Remembers what the committed transaction archived.
    pub fn settle(self, known: &mut Known) -> Vec<Receipt> {
        let mut receipts: Vec<Receipt> =
            self.refused_of_job.iter().map(|refused| Receipt { archived: 0, refused: *refused }).collect();
        for entry in &self.entries {
            match (&entry.fate, entry.copies.first()) {
                (Fate::Verified(event), _) => {
                    if let Some(receipt) = receipts.get_mut(entry.job) {
                        receipt.archived += 1;
                    }
                    known.insert(event.id);
                }
                (Fate::Known, Some((_, event))) => known.insert(event.id),
                _ => {}
            }
        }
        receipts
    }
}
