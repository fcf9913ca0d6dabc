//! The guarded dialer: the only way this project opens a connection.

use crate::{
    address_limits::{AddressLimits, AddressPermit},
    config::DialerConfig,
    connection::Connection,
    dns::{self, DnsRecords},
    endpoint::{Endpoint, EndpointHost, network_of},
    error::{DialError, Stage},
    frame_gate::{FrameGate, LARGE_AT_A_TIME},
    headers::Headers,
    resolver::Resolver,
    stream::Stream,
    tcp,
    tls::{Tls, TlsFailure, TlsInfo},
    upgrade,
};
use bigbrotr_models::{Network, RelayUrl, address};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_socks::{Error as SocksError, tcp::Socks5Stream};

/// How long a proxy may take to be connected to, at most: it is near, and whoever waits longer would blame the relay.
const PROXY_LIMIT: Duration = Duration::from_secs(5);

/// How a relay was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Directly, IPv4.
    V4,
    /// Directly, IPv6.
    V6,
    /// Through the proxy of an overlay network.
    Overlay,
}

/// What opening a WebSocket showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The checked address connected to; `None` in an overlay, where only the proxy has one.
    pub address: Option<SocketAddr>,
    /// IPv4, IPv6 or overlay.
    pub family: Family,
    /// DNS, TCP, TLS and upgrade together.
    pub open: Duration,
    /// The TLS session, for `wss`.
    pub tls: Option<TlsInfo>,
    /// Headers of the upgrade response.
    pub headers: Headers,
}

/// What a dial showed on its way, also one that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The checked address connected to; `None`: no TCP connection, or an overlay.
    pub address: Option<SocketAddr>,
    /// The TLS session, when its handshake was good; that of a bad one is in the error.
    pub tls: Option<TlsInfo>,
}

/// What a connection holds as long as it counts.
#[derive(Debug)]
pub(crate) enum Permit {
    /// To an address.
    Address(#[allow(dead_code)] AddressPermit),
    /// In an overlay.
    Overlay(#[allow(dead_code)] OwnedSemaphorePermit),
}

/// An open byte stream and how it came about.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) tls: Option<TlsInfo>,
    /// The right to be connected to that address or overlay.
    pub(crate) permit: Permit,
}

/// Opens connections to strangers: resolve → check every address → connect to a checked address → TLS → WebSocket or HTTP. Overlay hosts go to their
/// SOCKS5 proxy by name and never to a resolver. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: DialerConfig,
    resolver: Arc<Resolver>,
    tls: Arc<Tls>,
    limits: AddressLimits,
    large_messages: Arc<Semaphore>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Dialer {
    /// Reads `resolv.conf`, `hosts` and the system's root certificates, so call it once and clone it. Whatever of these is missing becomes a typed error of the
    /// connections that need it; the others work. Call it inside the runtime that will use it, and drop it with that runtime.
    pub fn new(config: DialerConfig) -> Self {
        let (policy, check) = (config.address_policy, address::check);
        let resolver = match config.name_servers.as_slice() {
            [] => Resolver::system(policy, check),
            servers => Resolver::asking(servers, policy, check),
        };
        Self::assemble(config, resolver, Tls::system(), AddressLimits::of_process())
    }

    pub(crate) fn assemble(mut config: DialerConfig, resolver: Resolver, tls: Tls, limits: AddressLimits) -> Self {
        config.user_agent = header_text(&config.user_agent);
        let large_messages = Arc::new(Semaphore::new(LARGE_AT_A_TIME));
        let (resolver, tls) = (Arc::new(resolver), Arc::new(tls));
        Self { inner: Arc::new(Inner { config, resolver, tls, limits, large_messages }) }
    }

    /// What the operator should know: without root certificates every `wss` relay fails with class `no_roots`, which is none of their faults.
    pub fn without_roots(&self) -> Option<String> {
        let detail = self.inner.tls.without_roots()?;
        Some(format!(
            "no root certificates on this system ({detail}): no wss relay can be verified; install ca-certificates, or set SSL_CERT_FILE in the server's environment, and restart the workers"
        ))
    }

    /// The configuration in force.
    pub fn config(&self) -> &DialerConfig {
        &self.inner.config
    }

    /// Opens a WebSocket to a relay within `connect_timeout` (`overlay_connect_timeout` in an overlay), `address_patience` aside.
    ///
    /// # Errors
    /// Every [`DialError`] but `Idle`; see [`DialError::class`].
    pub async fn connect(&self, url: &RelayUrl) -> Result<(Connection, ConnectInfo), DialError> {
        self.connect_endpoint(&Endpoint::from(url)).await
    }

    /// [`Dialer::connect`] that leaves in `trace` what it saw, whatever the outcome.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_tracing(
        &self,
        url: &RelayUrl,
        trace: &mut Trace,
    ) -> Result<(Connection, ConnectInfo), DialError> {
        self.open(&Endpoint::from(url), trace).await
    }

    /// A dialer that differs in `max_message_size` only and shares everything else. A frame's header alone reserves memory for the whole frame, so who
    /// talks to hundreds of unproven hosts at a time wants a small cap.
    pub fn with_max_message_size(&self, bytes: usize) -> Self {
        let config = DialerConfig { max_message_size: bytes, ..self.inner.config.clone() };
        let (resolver, tls) = (self.inner.resolver.clone(), self.inner.tls.clone());
        let (limits, large_messages) = (self.inner.limits.clone(), self.inner.large_messages.clone());
        Self { inner: Arc::new(Inner { config, resolver, tls, limits, large_messages }) }
    }

    /// [`Dialer::connect`] for a URL already taken apart.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_endpoint(&self, endpoint: &Endpoint) -> Result<(Connection, ConnectInfo), DialError> {
        self.open(endpoint, &mut Trace::default()).await
    }

    async fn open(&self, endpoint: &Endpoint, trace: &mut Trace) -> Result<(Connection, ConnectInfo), DialError> {
        let config = &self.inner.config;
        let network = network(endpoint);
        let progress = Progress::new(config.connect_timeout_in(network));
        let open = async {
            let mut dialed = self.dial(endpoint, &progress).await?;
            trace.tls.clone_from(&dialed.tls);
            progress.enter(Stage::Upgrade);
            let upgrade = upgrade::upgrade(&mut dialed.stream, endpoint, &config.user_agent);
            let (headers, first) = progress.limit(upgrade).await?;
            Ok((dialed, headers, first))
        };
        let opened = open.await;
        trace.address = progress.address();
        let (dialed, headers, first) = opened.map_err(|error| after_handshake(error, trace))?;
        let info = ConnectInfo {
            address: dialed.address,
            family: match dialed.address {
                None => Family::Overlay,
                Some(SocketAddr::V4(_)) => Family::V4,
                Some(SocketAddr::V6(_)) => Family::V6,
            },
            open: progress.spent(),
            tls: dialed.tls,
            headers,
        };
        let permit = config.is_counted_while_open.then_some(dialed.permit);
        let places = self.inner.large_messages.clone();
        let gate = FrameGate::new(dialed.stream, first, places, config.max_message_size, config.idle_timeout);
        let connection = Connection::new(gate, config, config.request_timeout_in(network), permit);
        Ok((connection.await, info))
    }

    /// The addresses a relay's host leads to that may be connected to, within `connect_timeout`. Not for overlay hosts.
    ///
    /// # Errors
    /// `NetworkOff` for an overlay host, otherwise the dns and refused_address classes, and `Timeout`.
    pub async fn resolve(&self, url: &RelayUrl) -> Result<Vec<IpAddr>, DialError> {
        let endpoint = Endpoint::from(url);
        match network(&endpoint) {
            Network::Clearnet => {}
            overlay => return Err(DialError::NetworkOff(overlay)),
        }
        let progress = Progress::new(self.inner.config.connect_timeout);
        progress.limit(self.inner.resolver.checked(&endpoint.host)).await
    }

    /// What DNS says of a relay's host, each look-up within half of `connect_timeout`; see [`crate::dns`]. `None`: nothing, as it is an overlay's, local
    /// to this machine, or an address of a private network.
    ///
    /// # Errors
    /// The dns and refused_address classes.
    pub async fn dns_records(&self, url: &RelayUrl) -> Result<Option<DnsRecords>, DialError> {
        let endpoint = Endpoint::from(url);
        if network(&endpoint) != Network::Clearnet {
            return Ok(None);
        }
        dns::look_up(&self.inner.resolver, &endpoint.host, self.inner.config.connect_timeout / 2).await
    }

    /// An open stream to `endpoint`, within the time of `progress`.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, progress: &Progress) -> Result<Dialed, DialError> {
        let network = network(endpoint);
        if !self.inner.config.networks.contains(&network) {
            return Err(DialError::NetworkOff(network));
        }
        if !self.inner.config.ports.allows(endpoint.port) {
            return Err(DialError::RefusedPort(endpoint.port));
        }
        let (tcp, address, permit) = match network {
            Network::Clearnet => {
                progress.enter(Stage::Dns);
                let addresses = progress.limit(self.inner.resolver.checked(&endpoint.host)).await?;
                progress.enter(Stage::Tcp);
                let mut places = tcp::places(&addresses, endpoint.port);
                let mut first = Some(self.reserve(&mut places).await?);
                let admit = |place| first.take().or_else(|| self.inner.limits.try_acquire(place));
                let (tcp, address, permit) = progress.limit(tcp::connect(places, admit)).await?;
                progress.connected(address);
                (tcp, Some(address), Permit::Address(permit))
            }
            overlay => {
                progress.enter(Stage::Proxy);
                let permit = self.enter_overlay(overlay).await?;
                (progress.limit(self.through_proxy(endpoint, overlay)).await?, None, Permit::Overlay(permit))
            }
        };
        if !endpoint.tls {
            return Ok(Dialed { stream: Stream::Plain(tcp), address, tls: None, permit });
        }
        progress.enter(Stage::Tls);
        let (stream, info) = progress.limit(self.inner.tls.connect(tcp, &endpoint.host)).await?;
        Ok(Dialed { stream: Stream::Tls(Box::new(stream)), address, tls: Some(info), permit })
    }

    /// The right to connect to the first of `places`, which is made the best of those that have room for one more connection.
    async fn reserve(&self, places: &mut [SocketAddr]) -> Result<AddressPermit, DialError> {
        let limits = &self.inner.limits;
        let free = places.iter().enumerate().find_map(|(n, place)| Some((n, limits.try_acquire(*place)?)));
        let (n, permit) = match free {
            Some(found) => found,
            None => {
                let mut waiting: FuturesUnordered<_> = places
                    .iter()
                    .enumerate()
                    .map(|(n, place)| async move { (n, limits.acquire(*place).await) })
                    .collect();
                let busy = || DialError::Busy(places.first().map_or_else(String::new, |place| place.ip().to_string()));
                let next = tokio::time::timeout(self.inner.config.address_patience, waiting.next());
                next.await.ok().flatten().ok_or_else(busy)?
            }
        };
        if let Some(front) = places.get_mut(..=n) {
            front.rotate_right(1);
        }
        Ok(permit)
    }

    /// A place among the connections to that overlay. Never closed, so an error can only mean that none came free.
    async fn enter_overlay(&self, network: Network) -> Result<OwnedSemaphorePermit, DialError> {
        // Before anything is waited for: an overlay that is off is never busy.
        self.inner.config.proxies.of(network).ok_or(DialError::NetworkOff(network))?;
        let place = self.inner.limits.overlay(network, self.inner.config.overlay_concurrency).acquire_owned();
        let place = tokio::time::timeout(self.inner.config.address_patience, place).await;
        place.ok().and_then(Result::ok).ok_or_else(|| DialError::Busy(network.as_str().to_owned()))
    }

    async fn through_proxy(&self, endpoint: &Endpoint, network: Network) -> Result<TcpStream, DialError> {
        let proxy = self.inner.config.proxies.of(network).ok_or(DialError::NetworkOff(network))?;
        let EndpointHost::Name(name) = &endpoint.host else { return Err(DialError::NetworkOff(network)) };
        let (host, port) = split_proxy(proxy).ok_or_else(|| DialError::Proxy("the setting is no host:port".into()))?;
        // The proxy is the operator's choice, so its address is not checked.
        let addresses = self.inner.resolver.addresses(&host).await.map_err(|e| DialError::Proxy(e.to_string()))?;
        let places = tcp::places(&addresses, port);
        let limit = PROXY_LIMIT.min(self.inner.config.connect_timeout_in(network) / 2);
        let tcp = tokio::time::timeout(limit, tcp::connect(places, |_| Some(()))).await;
        let tcp = tcp.map_err(|_| DialError::Proxy(format!("no connection within {} ms", limit.as_millis())))?;
        let (tcp, _, ()) = tcp.map_err(|e| DialError::Proxy(e.to_string()))?;
        match Socks5Stream::connect_with_socket(tcp, (name.as_str(), endpoint.port)).await {
            Ok(stream) => Ok(stream.into_inner()),
            // The proxy is well and says that the relay is not.
            Err(
                error @ (SocksError::HostUnreachable
                | SocksError::ConnectionRefused
                | SocksError::NetworkUnreachable
                | SocksError::TtlExpired),
            ) => Err(DialError::Tcp(format!("through the proxy: {error}"))),
            Err(error) => Err(DialError::Proxy(error.to_string())),
        }
    }
}

/// A refusal that comes only after a handshake that looked good, completed by what that one showed.
fn after_handshake(error: DialError, trace: &mut Trace) -> DialError {
    match (error, trace.tls.take()) {
        (DialError::Tls(failure), Some(tls)) => DialError::Tls(Box::new(TlsFailure {
            certificates: tls.certificates,
            protocol: Some(tls.protocol),
            cipher: Some(tls.cipher),
            ..*failure
        })),
        (error, tls) => {
            trace.tls = tls;
            error
        }
    }
}

/// The network to use: an overlay name is one whatever the endpoint claims, so that no mistake elsewhere leaks it to a resolver.
pub(crate) fn network(endpoint: &Endpoint) -> Network {
    match &endpoint.host {
        EndpointHost::Name(name) if endpoint.network == Network::Clearnet => network_of(name),
        _ => endpoint.network,
    }
}

fn split_proxy(text: &str) -> Option<(EndpointHost, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some((EndpointHost::Ip(ip), port)),
        Err(_) if host.is_empty() || host.contains([':', '/', '@']) => None,
        Err(_) => Some((EndpointHost::Name(host.to_ascii_lowercase()), port)),
    }
}

/// What may stand in a header value: the setting's visible ASCII.
fn header_text(text: &str) -> String {
    let clean: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(256).collect();
    match clean.trim() {
        "" => "bigbrotr".into(),
        clean => clean.into(),
    }
}

/// Where a dial is, so that a deadline can say what it interrupted, and how much of its time is used.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: AtomicU8,
    limit: Duration,
    /// Microseconds; what was spent waiting for us is not in it.
    spent: AtomicU64,
    address: OnceLock<SocketAddr>,
}

impl Progress {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { stage: AtomicU8::default(), limit, spent: AtomicU64::default(), address: OnceLock::new() }
    }

    /// A TCP connection to the place itself stands; the first of them counts.
    fn connected(&self, address: SocketAddr) {
        let _ = self.address.set(address);
    }

    fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn spent(&self) -> Duration {
        Duration::from_micros(self.spent.load(Ordering::Relaxed))
    }

    /// Does a part of the work in what is left of the time. Parts come one after the other.
    pub(crate) async fn limit<T>(&self, work: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
        let started = Instant::now();
        let outcome = tokio::time::timeout(self.limit.saturating_sub(self.spent()), work).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.spent.fetch_add(micros, Ordering::Relaxed);
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(DialError::Timeout { stage: Stage::from_u8(self.stage.load(Ordering::Relaxed)), after: self.limit })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_taken_apart() {
        let ip = |text: &str| EndpointHost::Ip(text.parse().expect("literal"));
        assert_eq!(split_proxy("127.0.0.1:9050"), Some((ip("127.0.0.1"), 9050)));
        assert_eq!(split_proxy("[::1]:9050"), Some((ip("::1"), 9050)));
        assert_eq!(split_proxy("Tor:9050"), Some((EndpointHost::Name("tor".into()), 9050)));
        for bad in ["tor", ":9050", "tor:x", "user@tor:1", "tor:70000", ""] {
            assert_eq!(split_proxy(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_user_agent_cannot_smuggle_a_header() {
        assert_eq!(header_text("a\r\nX: y"), "aX: y");
        assert_eq!(header_text("\n"), "bigbrotr");
    }
}
