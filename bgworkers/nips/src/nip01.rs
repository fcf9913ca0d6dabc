//! NIP-01: the messages between client and relay.

mod client;
mod prefix;
mod relay;
mod scan;

pub use client::ClientMessage;
pub use prefix::{ClosePrefix, NoticeClass};
pub use relay::{MessageError, RelayMessage};

/// Longest AUTH challenge accepted, bytes.
pub const MAX_CHALLENGE: usize = 1024;
/// Longest human-readable text kept, bytes; the rest is cut at a character.
pub const MAX_TEXT: usize = 4096;
/// Longest subscription id accepted, bytes (NIP-01 allows 64 characters).
pub const MAX_SUBSCRIPTION_ID: usize = 256;
/// Longest NIP-77 message accepted, bytes before hex: relays send 60,000 and some half a megabyte.
pub const MAX_NEG_MESSAGE: usize = 1 << 19;
