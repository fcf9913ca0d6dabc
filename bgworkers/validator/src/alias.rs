//! Are two URLs of a host one relay? By what they answer, never by how they look: many relays answer on every path, and some
//! hosts keep another relay on each.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::{Document, Event, RelayUrl};
use bigbrotr_nips::nip01::{ClientMessage, RelayMessage};
use bigbrotr_utils::{Connection, Dialer, Frame, HttpRequest};
use tokio::time::timeout;

/// Bytes of a NIP-11 document.
const MAX_DOCUMENT: usize = 128 << 10;
/// Events compared. Newest first, so two stores that differ at all differ here soon.
const NEWEST: usize = 20;
/// Fewer events than these prove nothing: two empty relays of one provider look the same.
const ENOUGH: usize = 5;
/// Events younger than this may be at one and not yet at the other, seconds.
const SETTLED: u64 = 600;
/// Messages and bytes read of one relay.
const MAX_MESSAGES: usize = 200;
const MAX_BYTES: usize = 1 << 20;

/// The evidence that both are one relay, in words; `None` without enough of it. One connection at a time; each step within
/// the time-outs of the dialer.
pub async fn same_relay(dialer: &Dialer, url: &RelayUrl, known: &RelayUrl, memory: &MemoryBudget) -> Option<String> {
    let document = document(dialer, url, memory).await?;
    if self::document(dialer, known, memory).await? != document {
        return None;
    }
    let until = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().checked_sub(SETTLED)?;
    let events = newest(dialer, url, until, memory).await?;
    if events.len() < ENOUGH || newest(dialer, known, until, memory).await? != events {
        return None;
    }
    Some(format!("same NIP-11 document and same {} newest events as {known}", events.len()))
}

/// The content address of its NIP-11 document, if that says anything.
async fn document(dialer: &Dialer, url: &RelayUrl, memory: &MemoryBudget) -> Option<[u8; 32]> {
    memory.ready().await;
    let request = HttpRequest::relay(url, "application/nostr+json", MAX_DOCUMENT);
    let response = dialer.http_get(&request).await.ok()?;
    let text = std::str::from_utf8(&response.body).ok()?.trim_start_matches('\u{feff}').trim();
    let document =
        Document::from_json(text).ok().filter(|document| text.starts_with('{') && document.json().len() > 2)?;
    (response.status == 200).then(|| *document.id())
}

/// Ids of its newest settled events; `None` if it did not say that these are all.
async fn newest(dialer: &Dialer, url: &RelayUrl, until: u64, memory: &MemoryBudget) -> Option<BTreeSet<[u8; 32]>> {
    let (mut connection, _) = dialer.connect(url).await.ok()?;
    let ids = timeout(dialer.config().request_timeout, read(&mut connection, until, memory)).await.ok()?;
    connection.close().await;
    ids
}

async fn read(connection: &mut Connection, until: u64, memory: &MemoryBudget) -> Option<BTreeSet<[u8; 32]>> {
    let sub = format!("{:032x}", rand::random::<u128>());
    let filter = format!(r#"{{"until":{until},"limit":{NEWEST}}}"#);
    connection.send_text(ClientMessage::Req { sub: &sub, filter: &filter }.to_json()).await.ok()?;
    let (mut ids, mut bytes) = (BTreeSet::new(), 0);
    for _ in 0..MAX_MESSAGES {
        memory.ready().await;
        let Frame::Text(text) = connection.recv().await.ok()? else { return None };
        bytes += text.len();
        if bytes > MAX_BYTES {
            return None;
        }
        match RelayMessage::parse(&text) {
            Ok(RelayMessage::Event { sub: theirs, event_json }) if theirs == sub => {
                ids.insert(Event::from_json(event_json.as_bytes()).ok()?.id);
            }
            Ok(RelayMessage::Eose { sub: theirs, .. }) if theirs == sub => return Some(ids),
            Ok(RelayMessage::Closed { sub: theirs, .. }) if theirs == sub => return None,
            _ => {}
        }
    }
    None
}
