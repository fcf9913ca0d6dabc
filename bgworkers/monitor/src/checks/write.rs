//! Whether a relay takes events, and how fast: an ephemeral event, where its NIP-11 document does not forbid it, judged by the relay's OK.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::{Event, Signer, hex};
use bigbrotr_nips::nip01::{ClientMessage, RelayMessage};
use bigbrotr_nips::nip11::RelayInformation;
use bigbrotr_utils::{Connection, Frame};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::check::Info;
use crate::document::Body;
use crate::reading::{clean, millis};

/// Kind of the event: ephemeral, so that nobody keeps it, and no NIP's.
const KIND: u16 = 22_166;
/// Seconds after which a relay that keeps it all the same may forget it (NIP-40).
const EXPIRES_S: i64 = 60;
/// Bits of proof of work done for a check (NIP-13): about a third of a second.
const MAX_WORK: u32 = 16;
/// Attempts; sixteen times as many as are needed on average.
const MAX_ATTEMPTS: u64 = 1 << 20;
/// Messages a relay may send before its OK.
const MAX_FRAMES: usize = 500;
/// How long an OK is waited for after a NOTICE, which is all the answer of old relays.
const AFTER_NOTICE: Duration = Duration::from_secs(1);

/// What is needed to write.
#[derive(Debug)]
pub struct Writer {
    signer: Arc<Signer>,
    /// One proof of work at a time.
    work: Semaphore,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// Accepted after so many milliseconds.
    Accepted(f64),
    /// Not accepted, and what was said.
    Refused(String),
    /// Not sent, and why not.
    NotTried(&'static str),
}

impl Writer {
    /// Signs with this key.
    pub fn new(signer: Arc<Signer>) -> Self {
        Self { signer, work: Semaphore::new(1) }
    }

    /// Sends an event over an open connection that nothing else is read from, and waits for its OK, at most `limit` for each.
    pub async fn write(
        &self,
        connection: &mut Connection,
        url: &str,
        work: u32,
        limit: Duration,
        memory: &MemoryBudget,
    ) -> Written {
        let Some((id, event)) = self.event(url, work, limit).await else {
            return Written::NotTried("no time for its proof of work");
        };
        let asked = Instant::now();
        let mut deadline = asked + limit;
        if let Err(error) = connection.send_text(ClientMessage::Event { event: &event }.to_json()).await {
            return Written::Refused(error.to_string());
        }
        let mut said = None;
        for _ in 0..MAX_FRAMES {
            let received = async {
                memory.ready().await;
                connection.recv().await
            };
            let text = match timeout_at(deadline, received).await {
                Ok(Ok(Frame::Text(text))) => text,
                Ok(Ok(Frame::Binary(_))) => continue,
                Ok(Ok(Frame::Closed { code, reason })) => {
                    return Written::Refused(clean(&format!("closed with code {code}: {reason}")));
                }
                Ok(Err(error)) => return Written::Refused(error.to_string()),
                Err(_) => break,
            };
            match RelayMessage::parse(&text) {
                Ok(RelayMessage::Ok { id: of, accepted, message }) if of.eq_ignore_ascii_case(&id) => {
                    return if accepted {
                        Written::Accepted(millis(asked.elapsed()))
                    } else {
                        Written::Refused(clean(&message))
                    };
                }
                // In place of an OK; one for another id is about the REQ before.
                Ok(RelayMessage::Closed { sub, message }) if sub.eq_ignore_ascii_case(&id) => {
                    return Written::Refused(clean(&format!("CLOSED {message}")));
                }
                Ok(RelayMessage::Notice { message }) => {
                    said.get_or_insert_with(|| clean(&format!("NOTICE {message}")));
                    deadline = deadline.min(Instant::now() + AFTER_NOTICE);
                }
                _ => {}
            }
        }
        Written::Refused(said.unwrap_or_else(|| format!("no OK within {} ms", limit.as_millis())))
    }

    /// Id and JSON of an event with so many bits of work; `None` if that takes too long.
    async fn event(&self, url: &str, bits: u32, limit: Duration) -> Option<(String, String)> {
        let at = i64::try_from(crate::check::now() as u64).unwrap_or(i64::MAX);
        let tags = vec![
            vec!["expiration".to_owned(), at.saturating_add(EXPIRES_S).to_string()],
            vec!["relay".to_owned(), url.to_owned()],
            vec!["alt".to_owned(), "a relay monitor measures how fast this relay takes an event".to_owned()],
        ];
        let signer = self.signer.clone();
        let tags = if bits == 0 {
            tags
        } else {
            let mining = async {
                let _one = self.work.acquire().await.ok()?;
                let pubkey = hex::encode(&signer.pubkey());
                tokio::task::spawn_blocking(move || mine(&pubkey, at, tags, bits)).await.ok()?
            };
            timeout(limit, mining).await.ok()??
        };
        let event = self.signer.sign(at, KIND, tags, "");
        Some((hex::encode(&event.id), event.to_json()))
    }
}

/// The bits of work a relay asks for; why it is not written to otherwise.
///
/// # Errors
/// What forbids it, for people.
pub fn permission(info: Option<&Info>) -> Result<u32, &'static str> {
    let data = match info {
        Some(Info::Body(Body::Document { data, .. }, _)) => data,
        // It has none, so it forbids nothing.
        Some(Info::Body(Body::Empty, _) | Info::Status(400 | 404 | 405 | 406 | 410 | 426)) => return Ok(0),
        _ => return Err("its NIP-11 document is not known"),
    };
    let Ok(document) = RelayInformation::parse(data) else { return Err("its NIP-11 document cannot be read") };
    let limitation = document.limitation;
    if limitation.is_unclear {
        return Err("what its NIP-11 document says of access cannot be read");
    }
    let says = |flag: Option<bool>| flag == Some(true);
    if says(limitation.payment_required) {
        return Err("payment_required");
    }
    if says(limitation.auth_required) {
        return Err("auth_required");
    }
    if says(limitation.restricted_writes) {
        return Err("restricted_writes");
    }
    match u32::try_from(limitation.min_pow_difficulty.unwrap_or(0).max(0)) {
        Ok(bits) if bits <= MAX_WORK => Ok(bits),
        _ => Err("min_pow_difficulty is too high"),
    }
}

/// The tags with a nonce that gives the id of the event so many zero bits (NIP-13).
fn mine(pubkey: &str, at: i64, tags: Vec<Vec<String>>, bits: u32) -> Option<Vec<Vec<String>>> {
    let fixed = serde_json::to_string(&tags).ok()?;
    let fixed = fixed.strip_suffix(']')?;
    let nonce = (0..MAX_ATTEMPTS).find(|nonce| {
        let draft = format!(
            r#"{{"pubkey":"{pubkey}","created_at":{at},"kind":{KIND},"tags":{fixed},["nonce","{nonce}","{bits}"]],"content":""}}"#
        );
        Event::compute_id_from_json(draft.as_bytes()).is_some_and(|id| zero_bits(&id) >= bits)
    })?;
    let mut tags = tags;
    tags.push(vec!["nonce".to_owned(), nonce.to_string(), bits.to_string()]);
    Some(tags)
}

fn zero_bits(id: &[u8; 32]) -> u32 {
    let zeros = id.iter().take_while(|byte| **byte == 0).count();
    let rest = id.get(zeros).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(zeros).unwrap_or(0) * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(limitation: &str) -> Info {
        let body = format!(r#"{{"name":"a","limitation":{limitation}}}"#);
        Info::Body(crate::document::read(body.as_bytes()), Vec::new())
    }

    #[test]
    fn what_a_document_forbids_is_not_done() {
        for (limitation, expected) in [
            ("null", Ok(0)),
            ("{}", Ok(0)),
            (r#"{"payment_required":false,"restricted_writes":"false","auth_required":0}"#, Ok(0)),
            (r#"{"payment_required":true}"#, Err("payment_required")),
            (r#"{"auth_required":1}"#, Err("auth_required")),
            (r#"{"restricted_writes":"true"}"#, Err("restricted_writes")),
            (r#"{"min_pow_difficulty":"12"}"#, Ok(12)),
            (r#"{"min_pow_difficulty":-3}"#, Ok(0)),
            (r#"{"min_pow_difficulty":17}"#, Err("min_pow_difficulty is too high")),
            (r#"{"min_pow_difficulty":99999999999}"#, Err("min_pow_difficulty is too high")),
        ] {
            assert_eq!(permission(Some(&document(limitation))), expected, "{limitation}");
        }
        assert_eq!(permission(Some(&Info::Status(404))), Ok(0));
        for unknown in [Some(Info::Status(429)), Some(Info::Status(403)), Some(Info::Status(503)), None] {
            assert!(permission(unknown.as_ref()).is_err(), "{unknown:?}");
        }
        let page = Info::Body(crate::document::read(b"<html>"), Vec::new());
        assert!(permission(Some(&page)).is_err());
    }

    #[tokio::test]
    async fn the_event_says_when_it_ends_and_has_the_work_asked_for() {
        let writer = Writer::new(Arc::new(Signer::new(&[7; 32]).expect("a key")));
        for bits in [0, 8, 12] {
            let made = writer.event("wss://relay.example", bits, Duration::from_secs(60)).await;
            let (id, json) = made.expect("in time");
            let event = Event::from_json(json.as_bytes()).expect("an event").verify().expect("signed");
            assert_eq!((event.kind, hex::encode(&event.id), event.content.as_str()), (KIND, id, ""));
            assert!(zero_bits(&event.id) >= bits);
            let tag = |name: &str| event.tags.iter().find(|tag| tag[0] == name).map(|tag| tag[1].clone());
            assert_eq!(tag("expiration"), Some((event.created_at + 60).to_string()));
            assert_eq!(tag("relay").as_deref(), Some("wss://relay.example"));
            assert_eq!(tag("nonce").is_some(), bits > 0);
        }
    }
}
