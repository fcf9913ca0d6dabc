//! NIP-11: from the body of an answer to a document that can be stored. Tolerant: the body counts, not its content type; no field is looked at.

use bigbrotr_models::{Document, repaired, without_nul};
use std::borrow::Cow;

/// Largest body taken.
pub const MAX_BODY: usize = 256 << 10;
/// Media type of the document.
pub const ACCEPT: &str = "application/nostr+json";

/// `jsonb` recurses as deep as a document nests, within `max_stack_depth`.
const MAX_DEPTH: usize = 512;
/// `numeric` has an end, and no relay needs more digits.
const MAX_NUMBER: usize = 1000;
/// Zeros all exponents of a document may stand for: six bytes of `1e4000` would become four thousand.
const MAX_ZEROS: u64 = 64 << 10;

/// Why what is compressed goes to quarantine.
const COMPRESSED: &str = "nip11_compressed";

/// What a body is.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// A document: its address, over the exact canonical form, and the form `jsonb` can hold.
    Document {
        /// Whether something had to be mended first that is no JSON: bytes that are no UTF-8, lone surrogates, raw control characters.
        is_repaired: bool,
        /// SHA-256 of the canonical JSON.
        id: [u8; 32],
        /// The canonical JSON with U+FFFD for U+0000.
        data: String,
    },
    /// Nothing but white space.
    Empty,
    /// Not a JSON object, or one that cannot be stored; the reason for quarantine.
    Refused(&'static str),
}

/// Reads the body of an answer with status 200.
pub fn read(body: &[u8]) -> Body {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Body::Empty;
    }
    if is_compressed(body) {
        return Body::Refused(COMPRESSED);
    }
    // A description in Latin-1 is one bad member, and no reason to do without the others.
    let text = String::from_utf8_lossy(body);
    let is_repaired = matches!(text, Cow::Owned(_));
    // C programs count the end of their strings in.
    let text = text.trim_start_matches('\u{FEFF}').trim_matches(['\0', ' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Body::Empty;
    }
    if !text.starts_with('{') {
        return Body::Refused("nip11_not_json");
    }
    if !is_modest(text) {
        return Body::Refused("nip11_excessive");
    }
    let read = match Document::from_json(text) {
        Ok(document) => Ok((document, is_repaired)),
        Err(_) => Document::from_json(&repaired(text)).map(|document| (document, true)),
    };
    match read {
        Ok((document, is_repaired)) => {
            Body::Document { is_repaired, id: *document.id(), data: without_nul(document.json()).into_owned() }
        }
        Err(_) => Body::Refused("nip11_not_json"),
    }
}

/// Reads a body that came with this `Content-Encoding`. None is asked for, and nothing is decompressed: a few bytes can stand for megabytes.
pub fn read_encoded(body: &[u8], encoding: Option<&str>) -> Body {
    let is_plain = encoding.is_none_or(|name| matches!(name.trim().to_ascii_lowercase().as_str(), "" | "identity"));
    match read(body) {
        Body::Refused(_) if !is_plain => Body::Refused(COMPRESSED),
        body => body,
    }
}

/// Whether it begins as gzip (RFC 1952) or Zstandard (RFC 8878) do.
fn is_compressed(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b]) || body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// Whether nesting and numbers stay within what `jsonb` holds and we want to write out. Says nothing about whether it is JSON.
fn is_modest(text: &str) -> bool {
    let (mut depth, mut zeros, mut number) = (0_usize, 0_u64, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    let mut exponent: Option<u64> = None;
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        if matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E') {
            number += 1;
            match (byte, exponent) {
                (b'e' | b'E', _) => exponent = Some(0),
                (b'0'..=b'9', Some(value)) => {
                    exponent = Some(value.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
                }
                _ => {}
            }
        } else {
            zeros = zeros.saturating_add(exponent.take().unwrap_or(0));
            number = 0;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let exponent_is_large = exponent.is_some_and(|value| value > MAX_NUMBER as u64);
        if depth > MAX_DEPTH || number > MAX_NUMBER || exponent_is_large || zeros > MAX_ZEROS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(body: &[u8]) -> String {
        match read(body) {
            Body::Document { data, .. } => data,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bom_white_space_and_odd_types_are_no_obstacle() {
        assert_eq!(data(b"\xEF\xBB\xBF {\"name\":\"a\"}\n"), r#"{"name":"a"}"#);
        let odd = br#"{"name":7,"supported_nips":"1","limitation":null,"fees":[[]],"pubkey":"npub1x"}"#;
        assert_eq!(data(odd), r#"{"fees":[[]],"limitation":null,"name":7,"pubkey":"npub1x","supported_nips":"1"}"#);
        assert_eq!(data(b"{}"), "{}");
    }

    #[test]
    fn what_is_compressed_has_a_reason_of_its_own_and_a_wrong_header_costs_nothing() {
        let compressed = Body::Refused("nip11_compressed");
        assert_eq!(read(b"\x1f\x8b\x08\x00"), compressed);
        assert_eq!(read_encoded(b"\x8b\x02\x80", Some("br")), compressed);
        assert!(matches!(read_encoded(b"{}", Some("br")), Body::Document { .. }));
        assert_eq!(read_encoded(b"<html>", Some(" Identity ")), Body::Refused("nip11_not_json"));
        assert_eq!(read(b"{}\0\n"), read(b"{}"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in [
            &b"Please use a Nostr client to connect."[..],
            b"<html></html>",
            b"[]",
            b"null",
            b"\"{}\"",
            b"{",
            b"{\"a\":1}}",
            b"{'a':1}",
        ] {
            assert_eq!(read(body), Body::Refused("nip11_not_json"), "{}", String::from_utf8_lossy(body));
        }
        for body in [&b""[..], b" \r\n", b"\xEF\xBB\xBF", b"\xEF\xBB\xBF\n"] {
            assert_eq!(read(body), Body::Empty);
        }
    }

    #[test]
    fn half_a_character_costs_nothing_but_itself() {
        assert_eq!(data(b"{\"a\":\"caf\xe9\"}"), "{\"a\":\"caf\u{FFFD}\"}");
        assert_eq!(data(b"{\"a\":\"two\nlines\"}"), r#"{"a":"two\nlines"}"#);
        for (body, repaired) in [
            (&b"{}"[..], false),
            (b"{\"a\":\"\\u0000\"}", false),
            (b"{\"a\":\"\xe9\"}", true),
            (b"{\"a\":\"\n\"}", true),
        ] {
            assert!(matches!(read(body), Body::Document { is_repaired, .. } if is_repaired == repaired));
        }
        assert_eq!(data(br#"{"name":"a\ud83d","x":"\ud83d\ude00"}"#), "{\"name\":\"a\u{FFFD}\",\"x\":\"😀\"}");
    }

    #[test]
    fn nul_is_replaced_in_the_data_and_kept_in_the_address() {
        assert_eq!(data(br#"{"name":"a\u0000b","x":"\\u0000"}"#), "{\"name\":\"a\u{FFFD}b\",\"x\":\"\\\\u0000\"}");
        assert_eq!(data(br#"{"a":"\\\u0000"}"#), "{\"a\":\"\\\\\u{FFFD}\"}");
        assert_ne!(read(br#"{"name":"\u0000"}"#), read("{\"name\":\"\u{FFFD}\"}".as_bytes()));
        let id = |body: &[u8]| match read(body) {
            Body::Document { id, .. } => id,
            other => panic!("{other:?}"),
        };
        assert_ne!(id(br#"{"name":"\u0000"}"#), id("{\"name\":\"\u{FFFD}\"}".as_bytes()));
    }

    #[test]
    fn what_jsonb_cannot_hold_is_refused_before_it_costs_anything() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(matches!(read(deep(500).as_bytes()), Body::Document { .. }));
        assert_eq!(read(deep(600).as_bytes()), Body::Refused("nip11_excessive"));
        assert_eq!(read(deep(100_000).as_bytes()), Body::Refused("nip11_excessive"));
        let number = |text: &str| read(format!("{{\"a\":{text}}}").as_bytes());
        assert!(matches!(number("1e300"), Body::Document { .. }));
        assert!(matches!(number("-1.5E-20"), Body::Document { .. }));
        for text in
            ["1e4000", "1E+99999999999999999999999", "1e-4000", &"9".repeat(2000), &format!("0.{}", "1".repeat(2000))]
        {
            assert_eq!(number(text), Body::Refused("nip11_excessive"), "{text}");
        }
        let many = vec!["1e900"; 10_000].join(",");
        assert_eq!(number(&format!("[{many}]")), Body::Refused("nip11_excessive"));
        assert!(matches!(number(&format!("\"{}1e9999 [[[[\"", "[".repeat(1000))), Body::Document { .. }));
    }
}
