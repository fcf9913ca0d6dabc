//! Which IP addresses a stranger's URL may lead to.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the operator admits beyond global addresses (`bigbrotr.allow_private_addresses`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressPolicy {
    /// Loopback (127.0.0.0/8, ::1) and private (RFC 1918, fc00::/7) addresses, and names that lead to such.
    pub allow_private: bool,
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRejection {
    /// In one of the special-purpose ranges, or outside of what is assigned for global use.
    #[error("non-global address")]
    NonGlobal,
    /// 2002::/16, behind which any IPv4 address can stand.
    #[error("6to4")]
    SixToFour,
    /// 200::/7, an overlay of its own.
    #[error("yggdrasil")]
    Yggdrasil,
    /// Where clouds tell their machines secrets; refused whatever the policy.
    #[error("metadata service")]
    Metadata,
    /// An address of this very machine.
    #[error("address of this server")]
    Own,
}

/// Accepts `address` or says why not. IPv4-mapped IPv6 addresses are judged as what a connection would reach; addresses
/// that embed an IPv4 address in any other way (6to4, Teredo, NAT64, IPv4-compatible) are refused whatever they embed.
pub fn check(address: IpAddr, policy: AddressPolicy) -> Result<(), AddressRejection> {
    let global = match address {
        IpAddr::V4(address) => check_v4(address, policy),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => check_v4(mapped, policy),
            None => {
                check_v6(address, policy)?;
                true
            }
        },
    };
    match global {
        false => Err(AddressRejection::NonGlobal),
        true if METADATA.contains(&address.to_canonical()) => Err(AddressRejection::Metadata),
        true => Ok(()),
    }
}

/// Metadata services of clouds at addresses that are public (Azure), or private ones that an operator may admit (EC2, Google); the
/// link-local ones are never admitted anyway.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Special-purpose blocks (IANA registry) as address and prefix length.
const NOT_GLOBAL_V4: [(Ipv4Addr, u32); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Blocks inside 2000::/3 that are not for global use.
const NOT_GLOBAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn check_v4(address: Ipv4Addr, policy: AddressPolicy) -> bool {
    if policy.allow_private && (address.is_loopback() || address.is_private()) {
        return true;
    }
    let inside = |(block, length): (Ipv4Addr, u32)| (address.to_bits() ^ block.to_bits()) >> (32 - length) == 0;
    !NOT_GLOBAL_V4.into_iter().any(inside)
}

fn check_v6(address: Ipv6Addr, policy: AddressPolicy) -> Result<(), AddressRejection> {
    let [first, ..] = address.segments();
    let inside = |(block, length): (Ipv6Addr, u32)| (address.to_bits() ^ block.to_bits()) >> (128 - length) == 0;
    match first {
        0x0200..=0x03ff => Err(AddressRejection::Yggdrasil),
        0x2002 => Err(AddressRejection::SixToFour),
        0x2000..=0x3fff if !NOT_GLOBAL_V6.into_iter().any(inside) => Ok(()),
        _ if policy.allow_private && (address.is_loopback() || address.is_unique_local()) => Ok(()),
        _ => Err(AddressRejection::NonGlobal),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use AddressRejection::*;

    fn strict(address: &str) -> Result<(), AddressRejection> {
        check(address.parse().unwrap(), AddressPolicy::default())
    }
    fn lenient(address: &str) -> Result<(), AddressRejection> {
        check(address.parse().unwrap(), AddressPolicy { allow_private: true })
    }

    #[test]
    fn every_special_range_is_refused_up_to_its_edges() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().unwrap(), last.parse().unwrap());
            for inside in [first, last] {
                assert_eq!(strict(&inside.to_string()), Err(NonGlobal), "{inside}");
                assert_eq!(strict(&format!("::ffff:{inside}")), Err(NonGlobal), "{inside}");
            }
            for outside in [first.to_bits().wrapping_sub(1), last.to_bits().wrapping_add(1)] {
                let outside = Ipv4Addr::from_bits(outside);
                // 0/8 and 224/3 meet where the address space wraps.
                let expected = if matches!(outside.octets()[0], 0 | 255) { Err(NonGlobal) } else { Ok(()) };
                assert_eq!(strict(&outside.to_string()), expected, "{outside}");
            }
        }
    }

    #[test]
    fn global_addresses_are_accepted() {
        for address in
            ["1.1.1.1", "8.8.8.8", "110.5.6.7", "172.32.0.1", "192.0.1.1", "223.255.255.255", "::ffff:8.8.8.8"]
        {
            assert_eq!(strict(address), Ok(()), "{address}");
        }
        for address in ["2606:4700:4700::1111", "2000::1", "2001:200::1", "2003::1", "3ffe::1", "3fff:1000::1"] {
            assert_eq!(strict(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn ipv6_outside_of_global_unicast_is_refused() {
        for address in [
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "1fff::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(strict(address), Err(NonGlobal), "{address}");
        }
        assert_eq!(strict("2002:7f00:1::"), Err(SixToFour));
        assert_eq!(strict("2002:808:808::"), Err(SixToFour));
        assert_eq!(strict("200::1"), Err(Yggdrasil));
        assert_eq!(strict("3ff::1"), Err(Yggdrasil));
    }

    #[test]
    fn an_operator_can_admit_loopback_and_private_addresses_only() {
        for address in
            ["127.0.0.1", "127.255.0.1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:127.0.0.1"]
        {
            assert_eq!(lenient(address), Ok(()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "100.64.0.1",
            "169.254.169.254",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "::ffff:0.0.0.0",
        ] {
            assert_eq!(lenient(address), Err(NonGlobal), "{address}");
        }
        assert_eq!(lenient("2002:7f00:1::"), Err(SixToFour));
        assert_eq!(lenient("8.8.8.8"), Ok(()));
    }

    #[test]
    fn metadata_services_are_refused_whatever_the_policy() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192"]
        {
            assert_eq!(strict(address), Err(NonGlobal), "{address}");
            assert_eq!(lenient(address), Err(NonGlobal), "{address}");
        }
        for address in ["168.63.129.16", "::ffff:168.63.129.16"] {
            assert_eq!(strict(address), Err(Metadata), "{address}");
            assert_eq!(lenient(address), Err(Metadata), "{address}");
        }
        for address in ["fd00:ec2::254", "fd20:ce::254"] {
            assert_eq!(strict(address), Err(NonGlobal), "{address}");
            assert_eq!(lenient(address), Err(Metadata), "{address}");
        }
        assert_eq!(strict("168.63.129.15"), Ok(()));
        assert_eq!(lenient("fd00:ec2::253"), Ok(()));
    }
}
