//! A relay for tests (NIP-01, 11, 42, 45, 67, 77) over an in-memory store, well-behaved by default and misbehaving on demand.
//!
//! Events are served as the bytes they were given, so invalid ones can be served too. All relays of a process run on one
//! runtime of their own: a test may block its thread, and a benchmark's client does not share threads with its relays.

mod answer;
mod auth;
mod connection;
mod dialect;
mod filter;
mod http;
mod index;
mod options;
mod pipe;
mod reconcile;
mod served;
mod server;
mod session;
mod store;

pub use dialect::Dialect;
pub use options::{
    Accepts, Auth, Challenge, Count, Deep, DeepFault, Disconnect, Document, Endless, Eose, Extra, LimitZero, Link,
    Live, LiveEnd, MissingLimit, Mode, NegFault, NegOff, NegOn, Negentropy, Order, Refusal, RelayOptions, Write,
};
pub use served::Served;
pub use server::{Relay, RelayHandle};
pub use store::{Held, Store};
