//! One check of one relay: its parts, within the limits of its host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::RelayUrl;
use bigbrotr_utils::{HostLimits, HttpRequest};

use crate::document::{self, Body};
use crate::reading::{self, Failure, Reading};
use crate::settings::Settings;

/// How long a check waits for other checks of its host before it lets others have its place.
const BUSY_HOST: Duration = Duration::from_secs(5);

/// What a check found.
#[derive(Debug)]
pub struct Outcome {
    /// `relay.id`.
    pub relay_id: i32,
    /// When it began, unix seconds.
    pub checked_at: f64,
    /// None: its host was busy, nothing was tried.
    pub found: Option<Found>,
}

/// What a finished check found.
#[derive(Debug)]
pub struct Found {
    /// The WebSocket part; None: not asked for.
    pub reading: Option<Reading>,
    /// The NIP-11 part; None: not asked for.
    pub info: Option<Info>,
}

/// How the NIP-11 document was answered.
#[derive(Debug)]
pub enum Info {
    /// The body of an answer with status 200, and the body itself where it goes to quarantine.
    Body(Body, Vec<u8>),
    /// Another status.
    Status(u16),
    /// No answer.
    Failed(Failure),
}

impl Found {
    /// The verdict for `relay_check`: None is a good check.
    pub fn failure(&self) -> Option<Failure> {
        match (&self.reading, &self.info) {
            (Some(reading), _) => reading.failure.as_ref().map(|f| Failure::new(f.class, f.text.as_str())),
            // Without a WebSocket to go by, a server that answers at all counts as being there.
            (None, Some(Info::Failed(failure))) => Some(Failure::new(failure.class, failure.text.as_str())),
            (None, Some(Info::Status(status))) if *status >= 500 => {
                Some(Failure::new("http", format!("HTTP {status}")))
            }
            (None, _) => None,
        }
    }
}

/// Checks a relay. Every part has its time limit; waiting for a busy host takes no slot of the pool.
pub async fn check(
    relay_id: i32,
    url: RelayUrl,
    settings: &Settings,
    limits: &HostLimits,
    memory: &MemoryBudget,
) -> Outcome {
    let permit = limits.acquire_within(&url, BUSY_HOST).await;
    let slot = match &permit {
        // Never closed, so never an error.
        Some(_) => settings.slots.acquire().await.ok(),
        None => None,
    };
    let checked_at = now();
    if permit.is_none() {
        return Outcome { relay_id, checked_at, found: None };
    }
    memory.ready().await;
    let found = parts(&url, settings, limits, memory).await;
    drop(slot);
    // Other connections of ours were in the way of this one: as good as a busy host.
    let is_busy = found.failure().is_some_and(|failure| failure.class == "busy");
    Outcome { relay_id, checked_at, found: (!is_busy).then_some(found) }
}

/// Both parts at once if the host has a second connection to give, else one after the other over the first.
async fn parts(url: &RelayUrl, settings: &Settings, limits: &HostLimits, memory: &MemoryBudget) -> Found {
    if !settings.nip11 {
        return Found { reading: Some(reading::measure(url, settings, memory).await), info: None };
    }
    if !settings.rtt {
        return Found { reading: None, info: Some(info(url, settings).await) };
    }
    let mut measuring = std::pin::pin!(reading::measure(url, settings, memory));
    let mut second = std::pin::pin!(limits.acquire(url));
    let (reading, info) = tokio::select! {
        biased;
        _permit = &mut second => tokio::join!(measuring, info(url, settings)),
        reading = &mut measuring => (reading, info(url, settings).await),
    };
    Found { reading: Some(reading), info: Some(info) }
}

async fn info(url: &RelayUrl, settings: &Settings) -> Info {
    let request = HttpRequest::relay(url, document::ACCEPT, document::MAX_BODY);
    match settings.dialer.http_get(&request).await {
        Err(error) => Info::Failed(Failure::from(&error)),
        Ok(response) if response.status != 200 => Info::Status(response.status),
        Ok(response) => match document::read(&response.body) {
            refused @ Body::Refused(_) => Info::Body(refused, response.body),
            body => Info::Body(body, Vec::new()),
        },
    }
}

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
