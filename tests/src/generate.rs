//! Signed events for tests and benchmarks, and how to spread them over relays. Equal seeds give equal events.

use std::{
    collections::{HashSet, VecDeque},
    fs,
    ops::Range,
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::index};
use secp256k1::{Keypair, SECP256K1};

use crate::{paths, signed};

/// Threads that sign a corpus.
const SIGNERS: usize = 2;
/// Earlier events a new one may refer to.
const MEMORY: usize = 500;
const DAY: i64 = 86_400;

/// Unix seconds now.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What a corpus looks like.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Distinct authors; a few of them write most of the events.
    pub authors: usize,
    /// `created_at`, end excluded. The default is a fixed three years up to 2025-07-01, so equal seeds stay equal.
    pub created_at: Range<i64>,
    /// Seconds with this many of the events each (`created_at`, events), taken from the total.
    pub bursts: Vec<(i64, usize)>,
    /// Relay URLs in hints and relay lists. The default names lie under `.invalid`, where nobody is.
    pub relays: Vec<String>,
}

impl Default for Spec {
    fn default() -> Self {
        let end = 1_751_328_000;
        Self {
            authors: 1_000,
            created_at: end - 3 * 365 * DAY..end,
            bursts: Vec::new(),
            relays: (0..40).map(|n| format!("wss://relay-{n}.invalid/")).collect(),
        }
    }
}

/// An event that lacks its signature.
struct Unsigned {
    author: usize,
    id: [u8; 32],
    kind: u32,
    created_at: i64,
    tags: Vec<Vec<String>>,
    content: String,
}

/// Makes signed events. The same calls in the same order after the same seed give the same events.
pub struct Generator {
    rng: StdRng,
    authors: Vec<(Keypair, String)>,
    recent: VecDeque<(String, String)>,
}

impl Generator {
    /// A generator with one author.
    pub fn new(seed: u64) -> Self {
        let mut generator = Self { rng: StdRng::seed_from_u64(seed), authors: Vec::new(), recent: VecDeque::new() };
        generator.need_authors(1);
        generator
    }

    /// Key pair of the n-th author; makes those missing.
    pub fn author(&mut self, n: usize) -> &Keypair {
        self.need_authors(n + 1);
        &self.authors[n].0
    }

    /// A signed event of the first author, as compact JSON.
    pub fn event(&mut self, kind: u32, created_at: i64, tags: &[Vec<String>], content: &str) -> String {
        self.event_by(0, kind, created_at, tags, content)
    }

    /// A signed event of the n-th author, as compact JSON.
    pub fn event_by(&mut self, n: usize, kind: u32, created_at: i64, tags: &[Vec<String>], content: &str) -> String {
        signed::event(self.author(n), kind, created_at, tags, content)
    }

    /// `n` distinct signed events as compact JSON, in no order, on average about 950 bytes: mostly short notes and
    /// reactions, some lists, profiles, zaps and encrypted messages, few long articles. Kind 5 only names ids nobody has.
    ///
    /// Words are not from a vocabulary but made letter by letter: text of few words compresses (TOAST, WAL, file
    /// systems) far better than what people write, and would flatter every figure of bytes per event.
    pub fn corpus(&mut self, n: usize, spec: &Spec) -> Vec<Arc<str>> {
        self.need_authors(spec.authors.max(1));
        let mut times = Vec::with_capacity(n);
        for (second, events) in &spec.bursts {
            times.extend(std::iter::repeat_n(*second, *events));
        }
        times.truncate(n);
        while times.len() < n {
            self.session(&mut times, n, &spec.created_at);
        }
        let mut seen = HashSet::with_capacity(n);
        let mut distinct = |at| {
            loop {
                let event = self.unsigned(at, spec);
                if seen.insert(event.id) {
                    return event;
                }
            }
        };
        let unsigned: Vec<_> = times.into_iter().map(&mut distinct).collect();
        let share = n.div_ceil(SIGNERS).max(1);
        let authors = &self.authors;
        thread::scope(|scope| {
            let sign = |share| scope.spawn(move || finish(share, authors));
            let signers: Vec<_> = unsigned.chunks(share).map(sign).collect();
            signers.into_iter().flat_map(|signer| signer.join().expect("signing does not panic")).collect()
        })
    }

    fn need_authors(&mut self, n: usize) {
        while self.authors.len() < n {
            let mut secret = [0; 32];
            self.rng.fill_bytes(&mut secret);
            // Fails for 0 and beyond the group order only: chances of 2^-127.
            if let Ok(keys) = Keypair::from_seckey_slice(SECP256K1, &secret) {
                self.authors.push((keys, signed::pubkey(&keys)));
            }
        }
    }

    /// Times of one bunch: days grow busier, hours follow the sun, and an event draws others within minutes.
    fn session(&mut self, times: &mut Vec<i64>, n: usize, range: &Range<i64>) {
        let span = (range.end - range.start).max(1);
        let share = self.rng.random::<f64>().max(self.rng.random::<f64>());
        let mut at = range.start + (share * span as f64) as i64;
        let hour = (at.rem_euclid(DAY)) as f64 / 3_600.0;
        let busy = 0.6 + 0.4 * ((hour - 18.0) * std::f64::consts::PI / 12.0).cos();
        if self.rng.random::<f64>() > busy {
            return;
        }
        times.push(at.min(range.end - 1));
        while times.len() < n && self.rng.random_bool(0.45) {
            at += self.rng.random_range(0..90) * i64::from(self.rng.random_range(0..4_u8));
            if at < range.end {
                times.push(at);
            }
        }
    }

    fn unsigned(&mut self, created_at: i64, spec: &Spec) -> Unsigned {
        let share: f64 = self.rng.random();
        let author = ((share * share * share) * spec.authors.max(1) as f64) as usize;
        let (kind, tags, content) = self.body(spec);
        let pubkey = self.authors[author].1.clone();
        let id = signed::sha256(signed::id_preimage(&pubkey, created_at, kind, &tags, &content).as_bytes());
        self.recent.push_back((signed::hex(&id), pubkey));
        if self.recent.len() > MEMORY {
            self.recent.pop_front();
        }
        Unsigned { author, id, kind, created_at, tags, content }
    }

    /// Shares of kinds as an archive of popular relays has them, roughly.
    fn body(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        match self.rng.random_range(0..1_000) {
            0..480 => self.note(spec),
            480..720 => self.reaction(spec),
            720..780 => self.repost(spec),
            780..840 => self.zap(spec),
            840..890 => (1059, vec![tag(["p", &self.someone()])], self.base64(700..1_800)),
            890..920 => (4, vec![tag(["p", &self.someone()])], self.base64(64..600) + "?iv=" + &self.base64(24..25)),
            920..950 => self.profile(),
            950..970 => {
                let relays = self.rng.random_range(2..9);
                let markers = [&["r"][..], &["r", "read"], &["r", "write"]];
                let entry = |this: &mut Self| {
                    let marker = markers[this.rng.random_range(0..3)];
                    let mut entry = tag([marker[0], &this.relay(spec)]);
                    entry.extend(marker.get(1).map(|marker| (*marker).to_owned()));
                    entry
                };
                (10002, (0..relays).map(|_| entry(self)).collect(), String::new())
            }
            970..980 => {
                let follows = self.long_tail(20, 300);
                (3, (0..follows).map(|_| tag(["p", &self.someone()])).collect(), String::new())
            }
            980..985 => self.article(spec),
            985..990 => (5, vec![tag(["e", &self.hex32()]), tag(["k", "1"])], self.words(0..20)),
            _ => {
                let d = self.hex32();
                (30078, vec![tag(["d", &d[..16]])], self.base64(100..1_500))
            }
        }
    }

    fn note(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        let mut tags = Vec::new();
        if self.rng.random_bool(0.6) {
            let (root, author) = self.event_before();
            tags.push(tag(["e", &root, &self.relay(spec), "root"]));
            if self.rng.random_bool(0.6) {
                let (reply, other) = self.event_before();
                tags.push(tag(["e", &reply, &self.relay(spec), "reply"]));
                tags.push(tag(["p", &other]));
            }
            tags.push(tag(["p", &author]));
        }
        for _ in 0..self.rng.random_range(0..3_u8) {
            let word = self.words(4..9);
            tags.push(tag(["t", word.trim()]));
        }
        let length = self.long_tail(30, 2_400);
        let mut content = self.words(length..length + 20);
        if self.rng.random_bool(0.2) {
            let name = self.hex32();
            content.push_str(&format!("\nhttps://media.invalid/{name}.jpg"));
        }
        (1, tags, content)
    }

    fn reaction(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        let (id, author) = self.event_before();
        let mut tags = vec![tag(["e", &id, &self.relay(spec)]), tag(["p", &author])];
        if self.rng.random_bool(0.6) {
            tags.push(tag(["k", "1"]));
        }
        let symbols = ["+", "❤️", "🤙", "🔥", "😂", "-", "👀", ":zap:"];
        (7, tags, symbols[self.rng.random_range(0..symbols.len())].to_owned())
    }

    fn repost(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        let (id, author) = self.event_before();
        let mut content = String::new();
        if self.rng.random_bool(0.4) {
            let (text, sig) = (self.words(60..500), self.hex32() + &self.hex32());
            content = signed::json_event(&id, &author, 1_700_000_000, 1, &[], &text, &sig);
        }
        (6, vec![tag(["e", &id, &self.relay(spec)]), tag(["p", &author])], content)
    }

    fn zap(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        let (id, author) = self.event_before();
        let payer = self.someone();
        let request = [tag(["e", &id]), tag(["p", &author]), tag(["relays", &self.relay(spec), &self.relay(spec)])];
        let (zap, sig) = (self.hex32(), self.hex32() + &self.hex32());
        let request = signed::json_event(&zap, &payer, 1_700_000_000, 9734, &request, "", &sig);
        let invoice = format!("lnbc210n1{}", self.base64(260..320).to_ascii_lowercase());
        let tags = vec![
            tag(["p", &author]),
            tag(["e", &id]),
            tag(["P", &payer]),
            tag(["bolt11", &invoice]),
            tag(["description", &request]),
            tag(["preimage", &self.hex32()]),
        ];
        (9735, tags, String::new())
    }

    fn profile(&mut self) -> (u32, Vec<Vec<String>>, String) {
        let (name, about, picture) = (self.words(4..16), self.words(20..300), self.hex32());
        let profile = serde_json::json!({
            "name": name,
            "about": about,
            "picture": format!("https://media.invalid/{picture}.png"),
            "nip05": format!("{}@names.invalid", &picture[..8]),
            "lud16": format!("{}@pay.invalid", &picture[8..16]),
        });
        (0, Vec::new(), profile.to_string())
    }

    fn article(&mut self, spec: &Spec) -> (u32, Vec<Vec<String>>, String) {
        let (d, title) = (self.hex32(), self.words(20..80));
        let tags = vec![
            tag(["d", &d[..12]]),
            tag(["title", &title]),
            tag(["a", &format!("30023:{}:{}", self.someone(), &d[12..24]), &self.relay(spec)]),
            tag(["published_at", "1700000000"]),
        ];
        let length = self.long_tail(3_000, 20_000);
        (30023, tags, format!("# {title}\n\n{}", self.words(length..length + 100)))
    }

    /// A number that is mostly near `least`, seldom near `most`.
    fn long_tail(&mut self, least: usize, most: usize) -> usize {
        let share: f64 = self.rng.random();
        least + ((most - least) as f64 * share.powi(5)) as usize
    }

    /// Text of about this many bytes: made-up words, with punctuation, line breaks, quotes, and now and then other
    /// scripts, so that escapes and multi-byte characters occur as often as in notes.
    fn words(&mut self, bytes: Range<usize>) -> String {
        const LETTERS: &[u8] = b"etaoinshrdlucmfwypvbgkjqxzETAOINS0123456789";
        const OTHER: [&str; 14] =
            ["é", "ü", "ñ", "日本", "語", "と", "ありがとう", "привет", "мир", "🚀", "🫂", "…", "—", "“"];
        let length = self.rng.random_range(bytes);
        let mut text = String::with_capacity(length + 16);
        while text.len() < length {
            match self.rng.random_range(0..100) {
                0..3 => text.push('\n'),
                3..5 => text.push('"'),
                5..11 => text.push_str(OTHER[self.rng.random_range(0..OTHER.len())]),
                11..16 => text.push_str(". "),
                _ => {
                    for _ in 0..self.rng.random_range(2..11) {
                        // Squaring prefers the frequent letters at the front.
                        let share: f64 = self.rng.random();
                        text.push(char::from(LETTERS[(share * share * LETTERS.len() as f64) as usize]));
                    }
                    text.push(' ');
                }
            }
        }
        text
    }

    fn base64(&mut self, bytes: Range<usize>) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let length = self.rng.random_range(bytes);
        (0..length).map(|_| char::from(DIGITS[self.rng.random_range(0..DIGITS.len())])).collect()
    }

    fn hex32(&mut self) -> String {
        signed::hex(&self.rng.random::<[u8; 32]>())
    }

    fn relay(&mut self, spec: &Spec) -> String {
        match spec.relays.len() {
            0 => String::new(),
            n => spec.relays[self.rng.random_range(0..n)].clone(),
        }
    }

    fn someone(&mut self) -> String {
        if self.rng.random_bool(0.3) {
            return self.hex32();
        }
        let n = self.rng.random_range(0..self.authors.len());
        self.authors[n].1.clone()
    }

    /// Id and author of an earlier event, or of one nobody has.
    fn event_before(&mut self) -> (String, String) {
        if self.recent.is_empty() || self.rng.random_bool(0.3) {
            return (self.hex32(), self.someone());
        }
        let n = self.rng.random_range(0..self.recent.len());
        self.recent[n].clone()
    }
}

fn tag<const N: usize>(values: [&str; N]) -> Vec<String> {
    values.map(str::to_owned).into()
}

fn finish(unsigned: &[Unsigned], authors: &[(Keypair, String)]) -> Vec<Arc<str>> {
    let finish = |event: &Unsigned| {
        let (keys, pubkey) = &authors[event.author];
        let (id, sig) = (signed::hex(&event.id), signed::sign(keys, &event.id));
        signed::json_event(&id, pubkey, event.created_at, event.kind, &event.tags, &event.content, &sig).into()
    };
    unsigned.iter().map(finish).collect()
}

/// The 722 real events (kinds 0, 1, 3, 6, 7) as JSON texts; `None`, with a printed message, where they are absent.
pub fn real_events() -> Option<Vec<String>> {
    let file = paths::data_dir()?.join("real-events.jsonl");
    match fs::read_to_string(&file) {
        Ok(text) => Some(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()),
        Err(error) => {
            eprintln!("skipped: {}: {error}", file.display());
            None
        }
    }
}

/// Which relay holds which events: for each relay the positions of its events, ascending. Each event lies on `copies`
/// distinct relays (on all, if there are fewer), chosen at random, so that relays overlap and are of similar size.
pub fn distribute(events: usize, relays: usize, copies: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut held = vec![Vec::new(); relays];
    for event in 0..events {
        for relay in index::sample(&mut rng, relays, copies.min(relays)) {
            held[relay].push(event);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn corpus_is_valid_distinct_and_of_realistic_size() {
        let spec = Spec { bursts: vec![(1_700_000_000, 70)], ..Spec::default() };
        let events = Generator::new(1).corpus(6_000, &spec);
        let mut ids = HashSet::new();
        let (mut burst, mut kinds) = (0, HashSet::new());
        for (n, raw) in events.iter().enumerate() {
            let event: Value = serde_json::from_str(raw).expect("JSON");
            assert_eq!(event.as_object().map(serde_json::Map::len), Some(7));
            if n % 10 == 0 {
                assert_eq!(signed::verify(&event), Ok(()), "{raw}");
            }
            assert!(ids.insert(event["id"].as_str().map(str::to_owned)));
            let at = event["created_at"].as_i64().expect("integer");
            assert!(spec.created_at.contains(&at));
            burst += usize::from(at == 1_700_000_000);
            kinds.insert(event["kind"].as_u64());
        }
        let average = events.iter().map(|event| event.len()).sum::<usize>() / events.len();
        assert!((900..1_000).contains(&average), "{average} bytes on average");
        assert!(burst >= 70, "{burst} events in the burst");
        assert!([0, 1, 3, 6, 7, 10002, 30023].iter().all(|kind| kinds.contains(&Some(*kind))), "{kinds:?}");
    }

    #[test]
    fn equal_seeds_give_equal_events() {
        let make = |seed| Generator::new(seed).corpus(101, &Spec::default());
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }

    #[test]
    fn each_event_lies_on_as_many_relays_as_asked() {
        let held = distribute(1_000, 10, 3, 5);
        let mut copies = vec![0; 1_000];
        for relay in &held {
            assert!(relay.windows(2).all(|pair| pair[0] < pair[1]), "distinct and ascending");
            assert!((200..400).contains(&relay.len()), "{} events on one relay", relay.len());
            relay.iter().for_each(|event| copies[*event] += 1);
        }
        assert!(copies.iter().all(|copies| *copies == 3));
        assert_eq!(distribute(4, 2, 9, 0), vec![vec![0, 1, 2, 3]; 2]);
    }

    #[test]
    fn real_events_verify() {
        let Some(events) = real_events() else { return };
        assert_eq!(events.len(), 722);
        for raw in events {
            let event: Value = serde_json::from_str(&raw).expect("JSON");
            assert_eq!(signed::verify(&event), Ok(()), "{raw}");
        }
    }
}
