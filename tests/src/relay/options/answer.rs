//! How the answer to a REQ looks.

use std::sync::Arc;

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
    /// Plain, and once more.
    Twice,
    /// Plain, then a CLOSED with this text: nothing comes live.
    ThenClosed(String),
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
    /// Each event of an answer is sent twice.
    pub doubles: bool,
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
