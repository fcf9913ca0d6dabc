//! What the operator decides about connections, copied from the settings.

use bigbrotr_models::{AddressPolicy, Network, PortPolicy};
use std::{net::SocketAddr, time::Duration};

/// Where the SOCKS5 proxies of the overlay networks listen, as `host:port`, with or without `socks5://`. `None` or empty: that network is off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `bigbrotr.tor_proxy`
    pub tor: Option<String>,
    /// `bigbrotr.i2p_proxy`
    pub i2p: Option<String>,
    /// `bigbrotr.loki_proxy`
    pub loki: Option<String>,
}

impl Proxies {
    /// The proxy of an overlay network, without its scheme; `None` for the clearnet, which never has one.
    pub fn of(&self, network: Network) -> Option<&str> {
        let text = match network {
            Network::Clearnet => None,
            Network::Tor => self.tor.as_deref(),
            Network::I2p => self.i2p.as_deref(),
            Network::Loki => self.loki.as_deref(),
        }?;
        let text = text.trim();
        let text = text.strip_prefix("socks5h://").or_else(|| text.strip_prefix("socks5://")).unwrap_or(text);
        let text = text.trim_end_matches('/');
        (!text.is_empty()).then_some(text)
    }
}

/// Who we are unless the operator says otherwise: name, version and where to read what this is.
pub const USER_AGENT: &str =
    concat!("bigbrotr/", env!("CARGO_PKG_VERSION"), " (Nostr relay observatory; +https://github.com/bigbrotr)");

/// Everything the dialer needs to know. The defaults are those of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialerConfig {
    /// Which addresses a stranger's name may lead to.
    pub address_policy: AddressPolicy,
    /// Which ports are never connected to, in every network.
    pub ports: PortPolicy,
    /// From nothing to an open WebSocket: DNS, TCP, TLS and the upgrade together.
    pub connect_timeout: Duration,
    /// One HTTP exchange with all its redirects; also the limit for sending one message.
    pub request_timeout: Duration,
    /// `connect_timeout` in an overlay network, where a circuit has to be built first.
    pub overlay_connect_timeout: Duration,
    /// `request_timeout` in an overlay network.
    pub overlay_request_timeout: Duration,
    /// Connections of this process to each overlay network at a time, counted as `is_counted_while_open` says.
    pub overlay_concurrency: usize,
    /// How long a dial waits while its address or overlay has as many connections of ours as it may; not counted against the other
    /// limits.
    pub address_patience: Duration,
    /// A WebSocket counts for its address as long as it is open; otherwise until it is open, when the other side has shown that it
    /// wants to be connected to.
    pub is_counted_while_open: bool,
    /// A WebSocket without any frame (pongs count) for so long is dead.
    pub idle_timeout: Duration,
    /// Bytes of one WebSocket message, all its fragments together.
    pub max_message_size: usize,
    /// Who we are, in every request.
    pub user_agent: String,
    /// Proxies of the overlay networks.
    pub proxies: Proxies,
    /// Networks that may be used at all.
    pub networks: Vec<Network>,
    /// Name servers to ask; empty: those of the system.
    pub name_servers: Vec<SocketAddr>,
}

impl Default for DialerConfig {
    fn default() -> Self {
        Self {
            address_policy: AddressPolicy::default(),
            ports: PortPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            overlay_connect_timeout: Duration::from_secs(30),
            overlay_request_timeout: Duration::from_secs(30),
            overlay_concurrency: 32,
            address_patience: Duration::from_secs(5),
            is_counted_while_open: true,
            idle_timeout: Duration::from_secs(60),
            max_message_size: 4096 * 1024,
            user_agent: USER_AGENT.into(),
            proxies: Proxies::default(),
            networks: vec![Network::Clearnet],
            name_servers: Vec::new(),
        }
    }
}

impl DialerConfig {
    /// To an open WebSocket of a relay in this network.
    pub fn connect_timeout_in(&self, network: Network) -> Duration {
        if network == Network::Clearnet { self.connect_timeout } else { self.overlay_connect_timeout }
    }

    /// To the first answer of a relay in this network.
    pub fn request_timeout_in(&self, network: Network) -> Duration {
        if network == Network::Clearnet { self.request_timeout } else { self.overlay_request_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_understood_with_and_without_its_scheme_and_empty_means_none() {
        let proxies = Proxies {
            tor: Some("socks5://127.0.0.1:9050".into()),
            i2p: Some("proxy:4447".into()),
            loki: Some(" ".into()),
        };
        assert_eq!(proxies.of(Network::Tor), Some("127.0.0.1:9050"));
        assert_eq!(proxies.of(Network::I2p), Some("proxy:4447"));
        assert_eq!(proxies.of(Network::Loki), None);
        assert_eq!(proxies.of(Network::Clearnet), None);
    }
}
