//! Which IP addresses a stranger's URL may lead to.
use std::net::IpAddr;

/// What the operator admits beyond global addresses (`bigbrotr.allow_private_addresses`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressPolicy {
    pub allow_private: bool,
}
/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRejection {
    #[error("non-global address")]
    NonGlobal,
    #[error("6to4")]
    SixToFour,
    #[error("yggdrasil")]
    Yggdrasil,
}
/// Accepts `address` or says why not. IPv4-mapped IPv6 addresses are judged as what a connection would reach.
pub fn check(address: IpAddr, policy: AddressPolicy) -> Result<(), AddressRejection> {
    let _ = (address, policy);
    todo!()
}
