//! One check of one relay: its parts, within the limits of its host.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_models::{Network, RelayUrl, address, relay_url::Host};
use bigbrotr_utils::{Connection, DnsRecords, HostLimits, HttpRequest};

use crate::checks::write::{self, Written};
use crate::checks::{Fact, dns, geo, http, net, ssl};
use crate::document::{self, Body};
use crate::reading::{self, Failure, Measured, Reading, Wanted};
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
#[derive(Debug, Default)]
pub struct Found {
    /// The WebSocket part; None: not asked for.
    pub reading: Option<Reading>,
    /// The NIP-11 part; None: not asked for.
    pub info: Option<Info>,
    /// What became of an event; None: not asked for, or there was nobody to write to.
    pub written: Option<Written>,
    /// Why the name leads nowhere; None: it does, or nobody asked.
    pub unresolved: Option<Failure>,
    /// The documents of the other parts.
    pub facts: Vec<Fact>,
}

/// How the NIP-11 document was answered.
#[derive(Debug)]
pub enum Info {
    /// What the body of an answer with status 200 is, and its bytes where they go to quarantine: it is no document, or not quite.
    Body(Body, Vec<u8>),
    /// Another status.
    Status(u16),
    /// No answer.
    Failed(Failure),
}

impl Found {
    /// The verdict for `relay_check`: None is a good check. A WebSocket decides; without one, a server that answers at all counts as being there;
    /// without that, a name that leads somewhere.
    pub fn failure(&self) -> Option<Failure> {
        match (&self.reading, &self.info) {
            (Some(reading), _) => reading.failure.clone(),
            (None, Some(Info::Failed(failure))) => Some(failure.clone()),
            (None, Some(Info::Status(status))) if *status >= 500 => {
                Some(Failure::new("http", format!("HTTP {status}")))
            }
            (None, Some(_)) => None,
            (None, None) => self.unresolved.clone(),
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
    let (found, connection) = parts(&url, settings, limits, memory).await;
    drop(slot);
    // The goodbye takes a round trip, and nobody has to wait for it but the next check of this host.
    if let Some(connection) = connection {
        connection.close().await;
    }
    // Other connections of ours were in the way of one of these: as good as a busy host.
    let of_info = match &found.info {
        Some(Info::Failed(failure)) => Some(failure.clone()),
        _ => None,
    };
    let is_busy = [found.failure(), of_info].into_iter().flatten().any(|failure| failure.class == "busy");
    Outcome { relay_id, checked_at, found: (!is_busy).then_some(found) }
}

/// All parts: what takes no connection beside what does. What is still open of it comes back to be closed.
async fn parts(
    url: &RelayUrl,
    settings: &Settings,
    limits: &HostLimits,
    memory: &MemoryBudget,
) -> (Found, Option<Connection>) {
    let ((mut measured, info), records) =
        tokio::join!(connected(url, settings, limits, memory), records(url, settings));
    let mut found = Found::default();
    // Not where a CLOSED shut us out.
    let answers = measured
        .as_ref()
        .is_some_and(|measured| measured.reading.read_ms.is_some() && measured.reading.remark.is_none());
    let mut connection = measured.as_mut().and_then(|measured| measured.connection.take());
    // Only where the check of NIP-11 and the times are on, so that both are there.
    if let (Some(writer), Some(connection)) = (&settings.writer, &mut connection)
        && answers
    {
        found.written = Some(match write::permission(info.as_ref()) {
            Ok(work) => {
                writer
                    .write(
                        connection,
                        url.as_str(),
                        work,
                        settings.dialer.config().request_timeout_in(url.network()),
                        memory,
                    )
                    .await
            }
            Err(reason) => Written::NotTried(reason),
        });
    }
    let socket = measured.as_ref();
    if settings.checks.ssl {
        found.facts.extend(match socket.and_then(|measured| measured.tls.as_ref()) {
            Some(Ok(session)) => ssl::good(session),
            Some(Err(failure)) => ssl::bad(failure),
            None => None,
        });
    }
    if settings.checks.http {
        found.facts.extend(socket.and_then(|measured| measured.headers.as_ref()).and_then(http::fact));
    }
    if let Ok(Some(records)) = &records {
        found.facts.extend(dns::fact(records));
    }
    if settings.checks.need_addresses() {
        let connected = socket.and_then(|measured| measured.address);
        let is_lost = socket.is_some_and(|measured| measured.address.is_none());
        let resolved = addresses(url, records.as_ref().ok().and_then(Option::as_ref), is_lost, settings).await;
        let (resolved, failure) = match resolved {
            Ok(resolved) => (resolved, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        found.unresolved = failure;
        if settings.checks.geo {
            found.facts.extend(geo::fact(connected, &resolved, &settings.geo));
        }
        if settings.checks.net {
            found.facts.extend(net::fact(connected, &resolved, &settings.geo));
        }
    }
    if let Err(failure) = records {
        found.unresolved = Some(failure);
    }
    found.reading = measured.map(|measured| measured.reading);
    found.info = info;
    (found, connection)
}

/// The parts that connect: both at once if the host has a second connection to give, else one after the other over the first.
async fn connected(
    url: &RelayUrl,
    settings: &Settings,
    limits: &HostLimits,
    memory: &MemoryBudget,
) -> (Option<Measured>, Option<Info>) {
    let checks = &settings.checks;
    let wanted = Wanted { rtt: checks.rtt, stay: settings.writer.is_some() };
    if !checks.nip11 {
        if !checks.need_socket() {
            return (None, None);
        }
        return (Some(reading::measure(url, wanted, settings, memory).await), None);
    }
    if !checks.need_socket() {
        return (None, Some(info(url, settings).await));
    }
    if wanted.stay {
        // The document decides whether the connection is written to, so it must not have to wait for that one's end.
        let second = limits.try_acquire(url);
        if second.is_none() {
            let info = info(url, settings).await;
            return (Some(reading::measure(url, wanted, settings, memory).await), Some(info));
        }
        let (measured, info) = tokio::join!(reading::measure(url, wanted, settings, memory), info(url, settings));
        return (Some(measured), Some(info));
    }
    let mut measuring = std::pin::pin!(reading::measure(url, wanted, settings, memory));
    // Whoever waits in a queue and does not look is given what others could use, so the wait must be over before anything else begins.
    let second = tokio::select! {
        biased;
        permit = limits.acquire(url) => Ok(permit),
        measured = &mut measuring => Err(measured),
    };
    let (measured, info) = match second {
        Ok(_permit) => tokio::join!(measuring, info(url, settings)),
        Err(mut measured) => {
            // The host has no second one to give: this one ends first.
            if let Some(connection) = measured.connection.take() {
                connection.close().await;
            }
            (measured, info(url, settings).await)
        }
    };
    (Some(measured), Some(info))
}

async fn info(url: &RelayUrl, settings: &Settings) -> Info {
    let request = HttpRequest::relay(url, document::ACCEPT, document::MAX_BODY);
    let response = settings.dialer.http_get(&request).await;
    if let Ok(response) = &response {
        settings.clocks.note(response.headers.get("date"), SystemTime::now());
    }
    match response {
        Err(error) => Info::Failed(Failure::from(&error)),
        Ok(response) if response.status != 200 => Info::Status(response.status),
        Ok(response) => match document::read_encoded(&response.body, response.encoding.as_deref()) {
            refused @ Body::Refused(_) => Info::Body(refused, response.body),
            repaired @ Body::Document { is_repaired: true, .. } => Info::Body(repaired, response.body),
            body => Info::Body(body, Vec::new()),
        },
    }
}

async fn records(url: &RelayUrl, settings: &Settings) -> Result<Option<DnsRecords>, Failure> {
    if !settings.checks.dns {
        return Ok(None);
    }
    settings.dialer.dns_records(url).await.map_err(|error| Failure::from(&error))
}

/// The addresses that may be connected to, in order: from the records if there are any, else from a look-up that the connection has just made, so
/// that it is answered out of the cache. `is_lost`: a connection was tried and came to no address.
async fn addresses(
    url: &RelayUrl,
    records: Option<&DnsRecords>,
    is_lost: bool,
    settings: &Settings,
) -> Result<Vec<IpAddr>, Failure> {
    let mut addresses = match (url.host(), records) {
        (Host::Ip(ip), _) => vec![ip],
        (Host::Name(_), Some(records)) => {
            let all = records.a.iter().copied().map(IpAddr::from).chain(records.aaaa.iter().copied().map(IpAddr::from));
            all.filter(|ip| address::check(*ip, settings.address_policy).is_ok()).collect()
        }
        (Host::Name(_), None) if is_lost || url.network() != Network::Clearnet => Vec::new(),
        (Host::Name(_), None) => settings.dialer.resolve(url).await.map_err(|error| Failure::from(&error))?,
    };
    addresses.sort_unstable();
    Ok(addresses)
}

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
