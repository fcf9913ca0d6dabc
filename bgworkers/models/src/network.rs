//! The networks a relay can live on.

/// Where a relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    Clearnet,
    Tor,
    I2p,
    Loki,
}
impl Network {
    pub const ALL: [Network; 4] = [Network::Clearnet, Network::Tor, Network::I2p, Network::Loki];
    /// `clearnet`, `tor`, `i2p`, `loki` (the SQL enum and NIP-66 `n` values).
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}
impl std::str::FromStr for Network {
    type Err = ();
    fn from_str(_: &str) -> Result<Self, ()> {
        todo!()
    }
}
