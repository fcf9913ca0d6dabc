//! One try of one candidate.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::relay_url::Host;
use bigbrotr_models::{AddressPolicy, Network, RelayUrl, address};
use bigbrotr_utils::{Connection, Dialer, Frame, HostLimits};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::likeness::{Comparison, Evidence, Ours};
use crate::proof::Examiner;

/// Messages and bytes read in one try; a stranger may send without end.
const MAX_MESSAGES: usize = 2_000;
const MAX_BYTES: usize = 1 << 20;
/// What a message counts at least, so that empty ones end too.
const MIN_BYTES: usize = 64;

/// A URL to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As it stands in `candidate`.
    pub url: RelayUrl,
    /// No block covers the same URL with the other scheme.
    pub may_try_tls: bool,
    /// It answered, and may be a relay that is known already.
    pub doubt: Option<Doubt>,
}

/// What is to be found out before somebody who answered becomes a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What answered.
    pub answered: Answered,
    /// Relays it may be: id and URL.
    pub suspects: Vec<(i32, RelayUrl)>,
    /// Relays it was found not to be.
    pub compared: Vec<i32>,
    /// How often the comparison had to be put off because of limits of our own.
    pub delays: u8,
}

/// The URL that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The candidate's own, or the same with the other scheme.
    pub url: RelayUrl,
    /// Why the candidate's own is only another name of it, where it is another.
    pub evidence: Option<Evidence>,
}

/// What a try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is a relay.
    Relay {
        /// Under which URL.
        answered: Answered,
        /// The same URL with the other scheme, where that answered too and is not known to be the same.
        apart: Option<RelayUrl>,
        /// Relays it was found not to be.
        compared: Vec<i32>,
    },
    /// It is a relay that is known.
    Known {
        /// Under which URL it answered.
        answered: Answered,
        /// `relay.id` of the known one.
        relay_id: i32,
        /// Why we believe so.
        evidence: Evidence,
    },
    /// It gave no proof.
    Failed(Failure),
    /// It could not be tried, through no fault of its own.
    NotTried,
    /// It answered, and limits of our own keep us from finding out now what is in doubt.
    Later(Doubt),
}

/// Opens connections over which messages may be as large as `max_message_size`, a few at a time.
#[derive(Debug, Clone)]
pub struct Large {
    /// Shares everything else with the other dialer.
    pub dialer: Dialer,
    /// Who may use it.
    pub permits: Arc<Semaphore>,
}

/// What tries have in common.
#[derive(Debug, Clone)]
pub struct Means {
    /// Opens the connections.
    pub dialer: Dialer,
    /// For those whose answer is a large one.
    pub large: Large,
    /// How many of them to a host.
    pub hosts: HostLimits,
    /// What may be read.
    pub memory: MemoryBudget,
}

/// Tries a candidate: within four times `connect_timeout` + `request_timeout`, mostly a quarter of that, and twice as much where
/// answers are large. One that is in doubt is compared with each suspect, which takes as long for each.
pub async fn attempt(means: &Means, candidate: &Candidate) -> Outcome {
    match &candidate.doubt {
        Some(doubt) => settle(means, doubt).await,
        None => examine(means, candidate).await,
    }
}

async fn examine(means: &Means, candidate: &Candidate) -> Outcome {
    let url = &candidate.url;
    if let Some(twin) = better_twin(url).filter(|_| candidate.may_try_tls) {
        match ask(means, &twin).await {
            Ok(()) => return examine_beside(means, url, twin).await,
            // Nothing is known of it then, and the lesser URL is not to be a relay for want of it.
            Err(failure) if failure.is_ours() => return Outcome::NotTried,
            Err(failure) if failure.class == "no_roots" => return Outcome::Failed(failure),
            Err(_) => {}
        }
    }
    match ask(means, url).await {
        Ok(()) => Outcome::Relay { answered: own(url), apart: None, compared: Vec::new() },
        Err(failure) if failure.is_ours() => Outcome::NotTried,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// Tries a URL of which the one with the better scheme, `twin`, has answered.
async fn examine_beside(means: &Means, url: &RelayUrl, twin: RelayUrl) -> Outcome {
    let evidence = match ask(means, url).await {
        // Two servers may listen behind one name.
        Ok(()) => match Comparison::new(&means.dialer, &means.memory, url, now()).with(&twin).await {
            Ok(Some(evidence)) => evidence,
            Ok(None) => return Outcome::Relay { answered: own(url), apart: Some(twin), compared: Vec::new() },
            Err(Ours) => return Outcome::NotTried,
        },
        Err(failure) if failure.is_ours() => return Outcome::NotTried,
        Err(failure) => {
            let scheme = if twin.is_tls() { "wss" } else { "ws" };
            Evidence {
                reason: format!("the same URL answers as {scheme}, this one does not ({failure})"),
                json: json!({ "failure": failure.to_string() }).to_string(),
            }
        }
    };
    Outcome::Relay { answered: Answered { url: twin, evidence: Some(evidence) }, apart: None, compared: Vec::new() }
}

fn own(url: &RelayUrl) -> Answered {
    Answered { url: url.clone(), evidence: None }
}

async fn settle(means: &Means, doubt: &Doubt) -> Outcome {
    let url = &doubt.answered.url;
    if let Some(trouble) = means.dialer.without_roots()
        && doubt.suspects.iter().any(|(_, suspect)| suspect.is_tls())
    {
        return Outcome::Failed(Failure::new("no_roots", trouble));
    }
    // What is found out by the time that something is in the way is not asked for again.
    let later = |done: usize| {
        let (compared, rest) = doubt.suspects.split_at(done);
        let compared = doubt.compared.iter().copied().chain(compared.iter().map(|(id, _)| *id)).collect();
        let (answered, delays) = (doubt.answered.clone(), doubt.delays.saturating_add(1));
        Outcome::Later(Doubt { answered, suspects: rest.to_vec(), compared, delays })
    };
    let mut comparison = Comparison::new(&means.dialer, &means.memory, url, now());
    for (done, (relay_id, suspect)) in doubt.suspects.iter().enumerate() {
        // One connection at a time, so the place of the candidate is enough for its own host.
        let _permit = if suspect.host() == url.host() {
            None
        } else {
            match means.hosts.acquire_within(suspect, means.dialer.config().request_timeout).await {
                // A relay it was not compared with is one it may be.
                None => return later(done),
                permit => permit,
            }
        };
        match comparison.with(suspect).await {
            Ok(Some(evidence)) => {
                return Outcome::Known { answered: doubt.answered.clone(), relay_id: *relay_id, evidence };
            }
            Ok(None) => {}
            Err(Ours) => return later(done),
        }
    }
    let compared = doubt.compared.iter().copied().chain(doubt.suspects.iter().map(|(id, _)| *id)).collect();
    Outcome::Relay { answered: doubt.answered.clone(), apart: None, compared }
}

/// The same URL with the other scheme, where that is the better one and worth a try: `wss` for a public clearnet host, whose
/// `ws` most often only redirects; `ws` in an overlay, which encrypts by itself and has no certificates. Not where a port is named,
/// and not for a private host, which has no certificate.
fn better_twin(url: &RelayUrl) -> Option<RelayUrl> {
    let (scheme, rest) = url.as_str().split_once("://")?;
    let is_public = match url.host() {
        Host::Name(name) => name.contains('.') && !name.ends_with(".local") && !name.ends_with(".localhost"),
        Host::Ip(ip) => address::check(ip, AddressPolicy { allow_private: false }).is_ok(),
    };
    let other = match (scheme, url.network()) {
        // A key never names the port of its own scheme.
        ("ws", Network::Clearnet) if is_public && url.port() == 80 => "wss",
        ("wss", Network::Tor | Network::I2p | Network::Loki) if url.port() == 443 => "ws",
        _ => return None,
    };
    RelayUrl::from_key(&format!("{other}://{rest}")).ok()
}

async fn ask(means: &Means, url: &RelayUrl) -> Result<(), Failure> {
    match ask_over(&means.dialer, url, means, MAX_BYTES).await {
        Err(failure) if failure.class == "oversize" => {}
        outcome => return outcome,
    }
    // Its newest note may be as large as a relay may send one.
    let limit = means.dialer.config().request_timeout_in(url.network());
    let Ok(Ok(_permit)) = timeout(limit, means.large.permits.acquire()).await else {
        return Err(Failure::new("busy", "too many large messages at a time"));
    };
    let most = MAX_BYTES + means.large.dialer.config().max_message_size;
    ask_over(&means.large.dialer, url, means, most).await
}

async fn ask_over(dialer: &Dialer, url: &RelayUrl, means: &Means, most: usize) -> Result<(), Failure> {
    let (mut connection, _) = dialer.connect(url).await?;
    let mut examiner = Examiner::new();
    let limit = dialer.config().request_timeout_in(url.network());
    match timeout(limit, converse(&mut connection, &mut examiner, &means.memory, most)).await {
        Ok(Ok(())) => {
            connection.close().await;
            Ok(())
        }
        Ok(Err(failure)) => Err(failure),
        // It may have answered, and nobody read.
        Err(_) if means.memory.is_tight() => Err(Failure::new("busy", "no memory to read its answer with")),
        Err(_) if examiner.messages() == 0 => {
            Err(Failure::new("silence", format!("no message within {} ms", limit.as_millis())))
        }
        Err(_) => Err(Failure::new("protocol", format!("{} within {} ms", examiner.summary(), limit.as_millis()))),
    }
}

/// Asks and reads until there is proof. The caller limits the time.
async fn converse(
    connection: &mut Connection,
    examiner: &mut Examiner,
    memory: &MemoryBudget,
    most: usize,
) -> Result<(), Failure> {
    connection.send_text(examiner.request()).await?;
    let mut bytes = 0;
    for _ in 0..MAX_MESSAGES {
        memory.ready().await;
        let size = match connection.recv().await? {
            Frame::Text(text) => {
                if examiner.proves(&text) {
                    return Ok(());
                }
                if examiner.is_echo() {
                    break;
                }
                text.len()
            }
            Frame::Binary(size) => {
                examiner.binary();
                size
            }
            Frame::Closed { code, reason } => {
                let said = if reason.is_empty() { String::new() } else { format!(" {reason}") };
                return Err(Failure::new("ws", format!("closed with code {code}{said}; {}", examiner.summary())));
            }
        };
        bytes += size.max(MIN_BYTES);
        if bytes > most {
            break;
        }
    }
    // It speaks, and something else.
    Err(Failure::lasting("protocol", examiner.summary()))
}

/// Unix seconds.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

    fn twin(key: &str) -> Option<String> {
        better_twin(&RelayUrl::from_key(key).unwrap()).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn only_public_clearnet_hosts_without_a_port_are_tried_with_tls_first() {
        assert_eq!(twin("ws://relay.damus.io"), Some("wss://relay.damus.io".into()));
        assert_eq!(twin("ws://relay.damus.io/path"), Some("wss://relay.damus.io/path".into()));
        assert_eq!(twin("ws://9.9.9.9"), Some("wss://9.9.9.9".into()));
        for key in [
            "wss://relay.damus.io",
            "ws://relay.damus.io:8080",
            "ws://relay.damus.io:443",
            "ws://127.0.0.1",
            "ws://10.0.0.1",
            "ws://[::1]",
            "ws://localhost",
            "ws://umbrel",
            "ws://nas.local",
        ] {
            assert_eq!(twin(key), None, "{key}");
        }
    }

    #[test]
    fn overlay_hosts_are_tried_without_tls_first() {
        assert_eq!(twin(&format!("wss://{ONION}/x")), Some(format!("ws://{ONION}/x")));
        for key in [format!("ws://{ONION}"), format!("wss://{ONION}:8443"), format!("wss://{ONION}:80")] {
            assert_eq!(twin(&key), None, "{key}");
        }
    }
}
