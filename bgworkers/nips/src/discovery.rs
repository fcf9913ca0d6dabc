//! Where events name relays: tag values, the contents of kinds 3 and 10002 (NIP-02, NIP-65), NIP-19 hints (NIP-19).
use crate::nip19;
use crate::nip42::AUTH_KIND;
use std::borrow::Cow;

/// Most texts returned of one event. Follow lists have a hint in each of up to 10,000 tags, mostly the same few.
pub const MAX_TEXTS: usize = 2_000;

/// The texts of an event that may hold relay URLs, worth passing to `models::relay_url::extract`: those of its tag values
/// (the tag's name apart) that contain `ws://` or `wss://`, the members and text of the content of kinds 3 and 10002,
/// and the relay hints of NIP-19 strings in the content. Each once, at most [`MAX_TEXTS`]; none of kind 22242.
pub fn relay_url_texts<'a>(
    kind: u16,
    tags: &'a [Vec<String>],
    content: &'a str,
) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
    let mut seen = std::collections::HashSet::new();
    let values = tags.iter().flat_map(|tag| tag.iter().skip(1)).map(|value| Cow::Borrowed(value.as_str()));
    let readable = kind != AUTH_KIND;
    values
        .chain(listed(kind, content))
        .chain(hints(content))
        .filter(move |text| readable && names_scheme(text) && seen.insert(text.clone()))
        .take(MAX_TEXTS)
}

/// Old clients keep their relay list in the content, as an object whose keys are URLs.
fn listed(kind: u16, content: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let relevant = matches!(kind, 3 | 10002) && names_scheme(content);
    let object = relevant.then(|| serde_json::from_str::<serde_json::Value>(content).ok()).flatten();
    let (keys, text) = match object {
        Some(serde_json::Value::Object(map)) => (map.into_iter().map(|(key, _)| key).collect(), None),
        Some(serde_json::Value::Array(list)) => {
            let texts = list.into_iter().filter_map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            });
            (texts.collect(), None)
        }
        _ => (Vec::new(), relevant.then_some(content)),
    };
    keys.into_iter().map(Cow::Owned).chain(text.map(Cow::Borrowed))
}

fn hints(content: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let found = nip19::find_nip19(content);
    found.into_iter().flat_map(|name| name.relays().to_vec()).map(Cow::Owned)
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
        assert!(texts(1, &[], r#"{"wss://a":{}}"#).is_empty());
        assert!(texts(3, &[], &("wss://".to_owned() + &"[".repeat(10_000))).len() == 1);
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
