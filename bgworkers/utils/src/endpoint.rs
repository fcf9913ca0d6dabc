//! What is dialed: a relay URL or an HTTP URL taken apart.

use bigbrotr_models::{Network, RelayUrl, relay_url::Host};
use std::{fmt, net::IpAddr};

/// The host part, already known to be a name or an address, so that an address never meets a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointHost {
    /// A DNS or overlay name, lower case, without a trailing dot.
    Name(String),
    /// An address literal.
    Ip(IpAddr),
}

impl fmt::Display for EndpointHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// One place to connect to and what to ask for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS (`wss`, `https`) or plain.
    pub tls: bool,
    /// Where.
    pub host: EndpointHost,
    /// TCP port.
    pub port: u16,
    /// Path and query, with its leading slash.
    pub path: String,
    /// How the host is reached.
    pub network: Network,
}

impl Endpoint {
    /// `host` or `host:port` where the port is not the scheme's own, as the `Host` header wants it.
    pub fn authority(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The `http` or `https` URL of this endpoint.
    pub fn http_url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

impl From<&RelayUrl> for Endpoint {
    fn from(url: &RelayUrl) -> Self {
        let host = match url.host() {
            Host::Name(name) => EndpointHost::Name(name.to_owned()),
            Host::Ip(ip) => EndpointHost::Ip(ip),
        };
        Self { tls: url.is_tls(), host, port: url.port(), path: url.path().to_owned(), network: url.network() }
    }
}

/// The network a host name belongs to, by its last label, whatever its case and with or without the final dot.
pub(crate) fn network_of(name: &str) -> Network {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    match last.to_ascii_lowercase().as_str() {
        "onion" => Network::Tor,
        "i2p" => Network::I2p,
        "loki" => Network::Loki,
        _ => Network::Clearnet,
    }
}

/// Last labels of names that only mean something inside a private network (RFC 6761, 6762, 8375, ICANN's `.internal`, and common
/// practice).
const PRIVATE: [&str; 10] =
    ["localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "arpa"];

/// Names that only mean something inside a private network: single-label names and those in `localhost`, `local`, `internal` and the
/// like; also what ends in a number, which is no name but some way to write an address (`0177.0.0.1`).
pub(crate) fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    !name.contains('.') || is_number || PRIVATE.iter().any(|private| last.eq_ignore_ascii_case(private))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(tls: bool, host: EndpointHost, port: u16) -> Endpoint {
        Endpoint { tls, host, port, path: "/a?b".into(), network: Network::Clearnet }
    }

    #[test]
    fn the_default_port_is_left_out_of_the_host_header() {
        let name = || EndpointHost::Name("relay.example".into());
        assert_eq!(endpoint(true, name(), 443).authority(), "relay.example");
        assert_eq!(endpoint(true, name(), 80).authority(), "relay.example:80");
        assert_eq!(endpoint(false, name(), 80).http_url(), "http://relay.example/a?b");
    }

    #[test]
    fn ipv6_hosts_are_bracketed() {
        let host = EndpointHost::Ip("2001:db8::1".parse().expect("literal"));
        assert_eq!(endpoint(true, host, 7777).http_url(), "https://[2001:db8::1]:7777/a?b");
    }

    #[test]
    fn private_names_and_networks_are_told_by_labels() {
        for name in [
            "localhost",
            "db",
            "a.localhost",
            "nas.local",
            "localhost.",
            "LOCALHOST",
            "NAS.Local.",
            "metadata.google.internal",
            "router.lan",
            "x.home.arpa",
            "0177.0.0.1",
            "127.0x1",
        ] {
            assert!(is_private_name(name), "{name}");
        }
        assert!(!is_private_name("relay.example"));
        for name in ["x.onion", "X.ONION", "a.x.onion.", "onion", "x.Onion.."] {
            assert_eq!(network_of(name), Network::Tor, "{name}");
        }
        assert_eq!(network_of("x.b32.i2p"), Network::I2p);
        assert_eq!(network_of("x.loki"), Network::Loki);
        assert_eq!(network_of("onion.example"), Network::Clearnet);
    }
}
