//! How a test relay behaves. The defaults behave well; each field is one way in which relays of the wild do not.

use std::{sync::Arc, time::Duration};

use super::Store;

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
    /// Pause before a WebSocket upgrade is answered.
    pub connect_latency: Duration,
    /// Pause before the answer to a REQ or COUNT.
    pub request_latency: Duration,
    /// Pause before each event of an answer.
    pub event_latency: Duration,
    /// The end of stored events.
    pub eose: Eose,
    /// Refuses some REQs.
    pub refuse: Option<Refusal>,
    /// Says in a NOTICE what a CLOSED would say.
    pub notice_instead_of_closed: bool,
    /// NIP-42.
    pub auth: Auth,
    /// Open subscriptions per connection; more are refused.
    pub max_subscriptions: Option<usize>,
    /// When the connection breaks.
    pub disconnect: Disconnect,
    /// What is sent beyond what was asked.
    pub extra: Extra,
    /// NIP-11 document; `None` answers 404.
    pub nip11: Option<Document>,
    /// What becomes of published events.
    pub write: Write,
    /// NIP-45.
    pub count: Count,
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
            connect_latency: Duration::ZERO,
            request_latency: Duration::ZERO,
            event_latency: Duration::ZERO,
            eose: Eose::Plain,
            refuse: None,
            notice_instead_of_closed: false,
            auth: Auth::None,
            max_subscriptions: None,
            disconnect: Disconnect::default(),
            extra: Extra::default(),
            nip11: Some(Document::default()),
            write: Write::Store,
            count: Count::Exact,
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

/// Order of an answer, and which side of it a limit cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// NIP-01: newest first, ties lowest id first; the oldest are cut off.
    Newest,
    /// Oldest first; the newest are cut off.
    Ascending,
    /// The newest, as in [`Order::Newest`], but sent oldest first.
    NewestAscending,
    /// The newest, in random order.
    NewestShuffled {
        /// Equal seeds give equal orders.
        seed: u64,
    },
    /// In random order, and random ones are cut off.
    Random {
        /// Equal seeds give equal orders.
        seed: u64,
    },
}

/// The end of stored events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eose {
    /// `["EOSE", sub]`.
    Plain,
    /// No EOSE at all.
    Never,
    /// NIP-67, truthful: `finish` if nothing was cut off, else `more`.
    Hint,
    /// NIP-67 with this hint, true or not.
    Always(String),
}

/// Refuses some REQs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Every n-th REQ of the relay; 1 refuses all, 0 none.
    pub every: u64,
    /// Text of the CLOSED (or NOTICE).
    pub text: String,
    /// Refuse by a NOTICE, without CLOSED.
    pub notice: bool,
}

impl Refusal {
    /// `rate-limited:` for every n-th REQ.
    pub fn rate_limited(every: u64) -> Self {
        Self { every, text: "rate-limited: slow down".into(), notice: false }
    }
}

/// NIP-42.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody is asked.
    None,
    /// A challenge at once; REQ, COUNT and EVENT are refused with `auth-required:` until it is answered.
    Required,
    /// As [`Auth::Required`], but what is not allowed is not answered at all.
    Silent,
    /// The AUTH is accepted, and the answer is `restricted:` for everybody.
    Restricted,
}

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

/// What is sent beyond what was asked. All of it comes before the EOSE except `after_eose`.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Events sent in each answer, matching or not.
    pub off_filter: Vec<Arc<str>>,
    /// Events sent with a subscription id nobody has.
    pub foreign_sub: Vec<Arc<str>>,
    /// Events sent after the EOSE.
    pub after_eose: Vec<Arc<str>>,
    /// Text frames, as they are.
    pub text: Vec<String>,
    /// Text frames with any bytes, also no UTF-8.
    pub raw_text: Vec<Vec<u8>>,
    /// Binary frames.
    pub binary: Vec<Vec<u8>>,
    /// A text frame of this many bytes.
    pub huge: Option<usize>,
    /// Never stop sending events.
    pub endless: Option<Endless>,
}

/// An answer without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endless {
    /// The same events again and again.
    Repeat,
    /// Ever new, validly signed events, with the newest created_at asked for.
    Fresh,
}

/// Something served over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// Further header lines, such as a `Location`.
    pub headers: Vec<(String, String)>,
    /// Body, as it is.
    pub body: Vec<u8>,
    /// Pause before the answer.
    pub delay: Duration,
}

impl Document {
    /// A NIP-11 document with this text.
    pub fn nip11(text: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: "application/nostr+json".into(),
            headers: Vec::new(),
            body: text.into(),
            delay: Duration::ZERO,
        }
    }

    /// An HTML page with this status.
    pub fn html(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "text/html; charset=utf-8".into(), ..Self::nip11(text) }
    }

    /// A valid NIP-11 document whose description fills it up to about this many bytes.
    pub fn huge(bytes: usize) -> Self {
        let mut text = String::from(r#"{"name":"huge","description":""#);
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 2)));
        text.push_str("\"}");
        Self::nip11(text)
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::nip11(
            r#"{"name":"test relay","description":"a relay for tests","software":"bigbrotr-tests","version":"0.1.0","supported_nips":[1,11,42,45,67]}"#,
        )
    }
}

/// What becomes of published events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Verified, stored, `OK` true.
    Store,
    /// `OK` false with this text.
    Refuse(String),
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
