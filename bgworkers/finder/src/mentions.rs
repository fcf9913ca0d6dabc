//! What events and APIs name, put together until it is written.

use std::collections::{BTreeMap, BTreeSet};

use bigbrotr_core::Value;
use bigbrotr_models::RelayUrl;

/// Hashes of authors kept of one URL: as many as a row of `candidate_evidence` holds.
const HASHES: usize = 256;
/// Authors of one URL that may each bring it in: a new URL is rarely named by more.
const AUTHORS: usize = 4;

/// `author.id` permuted: spread evenly over all integers, no two alike. What it gives is stored, so it never changes.
/// The constants are those of a well-known mixer of 32 bits (lowbias32).
fn hash(author_id: i32) -> i32 {
    let mut x = author_id.cast_unsigned();
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    x.cast_signed()
}

/// Who names one URL.
#[derive(Debug, Default, Clone)]
struct Mention {
    events: i32,
    /// The lowest, [`HASHES`] at most.
    hashes: BTreeSet<i32>,
    /// The first, [`AUTHORS`] at most.
    authors: Vec<i32>,
}

/// Keys with who names them.
#[derive(Debug, Default, Clone)]
pub struct Mentions(BTreeMap<RelayUrl, Mention>);

impl Mentions {
    /// One event of this author names `url`.
    pub fn add_event(&mut self, url: RelayUrl, author_id: i32) {
        let mention = self.0.entry(url).or_default();
        mention.events = mention.events.saturating_add(1);
        mention.hashes.insert(hash(author_id));
        if mention.hashes.len() > HASHES {
            mention.hashes.pop_last();
        }
        if mention.authors.len() < AUTHORS && !mention.authors.contains(&author_id) {
            mention.authors.push(author_id);
        }
    }

    /// Somebody else names `url`.
    pub fn add(&mut self, url: RelayUrl) {
        self.0.entry(url).or_default();
    }

    /// Distinct keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The arguments of calls of `name_candidates` for up to `batch` keys each, in the order of keys, without `room`.
    pub fn calls(&self, source: &'static str, batch: usize) -> Vec<Vec<Value>> {
        let mentions: Vec<_> = self.0.iter().collect();
        mentions.chunks(batch.max(1)).map(|chunk| arguments(chunk, source)).collect()
    }
}

fn arguments(chunk: &[(&RelayUrl, &Mention)], source: &'static str) -> Vec<Value> {
    let urls = chunk.iter().map(|(url, _)| Some(url.as_str().to_owned())).collect();
    let events = chunk.iter().map(|(_, mention)| mention.events).collect();
    let (mut hash_places, mut hashes, mut author_places, mut authors) = (vec![], vec![], vec![], vec![]);
    for (place, (_, mention)) in (1..).zip(chunk) {
        hash_places.extend(mention.hashes.iter().map(|_| place));
        hashes.extend(&mention.hashes);
        author_places.extend(mention.authors.iter().map(|_| place));
        authors.extend(&mention.authors);
    }
    vec![
        Value::TextArray(urls),
        source.into(),
        Value::IntArray(events),
        Value::IntArray(hash_places),
        Value::IntArray(hashes),
        Value::IntArray(author_places),
        Value::IntArray(authors),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(n: usize) -> RelayUrl {
        RelayUrl::from_key(&format!("wss://r{n:05}.nos.lol")).unwrap()
    }

    #[test]
    fn hashes_are_spread_and_never_shared() {
        let hashes: BTreeSet<i32> = (0..100_000).map(hash).collect();
        assert_eq!(hashes.len(), 100_000);
        let negative = hashes.iter().filter(|hash| **hash < 0).count();
        assert!((49_000..51_000).contains(&negative), "{negative}");
        // Stored in tables: these must never change.
        assert_eq!([hash(0), hash(1), hash(2), hash(i32::MAX)], [0, 1_753_845_952, -787_275_391, -1_926_627_400]);
    }

    #[test]
    fn what_is_kept_of_a_url_is_bounded() {
        let mut mentions = Mentions::default();
        for author in 0..10_000 {
            mentions.add_event(url(1), author);
            mentions.add_event(url(1), author);
        }
        let calls = mentions.calls("event", 1_000);
        assert_eq!((mentions.len(), calls.len()), (1, 1));
        assert_eq!(calls[0][2], Value::IntArray(vec![20_000]));
        let mut lowest: Vec<i32> = (0..10_000).map(hash).collect();
        lowest.sort_unstable();
        lowest.truncate(HASHES);
        assert_eq!(calls[0][4], Value::IntArray(lowest));
        assert_eq!(calls[0][6], Value::IntArray(vec![0, 1, 2, 3]));
    }

    #[test]
    fn places_begin_at_one_in_each_call() {
        let mut mentions = Mentions::default();
        for n in 0..1_002 {
            mentions.add_event(url(n), 7);
        }
        mentions.add(url(1_001));
        let calls = mentions.calls("event", 1_000);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1][3], Value::IntArray(vec![1, 2]));
        assert_eq!(calls[1][6], Value::IntArray(vec![7, 7]));
        let mut named = Mentions::default();
        named.add(url(3));
        assert_eq!(
            named.calls("api", 1_000)[0][2..],
            vec![Value::IntArray(vec![0]), empty(), empty(), empty(), empty()][..]
        );
    }

    fn empty() -> Value {
        Value::IntArray(vec![])
    }
}
