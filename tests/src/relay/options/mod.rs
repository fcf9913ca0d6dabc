//! How a test relay behaves. The defaults behave well; each field is one way in which relays of the wild do not.

mod answer;
mod auth;
mod document;
mod link;
mod live;
mod negentropy;
mod request;

use std::time::Duration;

pub use answer::{Endless, Eose, Extra, Order};
pub use auth::{Auth, Challenge};
pub use document::Document;
pub use link::{Disconnect, Link};
pub use live::{Live, LiveEnd};
pub use negentropy::{NegFault, NegOff, NegOn, Negentropy};
pub use request::{Accepts, Deep, DeepFault, LimitZero, MissingLimit, Refusal};

use super::{Dialect, Store};

/// Behaviour of one relay. `port` and `events` count at the start only, the rest can be changed while it runs.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// TCP port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// What the relay holds at the start.
    pub events: Store,
    /// What is spoken on the port.
    pub mode: Mode,

    /// At most this many events in the answer to one REQ, whatever it asks for.
    pub cap: Option<usize>,
    /// Events per filter that names no `limit`.
    pub default_limit: Option<usize>,
    /// Order of an answer, and which side of it `limit` and `cap` cut off.
    pub order: Order,
    /// `until` excludes its own second.
    pub until_exclusive: bool,
    /// `since` excludes its own second.
    pub since_exclusive: bool,
    /// The client's `limit` has no effect (`cap` still has).
    pub limit_ignored: bool,
    /// `since` and `until` have no effect.
    pub ignore_since_until: bool,
    /// What filters the relay takes.
    pub accepts: Accepts,
    /// Trouble with old windows.
    pub deep: Option<Deep>,
    /// Events older than this many seconds are gone: no answer has them any more. [`super::RelayHandle::held`] still has.
    pub retention: Option<u64>,
    /// Kinds that are counted and reconciled (NIP-77) but never handed out; see also `withheld_text`.
    pub withheld_kinds: Vec<u64>,
    /// The `CLOSED` for a REQ that names the id of a withheld event; `None`: an answer without it.
    pub withheld_text: Option<String>,

    /// Pause before a WebSocket upgrade is answered.
    pub connect_latency: Duration,
    /// Pause before the answer to a REQ or COUNT.
    pub request_latency: Duration,
    /// Pause before each event of an answer.
    pub event_latency: Duration,

    /// How events are written, whatever the bytes they were given.
    pub dialect: Dialect,
    /// The end of stored events.
    pub eose: Eose,
    /// What is sent beyond what was asked.
    pub extra: Extra,
    /// Events that are new while a subscription is open.
    pub live: Live,
    /// Refuses some REQs.
    pub refuse: Option<Refusal>,
    /// Says in a NOTICE what a CLOSED would say.
    pub notice_instead_of_closed: bool,

    /// NIP-42: what is asked of clients.
    pub auth: Auth,
    /// NIP-42: how challenges are sent.
    pub challenge: Challenge,
    /// Open subscriptions per connection; more are refused.
    pub max_subscriptions: Option<usize>,
    /// When the connection breaks.
    pub disconnect: Disconnect,
    /// The connection below the messages.
    pub link: Link,

    /// NIP-11 document; `None` answers 404. The default one names NIP-77 where it is spoken.
    pub nip11: Option<Document>,
    /// What becomes of published events.
    pub write: Write,
    /// NIP-45.
    pub count: Count,
    /// NIP-77.
    pub negentropy: Negentropy,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            port: 0,
            events: Store::default(),
            mode: Mode::Nostr,
            cap: None,
            default_limit: None,
            order: Order::Newest,
            until_exclusive: false,
            since_exclusive: false,
            limit_ignored: false,
            ignore_since_until: false,
            accepts: Accepts::default(),
            deep: None,
            retention: None,
            withheld_kinds: Vec::new(),
            withheld_text: None,
            connect_latency: Duration::ZERO,
            request_latency: Duration::ZERO,
            event_latency: Duration::ZERO,
            dialect: Dialect::AsHeld,
            eose: Eose::Plain,
            extra: Extra::default(),
            live: Live::default(),
            refuse: None,
            notice_instead_of_closed: false,
            auth: Auth::None,
            challenge: Challenge::AtConnect,
            max_subscriptions: None,
            disconnect: Disconnect::default(),
            link: Link::default(),
            nip11: Some(Document::default()),
            write: Write::Store,
            count: Count::Exact,
            negentropy: Negentropy::default(),
        }
    }
}

/// What is spoken on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A relay.
    Nostr,
    /// A WebSocket server that returns every message.
    Echo,
    /// A WebSocket server that never says anything.
    Silent,
    /// Accepts TCP and never answers.
    SilentTcp,
    /// Answers every request, upgrades included, with this document.
    Http(Document),
}

/// What becomes of published events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Verified, stored, `OK` true.
    Store,
    /// `OK` false with this text.
    Refuse(String),
    /// `OK` true for another id.
    OtherId,
    /// A CLOSED for its id, with this text, and no `OK`.
    Closed(String),
    /// A NOTICE with this text and no `OK`.
    Notice(String),
    /// No answer.
    Silent,
}

/// NIP-45.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// The true number.
    Exact,
    /// This number.
    Fixed(u64),
    /// `CLOSED` with this text.
    Refuse(String),
    /// No answer.
    Silent,
}
