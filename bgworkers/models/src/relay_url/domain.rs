//! Who is behind a host name, as far as a limit can tell.

use super::{Host, RelayUrl};
use crate::{AddressPolicy, Network, address};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

impl RelayUrl {
    /// What somebody had to register, or to own, to have this host: the unit in which floods of URLs are counted.
    ///
    /// * A clearnet name: its registrable domain by the public suffix list, private suffixes included (`alice.github.io` is
    ///   another owner than `bob.github.io`). A public suffix itself, and a name of one label, stand for themselves.
    /// * An overlay name: the address or registered name itself, without what stands before it.
    /// * An IPv4 address: itself. An IPv6 address: its /48, which anybody is given who asks.
    /// * A private address, where those are admitted: itself and the port, for behind it everything is one's own; the names of this
    ///   machine are one.
    ///
    /// The list is compiled in, so the answer may change with the version of this library.
    pub fn registrable_domain(&self) -> Cow<'_, str> {
        let name = match self.host() {
            Host::Name("localhost") => return Cow::Owned(format!("127.0.0.1:{}", self.port())),
            Host::Ip(ip) if ip == Ipv6Addr::LOCALHOST => return Cow::Owned(format!("127.0.0.1:{}", self.port())),
            Host::Ip(ip) if address::check(ip, AddressPolicy::default()).is_err() => {
                let host = match ip {
                    IpAddr::V4(ip) => ip.to_string(),
                    IpAddr::V6(ip) => format!("[{ip}]"),
                };
                return Cow::Owned(format!("{host}:{}", self.port()));
            }
            Host::Ip(IpAddr::V4(ip)) => return Cow::Owned(ip.to_string()),
            Host::Ip(IpAddr::V6(ip)) => {
                let network = Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80);
                return Cow::Owned(format!("{network}/48"));
            }
            Host::Name(name) => name,
        };
        let labels = match self.network() {
            Network::Clearnet => return Cow::Borrowed(psl::domain_str(name).unwrap_or(name)),
            // The hash of a destination stands before two labels, a registered name before one.
            Network::I2p if name.ends_with(".b32.i2p") => 3,
            Network::Tor | Network::I2p | Network::Loki => 2,
        };
        Cow::Borrowed(last_labels(name, labels))
    }
}

/// The last labels of a name, all of it if it has no more.
fn last_labels(name: &str, labels: usize) -> &str {
    let before = name.rmatch_indices('.').nth(labels - 1).map(|(at, _)| at + 1);
    before.and_then(|at| name.get(at..)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn domain(url: &str) -> String {
        RelayUrl::from_key(url).unwrap().registrable_domain().into_owned()
    }

    #[test]
    fn clearnet_names_count_by_what_was_registered() {
        for (url, wanted) in [
            ("wss://nos.lol", "nos.lol"),
            ("wss://a.b.nos.lol:8080/x", "nos.lol"),
            ("wss://relay.example.co.uk", "example.co.uk"),
            ("wss://alice.github.io/nostr", "alice.github.io"),
            ("wss://x.alice.github.io", "alice.github.io"),
            ("wss://github.io", "github.io"),
            ("wss://co.uk", "co.uk"),
            ("wss://relay.no-such-tld.zzzz", "no-such-tld.zzzz"),
            ("wss://a.b.c.xn--fiqs8s", "c.xn--fiqs8s"),
            ("ws://localhost:7777", "127.0.0.1:7777"),
            ("ws://2gzyxa.onion.to", "onion.to"),
        ] {
            assert_eq!(domain(url), wanted, "{url}");
        }
    }

    #[test]
    fn overlay_names_count_by_their_address() {
        let onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
        let b32 = format!("{}.b32.i2p", "a".repeat(52));
        for (url, wanted) in [
            (format!("ws://{onion}"), onion),
            (format!("ws://a.b.{onion}:81/x"), onion),
            (format!("ws://{b32}"), &b32),
            (format!("ws://x.{b32}"), &b32),
            ("ws://relay.nostr.i2p".to_owned(), "nostr.i2p"),
            ("ws://b32.i2p".to_owned(), "b32.i2p"),
            ("ws://a.nostr.loki".to_owned(), "nostr.loki"),
        ] {
            assert_eq!(domain(&url), wanted, "{url}");
        }
    }

    #[test]
    fn addresses_count_by_themselves_or_their_48() {
        for (url, wanted) in [
            ("ws://1.1.1.1:8080", "1.1.1.1"),
            ("ws://1.1.1.1", "1.1.1.1"),
            ("wss://[2606:4700:1:2:3:4:5:6]", "2606:4700:1::/48"),
            ("wss://[2606:4700:1:ffff::1]:81", "2606:4700:1::/48"),
            ("ws://127.0.0.1:4000", "127.0.0.1:4000"),
            ("ws://10.0.0.1", "10.0.0.1:80"),
            ("ws://[::1]:4000", "127.0.0.1:4000"),
        ] {
            assert_eq!(domain(url), wanted, "{url}");
        }
    }
}
