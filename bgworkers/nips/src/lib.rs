//! The protocol as sans-I/O state: one file a NIP, and the paging that turns answers into coverage.

pub mod discovery;
pub mod ledger;
pub mod nip01;
pub mod nip11;
pub mod nip19;
pub mod nip42;
pub mod nip45;
pub mod nip66;
pub mod nip67;
pub mod nip77;
pub mod paging;
pub mod recheck;
