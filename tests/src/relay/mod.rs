//! A relay for tests (NIP-01, 11, 42, 45, 67) over an in-memory store, well-behaved by default and misbehaving on demand.
//!
//! Events are served as the bytes they were given, so invalid ones can be served too. All relays of a process run on one
//! runtime of their own: a test may block its thread, and a benchmark's client does not share threads with its relays.

mod answer;
mod connection;
mod filter;
mod http;
mod index;
mod options;
mod served;
mod server;
mod store;

pub use options::{Auth, Count, Disconnect, Document, Endless, Eose, Extra, Mode, Order, Refusal, RelayOptions, Write};
pub use served::Served;
pub use server::{Relay, RelayHandle};
pub use store::{Held, Store};
