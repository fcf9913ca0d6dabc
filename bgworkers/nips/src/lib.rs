//! The protocol as sans-I/O state: one file a NIP, and the paging that turns answers into coverage.
