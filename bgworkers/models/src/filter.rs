//! Filters (NIP-01).

mod parse;

use crate::escape::{Controls, into_string, push_string};
use crate::event::Event;
use crate::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why a JSON value is no filter. The message names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(pub String);

/// One NIP-01 filter. `None` = absent (no constraint); `Some(vec![])` matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Event ids.
    pub ids: Option<Vec<[u8; 32]>>,
    /// Public keys of authors.
    pub authors: Option<Vec<[u8; 32]>>,
    /// Kinds.
    pub kinds: Option<Vec<u16>>,
    /// Values by the name of the tag, an ASCII letter; `E` is not `e`.
    pub tags: BTreeMap<char, Vec<String>>,
    /// Least `created_at`, inclusive.
    pub since: Option<i64>,
    /// Greatest `created_at`, inclusive.
    pub until: Option<i64>,
    /// How many stored events are wanted at most.
    pub limit: Option<u32>,
}

impl Filter {
    /// Whether a relay may send this event for this filter (`limit` is ignored).
    pub fn matches(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| since <= event.created_at)
            && self.until.is_none_or(|until| event.created_at <= until)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&event.id))
            && self.authors.as_ref().is_none_or(|authors| authors.contains(&event.pubkey))
            && self.tags.iter().all(|(&name, values)| {
                event.tags.iter().any(|tag| match &tag[..] {
                    // Only the first value of a tag is indexed.
                    [tag_name, value, ..] => tag_name.chars().eq([name]) && values.contains(value),
                    _ => false,
                })
            })
    }

    /// Compact JSON for a relay, keys in the order of NIP-01, lists in their own.
    pub fn to_json(&self) -> String {
        let mut out = Members::default();
        out.list("ids", self.ids.as_deref(), push_hex);
        out.list("authors", self.authors.as_deref(), push_hex);
        out.list("kinds", self.kinds.as_deref(), push_number);
        self.write_tags(&mut out);
        out.number("since", self.since);
        out.number("until", self.until);
        out.number("limit", self.limit);
        out.finish()
    }

    /// Canonical JSON of what the filter means: two filters that differ only in the order or repetition of list elements
    /// have the same.
    pub fn canonical(&self) -> String {
        fn sorted<T: Ord + Clone>(list: &Option<Vec<T>>) -> Option<Vec<T>> {
            list.clone().map(|mut list| {
                list.sort_unstable();
                list.dedup();
                list
            })
        }
        // `#` sorts before every letter.
        let mut out = Members::default();
        let tags = self.tags.iter().map(|(&name, values)| (name, sorted(&Some(values.clone())).unwrap_or_default()));
        Self { tags: tags.collect(), ..Self::default() }.write_tags(&mut out);
        out.list("authors", sorted(&self.authors).as_deref(), push_hex);
        out.list("ids", sorted(&self.ids).as_deref(), push_hex);
        out.list("kinds", sorted(&self.kinds).as_deref(), push_number);
        out.number("limit", self.limit);
        out.number("since", self.since);
        out.number("until", self.until);
        out.finish()
    }

    /// SHA-256 of [`Filter::canonical`]: the `filter_hash` of the coverage ledger.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    fn write_tags(&self, out: &mut Members) {
        for (name, values) in &self.tags {
            out.list(&format!("#{name}"), Some(values), |out, value| {
                push_string(out, value, Controls::Lower);
            });
        }
    }
}

fn push_hex(out: &mut Vec<u8>, value: &[u8; 32]) {
    out.push(b'"');
    hex::push(out, value);
    out.push(b'"');
}

fn push_number(out: &mut Vec<u8>, number: &u16) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The members of a JSON object being written.
#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        push_string(&mut self.0, key, Controls::Lower);
        self.0.push(b':');
    }

    fn list<T>(&mut self, key: &str, values: Option<&[T]>, push: impl Fn(&mut Vec<u8>, &T)) {
        let Some(values) = values else { return };
        self.key(key);
        self.0.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            push(&mut self.0, value);
        }
        self.0.push(b']');
    }

    fn number(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.key(key);
            self.0.extend_from_slice(value.to_string().as_bytes());
        }
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        into_string(self.0)
    }
}

#[cfg(test)]
mod tests;
