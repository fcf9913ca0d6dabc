//! What a report takes from a relay's NIP-11 document beyond what [`crate::nip11`] reads.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{labels, tag, text};
use crate::nip11;

/// Most `N` tags.
const MAX_NIPS: usize = 200;
/// Most `t` tags.
const MAX_TOPICS: usize = 20;
/// Most `k` tags.
const MAX_KINDS: usize = 64;
/// A wider range of kinds is left out: it would be a tag for each.
const MAX_RANGE: u64 = 16;

/// The document as JSON; empty where it is none that can be read.
pub fn parse(json: &str) -> Map<String, Value> {
    match nip11::json(json) {
        Some(Value::Object(document)) => document,
        _ => Map::new(),
    }
}

/// `N`, numbers first: one tag a NIP, as the repository names them, without leading zeros.
pub fn nips(numbers: &[i32], document: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut numbers: Vec<i32> = numbers.iter().copied().filter(|nip| (1..=9999).contains(nip)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let listed = document.get("supported_nips").and_then(Value::as_array).into_iter().flatten();
    let mut lettered: Vec<&str> = listed.filter_map(Value::as_str).filter(|nip| is_lettered(nip)).collect();
    lettered.sort_unstable();
    lettered.dedup();
    let names = numbers.iter().map(i32::to_string).chain(lettered.into_iter().map(str::to_owned));
    names.take(MAX_NIPS).map(|name| tag("N", name)).collect()
}

/// `7D`, `C7`, `EE`: two digits of upper-case hex that are no number.
fn is_lettered(nip: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    nip.len() == 2 && nip.bytes().all(is_hex) && !nip.bytes().all(|byte| byte.is_ascii_digit())
}

/// `t` from `tags`, in lower case as NIP-24 wants it.
pub fn topics(document: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut topics: Vec<String> = Vec::new();
    for topic in strings(document, "tags").filter_map(|topic| text::short(&topic.to_lowercase())) {
        if topics.len() < MAX_TOPICS && !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics.into_iter().map(|topic| tag("t", topic)).collect()
}

/// `l` from `language_tags`.
pub fn languages(document: &Map<String, Value>) -> Vec<Vec<String>> {
    labels::tags(labels::LANGUAGE, strings(document, "language_tags").filter_map(labels::language))
}

/// `k`: refused are kinds that `retention` keeps for no time at all, accepted those it keeps or whose publication has a
/// price. The first statement about a kind counts.
pub fn kinds(document: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut stated: BTreeMap<u64, bool> = BTreeMap::new();
    let mut state = |kinds: Option<&Value>, accepted: bool| {
        for kind in kinds.and_then(Value::as_array).into_iter().flatten().filter_map(range).flatten() {
            if stated.len() < MAX_KINDS {
                stated.entry(kind).or_insert(accepted);
            }
        }
    };
    for rule in document.get("retention").and_then(Value::as_array).into_iter().flatten() {
        let is_zero = |name| rule.get(name).and_then(Value::as_f64) == Some(0.0);
        state(rule.get("kinds"), !is_zero("time") && !is_zero("count"));
    }
    let publication = document.get("fees").and_then(|fees| fees.get("publication"));
    for fee in publication.and_then(Value::as_array).into_iter().flatten() {
        state(fee.get("kinds"), true);
    }
    let name = |(kind, accepted): (u64, bool)| tag("k", format!("{}{kind}", if accepted { "" } else { "!" }));
    stated.into_iter().map(name).collect()
}

/// A kind, or the kinds of a small range given by both ends.
fn range(value: &Value) -> Option<std::ops::RangeInclusive<u64>> {
    let kind = |value: &Value| value.as_u64().filter(|kind| *kind <= u64::from(u16::MAX));
    let (first, last) = match value.as_array().map(Vec::as_slice) {
        None => (kind(value)?, kind(value)?),
        Some([first, last]) => (kind(first)?, kind(last)?),
        Some(_) => return None,
    };
    (last.saturating_sub(first) < MAX_RANGE).then_some(first..=last)
}

fn strings<'a>(document: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    document.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
