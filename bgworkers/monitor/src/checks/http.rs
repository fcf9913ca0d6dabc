//! `nip66_http`: headers of the upgrade response that say what serves a relay. Only stable ones: a header that differs each time would make a new
//! document of every check.

use bigbrotr_utils::Headers;

use super::{Fact, Members};

/// Headers kept, in lower case.
const KEPT: [&str; 16] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "alt-svc",
    "cache-control",
    "permissions-policy",
    "referrer-policy",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "server",
    "strict-transport-security",
    "vary",
    "via",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
];
/// Characters kept of a value.
const MAX_VALUE: usize = 500;

/// The document of these headers; several lines of one name are one list, as RFC 9110 §5.3 has it.
pub fn fact(headers: &Headers) -> Option<Fact> {
    let mut members = Members::default();
    for name in KEPT {
        let value =
            headers.get_all(name).map(str::trim).filter(|value| !value.is_empty()).collect::<Vec<_>>().join(", ");
        let value: String =
            value.chars().take(MAX_VALUE).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
        members.set(name, Some(value));
    }
    Fact::new("nip66_http", members)
}
