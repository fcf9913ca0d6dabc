//! The targets. Beyond "no panic" each holds a promise of its parser, such as that what it accepts it accepts again unchanged.

use bigbrotr_models::{
    AddressPolicy, Document, Event, Filter, Packed, RelayUrl, canonical, relay_url, repaired, sighting, without_nul,
};
use bigbrotr_monitor::document;
use bigbrotr_nips::{
    discovery,
    nip01::RelayMessage,
    nip11::RelayInformation,
    nip19,
    nip66::{Measured, Place, RelayReport},
    nip77,
};
use bigbrotr_utils::fuzzing;
use serde_json::Value;

use super::seeds;

/// A parser under test.
pub struct Target {
    /// As `FUZZ_TARGET` names it.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Whole inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "url", run: url, seeds: seeds::urls, words: seeds::URL_WORDS },
    Target { name: "event", run: event, seeds: seeds::events, words: seeds::JSON_WORDS },
    Target { name: "packed", run: packed, seeds: seeds::packed, words: seeds::PACKED_WORDS },
    Target { name: "leaf", run: leaf, seeds: seeds::leaves, words: &[] },
    Target { name: "filter", run: filter, seeds: seeds::filters, words: seeds::JSON_WORDS },
    Target { name: "canonical", run: canonical_json, seeds: seeds::documents, words: seeds::JSON_WORDS },
    Target { name: "relay_message", run: relay_message, seeds: seeds::messages, words: seeds::JSON_WORDS },
    Target { name: "nip11", run: nip11, seeds: seeds::documents, words: seeds::JSON_WORDS },
    Target { name: "report", run: report, seeds: seeds::documents, words: seeds::JSON_WORDS },
    Target { name: "repair", run: repair, seeds: seeds::documents, words: seeds::JSON_WORDS },
    Target { name: "discovery", run: discovered, seeds: seeds::events, words: seeds::URL_WORDS },
    Target { name: "compressed", run: fuzzing::compressed, seeds: seeds::compressed, words: &[] },
    Target { name: "nip19", run: nip19, seeds: seeds::nip19, words: seeds::NIP19_WORDS },
    Target { name: "negentropy", run: negentropy, seeds: seeds::negentropy, words: &[] },
    Target { name: "upgrade_head", run: fuzzing::upgrade_head, seeds: seeds::heads, words: seeds::HTTP_WORDS },
    Target { name: "redirect", run: redirect, seeds: seeds::locations, words: seeds::URL_WORDS },
    Target { name: "websocket", run: fuzzing::websocket, seeds: seeds::frames, words: &[] },
    Target { name: "socks", run: fuzzing::socks, seeds: seeds::socks, words: &[] },
    Target { name: "dns", run: fuzzing::dns, seeds: seeds::dns, words: &[] },
    Target { name: "x509", run: fuzzing::certificate, seeds: seeds::certificates, words: seeds::DER_WORDS },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

const POLICIES: [AddressPolicy; 2] = [AddressPolicy { allow_private: false }, AddressPolicy { allow_private: true }];

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn url(bytes: &[u8]) {
    let text = text(bytes);
    for policy in POLICIES {
        for found in relay_url::extract(&text, policy) {
            let Ok(url) = found.url else { continue };
            let key = url.as_str();
            assert_eq!(RelayUrl::parse(key, policy).as_ref(), Ok(&url), "a key is not its own key: {key}");
            assert_eq!(RelayUrl::from_key(key).as_ref(), Ok(&url), "no key: {key}");
            fuzzing::endpoint(&url, policy);
        }
        let _ = RelayUrl::parse(&text, policy);
        if let Ok(url) = RelayUrl::parse_operator(&text, policy) {
            assert_eq!(RelayUrl::from_key(url.as_str()).as_ref(), Ok(&url), "no key: {url:?}");
        }
    }
    let _ = RelayUrl::from_key(&text);
}

fn event(bytes: &[u8]) {
    let _ = Event::compute_id_from_json(bytes);
    let Ok(event) = Event::from_json(bytes) else { return };
    let again = Event::from_json(event.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&event), "an event is another one after writing it");
    let packed = event.pack();
    let opened = Packed::open(&packed).and_then(|p| p.to_event(event.id, event.pubkey, event.created_at, event.kind));
    assert_eq!(opened.as_ref(), Ok(&event), "an event is another one after packing it");
    let _ = event.check_signature();
}

fn packed(bytes: &[u8]) {
    let _ = (Packed::sig_of(bytes), Packed::may_expire(bytes), Packed::size_of(bytes));
    let Ok(packed) = Packed::open(bytes) else { return };
    let _ = (packed.tags(), packed.content(), packed.raw(&[7; 32], 1, 1));
    if let Ok(event) = packed.to_event([7; 32], [7; 32], 1, 1) {
        let again = event.pack();
        let again = Packed::open(&again).and_then(|packed| packed.to_event([7; 32], [7; 32], 1, 1));
        assert_eq!(again.as_ref(), Ok(&event), "what was opened cannot be packed");
    }
}

fn leaf(bytes: &[u8]) {
    let _ = sighting::contains(bytes, 7);
    if let Ok(members) = sighting::deserialize(bytes) {
        assert!(members.len() <= sighting::MAX_MEMBERS);
        let again = sighting::deserialize(&sighting::serialize(&members));
        assert!(again.is_ok_and(|again| again == members), "a leaf is another one after writing it");
    }
    let _ = sighting::members(bytes);
}

fn filter(bytes: &[u8]) {
    let Ok(filter) = Filter::from_json(&text(bytes)) else { return };
    let again = Filter::from_json(&filter.to_json());
    assert_eq!(again.map(|again| again.hash()).ok(), Some(filter.hash()), "a filter is another one after writing it");
}

fn canonical_json(bytes: &[u8]) {
    let Ok(once) = canonical::canonical_json(&text(bytes)) else { return };
    assert_eq!(canonical::canonical_json(&once).as_ref(), Ok(&once), "the canonical form is not its own");
    let _ = Document::from_json(&once);
}

fn relay_message(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(message) = RelayMessage::parse(&text) {
        let _ = message.close_prefix();
        if let RelayMessage::Event { event_json, .. } = message {
            let _ = Event::from_text(event_json);
        }
    }
}

fn nip11(bytes: &[u8]) {
    let _ = RelayInformation::parse(&text(bytes));
    if let document::Body::Document { data, .. } = document::read(bytes) {
        assert!(!data.contains('\0'), "a text of PostgreSQL holds no U+0000");
        let _ = RelayInformation::parse(&data);
    }
}

/// What NIP-66 reports of a document: strings, one value a tag, whatever the document says.
fn report(bytes: &[u8]) {
    let Ok(url) = RelayUrl::from_key("wss://relay.example.com") else { return };
    let text = text(bytes);
    let report =
        RelayReport { url: &url, measured: Measured::default(), document: Some(&text), place: Place::default() };
    let draft = report.draft();
    assert_eq!(draft.d(), "wss://relay.example.com/");
    assert!(draft.tags.len() <= 2_000 && draft.content.len() <= 64 << 10, "{} tags", draft.tags.len());
    assert!(draft.tags.iter().all(|tag| matches!(tag.len(), 2 | 3) && tag[1].len() <= 200), "{:?}", draft.tags);
    let _ = draft.fingerprint();
}

/// Nothing is changed of what is JSON, but for what PostgreSQL cannot hold.
fn repair(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(value) = serde_json::from_str::<Value>(&text) else {
        let _ = repaired(&without_nul(&text));
        return;
    };
    assert_eq!(repaired(&text), text, "what is JSON was repaired");
    let without = serde_json::from_str::<Value>(&without_nul(&text)).unwrap_or_else(|error| panic!("{error}: {text}"));
    let expected = value.to_string().replace("\\u0000", "\u{fffd}");
    if !value.to_string().contains("\\\\u0000") {
        assert_eq!(without.to_string(), expected);
    }
}

/// Where an event names relays: bounded, and all of it keys or nothing.
fn discovered(bytes: &[u8]) {
    let Ok(event) = Event::from_text(&text(bytes)) else {
        for kind in [1, 3, 10002, 22242] {
            let tags = [vec!["r".to_owned(), text(bytes).into_owned()]];
            for found in discovery::relay_url_texts(kind, &tags, &text(bytes)) {
                assert_ne!(kind, 22242, "the URL of a connection is no recommendation");
                url(found.as_bytes());
            }
        }
        return;
    };
    let texts = discovery::relay_url_texts(event.kind, &event.tags, &event.content);
    assert!(texts.count() <= discovery::MAX_TEXTS);
}

fn nip19(bytes: &[u8]) {
    let text = text(bytes);
    for found in nip19::find_nip19(&text) {
        let _ = found.to_json();
    }
    if let Ok(decoded) = nip19::decode(&text) {
        let _ = (decoded.to_json(), decoded.relays().len());
    }
    let _ = nip19::secret_key(&text);
}

fn negentropy(bytes: &[u8]) {
    let items: Vec<(i64, [u8; 32])> = (0..100_u8).map(|n| (i64::from(n) * 10, [n; 32])).collect();
    let limits = nip77::NegLimits { rounds: 8, ..nip77::NegLimits::default() };
    let mut sync = nip77::NegSync::new(bigbrotr_models::Range { lo: 0, hi: Some(2_000) }, 2_000, limits);
    let _ = sync.next();
    let _ = sync.open(items, [0xee; 32]);
    // Each line is a message of the relay.
    for line in bytes.split(|byte| *byte == b'\n') {
        let digits: String =
            if line.first() == Some(&b'=') { text(line).into_owned() } else { bigbrotr_models::hex::encode(line) };
        if sync.message(&digits).is_none() {
            break;
        }
    }
    let _ = (sync.ended(), sync.error(), sync.left());
}

fn redirect(bytes: &[u8]) {
    for from in
        ["http://relay.example.com/a/b", "https://relay.example.com:7777/", "http://192.0.2.1/", "http://a.b32.i2p/"]
    {
        fuzzing::redirect(from, &text(bytes));
    }
}
