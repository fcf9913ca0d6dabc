//! NIP-11: a tolerant projection of the relay information document.
//!
//! Every value is a claim. A member of the wrong type is read as what it was meant to be or left out; it never discards
//! the document.
use crate::nip19;
use bigbrotr_models::repaired;
use serde_json::{Map, Value};

/// What of the document is used. Strings hold no U+0000.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayInformation {
    /// `name`
    pub name: Option<String>,
    /// `description`
    pub description: Option<String>,
    /// `pubkey` as 64 lower-case hex digits, also when given as npub.
    pub pubkey: Option<String>,
    /// `contact`
    pub contact: Option<String>,
    /// `software`
    pub software: Option<String>,
    /// `version`
    pub version: Option<String>,
    /// The numeric ones of `supported_nips`, each once, in the order given.
    pub supported_nips: Vec<i32>,
    /// `limitation`
    pub limitation: Limitation,
}

/// `limitation` of the document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limitation {
    /// `max_message_length`, bytes
    pub max_message_length: Option<i64>,
    /// `max_subscriptions` of one connection
    pub max_subscriptions: Option<i64>,
    /// `max_limit`: greater limits in filters are clamped to it
    pub max_limit: Option<i64>,
    /// `default_limit` of a filter without one
    pub default_limit: Option<i64>,
    /// `max_subid_length`, characters
    pub max_subid_length: Option<i64>,
    /// `max_event_tags`
    pub max_event_tags: Option<i64>,
    /// `max_content_length`, characters
    pub max_content_length: Option<i64>,
    /// `min_pow_difficulty`, bits
    pub min_pow_difficulty: Option<i64>,
    /// `created_at_lower_limit`: usually seconds before now, on some relays a unix time
    pub created_at_lower_limit: Option<i64>,
    /// `created_at_upper_limit`: likewise, after now
    pub created_at_upper_limit: Option<i64>,
    /// `auth_required`
    pub auth_required: Option<bool>,
    /// `payment_required`
    pub payment_required: Option<bool>,
    /// `restricted_writes`
    pub restricted_writes: Option<bool>,
    /// One of the last three is there and cannot be read, or none of it can.
    pub is_unclear: bool,
}

/// Why a text is no relay information document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InformationError {
    /// Not JSON even after repair, or nested deeper than 127.
    #[error("not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
}

impl RelayInformation {
    /// Reads the body of an HTTP answer, whose size the caller has capped. Raw control characters and lone surrogates in
    /// strings, which make it invalid JSON, are replaced.
    pub fn parse(text: &str) -> Result<Self, InformationError> {
        let text = text.trim_start_matches('\u{feff}').trim_matches(['\0', ' ', '\t', '\r', '\n']);
        let value = json(text).ok_or(InformationError::NotJson)?;
        let Value::Object(document) = value else { return Err(InformationError::NotAnObject) };
        Ok(Self {
            name: text_of(&document, "name"),
            description: text_of(&document, "description"),
            pubkey: text_of(&document, "pubkey").and_then(|text| pubkey(&text)),
            contact: text_of(&document, "contact"),
            software: text_of(&document, "software"),
            version: text_of(&document, "version"),
            supported_nips: document.get("supported_nips").map(nips).unwrap_or_default(),
            limitation: document.get("limitation").map(limitation).unwrap_or_default(),
        })
    }
}

/// A JSON value, also where strings had to be repaired, or where a number is larger than any `f64`, which is null then.
pub(crate) fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&finite(&repaired(text)))).ok()
}

fn finite(text: &str) -> String {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped, mut copied, mut number) = (false, false, 0, None);
    for (at, byte) in text.bytes().enumerate() {
        if let Some(start) = number.filter(|_| !is_part(byte)) {
            number = None;
            if text.get(start..at).and_then(|number| number.parse::<f64>().ok()).is_some_and(f64::is_infinite) {
                out.push_str(text.get(copied..start).unwrap_or_default());
                out.push_str("null");
                copied = at;
            }
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'-' | b'0'..=b'9' if !in_string => _ = number.get_or_insert(at),
            _ => {}
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The value, or the first one of a list.
fn only(value: &Value) -> Option<&Value> {
    match value {
        Value::Array(list) => list.first(),
        value => Some(value),
    }
}

fn limitation(value: &Value) -> Limitation {
    let map = match only(value) {
        Some(Value::Object(map)) => map,
        None | Some(Value::Null) => return Limitation::default(),
        Some(_) => return Limitation { is_unclear: true, ..Limitation::default() },
    };
    let number = |key| map.get(key).and_then(integer);
    let said = |key| map.get(key).filter(|value| !value.is_null());
    let flag = |key| said(key).and_then(boolean);
    let access = ["auth_required", "payment_required", "restricted_writes"];
    Limitation {
        is_unclear: access.into_iter().any(|key| said(key).is_some_and(|value| boolean(value).is_none())),
        max_message_length: number("max_message_length"),
        max_subscriptions: number("max_subscriptions"),
        max_limit: number("max_limit"),
        default_limit: number("default_limit"),
        max_subid_length: number("max_subid_length"),
        max_event_tags: number("max_event_tags"),
        max_content_length: number("max_content_length"),
        min_pow_difficulty: number("min_pow_difficulty"),
        created_at_lower_limit: number("created_at_lower_limit"),
        created_at_upper_limit: number("created_at_upper_limit"),
        auth_required: flag("auth_required"),
        payment_required: flag("payment_required"),
        restricted_writes: flag("restricted_writes"),
    }
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    match map.get(key)? {
        Value::String(text) => Some(text.replace('\0', "\u{fffd}")),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn pubkey(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text);
    }
    match nip19::decode(&text) {
        Ok(nip19::Nip19::Pubkey(key)) => Some(nip19::to_hex(&key)),
        Ok(nip19::Nip19::Profile { pubkey, .. }) => Some(nip19::to_hex(&pubkey)),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float =
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0)?;
            Some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "y" | "on" => Some(true),
            "false" | "0" | "no" | "n" | "off" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn nips(value: &Value) -> Vec<i32> {
    let mut out = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut push = |nip: Option<i64>| {
        if let Some(nip) = nip.and_then(|nip| i32::try_from(nip).ok()).filter(|nip| *nip > 0)
            && seen.insert(nip)
        {
            out.push(nip);
        }
    };
    match value {
        Value::Array(list) => list.iter().for_each(|value| push(integer(value))),
        Value::String(text) => {
            text.split([',', ' ', ';', '[', ']']).for_each(|word| push(word.trim().parse().ok()));
        }
        value => push(integer(value)),
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> RelayInformation {
        RelayInformation::parse(text).unwrap()
    }

    #[test]
    fn a_plain_document_is_read() {
        let info = parse(
            r#"{"name":"n","description":"d","pubkey":"F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9",
            "contact":"c","software":"s","version":"1.0","supported_nips":[1,11,42],
            "limitation":{"max_limit":500,"auth_required":false,"payment_required":true,"restricted_writes":true}}"#,
        );
        assert_eq!(info.name.as_deref(), Some("n"));
        assert_eq!(info.pubkey.unwrap(), "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9");
        assert_eq!(info.supported_nips, [1, 11, 42]);
        assert_eq!(info.limitation.max_limit, Some(500));
        assert_eq!(info.limitation.auth_required, Some(false));
        assert_eq!(info.limitation.payment_required, Some(true));
    }

    #[test]
    fn values_of_the_wrong_type_are_read_as_meant_or_left_out() {
        let info = parse(
            "\u{feff} {\"name\":[1],\"version\":1.5,\"software\":\"a\\u0000b\",\"contact\":null,\"pubkey\":\"nobody\",\
            \"supported_nips\":[\"1\",1,\"C7\",\"7D\",11.0,1.5,-3,99999999999,null,[2],\"42\"],\
            \"limitation\":{\"max_limit\":\"1000\",\"auth_required\":0,\"payment_required\":\"true\",\"restricted_writes\":1,\
            \"max_subscriptions\":20.0,\"max_message_length\":{},\"created_at_upper_limit\":1e300}}",
        );
        assert_eq!(info.name, None);
        assert_eq!(info.version.as_deref(), Some("1.5"));
        assert_eq!(info.software.as_deref(), Some("a\u{fffd}b"));
        assert_eq!((info.contact, info.pubkey), (None, None));
        assert_eq!(info.supported_nips, [1, 11, 42]);
        let limitation = info.limitation;
        assert_eq!((limitation.max_limit, limitation.max_subscriptions), (Some(1000), Some(20)));
        assert_eq!((limitation.max_message_length, limitation.created_at_upper_limit), (None, None));
        let flags = (limitation.auth_required, limitation.payment_required, limitation.restricted_writes);
        assert_eq!(flags, (Some(false), Some(true), Some(true)));
    }

    #[test]
    fn supported_nips_may_be_a_scalar_or_a_list_in_a_string() {
        assert_eq!(parse(r#"{"supported_nips":1}"#).supported_nips, [1]);
        assert_eq!(parse(r#"{"supported_nips":"1, 11,42"}"#).supported_nips, [1, 11, 42]);
        assert!(parse(r#"{"supported_nips":{"1":true}}"#).supported_nips.is_empty());
        assert_eq!(parse(r#"{"limitation":null}"#).limitation, Limitation::default());
        assert_eq!(parse(r#"{"limitation":[]}"#).limitation, Limitation::default());
    }

    #[test]
    fn an_npub_is_read_as_its_key() {
        let npub = nip19::npub(&[7; 32]);
        assert_eq!(parse(&format!("{{\"pubkey\":\"{npub}\"}}")).pubkey.unwrap(), "07".repeat(32));
    }

    #[test]
    fn a_number_without_end_discards_nothing_else() {
        let info = parse(
            r#"{"supported_nips":[1,-1e999,11],"limitation":{"max_limit":1e400,"max_event_tags":7},"name":"1e999"}"#,
        );
        assert_eq!((info.supported_nips, info.limitation.max_limit), (vec![1, 11], None));
        assert_eq!((info.limitation.max_event_tags, info.name.as_deref()), (Some(7), Some("1e999")));
        let digits = "9".repeat(400);
        assert_eq!(json(&format!("[{digits},{digits}.5e1,2e5]")), Some(serde_json::json!([null, null, 2e5])));
        for text in ["-", "1e400", "1e", "[1e400", "--1e999"] {
            assert_eq!(json(text), None, "{text}");
        }
    }

    #[test]
    fn strings_that_are_not_quite_json_are_repaired() {
        let info = parse("{\"name\":\"a\nb\",\"description\":\"x\\ud800y\\ud83d\\ude00\\\\\",\"contact\":\"q\\\"\"}");
        assert_eq!(info.name.as_deref(), Some("a\nb"));
        assert_eq!(info.description.as_deref(), Some("x\u{fffd}y😀\\"));
        assert_eq!(info.contact.as_deref(), Some("q\""));
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert_eq!(RelayInformation::parse("<html></html>"), Err(InformationError::NotJson));
        assert_eq!(RelayInformation::parse(""), Err(InformationError::NotJson));
        assert_eq!(RelayInformation::parse("[]"), Err(InformationError::NotAnObject));
        assert_eq!(RelayInformation::parse("null"), Err(InformationError::NotAnObject));
        assert_eq!(RelayInformation::parse(&"[".repeat(100_000)), Err(InformationError::NotJson));
        assert_eq!(RelayInformation::parse(&"{\"a\":".repeat(50_000)), Err(InformationError::NotJson));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), near in r#"\{"name":"[\\"ud8c0-1é\n]{0,20}"\}"#) {
            let _ = RelayInformation::parse(&text);
            let _ = RelayInformation::parse(&near);
        }
    }
}
