//! NIP-01 filters, as a relay reads them.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::store::Held;

/// One filter of a REQ or COUNT.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub ids: Option<HashSet<String>>,
    authors: Option<HashSet<String>>,
    kinds: Option<HashSet<u64>>,
    tags: BTreeMap<char, HashSet<String>>,
    pub since: Option<i128>,
    pub until: Option<i128>,
    pub limit: Option<usize>,
}

impl Filter {
    /// Unknown members are ignored, as by most relays; members of a wrong type are an error.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("filter is not an object")?;
        let mut filter = Self {
            ids: strings(object, "ids")?,
            authors: strings(object, "authors")?,
            since: integer(object, "since")?,
            until: integer(object, "until")?,
            ..Self::default()
        };
        if let Some(kinds) = object.get("kinds") {
            let kinds = kinds.as_array().ok_or("kinds is not a list")?;
            filter.kinds = Some(kinds.iter().map(|k| k.as_u64().ok_or("bad kind")).collect::<Result<_, _>>()?);
        }
        if let Some(limit) = integer(object, "limit")? {
            filter.limit = Some(usize::try_from(limit).map_err(|_| "bad limit")?);
        }
        for key in object.keys() {
            let mut chars = key.chars();
            if let (Some('#'), Some(letter), None) = (chars.next(), chars.next(), chars.next())
                && letter.is_ascii_alphabetic()
            {
                filter.tags.insert(letter, strings(object, key)?.unwrap_or_default());
            }
        }
        Ok(filter)
    }

    /// Whether it names nothing but `limit`.
    pub fn is_unconditional(&self) -> bool {
        let Self { ids, authors, kinds, tags, since, until, limit: _ } = self;
        ids.is_none() && authors.is_none() && kinds.is_none() && tags.is_empty() && since.is_none() && until.is_none()
    }

    /// Elements of its longest list.
    pub fn longest_list(&self) -> usize {
        let fixed = [self.ids.as_ref().map(HashSet::len), self.authors.as_ref().map(HashSet::len)];
        let kinds = self.kinds.as_ref().map(HashSet::len);
        let tags = self.tags.values().map(HashSet::len);
        fixed.into_iter().flatten().chain(kinds).chain(tags).max().unwrap_or(0)
    }

    /// Whether a new event belongs to a subscription with this filter.
    pub fn matches_live(&self, event: &Held) -> bool {
        self.since.is_none_or(|since| since <= event.created_at)
            && self.until.is_none_or(|until| event.created_at <= until)
            && self.matches(event)
    }

    /// Everything but `since`, `until` and `limit`.
    pub fn matches(&self, event: &Held) -> bool {
        fn within<T: std::hash::Hash + Eq>(set: &Option<HashSet<T>>, value: Option<&T>) -> bool {
            set.as_ref().is_none_or(|set| value.is_some_and(|value| set.contains(value)))
        }
        within(&self.ids, event.id.as_ref())
            && within(&self.authors, event.pubkey.as_ref())
            && within(&self.kinds, event.kind.as_ref())
            && self
                .tags
                .iter()
                .all(|(letter, values)| event.tags.iter().any(|(name, value)| name == letter && values.contains(value)))
    }
}

fn strings(object: &Map<String, Value>, key: &str) -> Result<Option<HashSet<String>>, String> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let list = value.as_array().ok_or_else(|| format!("{key} is not a list"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("bad value in {key}"));
    list.iter().map(text).collect::<Result<_, _>>().map(Some)
}

fn integer(object: &Map<String, Value>, key: &str) -> Result<Option<i128>, String> {
    let Some(value) = object.get(key) else { return Ok(None) };
    match (value.as_i64(), value.as_u64()) {
        (Some(n), _) => Ok(Some(n.into())),
        (_, Some(n)) => Ok(Some(n.into())),
        _ => Err(format!("{key} is not an integer")),
    }
}
