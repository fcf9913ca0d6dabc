//! Are two URLs one relay? What both serve is compared: the NIP-11 document, the newest events, the addresses.
//!
//! A wrong yes hides a relay, a wrong no lists one twice, so only agreement in everything counts: relays of one provider
//! may share document, software and addresses, and relays that mirror each other share events. An empty relay, one that
//! wants authentication, one that does not answer: no evidence.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::relay_url::Host;
use bigbrotr_models::{Event, Network, RelayUrl, hex};
use bigbrotr_nips::nip01::{ClientMessage, RelayMessage};
use bigbrotr_utils::{Connection, DialError, Dialer, Frame, HttpRequest};
use rand::Rng;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

/// Media type of the document.
const ACCEPT: &str = "application/nostr+json";
/// Largest document compared, bytes.
const MAX_DOCUMENT: usize = 64 << 10;
/// Newest events asked for.
const NEWEST: usize = 10;
/// Seconds the newest events are old at least: while both are asked, nothing new may come between.
const SETTLED: i64 = 60;
/// Events that are read of a relay that ignores the limit.
const MAX_EVENTS: usize = 50;
/// Messages and bytes read.
const MAX_MESSAGES: usize = 200;
const MAX_BYTES: usize = 1 << 20;
/// Equal events that count, on the same host and on another one. A welcome note is not enough, but where a relay shows a key of its own
/// (`self`) on the same host and port.
const SAME_HOST_EVENTS: usize = 3;
const OTHER_HOST_EVENTS: usize = 5;

/// A NIP-11 document, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Info {
    /// SHA-256 of the bytes.
    digest: [u8; 32],
    /// `self` or `pubkey`, hex.
    operator: Option<String>,
    /// It is `self`, which names this relay and no other.
    is_own_key: bool,
}

/// What a URL serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Likeness {
    info: Option<Info>,
    /// Ids in the order they came; `None`: no whole answer.
    newest: Option<Vec<[u8; 32]>>,
    addresses: Vec<IpAddr>,
}

/// How close two URLs are by their text: what is believed of them differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closeness {
    /// They differ in nothing but the scheme, both at its usual port.
    Scheme,
    /// Another path.
    Path,
    /// Another port.
    Host,
    /// Another host.
    Domain,
}

fn closeness(a: &RelayUrl, b: &RelayUrl) -> Closeness {
    let rest = |url: &RelayUrl| url.as_str().split_once("://").map(|(_, rest)| rest.to_owned());
    // The names of this machine lead to one host.
    match a.host() == b.host() || is_this_machine(a) && is_this_machine(b) {
        true if rest(a) == rest(b) => Closeness::Scheme,
        true if a.port() == b.port() => Closeness::Path,
        true => Closeness::Host,
        false => Closeness::Domain,
    }
}

fn is_this_machine(url: &RelayUrl) -> bool {
    match url.host() {
        Host::Name(name) => name == "localhost",
        Host::Ip(ip) => ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST,
    }
}

/// Equal newest events that prove it, if the documents are equal (and there are any).
fn events_needed(closeness: Closeness, info: Option<&Info>) -> Option<usize> {
    match (closeness, info) {
        (Closeness::Scheme, Some(_)) => Some(0),
        (Closeness::Path, Some(info)) if info.is_own_key => Some(0),
        (Closeness::Path | Closeness::Host, Some(_)) => Some(SAME_HOST_EVENTS),
        (Closeness::Domain, Some(_)) => Some(OTHER_HOST_EVENTS),
        (Closeness::Scheme | Closeness::Path | Closeness::Host, None) => Some(NEWEST),
        (Closeness::Domain, None) => None,
    }
}

/// Why two URLs are believed to be one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// In words.
    pub reason: String,
    /// For `relay_alias.evidence`, JSON.
    pub json: String,
}

/// Something could not be asked, and the fault is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours;

/// Compares one URL with others, asking it once for each thing.
pub struct Comparison<'a> {
    dialer: &'a Dialer,
    memory: &'a MemoryBudget,
    url: &'a RelayUrl,
    until: i64,
    own: Likeness,
    has_info: bool,
    has_newest: bool,
    has_addresses: bool,
}

impl<'a> Comparison<'a> {
    /// Of `url`, at `now` in unix seconds.
    pub fn new(dialer: &'a Dialer, memory: &'a MemoryBudget, url: &'a RelayUrl, now: i64) -> Self {
        let own = Likeness::default();
        let until = now - SETTLED;
        Self { dialer, memory, url, until, own, has_info: false, has_newest: false, has_addresses: false }
    }

    /// Whether `other` is the same relay; `None`: not proven. The cheap things first, and nothing more after the first
    /// difference. Takes up to twice `connect_timeout` and four times `request_timeout`, the first time twice that.
    ///
    /// # Errors
    /// What kept us from asking was our own (a limit, no descriptor, no proxy): nothing is known.
    pub async fn with(&mut self, other: &RelayUrl) -> Result<Option<Evidence>, Ours> {
        let closeness = closeness(self.url, other);
        if !self.has_newest {
            self.own.newest = newest(self.dialer, self.url, self.until, self.memory).await?;
            // Few events and young ones: where little happens, nothing will while two are asked.
            if self.own.newest.as_ref().is_some_and(|ids| ids.len() < OTHER_HOST_EVENTS) {
                let all = newest(self.dialer, self.url, self.until + SETTLED, self.memory).await?;
                if all.as_ref().map(Vec::len) > self.own.newest.as_ref().map(Vec::len) {
                    (self.own.newest, self.until) = (all, self.until + SETTLED);
                }
            }
            self.has_newest = true;
        }
        // No whole answer proves nothing.
        let Some(own_events) = self.own.newest.as_ref().map(Vec::len).or((closeness == Closeness::Scheme).then_some(0))
        else {
            return Ok(None);
        };
        if closeness == Closeness::Domain && own_events < OTHER_HOST_EVENTS {
            return Ok(None);
        }
        if !self.has_info {
            self.own.info = document(self.dialer, self.url).await?;
            self.has_info = true;
        }
        if events_needed(closeness, self.own.info.as_ref()).is_none_or(|needed| own_events < needed) {
            return Ok(None);
        }
        let mut theirs = Likeness { info: document(self.dialer, other).await?, ..Likeness::default() };
        if self.own.info != theirs.info {
            return Ok(None);
        }
        if closeness == Closeness::Domain {
            if !self.has_addresses {
                self.own.addresses = addresses(self.dialer, self.url).await?;
                self.has_addresses = true;
            }
            theirs.addresses = addresses(self.dialer, other).await?;
        }
        if self.own.newest.is_some() {
            theirs.newest = newest(self.dialer, other, self.until, self.memory).await?;
        }
        Ok(judge(closeness, &self.own, &theirs, self.until).map(|mut evidence| {
            evidence.reason = format!("the same relay as {other}: {}", evidence.reason);
            evidence
        }))
    }
}

fn judge(closeness: Closeness, own: &Likeness, theirs: &Likeness, until: i64) -> Option<Evidence> {
    if own.info != theirs.info {
        return None;
    }
    let events = own.newest.as_deref().unwrap_or_default();
    if events.len() < events_needed(closeness, own.info.as_ref())? {
        return None;
    }
    // Where events are no part of the proof, other ones disprove it still, and so does not to show any.
    if own.newest != theirs.newest && (closeness != Closeness::Scheme || !events.is_empty()) {
        return None;
    }
    let operator = own.info.as_ref().and_then(|info| info.operator.as_deref());
    if closeness == Closeness::Domain
        && (operator.is_none() || !own.addresses.iter().any(|ip| theirs.addresses.contains(ip)))
    {
        return None;
    }
    let document = if own.info.is_some() { "same NIP-11 document" } else { "no NIP-11 document" };
    let mut reason = match events.len() {
        0 => document.to_owned(),
        n => format!("{document}, same {n} newest events"),
    };
    if closeness == Closeness::Domain {
        reason.push_str(", same operator and address");
    }
    let ids: Vec<String> = events.iter().map(|id| hex::encode(id)).collect();
    let mut json = json!({ "newest": ids, "until": until });
    if let (Some(object), Some(info)) = (json.as_object_mut(), &own.info) {
        object.insert("nip11".into(), hex::encode(&info.digest).into());
        if let Some(operator) = operator {
            object.insert("operator".into(), operator.into());
        }
        if !own.addresses.is_empty() {
            let addresses: Vec<String> = own.addresses.iter().map(ToString::to_string).collect();
            object.insert("addresses".into(), addresses.into());
        }
    }
    Some(Evidence { reason, json: json.to_string() })
}

async fn document(dialer: &Dialer, url: &RelayUrl) -> Result<Option<Info>, Ours> {
    let response = theirs(dialer.http_get(&HttpRequest::relay(url, ACCEPT, MAX_DOCUMENT)).await)?;
    Ok(response.filter(|response| response.status == 200).and_then(|response| read_document(&response.body)))
}

/// Failures of theirs are an answer too: none.
fn theirs<T>(outcome: Result<T, DialError>) -> Result<Option<T>, Ours> {
    match outcome {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_ours() => Err(Ours),
        Err(_) => Ok(None),
    }
}

fn read_document(body: &[u8]) -> Option<Info> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let key = |name: &str| object.get(name)?.as_str().filter(|text| hex::decode::<32>(text).is_some());
    let own = key("self");
    let operator = own.or_else(|| key("pubkey")).map(str::to_owned);
    Some(Info { digest: Sha256::digest(body).into(), operator, is_own_key: own.is_some() })
}

async fn addresses(dialer: &Dialer, url: &RelayUrl) -> Result<Vec<IpAddr>, Ours> {
    if url.network() != Network::Clearnet {
        return Ok(Vec::new());
    }
    let mut addresses = theirs(dialer.resolve(url).await)?.unwrap_or_default();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

async fn newest(
    dialer: &Dialer,
    url: &RelayUrl,
    until: i64,
    memory: &MemoryBudget,
) -> Result<Option<Vec<[u8; 32]>>, Ours> {
    let Some((mut connection, _)) = theirs(dialer.connect(url).await)? else { return Ok(None) };
    let limit = dialer.config().request_timeout_in(url.network());
    match timeout(limit, read_newest(&mut connection, until, memory)).await {
        // It may have answered, and nobody read.
        Err(_) if memory.is_tight() => Err(Ours),
        Ok(Some(ids)) => {
            connection.close().await;
            Ok(Some(ids))
        }
        _ => Ok(None),
    }
}

async fn read_newest(connection: &mut Connection, until: i64, memory: &MemoryBudget) -> Option<Vec<[u8; 32]>> {
    let sub = format!("{:032x}", rand::rng().random::<u128>());
    let filter = json!({ "until": until, "limit": NEWEST }).to_string();
    connection.send_text(ClientMessage::Req { sub: &sub, filter: &filter }.to_json()).await.ok()?;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for _ in 0..MAX_MESSAGES {
        memory.ready().await;
        let Frame::Text(text) = connection.recv().await.ok()? else { return None };
        bytes += text.len();
        match RelayMessage::parse(&text) {
            Ok(RelayMessage::Event { sub: theirs, event_json }) if theirs == sub => {
                take(&mut ids, &Event::from_json(event_json.as_bytes()).ok()?, until);
            }
            Ok(RelayMessage::Eose { sub: theirs, .. }) if theirs == sub => return Some(ids),
            Ok(RelayMessage::Closed { sub: theirs, .. }) if theirs == sub => return None,
            _ => {}
        }
        if bytes > MAX_BYTES || ids.len() > MAX_EVENTS {
            return None;
        }
    }
    None
}

/// Counts an event once, and only if it was asked for: a note that a relay sends to everybody proves nothing.
fn take(ids: &mut Vec<[u8; 32]>, event: &Event, until: i64) {
    if event.created_at <= until && !ids.contains(&event.id) {
        ids.push(event.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bigbrotr_models::IdForm;

    use super::*;

    fn url(key: &str) -> RelayUrl {
        RelayUrl::from_key(key).unwrap()
    }

    fn likeness(info: Option<u8>, events: std::ops::Range<u8>) -> Likeness {
        let operator = Some("ab".repeat(32));
        Likeness {
            info: info.map(|byte| Info { digest: [byte; 32], operator, is_own_key: false }),
            newest: Some(events.map(|byte| [byte; 32]).collect()),
            addresses: vec!["9.9.9.9".parse().unwrap()],
        }
    }

    #[test]
    fn how_close_two_urls_are_is_read_from_them() {
        for (a, b, wanted) in [
            ("ws://nos.lol/a", "wss://nos.lol/a", Closeness::Scheme),
            ("wss://nos.lol/a", "wss://nos.lol/b", Closeness::Path),
            ("ws://127.0.0.1:7777", "ws://localhost:7777/a", Closeness::Path),
            ("ws://[::1]:7777", "ws://localhost:7777", Closeness::Path),
            ("ws://127.0.0.1:7777", "ws://127.0.0.2:7777", Closeness::Domain),
            ("ws://nos.lol:81", "wss://nos.lol", Closeness::Host),
            ("wss://www.nos.lol", "wss://nos.lol", Closeness::Domain),
        ] {
            assert_eq!(closeness(&url(a), &url(b)), wanted, "{a} {b}");
        }
    }

    #[test]
    fn one_relay_has_the_same_document_and_the_same_newest_events() {
        let own = likeness(Some(1), 0..10);
        for closeness in [Closeness::Scheme, Closeness::Path, Closeness::Host, Closeness::Domain] {
            assert!(judge(closeness, &own, &own, 5).is_some(), "{closeness:?}");
        }
        let evidence = judge(Closeness::Host, &likeness(Some(1), 0..3), &likeness(Some(1), 0..3), 5).unwrap();
        assert_eq!(evidence.reason, "same NIP-11 document, same 3 newest events");
        let json: serde_json::Value = serde_json::from_str(&evidence.json).unwrap();
        assert_eq!((json["newest"].as_array().unwrap().len(), &json["until"]), (3, &json!(5)));
        assert_eq!(json["nip11"], "01".repeat(32));
        assert!(judge(Closeness::Host, &likeness(None, 0..10), &likeness(None, 0..10), 5).is_some());
        assert!(judge(Closeness::Scheme, &likeness(Some(1), 0..0), &likeness(Some(1), 0..0), 5).is_some());
    }

    #[test]
    fn what_differs_in_anything_or_shows_too_little_is_two_relays() {
        let host = Closeness::Host;
        let mut reordered = likeness(Some(1), 0..10);
        reordered.newest.as_mut().unwrap().reverse();
        for (closeness, own, theirs, what) in [
            (host, likeness(Some(1), 0..10), likeness(Some(2), 0..10), "another document"),
            (host, likeness(Some(1), 0..10), likeness(None, 0..10), "a document and none"),
            (host, likeness(Some(1), 0..10), likeness(Some(1), 1..11), "other events"),
            (host, likeness(Some(1), 0..10), likeness(Some(1), 0..9), "one event less"),
            (host, likeness(Some(1), 0..10), reordered, "another order"),
            (host, likeness(Some(1), 0..0), likeness(Some(1), 0..0), "both empty"),
            (host, likeness(Some(1), 0..2), likeness(Some(1), 0..2), "hardly any events"),
            (host, likeness(None, 0..9), likeness(None, 0..9), "no document and few events"),
            (Closeness::Domain, likeness(None, 0..10), likeness(None, 0..10), "another host without a document"),
            (Closeness::Domain, likeness(Some(1), 0..4), likeness(Some(1), 0..4), "another host with few events"),
            (Closeness::Scheme, likeness(Some(1), 0..3), likeness(Some(1), 0..0), "another scheme with other events"),
            (Closeness::Scheme, likeness(None, 0..0), likeness(None, 0..0), "another scheme that shows nothing"),
        ] {
            assert_eq!(judge(closeness, &own, &theirs, 5), None, "{what}");
        }
    }

    #[test]
    fn a_key_of_its_own_names_a_relay_also_where_it_holds_nothing() {
        let mut own = likeness(Some(1), 0..0);
        assert_eq!(judge(Closeness::Path, &own, &own, 5), None, "the key of an operator may stand in many documents");
        own.info.as_mut().unwrap().is_own_key = true;
        assert!(judge(Closeness::Path, &own, &own, 5).is_some());
        assert_eq!(judge(Closeness::Host, &own, &own, 5), None, "nor on another port");
        let other = Likeness { newest: Some(vec![[1; 32]]), ..own.clone() };
        assert_eq!(judge(Closeness::Path, &own, &other, 5), None, "events that only one of them has");
        let mute = Likeness { newest: None, ..own.clone() };
        assert_eq!(judge(Closeness::Path, &own, &mute, 5), None, "no answer");
    }

    #[test]
    fn an_event_counts_once_and_only_within_what_was_asked() {
        let event = |byte: u8, created_at: i64| Event {
            id: [byte; 32],
            pubkey: [0; 32],
            created_at,
            kind: 1,
            tags: Vec::new(),
            content: String::new(),
            sig: [0; 64],
            form: IdForm::Json,
        };
        let mut ids = Vec::new();
        for event in [event(1, 5), event(1, 5), event(2, 4), event(1, 5), event(3, 6)] {
            take(&mut ids, &event, 5);
        }
        assert_eq!(ids, [[1; 32], [2; 32]]);
    }

    #[test]
    fn another_host_must_also_have_the_same_operator_and_addresses() {
        let own = likeness(Some(1), 0..10);
        let elsewhere = Likeness { addresses: vec!["1.1.1.1".parse().unwrap()], ..own.clone() };
        assert_eq!(judge(Closeness::Domain, &own, &elsewhere, 5), None);
        let both = ["1.1.1.1".parse().unwrap(), "9.9.9.9".parse().unwrap()];
        let more = Likeness { addresses: both.to_vec(), ..own.clone() };
        assert!(judge(Closeness::Domain, &own, &more, 5).is_some(), "one of several is enough");
        let unknown = Likeness { addresses: Vec::new(), ..own.clone() };
        assert_eq!(judge(Closeness::Domain, &unknown, &unknown, 5), None);
        let mut anonymous = own;
        anonymous.info.as_mut().unwrap().operator = None;
        assert_eq!(judge(Closeness::Domain, &anonymous, &anonymous, 5), None);
    }

    #[test]
    fn a_document_is_a_json_object_and_its_operator_a_key() {
        let key = "ab".repeat(32);
        let info = read_document(format!(r#"{{"pubkey":"{key}"}}"#).as_bytes()).unwrap();
        assert_eq!(info.operator, Some(key.clone()));
        let info = read_document(format!(r#"{{"pubkey":"me","self":"{key}"}}"#).as_bytes()).unwrap();
        assert_eq!(info.operator, Some(key));
        assert_eq!(read_document(br#"{"pubkey":"me"}"#).unwrap().operator, None);
        for body in [&b"[]"[..], b"<html>", b"", &[0xff; 10]] {
            assert_eq!(read_document(body), None);
        }
        assert_eq!(read_document("[".repeat(60_000).as_bytes()), None);
    }
}
