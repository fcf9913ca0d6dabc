//! One function a parser. What it returns is used as the services use it, so that a value that cannot exist shows.

use bigbrotr_models::{AddressPolicy, Document, Event, Filter, Packed, RelayUrl, relay_url, sighting};
use bigbrotr_monitor::document;
use bigbrotr_nips::{discovery, nip01::RelayMessage, nip11, nip19, nip66, nip77};
use bigbrotr_utils::{Certificate, HttpRequest, certificate};
use hickory_resolver::proto::op::Message;

use crate::seeds;

/// A parser to try.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of its format.
    pub words: &'static [&'static str],
}

const JSON: &[&str] =
    &["\"", "\\u0000", "\\ud800", "[", "]", "{", "}", "null", "1e400", "-0.0", "99999999999999999999", "\u{feff}"];

pub const TARGETS: &[Target] = &[
    Target {
        name: "relay_url",
        run: url,
        seeds: seeds::urls,
        words: &["wss://", "ws://", "://", ",", "|", "%2f", "xn--", ".onion", "[::", "]", "@", "\\", "\u{200b}"],
    },
    Target { name: "event", run: event, seeds: seeds::events, words: JSON },
    Target { name: "relay_message", run: message, seeds: seeds::messages, words: JSON },
    Target { name: "nip11", run: information, seeds: seeds::documents, words: JSON },
    Target { name: "filter", run: filter, seeds: seeds::filters, words: JSON },
    Target { name: "nip19", run: name, seeds: seeds::names, words: &["nostr:", "1", "nprofile1", "naddr1"] },
    Target { name: "negentropy", run: negentropy, seeds: seeds::negentropy, words: &["61", "00", "ff", "80", "8100"] },
    Target { name: "packed_event", run: body, seeds: seeds::bodies, words: &[] },
    Target { name: "sighting_leaf", run: leaf, seeds: seeds::leaves, words: &[] },
    Target { name: "certificate", run: x509, seeds: seeds::certificates, words: &[] },
    Target { name: "dns_answer", run: dns, seeds: seeds::dns, words: &[] },
    Target { name: "http_url", run: http_url, seeds: seeds::urls, words: &["http://", "https://", "file:", "//"] },
    Target { name: "http_head", run: head, seeds: seeds::heads, words: &["\r\n", ": ", "HTTP/1.1", " 200 "] },
];

fn lossy(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

fn url(input: &[u8]) {
    let text = lossy(input);
    for policy in [AddressPolicy { allow_private: false }, AddressPolicy { allow_private: true }] {
        for piece in relay_url::extract(&text, policy) {
            let Ok(url) = piece.url else { continue };
            let again = RelayUrl::parse(url.as_str(), policy);
            assert_eq!(
                again.as_ref().map(RelayUrl::as_str),
                Ok(url.as_str()),
                "normalising a key again changes nothing"
            );
            assert_eq!(RelayUrl::from_key(url.as_str()).as_ref(), Ok(&url));
        }
        let _ = RelayUrl::parse(&text, policy);
        let _ = RelayUrl::parse_operator(&text, policy);
    }
}

fn event(input: &[u8]) {
    let Ok(event) = Event::from_json(input) else { return };
    let packed = event.pack();
    let opened = Packed::open(&packed).expect("what was packed can be opened");
    let back = opened.to_event(event.id, event.pubkey, event.created_at, event.kind).expect("and is an event");
    assert_eq!(back.to_json(), event.to_json());
    discovery::relay_url_texts(event.kind, &event.tags, &event.content).for_each(drop);
    let _ = event.check_signature();
}

fn message(input: &[u8]) {
    let text = lossy(input);
    if let Ok(RelayMessage::Event { event_json, .. }) = RelayMessage::parse(&text) {
        event(event_json.as_bytes());
    }
}

fn information(input: &[u8]) {
    let text = lossy(input);
    let _ = nip11::RelayInformation::parse(&text);
    let _ = nip66::check_profile(&text);
    if let document::Body::Document { data, .. } = document::read(input) {
        // Not the same: U+FFFD for U+0000 may change the order of keys.
        let shown = Document::from_json(&data).expect("canonical JSON is JSON");
        let again = Document::from_json(shown.json()).expect("canonical JSON is JSON");
        assert_eq!(again.json(), shown.json(), "the canonical form of a canonical form is itself");
    }
}

fn filter(input: &[u8]) {
    let Ok(filter) = Filter::from_json(&lossy(input)) else { return };
    let canonical = filter.canonical();
    let again = Filter::from_json(&canonical).expect("a filter");
    assert_eq!(again.hash(), filter.hash());
}

fn name(input: &[u8]) {
    let text = lossy(input);
    let _ = nip19::decode(&text);
    let _ = nip19::secret_key(&text);
    for name in nip19::find_nip19(&text) {
        let _ = (name.to_json(), name.relays().len());
    }
}

fn negentropy(input: &[u8]) {
    let items = (0..50).map(|n| (1_700_000_000 + i64::from(n / 5), [n; 32]));
    let session = nip77::Reconciler::new(items, (1_700_000_003, [0x55; 32]), nip77::NegLimits::default());
    let Ok(mut session) = session else { return };
    if session.open().is_err() {
        return;
    }
    // Several messages of one relay.
    for part in lossy(input).split('\n') {
        if !matches!(session.message(part), Ok(nip77::Reply::Send(_))) {
            break;
        }
    }
    let _ = session.finish();
}

fn body(input: &[u8]) {
    let _ = (Packed::sig_of(input), Packed::size_of(input), Packed::may_expire(input));
    let Ok(packed) = Packed::open(input) else { return };
    let _ = (packed.tags(), packed.content(), packed.raw(&[2; 32], 0, 1));
    let _ = packed.to_event([1; 32], [2; 32], 0, 1);
}

fn leaf(input: &[u8]) {
    let _ = (sighting::contains(input, 5), sighting::members(input));
    if let Ok(members) = sighting::deserialize(input) {
        let again = sighting::deserialize(&sighting::serialize(&members)).expect("what was written can be read");
        assert_eq!(again, members);
    }
}

fn x509(input: &[u8]) {
    let _ = (certificate::fingerprint(input), certificate::is_self_signed(input));
    let _ = Certificate::parse(input);
}

fn dns(input: &[u8]) {
    let Ok(message) = Message::from_vec(input) else { return };
    let _ = message.to_string();
}

fn http_url(input: &[u8]) {
    let _ = HttpRequest::url(&lossy(input), "application/json", 1024);
}

fn head(input: &[u8]) {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let _ = httparse::Response::new(&mut lines).parse(input);
}
