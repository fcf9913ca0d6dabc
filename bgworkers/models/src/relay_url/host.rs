//! Which host names a relay can have.

use super::RelayUrlError;
use crate::{AddressPolicy, Network};
use sha3::{Digest, Sha3_256};

/// Last labels that never lead to a relay in public (RFC 2606, 6761, 6762, 7686, 8375, 9476 and common practice).
const SPECIAL: [&str; 15] = [
    "local",
    "localhost",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "test",
    "example",
    "invalid",
    "arpa",
    "alt",
    "umbrel",
];

/// The network of a lower-case ASCII name without trailing dot, or why no relay can be there.
pub(super) fn network(name: &str, policy: AddressPolicy) -> Result<Network, RelayUrlError> {
    if !name.split('.').all(is_label) {
        return Err(RelayUrlError::HostLabel);
    }
    if name.len() > 253 {
        return Err(RelayUrlError::HostTooLong);
    }
    let Some((parent, tld)) = name.rsplit_once('.') else {
        // Overlay suffixes by themselves must not reach a resolver either.
        let admitted = policy.allow_private && !matches!(name, "onion" | "i2p" | "loki");
        return if admitted { Ok(Network::Clearnet) } else { Err(RelayUrlError::SingleLabel) };
    };
    let label = parent.rsplit('.').next().unwrap_or(parent);
    let network = Network::of_name(name);
    match network {
        Network::Tor => check_onion(label)?,
        Network::I2p => check_i2p(parent)?,
        Network::Loki => check_loki(label)?,
        Network::Clearnet => {
            let alphabetic = tld.bytes().all(|byte| byte.is_ascii_lowercase());
            if tld.len() < 2 || !(alphabetic || tld.starts_with("xn--")) {
                return Err(RelayUrlError::Tld);
            }
            if SPECIAL.contains(&tld) && !(policy.allow_private && tld == "local") {
                return Err(RelayUrlError::SpecialName);
            }
        }
    }
    Ok(network)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_base32(label: &str) -> bool {
    label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// The label before `.onion` (rend-spec-v3: key, two bytes of checksum, version 3).
fn check_onion(label: &str) -> Result<(), RelayUrlError> {
    match label.len() {
        56 if is_base32(label) => {
            let bytes = base32(label).ok_or(RelayUrlError::Onion)?;
            let (key, [first, second, version]) = bytes.split_last_chunk::<3>().ok_or(RelayUrlError::Onion)?;
            let checksum =
                Sha3_256::new().chain_update(b".onion checksum").chain_update(key).chain_update([3]).finalize();
            if *version == 3 && checksum[..2] == [*first, *second] { Ok(()) } else { Err(RelayUrlError::Onion) }
        }
        16 if is_base32(label) => Err(RelayUrlError::OnionV2),
        _ => Err(RelayUrlError::Onion),
    }
}

/// 56 digits of base32 (RFC 4648, lower case) as 35 bytes.
fn base32(label: &str) -> Option<[u8; 35]> {
    let mut bytes = [0; 35];
    let (groups, rest) = label.as_bytes().as_chunks::<8>();
    if groups.len() != 7 || !rest.is_empty() {
        return None;
    }
    for (group, out) in groups.iter().zip(bytes.chunks_exact_mut(5)) {
        let mut bits = 0u64;
        for &digit in group {
            let value = match digit {
                b'a'..=b'z' => digit - b'a',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = (bits << 5) | u64::from(value);
        }
        let [_, _, _, five @ ..] = bits.to_be_bytes();
        out.copy_from_slice(&five);
    }
    Some(bytes)
}

/// What stands before `.i2p`: a registered name, or the hash of a destination (blinded ones are longer) before `b32`.
fn check_i2p(parent: &str) -> Result<(), RelayUrlError> {
    let hash = match parent.rsplit_once('.') {
        _ if parent == "b32" => return Err(RelayUrlError::I2p),
        Some((hash, "b32")) => hash,
        _ => return Ok(()),
    };
    if matches!(hash.len(), 52 | 56..=63) && is_base32(hash) { Ok(()) } else { Err(RelayUrlError::I2p) }
}

/// The label before `.loki`: 52 digits of z-base-32 are a key. A registered name without hyphen has 32 characters at most.
fn check_loki(label: &str) -> Result<(), RelayUrlError> {
    let is_zbase32 = label.bytes().all(|byte| b"ybndrfg8ejkmcpqxot1uwisza345h769".contains(&byte));
    if label.len() == 52 && !label.contains('-') && !is_zbase32 { Err(RelayUrlError::Loki) } else { Ok(()) }
}
