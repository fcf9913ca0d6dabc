//! From texts to keys worth trying.

use std::collections::{BTreeSet, HashSet};

use bigbrotr_core::{Context, Row, StoreError, Value};
use bigbrotr_models::relay_url::{self, UrlFlag};
use bigbrotr_models::{AddressPolicy, RelayUrl};
use bigbrotr_nips::discovery;

/// Candidates taken of one event: anyone can write a long list.
pub const PER_EVENT: usize = 100;
/// Keys per call of `add_candidates`.
const BATCH: usize = 1_000;

pub const ADD: &str = "SELECT bigbrotr.add_candidates($1, $2)";

/// The keys in a text. Paths that name a user select a personal view of a relay, not another relay: those are left out.
pub fn in_text(text: &str, policy: AddressPolicy) -> impl Iterator<Item = RelayUrl> {
    let enrols = |piece: &relay_url::Extracted| !piece.flags.contains(&UrlFlag::PerUserPath);
    relay_url::extract(text, policy).into_iter().filter(enrols).filter_map(|piece| piece.url.ok())
}

/// The keys an event names, at most [`PER_EVENT`]. `tags` is the JSON of the event's tags.
pub fn in_event(kind: i32, tags: &str, content: &str, policy: AddressPolicy) -> HashSet<RelayUrl> {
    // The archive holds nothing else; if it did, the event would name nobody.
    let tags: Vec<Vec<String>> = serde_json::from_str(tags).unwrap_or_default();
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

/// Arguments of as many calls of [`ADD`] as it takes.
pub fn additions(urls: &BTreeSet<RelayUrl>, source: &'static str) -> Vec<Vec<Value>> {
    let urls: Vec<Option<String>> = urls.iter().map(|url| Some(url.as_str().to_owned())).collect();
    urls.chunks(BATCH).map(|chunk| vec![Value::TextArray(chunk.to_vec()), source.into()]).collect()
}

/// What [`ADD`] returned: candidates newly added.
pub fn added(rows: &[Row]) -> Result<u64, StoreError> {
    let new = rows.first().map_or(Ok(0), |row| row.int(0))?;
    Ok(u64::try_from(new).unwrap_or_default())
}

/// Adds keys in transactions of their own.
pub async fn add(context: &Context, urls: &BTreeSet<RelayUrl>, source: &'static str) -> Result<u64, StoreError> {
    let mut new = 0;
    for args in additions(urls, source) {
        new += added(&context.store.call(ADD, args).await?)?;
    }
    Ok(new)
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
        for tags in ["", "{}", "[1]", r#"[["r",5]]"#] {
            assert_eq!(keys(1, tags, ""), Vec::<String>::new());
        }
    }
}
