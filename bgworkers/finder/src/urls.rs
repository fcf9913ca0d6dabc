//! From texts to keys worth trying.

use std::collections::HashSet;

use bigbrotr_models::relay_url::{self, UrlFlag};
use bigbrotr_models::{AddressPolicy, RelayUrl};
use bigbrotr_nips::discovery;
use serde_json::Value;

/// Candidates taken of one event: anyone can write a long list.
pub const PER_EVENT: usize = 100;
/// The keys in a text. Paths that name a user select a personal view of a relay, not another relay: those are left out.
pub fn in_text(text: &str, policy: AddressPolicy) -> impl Iterator<Item = RelayUrl> {
    let enrols = |piece: &relay_url::Extracted| !piece.flags.contains(&UrlFlag::PerUserPath);
    relay_url::extract(text, policy).into_iter().filter(enrols).filter_map(|piece| piece.url.ok())
}

/// The keys an event names, at most [`PER_EVENT`]. `tags` is the JSON of the event's tags.
pub fn in_event(kind: i32, tags: &str, content: &str, policy: AddressPolicy) -> HashSet<RelayUrl> {
    let tags = tag_values(tags);
    let kind = u16::try_from(kind).unwrap_or(u16::MAX);
    let mut found = HashSet::new();
    for text in discovery::relay_url_texts(kind, &tags, content) {
        for url in in_text(&text, policy) {
            if found.len() == PER_EVENT {
                return found;
            }
            found.insert(url);
        }
    }
    found
}

/// The strings of each tag. The archive holds nothing else; if it did, the rest of the event would still count.
fn tag_values(tags: &str) -> Vec<Vec<String>> {
    if let Ok(tags) = serde_json::from_str(tags) {
        return tags;
    }
    let Ok(Value::Array(tags)) = serde_json::from_str(tags) else { return Vec::new() };
    let strings = |tag| match tag {
        // Place counts: what is no string holds its own.
        Value::Array(values) => values.into_iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect(),
        _ => Vec::new(),
    };
    tags.into_iter().map(strings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(kind: i32, tags: &str, content: &str) -> Vec<String> {
        let mut keys: Vec<String> =
            in_event(kind, tags, content, AddressPolicy::default()).iter().map(|url| url.as_str().to_owned()).collect();
        keys.sort();
        keys
    }

    #[test]
    fn tags_contents_of_list_kinds_and_nip19_hints_name_relays() {
        let tags = r#"[["e","00","wss://Hint.damus.io/"],["r","wss://b.nos.lol","read"],["relay","https://no.scheme.com"],["p"],["x","ws://127.0.0.1"]]"#;
        assert_eq!(keys(1, tags, "wss://in.text.com"), ["wss://b.nos.lol", "wss://hint.damus.io"]);
        assert_eq!(
            keys(3, "[]", r#"{"wss://a.nos.lol":{"read":true},"wss:\/\/b.nos.lol":{}}"#),
            ["wss://a.nos.lol", "wss://b.nos.lol"]
        );
        assert_eq!(keys(30166, r#"[["d","wss://d.nos.lol/"]]"#, ""), ["wss://d.nos.lol"]);
        let profile = "nostr:nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
        assert_eq!(keys(1, "[]", profile), ["wss://djbas.sadkb.com", "wss://r.x.com"]);
    }

    #[test]
    fn paths_that_name_a_user_are_not_enrolled() {
        let tags = format!(r#"[["r","wss://filter.nostr.wine/npub1{}"],["r","wss://nos.lol"]]"#, "q".repeat(58));
        assert_eq!(keys(1, &tags, ""), ["wss://nos.lol"]);
    }

    #[test]
    fn one_event_yields_a_hundred_candidates_at_most() {
        let tags: Vec<_> = (0..1_000).map(|n| vec!["r".to_owned(), format!("wss://r{n}.nos.lol")]).collect();
        assert_eq!(keys(1, &serde_json::to_string(&tags).expect("strings"), "").len(), PER_EVENT);
    }

    #[test]
    fn tags_that_are_none_name_nobody() {
        for tags in ["", "{}", "[1]", r#"[["r",5]]"#, r#"["wss://a.nos.lol"]"#, "[[[\"wss://a.nos.lol\"]]]"] {
            assert_eq!(keys(1, tags, ""), Vec::<String>::new());
        }
        let odd = r#"[1,["r",null,"wss://a.nos.lol"],[["r"],"wss://b.nos.lol"],[]]"#;
        assert_eq!(keys(1, odd, ""), ["wss://a.nos.lol", "wss://b.nos.lol"]);
    }
}
