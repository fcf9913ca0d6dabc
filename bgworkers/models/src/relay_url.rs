//! Relay URLs: from a stranger's text to a canonical key.
//!
//! The rules are those of the project's relay URL reference: no scheme is guessed, `ws` and `wss` are not merged, and
//! normalising a key again changes nothing.

mod domain;
mod host;
mod normalize;
mod split;

use crate::{AddressPolicy, AddressRejection, Network};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest piece of text, and the longest key, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// Why a piece of text is no relay URL. `Display` is exactly the `reject` text of `url-vectors.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayUrlError {
    /// Nothing in the text looks like a URL.
    #[error("no candidate")]
    NoCandidate,
    /// More than [`MAX_URL_BYTES`].
    #[error("too long")]
    TooLong,
    /// Does not begin with `ws://` or `wss://`.
    #[error("scheme is not ws/wss")]
    Scheme,
    /// Nothing between the scheme and the path.
    #[error("empty host")]
    EmptyHost,
    /// Parsers disagree about `\`.
    #[error("backslash")]
    Backslash,
    /// `%` before the path.
    #[error("percent sign in authority")]
    PercentInAuthority,
    /// Not a URL by the WHATWG standard.
    #[error("{0}")]
    Syntax(url::ParseError),
    /// `127.1`, `0x7f.1`, `2130706433` and the like.
    #[error("non-canonical IPv4 literal")]
    NonCanonicalIpv4,
    /// An address that is refused.
    #[error("{0}")]
    Address(AddressRejection),
    /// A label that is empty, longer than 63, or holds something else than letters, digits, `_` and inner hyphens.
    #[error("bad host label")]
    HostLabel,
    /// More than 253 characters.
    #[error("host too long")]
    HostTooLong,
    /// A host name of one label.
    #[error("single-label host")]
    SingleLabel,
    /// A last label that can be no top-level domain.
    #[error("bad TLD")]
    Tld,
    /// A name reserved for local use or documentation.
    #[error("special-use name")]
    SpecialName,
    /// 16 characters: retired by Tor in 2021.
    #[error("onion v2 retired")]
    OnionV2,
    /// No onion service address: wrong length, alphabet, version or checksum.
    #[error("bad onion address")]
    Onion,
    /// No I2P base32 address.
    #[error("bad b32.i2p address")]
    I2p,
    /// No Lokinet address.
    #[error("bad loki address")]
    Loki,
    /// Port 0.
    #[error("port 0")]
    PortZero,
    /// Where exactly one relay URL was asked for.
    #[error("more than one relay URL")]
    Ambiguous,
    /// Not a key that this version or an earlier one produced.
    #[error("not a canonical relay URL")]
    NotAKey,
}

/// What was dropped on the way to the key. `Display`/`as_str` is exactly the flag text of `url-vectors.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UrlFlag {
    /// `?…`, which selects a personal view on some relays.
    QueryDropped,
    /// `#…`.
    FragmentDropped,
    /// `user:password@`.
    UserinfoDropped,
    /// A path that is no plausible endpoint.
    PathDropped,
    /// Nothing: the path names a user, so it should not be enrolled by itself.
    PerUserPath,
}

impl UrlFlag {
    /// The text of the flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueryDropped => "query dropped",
            Self::FragmentDropped => "fragment dropped",
            Self::UserinfoDropped => "userinfo dropped",
            Self::PathDropped => "path dropped",
            Self::PerUserPath => "per-user path",
        }
    }
}

impl std::fmt::Display for UrlFlag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The host of a relay URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name in lower case (IDNA: its ASCII form), without a trailing dot.
    Name(&'a str),
    /// A literal address.
    Ip(IpAddr),
}

/// A canonical relay URL: `scheme://host[:port][/path]`, no root slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayUrl {
    key: String,
    network: Network,
}

/// One piece of a text that [`extract`] looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The URL, or why the piece is none.
    pub url: Result<RelayUrl, RelayUrlError>,
    /// Something other than white space had to be trimmed or cut.
    pub recovered: bool,
    /// What was dropped; empty for a refused piece.
    pub flags: Vec<UrlFlag>,
}

/// Every piece of `text` that might be a relay URL, in order, keys once. Takes time in proportion to the text.
///
/// Never empty: a text without any candidate gives one refused piece that says so.
pub fn extract(text: &str, policy: AddressPolicy) -> Vec<Extracted> {
    let whole = split::trim_space(text);
    let mut seen = HashSet::new();
    let mut found: Vec<Extracted> = split::candidates(whole)
        .map(|piece| {
            let recovered = piece.len() != whole.len();
            match normalize::normalize(piece, policy) {
                Ok((url, flags)) => Extracted { url: Ok(url), recovered, flags },
                Err(error) => Extracted { url: Err(error), recovered, flags: Vec::new() },
            }
        })
        .filter(|extracted| extracted.url.as_ref().map_or(true, |url| seen.insert(url.key.clone())))
        .collect();
    if found.is_empty() {
        found.push(Extracted { url: Err(RelayUrlError::NoCandidate), recovered: false, flags: Vec::new() });
    }
    found
}

impl RelayUrl {
    /// The key if `text` yields exactly one (repaired ones included).
    pub fn parse(text: &str, policy: AddressPolicy) -> Result<Self, RelayUrlError> {
        let mut refused = None;
        let mut found = None;
        for extracted in extract(text, policy) {
            match extracted.url {
                Ok(_) if found.is_some() => return Err(RelayUrlError::Ambiguous),
                Ok(url) => found = Some(url),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        found.ok_or(refused.unwrap_or(RelayUrlError::NoCandidate))
    }

    /// Operator input: a bare host (with port and path, if need be) means `wss`, `http(s)://` means `ws(s)://`; anything
    /// that [`RelayUrl::parse`] takes is taken too.
    pub fn parse_operator(text: &str, policy: AddressPolicy) -> Result<Self, RelayUrlError> {
        let error = match Self::parse(text, policy) {
            Err(error @ (RelayUrlError::Scheme | RelayUrlError::NoCandidate)) => error,
            other => return other,
        };
        let text = split::trim(text);
        if split::is_cut(text) {
            return Err(error);
        }
        let after = |scheme: &str| {
            text.split_at_checked(scheme.len())
                .filter(|(head, _)| head.eq_ignore_ascii_case(scheme))
                .map(|(_, rest)| rest)
        };
        if let Some(rest) = after("https://") {
            Self::parse(&format!("wss://{rest}"), policy)
        } else if let Some(rest) = after("http://") {
            Self::parse(&format!("ws://{rest}"), policy)
        } else if text.is_empty() || text.contains("//") || text.contains('@') {
            // `wss//host`, `ftp://host`, mail addresses.
            Err(error)
        } else {
            Self::parse(&format!("wss://{text}"), policy)
        }
    }

    /// Trusts `key` to be a key this type produced earlier (read back from our own tables), under whatever policy: only its
    /// shape is looked at.
    pub fn from_key(key: &str) -> Result<Self, RelayUrlError> {
        let url = Self { key: key.to_owned(), network: Network::Clearnet };
        let (host, port, path) = url.parts().ok_or(RelayUrlError::NotAKey)?;
        let sound = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'%' | b'?' | b'#' | b',' | b'|');
        let host_is_sound = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok()),
            None => {
                !host.is_empty()
                    && !host.bytes().any(|b| b.is_ascii_uppercase() || matches!(b, b'@' | b':' | b'['))
                    && (!ends_in_a_number(host) || host.parse::<Ipv4Addr>().is_ok())
            }
        };
        let port_is_sound = port.is_none_or(|port| {
            !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
        });
        let path_is_sound = path.is_empty() || !path.ends_with('/');
        if key.len() > MAX_URL_BYTES || !key.bytes().all(sound) || !host_is_sound || !port_is_sound || !path_is_sound {
            return Err(RelayUrlError::NotAKey);
        }
        let network = Network::of_name(host);
        Ok(Self { network, ..url })
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// By the host's last label.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Whether the scheme is `wss`.
    pub fn is_tls(&self) -> bool {
        self.key.starts_with("wss:")
    }

    /// Name or address.
    pub fn host(&self) -> Host<'_> {
        let host = self.parts().map_or("", |(host, ..)| host);
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or(Host::Name(host), Host::Ip)
    }

    /// Explicit or default port.
    pub fn port(&self) -> u16 {
        let explicit = self.parts().and_then(|(_, port, _)| port?.parse().ok());
        explicit.unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Path with a leading slash; `/` when there is none.
    pub fn path(&self) -> &str {
        self.parts().map(|(.., path)| path).filter(|path| !path.is_empty()).unwrap_or("/")
    }

    /// With the root slash, as NIP-66 `d` and NIP-42 `relay` want it.
    pub fn with_root_slash(&self) -> String {
        let mut text = self.key.clone();
        if self.parts().is_some_and(|(.., path)| path.is_empty()) {
            text.push('/');
        }
        text
    }

    /// Host (with brackets, if any), port and path as they stand in the key.
    fn parts(&self) -> Option<(&str, Option<&str>, &str)> {
        let rest = self.key.strip_prefix("wss://").or_else(|| self.key.strip_prefix("ws://"))?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let end_of_host = authority.find(']').map_or(0, |at| at + 1);
        match authority[end_of_host..].split_once(':') {
            Some((host, port)) => Some((&authority[..end_of_host + host.len()], Some(port), path)),
            None => Some((authority, None, path)),
        }
    }
}

impl std::fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)
    }
}

/// Whether the URL standard takes this host for an IPv4 address, however it is written: `127.1`, `0x7f.1`, `2130706433`
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>). A key has it in its one canonical form.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
