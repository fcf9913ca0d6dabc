//! The connection below the messages.

use std::time::Duration;

/// When the connection breaks, without a closing handshake.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disconnect {
    /// Right after the upgrade.
    pub at_connect: bool,
    /// After this many events of an answer, before its EOSE; an answer of fewer comes through.
    pub after_events: Option<usize>,
    /// Before each event of an answer with this probability.
    pub probability: f64,
    /// Seed for `probability`.
    pub seed: u64,
}

/// What the connection itself does. All of it is fixed when a connection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// WebSockets at a time (all clients of a test come from one address); more get HTTP 429.
    pub max_connections: Option<u64>,
    /// Breaks when no message came for this long. Pings do not count.
    pub idle: Option<Duration>,
    /// Breaks after this long, whatever happens.
    pub lifetime: Option<Duration>,
    /// After this long nothing is read or written any more, and the connection stays: what a client sees when the
    /// other end has vanished.
    pub freeze: Option<Duration>,
    /// Pings are never answered.
    pub mute_pongs: bool,
    /// Text messages come in WebSocket fragments of this many bytes, which may cut characters in two.
    pub fragment: Option<usize>,
    /// Further header lines of the answer to an upgrade, such as a `Date`.
    pub upgrade_headers: Vec<(String, String)>,
}
