//! What the end-to-end tests and the benchmarks stand on: a test relay that misbehaves on demand, a generator of signed
//! events, and a private PostgreSQL cluster with the extension installed.
//!
//! Nothing here but `fuzz` uses the project's own event code, so that one mistake cannot be made on both sides of a test.

pub mod cluster;
pub mod demo;
pub mod dns;
pub mod fuzz;
pub mod generate;
pub mod mmdb;
pub mod odd;
pub mod paths;
pub mod publishing;
pub mod relay;
pub mod signed;
pub mod socks;
pub mod tls;
pub mod truth;

pub use cluster::{Cluster, ClusterOptions, Stop};
pub use generate::{Generator, Spec, distribute, real_events};
pub use relay::{Relay, RelayHandle, RelayOptions, Store};
