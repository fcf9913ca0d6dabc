//! From one trimmed piece of text to a key.

use super::{MAX_URL_BYTES, RelayUrl, RelayUrlError, UrlFlag, host, split};
use crate::{AddressPolicy, AddressRejection, Network, address};
use std::net::IpAddr;
use url::Url;

pub(super) fn normalize(piece: &str, policy: AddressPolicy) -> Result<(RelayUrl, Vec<UrlFlag>), RelayUrlError> {
    if piece.len() > MAX_URL_BYTES {
        return Err(RelayUrlError::TooLong);
    }
    let rest = split::scheme_length(piece).and_then(|length| piece.get(length..)).ok_or(RelayUrlError::Scheme)?;
    if rest.starts_with('/') {
        return Err(RelayUrlError::EmptyHost);
    }
    if rest.contains('\\') {
        return Err(RelayUrlError::Backslash);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('%') {
        return Err(RelayUrlError::PercentInAuthority);
    }
    let url = Url::parse(piece).map_err(|error| match error {
        url::ParseError::EmptyHost => RelayUrlError::EmptyHost,
        other => RelayUrlError::Syntax(other),
    })?;
    let (host, network) = canonical_host(&url, authority, policy)?;

    let mut flags = Vec::new();
    if !url.username().is_empty() || url.password().is_some() {
        flags.push(UrlFlag::UserinfoDropped);
    }
    if url.query().is_some() {
        flags.push(UrlFlag::QueryDropped);
    }
    if url.fragment().is_some() {
        flags.push(UrlFlag::FragmentDropped);
    }

    let mut key = format!("{}://{host}", url.scheme());
    match url.port() {
        Some(0) => return Err(RelayUrlError::PortZero),
        Some(port) => key.push_str(&format!(":{port}")),
        None => {}
    }
    let segments = url.path().split('/').filter(|segment| !segment.is_empty()).map(decode_unreserved);
    let segments: Vec<String> = segments.collect();
    if !segments.iter().all(|segment| is_plausible(segment)) {
        flags.push(UrlFlag::PathDropped);
    } else {
        if segments.iter().any(|segment| names_a_user(segment)) {
            flags.push(UrlFlag::PerUserPath);
        }
        for segment in segments {
            key.push('/');
            key.push_str(&segment);
        }
    }
    // An international name is longer in ASCII, and a key has to pass as input again.
    if key.len() > MAX_URL_BYTES {
        return Err(RelayUrlError::TooLong);
    }
    Ok((RelayUrl { key, network }, flags))
}

fn canonical_host(url: &Url, authority: &str, policy: AddressPolicy) -> Result<(String, Network), RelayUrlError> {
    let check = |ip: IpAddr| address::check(ip, policy).map_err(RelayUrlError::Address);
    match url.host() {
        None => Err(RelayUrlError::EmptyHost),
        Some(url::Host::Ipv4(ip)) => {
            let written = authority.rsplit('@').next().unwrap_or(authority);
            let written = written.split(':').next().unwrap_or(written);
            let canonical = ip.to_string();
            if written != canonical {
                return Err(RelayUrlError::NonCanonicalIpv4);
            }
            check(ip.into())?;
            Ok((canonical, Network::Clearnet))
        }
        Some(url::Host::Ipv6(ip)) => {
            // A connection could follow it, but it would be a second key of an IPv4 relay.
            if ip.to_ipv4_mapped().is_some() {
                return Err(RelayUrlError::Address(AddressRejection::NonGlobal));
            }
            check(ip.into())?;
            Ok((format!("[{ip}]"), Network::Clearnet))
        }
        Some(url::Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let network = host::network(name, policy)?;
            Ok((name.to_owned(), network))
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes `%xx` where it stands for an unreserved character (RFC 3986 §6.2.2.2).
fn decode_unreserved(segment: &str) -> String {
    let mut decoded = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let byte = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|&byte| is_unreserved(byte)) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

fn is_plausible(segment: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'~'));
    let bytes = segment.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|&byte| is_unreserved(byte) || matches!(byte, b':' | b'@'))
}

/// An npub (NIP-19) or 64 hex digits, as relays with a view per user have them in the path.
fn names_a_user(segment: &str) -> bool {
    let is_npub = segment.len() == 63
        && segment
            .strip_prefix("npub1")
            .is_some_and(|data| data.bytes().all(|byte| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(&byte)));
    is_npub || (segment.len() == 64 && segment.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
