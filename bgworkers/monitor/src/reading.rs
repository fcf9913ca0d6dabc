//! The WebSocket of a check, with its round-trip times: a connection, a REQ for one event, and the first answer to it.

use std::net::IpAddr;
use std::time::Duration;

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::RelayUrl;
use bigbrotr_nips::nip01::{ClientMessage, RelayMessage};
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
        Err(_) => first,
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
    let answer = timeout(limit, ask(&mut connection, &sub, memory, &mut reading.remark)).await;
    match answer {
        Ok(Ok(())) => {
            reading.read_ms = Some(millis(asked.elapsed()));
            if wanted.stay {
                // What is new from now on is not for us; a relay that is gone by now is found out by whoever writes.
                let _ = connection.send_text(ClientMessage::Close { sub: &sub }.to_json()).await;
            }
            measured.connection = Some(connection);
        }
        // It speaks Nostr and will not serve us: a NOTICE or AUTH in place of an answer.
        Ok(Err(_)) | Err(_) if reading.remark.is_some() => {}
        Ok(Err(failure)) => reading.failure = Some(failure),
        // It may have answered, and nobody read.
        Err(_) if memory.is_tight() => {
            reading.failure = Some(Failure::new("busy", "no memory to read its answer with"));
        }
        Err(_) => {
            let text = format!("no answer to a REQ within {} ms", limit.as_millis());
            reading.failure = Some(Failure::new("silence", text));
        }
    }
    measured
}

/// Resolves at the first EVENT, EOSE or CLOSED of our subscription. `remark` is what else the relay had to say.
async fn ask(
    connection: &mut Connection,
    sub: &str,
    memory: &MemoryBudget,
    remark: &mut Option<String>,
) -> Result<(), Failure> {
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
                *remark = None;
                return Ok(());
            }
            Ok(RelayMessage::Closed { sub: theirs, message }) if theirs == sub => {
                *remark = Some(clean(&format!("CLOSED {message}")));
                return Ok(());
            }
            Ok(RelayMessage::Notice { message }) => *remark = Some(clean(&format!("NOTICE {message}"))),
            Ok(RelayMessage::Auth { .. }) => {
                remark.get_or_insert_with(|| "AUTH asked for".to_owned());
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
