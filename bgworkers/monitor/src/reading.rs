//! The WebSocket of a check, with its round-trip times: a connection, a REQ for one event, and the first answer to it.

use std::net::IpAddr;
use std::time::Duration;

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::RelayUrl;
use bigbrotr_nips::nip01::{ClientMessage, NoticeClass, RelayMessage};
use bigbrotr_utils::{Connection, DialError, Dialer, Frame, Headers, TlsFailure, TlsInfo, Trace};
use tokio::time::{Instant, timeout};

use crate::settings::Settings;

/// One event is the least a relay can be asked for that shows it reading.
const FILTER: &str = r#"{"limit":1}"#;
/// Messages a relay may send before it answers.
const MAX_FRAMES: usize = 500;

/// What the WebSocket part of a check showed.
#[derive(Debug, Default, PartialEq)]
pub struct Reading {
    /// Milliseconds to an open WebSocket, DNS, TCP and TLS included.
    pub open_ms: Option<f64>,
    /// Milliseconds from the REQ to its first answer.
    pub read_ms: Option<f64>,
    /// Why there was no answer.
    pub failure: Option<Failure>,
    /// What the relay said instead of events.
    pub remark: Option<String>,
}

/// A failure for `relay_check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `relay_check.error_class`.
    pub class: &'static str,
    /// `relay_check.error`.
    pub text: String,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }
}

impl From<&DialError> for Failure {
    fn from(error: &DialError) -> Self {
        Self::new(error.class(), error.to_string())
    }
}

/// A WebSocket and what came of it.
#[derive(Debug, Default)]
pub struct Measured {
    /// Its times.
    pub reading: Reading,
    /// The address connected to.
    pub address: Option<IpAddr>,
    /// The TLS session, or how it failed.
    pub tls: Option<Result<TlsInfo, Box<TlsFailure>>>,
    /// Headers of the upgrade.
    pub headers: Option<Headers>,
    /// Still open: whoever has it says goodbye, which takes another round trip, when nobody waits for it.
    pub connection: Option<Connection>,
}

/// What is wanted of a WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The times.
    pub rtt: bool,
    /// The connection itself, afterwards, to go on with.
    pub stay: bool,
}

/// Opens a WebSocket and measures it. Takes at most the connect and request time-outs, twice if its newest event is a large one.
pub async fn measure(url: &RelayUrl, wanted: Wanted, settings: &Settings, memory: &MemoryBudget) -> Measured {
    let limit = settings.dialer.config().request_timeout_in(url.network());
    let first = attempt(&settings.dialer, url, wanted, limit, memory).await;
    if first.reading.failure.as_ref().is_none_or(|failure| failure.class != "oversize") {
        return first;
    }
    // Follow lists beyond the small cap exist; they must not make a relay look dead.
    match timeout(limit, settings.large_permits.acquire()).await {
        Ok(_permit) => attempt(&settings.large_dialer, url, wanted, limit, memory).await,
        // The fault is ours.
        Err(_) => {
            let failure = Some(Failure::new("busy", "too many large messages at a time"));
            Measured { reading: Reading { failure, ..first.reading }, ..first }
        }
    }
}

async fn attempt(dialer: &Dialer, url: &RelayUrl, wanted: Wanted, limit: Duration, memory: &MemoryBudget) -> Measured {
    let mut trace = Trace::default();
    let opened = dialer.connect_tracing(url, &mut trace).await;
    let mut measured =
        Measured { address: trace.address.map(|address| address.ip()), tls: trace.tls.map(Ok), ..Measured::default() };
    let (mut connection, info) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            measured.reading.failure = Some(Failure::from(&error));
            if let DialError::Tls(failure) = error {
                measured.tls = Some(Err(failure));
            }
            return measured;
        }
    };
    measured.headers = Some(info.headers);
    if !wanted.rtt {
        measured.connection = Some(connection);
        return measured;
    }
    let reading = &mut measured.reading;
    reading.open_ms = Some(millis(info.open));
    // Unguessable: an answer with it can only be one to our question.
    let sub = format!("{:032x}", rand::random::<u128>());
    let asked = Instant::now();
    let mut said = Said::default();
    let answer = timeout(limit, ask(&mut connection, &sub, memory, &mut said)).await;
    let answer = answer.unwrap_or_else(|_| {
        // It may have answered, and nobody read.
        if memory.is_tight() {
            return Err(Failure::new("busy", "no memory to read its answer with"));
        }
        let words = said.remark.as_ref().map(|words| format!("; {words}")).unwrap_or_default();
        Err(Failure::new("silence", format!("no answer to a REQ within {} ms{words}", limit.as_millis())))
    });
    match answer {
        Ok(()) => {
            reading.remark = said.remark;
            reading.read_ms = Some(millis(asked.elapsed()));
            if wanted.stay {
                // What is new from now on is not for us; a relay that is gone by now is found out by whoever writes.
                let _ = connection.send_text(ClientMessage::Close { sub: &sub }.to_json()).await;
            }
            measured.connection = Some(connection);
        }
        // It speaks Nostr and will not serve us: it said why in place of an answer, and nothing more or goodbye.
        Err(failure) if said.is_refusal && matches!(failure.class, "silence" | "ws" | "tcp") => {
            reading.remark = said.remark;
        }
        Err(failure) => reading.failure = Some(failure),
    }
    measured
}

/// What a relay had to say besides an answer.
#[derive(Debug, Default)]
struct Said {
    /// The last of it.
    remark: Option<String>,
    /// A NIP-42 challenge, or a NOTICE that seems to say that we are not welcome, too fast or too many: in place of the `CLOSED` that
    /// NIP-01 has for it. Other notices, which any server may send, are no answer.
    is_refusal: bool,
}

/// Resolves at the first EVENT, EOSE or CLOSED of our subscription.
async fn ask(connection: &mut Connection, sub: &str, memory: &MemoryBudget, said: &mut Said) -> Result<(), Failure> {
    let request = ClientMessage::Req { sub, filter: FILTER }.to_json();
    connection.send_text(request).await.map_err(|error| Failure::from(&error))?;
    for _ in 0..MAX_FRAMES {
        memory.ready().await;
        let text = match connection.recv().await {
            Ok(Frame::Text(text)) => text,
            Ok(Frame::Binary(_)) => continue,
            Ok(Frame::Closed { code, reason }) => {
                return Err(Failure::new("ws", format!("closed with code {code} before an answer: {reason}")));
            }
            Err(error) => return Err(Failure::from(&error)),
        };
        match RelayMessage::parse(&text) {
            Ok(RelayMessage::Event { sub: theirs, .. } | RelayMessage::Eose { sub: theirs, .. }) if theirs == sub => {
                // What it said before did not keep it from answering.
                said.remark = None;
                return Ok(());
            }
            Ok(RelayMessage::Closed { sub: theirs, message }) if theirs == sub => {
                said.remark = Some(clean(&format!("CLOSED {message}")));
                return Ok(());
            }
            Ok(RelayMessage::Notice { message }) => {
                said.remark = Some(clean(&format!("NOTICE {message}")));
                said.is_refusal |= matches!(
                    NoticeClass::parse(&message),
                    NoticeClass::AuthRequired
                        | NoticeClass::Restricted
                        | NoticeClass::RateLimited
                        | NoticeClass::Subscription
                );
            }
            Ok(RelayMessage::Auth { challenge }) if !challenge.is_empty() => {
                said.remark.get_or_insert_with(|| "AUTH asked for".to_owned());
                said.is_refusal = true;
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(Failure::new("protocol", format!("{MAX_FRAMES} messages, none of them an answer")))
}

/// Milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A stranger's text fit for a column: at most 200 characters, no control characters.
pub fn clean(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
