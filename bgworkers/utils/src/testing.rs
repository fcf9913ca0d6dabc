//! The dialer against small servers of our own on loopback.
#![allow(clippy::unwrap_used)]

mod dns;
mod http;
mod overlay;
mod servers;
mod ssrf;
mod tls;
mod websocket;
