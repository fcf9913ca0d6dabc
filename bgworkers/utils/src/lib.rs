//! I/O of the observatory: the guarded dialer (DNS → address check → TCP or SOCKS5 → TLS → WebSocket or HTTP) and politeness towards hosts.
//!
//! Everything here runs on the tokio runtime of a background worker: no signal handling, no blocking calls, no thread of its own. Every wait
//! has a limit, and what a stranger sends is bounded before it is kept.

pub mod address_limits;
pub mod certificate;
pub mod config;
pub mod connection;
pub mod dialer;
pub mod dns;
pub mod endpoint;
pub mod error;
mod frame_gate;
#[doc(hidden)]
pub mod fuzzing;
pub mod geoip;
pub mod headers;
pub mod host_limits;
pub mod http;
mod inflate;
mod names;
mod overlay_guard;
mod own_addresses;
mod resolver;
pub mod secret_file;
mod stream;
mod tcp;
pub mod tls;
mod upgrade;

pub use address_limits::AddressLimits;
pub use certificate::Certificate;
pub use config::{DialerConfig, Proxies, USER_AGENT};
pub use connection::{Connection, Frame};
pub use dialer::{ConnectInfo, Dialer, Family, Trace};
pub use dns::DnsRecords;
pub use endpoint::{Endpoint, EndpointHost};
pub use error::{DialError, Stage};
pub use geoip::GeoIp;
pub use headers::Headers;
pub use host_limits::{HostLimits, HostPermit, host_key};
pub use http::{HttpRequest, HttpResponse};
pub use tls::{TlsFailure, TlsFailureKind, TlsInfo};

#[cfg(test)]
mod testing;
