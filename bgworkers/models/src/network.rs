//! The networks a relay can live on.

/// Where a relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The Internet by DNS name or address.
    Clearnet,
    /// Tor onion services.
    Tor,
    /// I2P.
    I2p,
    /// Lokinet.
    Loki,
}

impl Network {
    /// Every network, in the order of the SQL enum.
    pub const ALL: [Network; 4] = [Network::Clearnet, Network::Tor, Network::I2p, Network::Loki];

    /// `clearnet`, `tor`, `i2p`, `loki` (the SQL enum and NIP-66 `n` values).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clearnet => "clearnet",
            Self::Tor => "tor",
            Self::I2p => "i2p",
            Self::Loki => "loki",
        }
    }

    /// The network a host name belongs to by its last label, which is expected in lower case without a trailing dot.
    pub(crate) fn of_name(host: &str) -> Self {
        match host.rsplit_once('.').map(|(_, tld)| tld) {
            Some("onion") => Self::Tor,
            Some("i2p") => Self::I2p,
            Some("loki") => Self::Loki,
            _ => Self::Clearnet,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Network {
    type Err = ();
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|network| network.as_str() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for network in Network::ALL {
            assert_eq!(network.as_str().parse(), Ok(network));
        }
        assert_eq!("Tor".parse::<Network>(), Err(()));
        assert_eq!("".parse::<Network>(), Err(()));
    }
}
