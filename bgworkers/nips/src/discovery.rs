//! Where events name relays: tag values, the contents of kinds 2, 3 and of relay lists (NIP-01, NIP-02, NIP-65), NIP-19 hints
//! in contents and tags (NIP-19, NIP-21).
use crate::nip19;
use crate::nip42::AUTH_KIND;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

/// Most texts returned of one event. Follow lists have a hint in each of up to 10,000 tags, mostly the same few.
pub const MAX_TEXTS: usize = 2_000;

/// Kinds whose content is a relay URL (2, which NIP-01 once had), or a list of relays: kind 3 of old clients, an object whose
/// keys are URLs, and the lists of NIP-51, NIP-65, NIP-17, NIP-37, NIP-66 and the like, which hold them in tags but are
/// written by all sorts of clients. Whatever is encrypted there names no scheme.
fn is_relay_list(kind: u16) -> bool {
    matches!(kind, 2 | 3 | 10002 | 10006 | 10007 | 10012 | 10013 | 10050 | 10051 | 10086 | 10166 | 30002)
}

/// The texts of an event that may hold relay URLs, worth passing to `models::relay_url::extract`: those of its tag values
/// (the tag's name apart) that contain `ws://` or `wss://`, the members and text of the content of relay lists,
/// and the relay hints of NIP-19 strings in the content and the tag values. `\/` stands for a slash, as JSON has it. Each
/// once, at most [`MAX_TEXTS`]; none of kind 22242, where the URL is that of a connection, not a recommendation.
pub fn relay_url_texts<'a>(
    kind: u16,
    tags: &'a [Vec<String>],
    content: &'a str,
) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
    let mut seen = HashSet::new();
    let values = || tags.iter().flat_map(|tag| tag.iter().skip(1)).map(String::as_str);
    let readable = kind != AUTH_KIND;
    values()
        .map(Cow::Borrowed)
        .chain(listed(kind, content))
        .chain(hints(content))
        .chain(values().flat_map(hints))
        .map(unescaped)
        .filter(move |text| readable && names_scheme(text) && seen.insert(text.clone()))
        .take(MAX_TEXTS)
}

/// What the content of a relay list says: every key and string of a JSON document, else its text.
fn listed(kind: u16, content: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let relevant = is_relay_list(kind) && content.contains(':');
    let is_json = relevant && content.trim_start().starts_with(['{', '[', '"']);
    let document = is_json.then(|| serde_json::from_str::<Value>(content).ok()).flatten();
    let text = (relevant && document.is_none()).then_some(content);
    document.map(strings).unwrap_or_default().into_iter().map(Cow::Owned).chain(text.map(Cow::Borrowed))
}

/// The keys and strings of a document that name a scheme, in no certain order.
fn strings(document: Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) if names_scheme(&text) => found.push(text),
            // Last in, first out: in the order of the document.
            Value::Array(values) => waiting.extend(values.into_iter().rev()),
            Value::Object(members) => {
                for (key, value) in members {
                    if names_scheme(&key) {
                        found.push(key);
                    }
                    waiting.push(value);
                }
            }
            _ => {}
        }
    }
    found
}

fn hints(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let found = nip19::find_nip19(text);
    found.into_iter().flat_map(|name| name.relays().to_vec()).map(Cow::Owned)
}

/// JSON inside a text, or what is left of it, may have its slashes escaped.
fn unescaped(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains(":\\/") { Cow::Owned(text.replace("\\/", "/")) } else { text }
}

/// Rule 3 of relay URLs: a value found in an event has no implicit scheme.
fn names_scheme(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.match_indices("://").any(|(at, _)| {
        let ends = |scheme: &[u8]| {
            at.checked_sub(scheme.len())
                .and_then(|from| bytes.get(from..at))
                .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
        };
        ends(b"ws") || ends(b"wss")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(kind: u16, tags: &[&[&str]], content: &str) -> Vec<String> {
        let tags: Vec<Vec<String>> = tags.iter().map(|tag| tag.iter().map(|v| (*v).to_owned()).collect()).collect();
        relay_url_texts(kind, &tags, content).map(Cow::into_owned).collect()
    }

    #[test]
    fn tag_values_that_name_a_scheme_are_returned_once() {
        let tags: [&[&str]; 4] = [
            &["r", "wss://a"],
            &["e", "00", "WS://b", "reply"],
            &["p", "11", "wss://a"],
            &["wss://name", "https://c", ""],
        ];
        assert_eq!(texts(1, &tags, "wss://not-read"), ["wss://a", "WS://b"]);
        assert!(texts(22242, &tags, "").is_empty());
    }

    #[test]
    fn contents_of_list_kinds_are_read() {
        assert_eq!(texts(3, &[], r#"{"wss://a":{"read":true},"wss:\/\/b":{},"x":1}"#), ["wss://a", "wss://b"]);
        assert_eq!(texts(10002, &[], "my relays: wss://a wss://b"), ["my relays: wss://a wss://b"]);
        assert_eq!(texts(10002, &[], r#"["wss://a",5]"#), ["wss://a"]);
        assert_eq!(texts(2, &[], "wss://a"), ["wss://a"]);
        assert!(texts(1, &[], r#"{"wss://a":{}}"#).is_empty());
        assert_eq!(texts(3, &[], &("wss://".to_owned() + &"[".repeat(10_000))).len(), 1);
    }

    #[test]
    fn contents_with_nothing_but_escaped_slashes_are_read() {
        assert_eq!(texts(3, &[], r#"{"wss:\/\/a\/x":{"write":true}}"#), ["wss://a/x"]);
        assert_eq!(texts(3, &[], r#" {"wss:\u002f\u002fa":{}}"#), ["wss://a"]);
        assert_eq!(texts(3, &[], r#"{"wss:\/\/a":{"write":tru"#), [r#"{"wss://a":{"write":tru"#], "what was cut off");
        let tags: [&[&str]; 1] = [&["relays", r#"["wss:\/\/a"]"#]];
        assert_eq!(texts(1, &tags, ""), [r#"["wss://a"]"#]);
    }

    #[test]
    fn lists_in_any_shape_are_read() {
        let nested = r#"{"relays":{"home":["wss://a",["wss://b"]],"wss://c":null},"x":[1,true,"no"]}"#;
        let mut found = texts(10002, &[], nested);
        found.sort();
        assert_eq!(found, ["wss://a", "wss://b", "wss://c"]);
        assert_eq!(texts(30002, &[], r#"[["relay","wss://a"],["relay","wss://b"]]"#), ["wss://a", "wss://b"]);
        assert_eq!(texts(3, &[], r#""wss://a""#), ["wss://a"]);
        let deep = format!("{}\"wss://a\"{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(texts(3, &[], &deep), ["wss://a"]);
        for kind in [10006, 10007, 10012, 10013, 10050, 10051, 10086, 10166] {
            assert_eq!(texts(kind, &[&["relay", "wss://tag"]], r#"["wss://a"]"#), ["wss://tag", "wss://a"], "{kind}");
        }
        assert!(texts(10006, &[], "c2VjcmV0IGxpc3Q=?iv=c2VjcmV0").is_empty(), "an encrypted one");
    }

    #[test]
    fn announcements_of_monitors_name_a_relay_by_url_and_not_by_key() {
        let key = "a".repeat(64);
        let tags: [&[&str]; 4] = [&["d", "wss://a/"], &["rtt-open", "234"], &["N", "40"], &["d", &key]];
        assert_eq!(texts(30166, &tags, r#"{"name":"wss://not-read"}"#), ["wss://a/"]);
    }

    #[test]
    fn hints_in_tags_are_read() {
        let profile = "nostr:nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
        let tags: [&[&str]; 2] = [&["r", profile], &["p", &"0".repeat(64), "wss://b"]];
        assert_eq!(texts(1, &tags, ""), ["wss://b", "wss://r.x.com", "wss://djbas.sadkb.com"]);
        assert!(texts(22242, &tags, profile).is_empty());
        assert_eq!(texts(1, &[], &profile.to_uppercase()), ["wss://r.x.com", "wss://djbas.sadkb.com"], "a QR code");
    }

    #[test]
    fn hints_in_contents_are_read() {
        let profile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
        assert_eq!(texts(1, &[], &format!("hello nostr:{profile}!")), ["wss://r.x.com", "wss://djbas.sadkb.com"]);
    }

    #[test]
    fn one_event_cannot_yield_more_than_the_bound() {
        let tags: Vec<Vec<String>> = (0..5_000).map(|i| vec!["r".into(), format!("wss://a{i}")]).collect();
        assert_eq!(relay_url_texts(1, &tags, "").count(), MAX_TEXTS);
    }
}
