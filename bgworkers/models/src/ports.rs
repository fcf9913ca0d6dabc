//! Which TCP ports a stranger's URL may lead to.

use std::{ffi::CStr, fmt, num::ParseIntError, str::FromStr};

/// Ranges a setting may name.
const MAX_RANGES: usize = 256;

/// Ports that are never dialed (`bigbrotr.blocked_ports`): inclusive ranges.
///
/// A WebSocket or HTTP request is text, and many older servers read text line by line: whoever makes us connect to a mail, IRC or
/// database server makes us speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPolicy {
    blocked: Vec<(u16, u16)>,
}

/// Why a text is no list of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortListError {
    /// Not a number from 0 to 65535, nor two of them.
    #[error("{0} is neither a port nor a range of ports such as 6665-6669")]
    Item(String),
    /// The first port is above the last.
    #[error("the range {0} is empty")]
    Empty(String),
    /// Too many.
    #[error("more than {MAX_RANGES} ports or ranges")]
    TooMany,
}

impl PortPolicy {
    /// The default: the port blocking of the WHATWG fetch standard (what browsers refuse; but for 1 and 9, which answer nothing), and
    /// the usual ports of remote desktops, databases and caches.
    pub const DEFAULT: &CStr = c"0,7,11,13,15,17,19-23,25,37,42,43,53,69,77,79,87,95,101-104,109-111,113,115,117,119,123,\
        135,137,139,143,161,179,389,427,445,465,512-515,526,530-532,540,548,554,556,563,587,601,636,989,990,993,995,1433,1521,\
        1719,1720,1723,2049,3306,3389,3659,4045,4190,5060,5061,5432,6000,6379,6566,6665-6669,6679,6697,10080,11211,27017";

    /// No port is blocked.
    pub const fn allow_all() -> Self {
        Self { blocked: Vec::new() }
    }

    /// Whether `port` may be connected to.
    pub fn allows(&self, port: u16) -> bool {
        !self.blocked.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }
}

impl Default for PortPolicy {
    fn default() -> Self {
        // A test reads it, so the other case does not come up.
        Self::DEFAULT.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(Self::allow_all())
    }
}

/// Ports and ranges, separated by commas; empty: none.
impl FromStr for PortPolicy {
    type Err = PortListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut blocked = Vec::new();
        if text.trim().is_empty() {
            return Ok(Self { blocked });
        }
        for item in text.split(',').map(str::trim) {
            let range = range(item).map_err(|_| PortListError::Item(item.chars().take(40).collect()))?;
            if range.0 > range.1 {
                return Err(PortListError::Empty(item.into()));
            }
            if blocked.len() == MAX_RANGES {
                return Err(PortListError::TooMany);
            }
            blocked.push(range);
        }
        Ok(Self { blocked })
    }
}

fn range(item: &str) -> Result<(u16, u16), ParseIntError> {
    // A sign is something `parse` takes.
    let port = |text: &str| if text.starts_with('+') { "+".parse() } else { text.trim().parse::<u16>() };
    match item.split_once('-') {
        Some((first, last)) => Ok((port(first)?, port(last)?)),
        None => port(item).map(|port| (port, port)),
    }
}

/// As it is parsed.
impl fmt::Display for PortPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.blocked.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_default_blocks_what_browsers_block_and_databases() {
        let policy = PortPolicy::default();
        assert_ne!(policy, PortPolicy::allow_all());
        assert_eq!(policy.to_string(), PortPolicy::DEFAULT.to_str().unwrap());
        for port in
            [0, 22, 25, 110, 143, 465, 587, 993, 995, 3306, 5060, 5432, 6000, 6379, 6665, 6667, 6669, 6697, 10080]
        {
            assert!(!policy.allows(port), "{port}");
        }
        for port in
            [80, 81, 443, 444, 3000, 4848, 4869, 5050, 6664, 6670, 7000, 7777, 8008, 8080, 8443, 9735, 50001, 65535]
        {
            assert!(policy.allows(port), "{port}");
        }
    }

    #[test]
    fn lists_of_ports_and_ranges_are_understood() {
        let policy: PortPolicy = " 25 , 6000-6010,0-1 ".parse().unwrap();
        for (port, allowed) in
            [(0, false), (1, false), (2, true), (25, false), (5999, true), (6005, false), (6011, true)]
        {
            assert_eq!(policy.allows(port), allowed, "{port}");
        }
        assert_eq!("".parse::<PortPolicy>().unwrap(), PortPolicy::allow_all());
        assert!(" ".parse::<PortPolicy>().unwrap().allows(25));
    }

    #[test]
    fn what_is_no_list_of_ports_is_refused() {
        for bad in ["x", ",", "25,", "65536", "-1", "5-", "-5", "1-2-3", "+25", "9-8", "25 26", "0x19"] {
            assert!(bad.parse::<PortPolicy>().is_err(), "{bad}");
        }
        assert_eq!(vec!["1"; 257].join(",").parse::<PortPolicy>(), Err(PortListError::TooMany));
    }
}
