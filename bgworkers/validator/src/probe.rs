//! One try of one candidate.

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::relay_url::Host;
use bigbrotr_models::{AddressPolicy, Network, RelayUrl, address};
use bigbrotr_utils::{Connection, DialError, Dialer, Frame};
use tokio::time::timeout;

use crate::proof::Examiner;

/// Messages and bytes read in one try; a stranger may send without end.
const MAX_MESSAGES: usize = 200;
const MAX_BYTES: usize = 1 << 20;

/// A URL to try.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// As it stands in `candidate`.
    pub url: RelayUrl,
    /// No block covers the same URL as `wss`.
    pub may_try_tls: bool,
}

/// What a try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is a relay.
    Relay {
        /// The URL that answered.
        url: RelayUrl,
        /// The candidate, if that is another URL.
        alias: Option<RelayUrl>,
    },
    /// It gave no proof.
    Failed(Failure),
    /// It could not be tried, through no fault of its own.
    NotTried,
}

/// Why there was no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As `relay_check.error_class`.
    pub class: &'static str,
    /// In words, without control characters.
    pub text: String,
}

impl Failure {
    /// With these words.
    pub fn new(class: &'static str, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::new(error.class(), error.to_string())
    }
}

/// Tries a candidate within twice `connect_timeout` + `request_timeout` and a second.
pub async fn attempt(dialer: &Dialer, candidate: &Candidate, memory: &MemoryBudget) -> Outcome {
    let url = &candidate.url;
    if candidate.may_try_tls
        && let Some(twin) = tls_twin(url)
        && ask(dialer, &twin, memory).await.is_ok()
    {
        return Outcome::Relay { url: twin, alias: Some(url.clone()) };
    }
    match ask(dialer, url, memory).await {
        Ok(()) => Outcome::Relay { url: url.clone(), alias: None },
        // The setting changed after the candidate was claimed, or we are too many at its address.
        Err(failure) if matches!(failure.class, "network_off" | "busy") => Outcome::NotTried,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// The same URL as `wss`, where that is worth a try: a public clearnet host without a port. Overlays encrypt by
/// themselves, and a private host has no certificate.
fn tls_twin(url: &RelayUrl) -> Option<RelayUrl> {
    let rest = url.as_str().strip_prefix("ws://")?;
    let is_public = match url.host() {
        Host::Name(name) => name.contains('.') && !name.ends_with(".local") && !name.ends_with(".localhost"),
        Host::Ip(ip) => address::check(ip, AddressPolicy { allow_private: false }).is_ok(),
    };
    // The key of a ws URL never names port 80.
    let has_no_port = url.port() == 80;
    (url.network() == Network::Clearnet && is_public && has_no_port)
        .then(|| RelayUrl::from_key(&format!("wss://{rest}")).ok())
        .flatten()
}

async fn ask(dialer: &Dialer, url: &RelayUrl, memory: &MemoryBudget) -> Result<(), Failure> {
    let (mut connection, _) = dialer.connect(url).await?;
    let mut examiner = Examiner::new();
    let limit = dialer.config().request_timeout_in(url.network());
    match timeout(limit, converse(&mut connection, &mut examiner, memory)).await {
        Ok(Ok(())) => {
            connection.close().await;
            Ok(())
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) if examiner.messages() == 0 => {
            Err(Failure::new("silence", format!("no message within {} ms", limit.as_millis())))
        }
        Err(_) => Err(Failure::new("protocol", format!("{} within {} ms", examiner.summary(), limit.as_millis()))),
    }
}

/// Asks and reads until there is proof. The caller limits the time.
async fn converse(connection: &mut Connection, examiner: &mut Examiner, memory: &MemoryBudget) -> Result<(), Failure> {
    connection.send_text(examiner.request()).await?;
    let mut bytes = 0;
    for _ in 0..MAX_MESSAGES {
        memory.ready().await;
        match connection.recv().await? {
            Frame::Text(text) => {
                if examiner.proves(&text) {
                    return Ok(());
                }
                bytes += text.len();
            }
            Frame::Binary(size) => bytes += size,
            Frame::Closed { code, reason } => {
                let said = if reason.is_empty() { String::new() } else { format!(" {reason}") };
                return Err(Failure::new("ws", format!("closed with code {code}{said}; {}", examiner.summary())));
            }
        }
        if bytes > MAX_BYTES {
            break;
        }
    }
    Err(Failure::new("protocol", examiner.summary()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_public_clearnet_hosts_without_a_port_are_tried_with_tls_first() {
        let twin = |key: &str| tls_twin(&RelayUrl::from_key(key).unwrap()).map(|url| url.as_str().to_owned());
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
            "ws://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
        ] {
            assert_eq!(twin(key), None, "{key}");
        }
    }
}
