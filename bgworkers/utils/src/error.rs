//! Why a connection or a request failed, for counters (`class`) and for people (`Display`).

use crate::tls::{TlsFailure, TlsFailureKind};
use bigbrotr_models::{AddressRejection, Network};
use rustls::Error as RustlsError;
use std::{fmt, io, net::IpAddr, time::Duration};

/// What was under way when a deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Looking the name up.
    Dns = 0,
    /// The TCP handshake.
    Tcp = 1,
    /// Talking to the SOCKS5 proxy.
    Proxy = 2,
    /// The TLS handshake.
    Tls = 3,
    /// The WebSocket upgrade.
    Upgrade = 4,
    /// An HTTP exchange.
    Http = 5,
    /// Sending a message.
    Send = 6,
}

impl Stage {
    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Dns,
            1 => Self::Tcp,
            2 => Self::Proxy,
            3 => Self::Tls,
            4 => Self::Upgrade,
            5 => Self::Http,
            _ => Self::Send,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the DNS look-up",
            Self::Tcp => "the TCP connection",
            Self::Proxy => "the proxy",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the WebSocket upgrade",
            Self::Http => "the HTTP answer",
            Self::Send => "sending",
        })
    }
}

/// Every way a dial, a connection or a request can fail. Text in it that came from a stranger is cut and has no control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The name does not exist or has no address.
    #[error("{0} has no address")]
    NameNotFound(String),
    /// The resolver failed, or there is none.
    #[error("DNS: {0}")]
    Dns(String),
    /// No address the name leads to may be connected to; the first one and why.
    #[error("{address} is refused: {reason}")]
    RefusedAddress {
        /// The first address refused.
        address: IpAddr,
        /// Why.
        reason: AddressRejection,
    },
    /// A name that only means something in a private network.
    #[error("{0} is refused: a private name")]
    RefusedName(String),
    /// A port no stranger may send us to (`bigbrotr.blocked_ports`).
    #[error("port {0} is refused: blocked")]
    RefusedPort(u16),
    /// This worker had as many connections to that address, or to that overlay, as it may, for as long as the caller would wait. Says
    /// nothing about the relay.
    #[error("as many connections of ours to {0} as may be")]
    Busy(String),
    /// This machine has no file descriptor left (EMFILE, ENFILE). Says nothing about the relay either.
    #[error("no file descriptor left on this machine")]
    NoDescriptor,
    /// The network is not enabled, or it is an overlay without a proxy.
    #[error("the network {} is off", .0.as_str())]
    NetworkOff(Network),
    /// The SOCKS5 proxy cannot be reached or failed.
    #[error("proxy: {0}")]
    Proxy(String),
    /// TCP: refused, unreachable, reset.
    #[error("TCP: {0}")]
    Tcp(String),
    /// The other side ended the connection without a WebSocket close frame, or in the middle of something.
    #[error("connection lost")]
    Disconnected,
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(Box<TlsFailure>),
    /// An HTTP answer instead of a WebSocket.
    #[error("HTTP {status}{} instead of a WebSocket", content_type.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    HttpStatus {
        /// The status code.
        status: u16,
        /// Its `Content-Type`.
        content_type: Option<String>,
        /// Its `Location`.
        location: Option<String>,
    },
    /// The answer is no usable HTTP.
    #[error("HTTP: {0}")]
    Http(String),
    /// More redirects than allowed.
    #[error("HTTP: more than {0} redirects")]
    TooManyRedirects(usize),
    /// A redirect that leaves the site or makes no sense.
    #[error("HTTP: redirect to {0} refused")]
    RedirectRefused(String),
    /// A 101 answer that is no WebSocket handshake.
    #[error("WebSocket upgrade: {0}")]
    Upgrade(&'static str),
    /// WebSocket framing or text encoding violated.
    #[error("WebSocket protocol: {0}")]
    Protocol(String),
    /// A deadline passed.
    #[error("timeout after {} ms in {stage}", after.as_millis())]
    Timeout {
        /// What was under way.
        stage: Stage,
        /// The limit that passed.
        after: Duration,
    },
    /// No frame for the idle timeout.
    #[error("no frame for {} ms", .0.as_millis())]
    Idle(Duration),
    /// A message or body larger than allowed.
    #[error("larger than {limit} bytes{}", size.map(|s| format!(": {s}")).unwrap_or_default())]
    Oversize {
        /// The limit in bytes.
        limit: usize,
        /// How large, if it was said.
        size: Option<u64>,
    },
}

impl DialError {
    /// The class stored as `error_class`: one of dns, tcp, tls, http, ws, protocol, silence, timeout, refused_address, proxy, network_off, no_roots, oversize, idle, busy.
    pub fn class(&self) -> &'static str {
        match self {
            Self::NameNotFound(_) | Self::Dns(_) => "dns",
            Self::RefusedAddress { .. } | Self::RefusedName(_) | Self::RefusedPort(_) => "refused_address",
            Self::Busy(_) | Self::NoDescriptor => "busy",
            Self::NetworkOff(_) => "network_off",
            Self::Proxy(_) => "proxy",
            Self::Tcp(_) | Self::Disconnected => "tcp",
            Self::Tls(failure) if failure.kind == TlsFailureKind::NoRoots => "no_roots",
            Self::Tls(_) => "tls",
            Self::HttpStatus { .. } | Self::Http(_) | Self::TooManyRedirects(_) | Self::RedirectRefused(_) => "http",
            Self::Upgrade(_) => "ws",
            Self::Protocol(_) => "protocol",
            // By what did not come: nothing at all is silence.
            Self::Timeout { stage: Stage::Dns, .. } => "dns",
            Self::Timeout { stage: Stage::Tcp, .. } => "tcp",
            Self::Timeout { stage: Stage::Tls, .. } => "tls",
            Self::Timeout { stage: Stage::Upgrade, .. } => "silence",
            Self::Timeout { .. } => "timeout",
            Self::Idle(_) => "idle",
            Self::Oversize { .. } => "oversize",
        }
    }

    /// Whether the fault is on our side (a proxy of ours is down, a network is off, too many connections of ours, no descriptor left, no roots of
    /// trust): nothing that counts against the relay.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Proxy(_) | Self::NetworkOff(_) | Self::Busy(_) | Self::NoDescriptor => true,
            Self::Tls(failure) => failure.kind == TlsFailureKind::NoRoots,
            _ => false,
        }
    }

    /// An I/O error while a socket was opened: ours where this machine has none to give, else what `otherwise` says.
    pub(crate) fn of_connect(error: &io::Error, otherwise: impl FnOnce(&io::Error) -> Self) -> Self {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match error.raw_os_error() {
            Some(ENFILE | EMFILE) => Self::NoDescriptor,
            _ => otherwise(error),
        }
    }

    /// An I/O error on an open connection.
    pub(crate) fn io(error: &io::Error) -> Self {
        // With TLS 1.3 a server says only after the handshake that it wanted a certificate of ours.
        if let Some(alert @ RustlsError::AlertReceived(_)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::Tls(Box::new(TlsFailure::of(alert)));
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Disconnected,
            _ => Self::Tcp(clip(&error.to_string())),
        }
    }
}

/// At most 200 characters of a stranger's text, control characters replaced, fit for a log line or a column.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stranger_text_is_cut_and_cleaned() {
        assert_eq!(clip("a\r\nb\u{1b}"), "a\u{FFFD}\u{FFFD}b\u{FFFD}");
        assert_eq!(clip(&"é".repeat(1000)).chars().count(), 200);
    }

    #[test]
    fn a_machine_without_descriptors_is_no_fault_of_the_relay() {
        let of = |code| DialError::of_connect(&io::Error::from_raw_os_error(code), |e| DialError::Tcp(e.to_string()));
        assert_eq!([of(23), of(24)], [DialError::NoDescriptor, DialError::NoDescriptor]);
        assert!(of(24).is_ours());
        assert_eq!((of(111).class(), of(111).is_ours()), ("tcp", false));
    }

    #[test]
    fn errors_read_well() {
        let error = DialError::HttpStatus { status: 200, content_type: Some("text/html".into()), location: None };
        assert_eq!(error.to_string(), "HTTP 200 (text/html) instead of a WebSocket");
        let error = DialError::Timeout { stage: Stage::Upgrade, after: Duration::from_secs(10) };
        assert_eq!(error.to_string(), "timeout after 10000 ms in the WebSocket upgrade");
        assert_eq!(DialError::Oversize { limit: 5, size: Some(9) }.to_string(), "larger than 5 bytes: 9");
    }
}
