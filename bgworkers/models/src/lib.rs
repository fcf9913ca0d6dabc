//! The vocabulary of the observatory: values that, once they exist, are valid. No I/O.

pub mod address;
pub mod canonical;
pub mod document;
mod escape;
pub mod event;
pub mod filter;
pub mod hex;
pub mod kind;
pub mod network;
pub mod ports;
pub mod ranges;
pub mod relay_url;
pub mod sighting;
pub mod signer;
#[cfg(test)]
mod test_data;

pub use address::{AddressPolicy, AddressRejection};
pub use document::Document;
pub use escape::{repaired, without_nul};
pub use event::{Event, EventError, IdForm, Packed, VerifiedEvent};
pub use filter::{Filter, FilterError};
pub use network::Network;
pub use ports::PortPolicy;
pub use ranges::{Range, Ranges};
pub use relay_url::{Extracted, RelayUrl, RelayUrlError};
pub use signer::Signer;
