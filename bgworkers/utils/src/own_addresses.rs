//! The addresses of this machine: whatever is public about them, what listens there is ours, and no stranger sends us to it.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Addresses come and go with leases and containers; looking takes microseconds.
const FRESH: Duration = Duration::from_secs(30);

/// The addresses of all interfaces, read again when older than 30 s. Cheap to clone; clones share the reading.
///
/// What a router in front of this machine translates (NAT) is not known here: such an address is refused by whoever answers for it.
#[derive(Debug, Clone)]
pub(crate) struct OwnAddresses {
    state: Arc<Mutex<State>>,
    read: fn() -> HashSet<IpAddr>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashSet<IpAddr>,
    read_at: Option<Instant>,
}

impl OwnAddresses {
    /// Those of the kernel.
    pub(crate) fn of_system() -> Self {
        Self::reading(read)
    }

    /// Those that `read` gives.
    pub(crate) fn reading(read: fn() -> HashSet<IpAddr>) -> Self {
        Self { state: Arc::default(), read }
    }

    /// Whether `address` is one of this machine.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read_at.is_none_or(|at| at.elapsed() >= FRESH) {
            state.addresses = (self.read)();
            state.read_at = Some(Instant::now());
        }
        state.addresses.contains(&address.to_canonical())
    }
}

/// From `/proc`: no other way to them is without `unsafe` or a further dependency. Elsewhere than on Linux: none.
fn read() -> HashSet<IpAddr> {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut addresses: HashSet<IpAddr> = local_v4(&text("/proc/net/fib_trie")).map(IpAddr::V4).collect();
    addresses.extend(interfaces_v6(&text("/proc/net/if_inet6")).map(IpAddr::V6));
    addresses
}

/// Lines such as `|-- 192.0.2.7`, those of which one like `/32 host LOCAL` says that they are of this machine.
fn local_v4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut address: Option<Ipv4Addr> = None;
    fib_trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse().ok();
            return None;
        }
        if line.starts_with("/32 ") && line.ends_with("host LOCAL") { address } else { None }
    })
}

/// Lines that begin with the 32 hex digits of an address.
fn interfaces_v6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    if_inet6.lines().filter_map(|line| {
        let digits = line.split_whitespace().next().filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernels_tables_are_understood() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.0\n           \
                    /24 link UNICAST\n        |-- 192.0.2.7\n           /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n";
        assert_eq!(local_v4(trie).collect::<Vec<_>>(), ["192.0.2.7".parse::<Ipv4Addr>().unwrap()]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000007 02 40 00 80     eth0\nodd line\n";
        let expected: Vec<Ipv6Addr> = vec!["::1".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(interfaces_v6(table).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn loopback_is_among_the_addresses_of_this_machine() {
        let own = OwnAddresses::of_system();
        assert!(own.contains("127.0.0.1".parse().unwrap()));
        assert!(own.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!own.contains("192.0.2.7".parse().unwrap()));
    }
}
