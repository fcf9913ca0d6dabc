//! Publishing NIP-66 end to end: a real monitor, relays that take its events and relays that do not.

mod checked;
mod odd;
mod steady;
