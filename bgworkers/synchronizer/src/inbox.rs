//! What came over a connection and has not been handed to the archivist yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::Config;
use bigbrotr_models::kind::{KindClass, class};
use bigbrotr_models::{Event, EventError};
use bigbrotr_nips::paging::Item;

use crate::known::{Arrival, Known};

/// Events handed over at a time.
const PART_EVENTS: usize = 1000;
/// Bytes of JSON handed over at a time.
const PART_BYTES: usize = 1 << 20;
/// How long an event may wait for others.
const PART_AGE: Duration = Duration::from_millis(500);
/// What a copy of a known event takes, in bytes.
const COPY_BYTES: usize = 48;
/// Refused events kept between two calls of [`Inbox::forgive`]; more are counted only.
const MAX_REFUSED: u64 = 500;

/// Events and refusals since they were last taken.
#[derive(Default)]
pub struct Inbox {
    /// To be stored.
    pub events: Vec<Arrival>,
    /// Refused: why, and the bytes.
    pub refused: Vec<(&'static str, Vec<u8>)>,
    /// Events that came, copies included.
    pub received: u64,
    /// Valid ones that are not for storing.
    pub unstored: u64,
    refusals: u64,
    bytes: usize,
    since: Option<Instant>,
}

impl Inbox {
    /// Takes one event as it stood in its frame. Some: it is valid and what the operator's filter asks for.
    pub fn take(&mut self, json: &str, config: &Config, known: &Known) -> Option<Item> {
        self.received += 1;
        let (print, copy) = known.look(json);
        if let Some((id, held)) = copy {
            // It was wanted when it was archived, and the filter has not changed since.
            self.grow(COPY_BYTES);
            self.events.push(Arrival::Copy(id, held.created_at));
            return Some(Item { created_at: held.created_at, id, kind: held.kind, pubkey: held.pubkey });
        }
        let parsed = if json.len() > config.max_event_size {
            Err(EventError::TooLarge { limit: config.max_event_size })
        } else {
            Event::from_text(json)
        };
        let event = match parsed {
            Ok(event) => event,
            Err(error) => {
                self.refuse(error.code(), json);
                return None;
            }
        };
        // What to archive is the operator's filter; that a relay sends more is its own affair.
        let wanted = config.sync_filter.matches(&event);
        let item = Item::from(&event);
        if !wanted || class(event.kind) == KindClass::Ephemeral {
            self.unstored += 1;
        } else {
            self.grow(json.len());
            self.events.push(Arrival::Event(Arc::new(event), print));
        }
        wanted.then_some(item)
    }

    /// Keeps what cannot be taken, for the quarantine.
    pub fn refuse(&mut self, reason: &'static str, text: &str) {
        self.refusals += 1;
        if self.refusals <= MAX_REFUSED {
            self.grow(text.len());
            self.refused.push((reason, text.as_bytes().to_vec()));
        }
    }

    /// When what is here must be handed over; `None`: there is nothing.
    pub fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + PART_AGE)
    }

    /// Whether it should be handed over now.
    pub fn is_full(&self) -> bool {
        self.is_crowded() || self.since.is_some_and(|since| since.elapsed() >= PART_AGE)
    }

    /// Whether there are as many events as are handed over at a time.
    pub fn is_crowded(&self) -> bool {
        self.events.len() >= PART_EVENTS || self.bytes >= PART_BYTES
    }

    /// Whether more came than anybody who reads with care would let pile up.
    pub fn is_flooded(&self) -> bool {
        self.events.len() >= 4 * PART_EVENTS || self.bytes >= 64 * PART_BYTES
    }

    /// All of it; what stays is empty.
    pub fn drain(&mut self) -> Self {
        let refusals = self.refusals;
        std::mem::replace(self, Self { refusals, ..Self::default() })
    }

    /// Keeps refused events again, after so many that no more were kept.
    pub fn forgive(&mut self) {
        self.refusals = 0;
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.since.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigbrotr_models::{Filter, Signer};

    fn note(kind: u16, content: &str) -> String {
        let signer = Signer::new(&[1; 32]).expect("a key");
        signer.sign(1_700_000_000, kind, Vec::new(), content).to_json()
    }

    #[test]
    fn only_what_is_wanted_and_lasting_is_kept() {
        let filter = Filter::from_json(r#"{"kinds":[1,20001,22242]}"#).expect("a filter");
        let config = Config { sync_filter: filter, ..Config::default() };
        let known = Known::default();
        let mut inbox = Inbox::default();
        assert!(inbox.take(&note(1, "a"), &config, &known).is_some());
        assert!(inbox.take(&note(20_001, "b"), &config, &known).is_some());
        assert!(inbox.take(&note(22_242, "c"), &config, &known).is_some());
        assert!(inbox.take(&note(2, "d"), &config, &known).is_none());
        assert!(inbox.take("{}", &config, &known).is_none());
        assert_eq!((inbox.events.len(), inbox.unstored, inbox.received, inbox.refused.len()), (1, 3, 5, 1));
        let taken = inbox.drain();
        assert_eq!(taken.events.len(), 1);
        assert!(inbox.events.is_empty() && inbox.due_at().is_none());
    }

    #[test]
    fn garbage_without_end_is_counted_and_not_kept() {
        let config = Config::default();
        let known = Known::default();
        let mut inbox = Inbox::default();
        for _ in 0..2000 {
            inbox.take("{}", &config, &known);
        }
        assert_eq!((inbox.received, inbox.refused.len()), (2000, 500));
        inbox.drain();
        inbox.take("{}", &config, &known);
        assert_eq!(inbox.refused.len(), 0);
        inbox.forgive();
        inbox.take("{}", &config, &known);
        inbox.refuse("bad_frame", "[");
        assert_eq!(inbox.refused.len(), 2);
    }
}
