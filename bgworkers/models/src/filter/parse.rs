//! From JSON text to a filter, strictly: what a filter does not say clearly would silently archive the wrong events.

use super::{Filter, FilterError};
use crate::hex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

impl Filter {
    /// Strict: unknown or repeated keys, wrong types, wrong lengths, upper-case hex and numbers out of range are errors.
    /// `search` (NIP-50) is not supported.
    pub fn from_json(json: &str) -> Result<Self, FilterError> {
        // A text is deep or it is a filter: serde_json stops at a depth of 128.
        let Members(members) = serde_json::from_str(json).map_err(|error| {
            FilterError(format!("not a JSON object (line {}, column {})", error.line(), error.column()))
        })?;
        let mut filter = Self::default();
        let mut seen = HashSet::new();
        for (key, value) in &members {
            if !seen.insert(key) {
                return Err(refused(key, "occurs more than once"));
            }
            match key.as_str() {
                "ids" => filter.ids = Some(list(key, value, hex32)?),
                "authors" => filter.authors = Some(list(key, value, hex32)?),
                "kinds" => filter.kinds = Some(list(key, value, kind)?),
                "since" => filter.since = Some(seconds(key, value)?),
                "until" => filter.until = Some(seconds(key, value)?),
                "limit" => filter.limit = Some(limit(key, value)?),
                "search" => return Err(refused(key, "is not supported")),
                _ => {
                    let name = tag_name(key).ok_or_else(|| refused(key, "is not a key of a filter"))?;
                    filter.tags.insert(name, list(key, value, tag_value)?);
                }
            }
        }
        Ok(filter)
    }
}

/// Members in their order, repeated ones included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a filter")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// An error about `key`, which is shown shortened: it may be a stranger's.
fn refused(key: &str, problem: &str) -> FilterError {
    let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
    let dots = if key.chars().nth(40).is_some() { "…" } else { "" };
    FilterError(format!("\"{shown}{dots}\" {problem}"))
}

fn tag_name(key: &str) -> Option<char> {
    let mut name = key.strip_prefix('#')?.chars();
    name.next().filter(|name| name.is_ascii_alphabetic() && name.len_utf8() == key.len() - 1)
}

fn list<T>(
    key: &str,
    value: &Value,
    element: fn(&str, &Value) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    let values = value.as_array().ok_or_else(|| refused(key, "must be an array"))?;
    values.iter().map(|value| element(key, value)).collect()
}

fn hex32(key: &str, value: &Value) -> Result<[u8; 32], FilterError> {
    value.as_str().and_then(hex::decode).ok_or_else(|| refused(key, "must hold strings of 64 lower-case hex digits"))
}

fn tag_value(key: &str, value: &Value) -> Result<String, FilterError> {
    if matches!(key, "#e" | "#p") {
        hex32(key, value)?;
    }
    value.as_str().map(str::to_owned).ok_or_else(|| refused(key, "must hold strings"))
}

fn kind(key: &str, value: &Value) -> Result<u16, FilterError> {
    let kind = value.as_u64().and_then(|kind| u16::try_from(kind).ok());
    kind.ok_or_else(|| refused(key, "must hold integers from 0 to 65535"))
}

fn seconds(key: &str, value: &Value) -> Result<i64, FilterError> {
    let seconds = value.as_u64().and_then(|seconds| i64::try_from(seconds).ok());
    seconds.ok_or_else(|| refused(key, "must be an integer from 0 to 2^63 - 1"))
}

fn limit(key: &str, value: &Value) -> Result<u32, FilterError> {
    let limit = value.as_u64().and_then(|limit| u32::try_from(limit).ok());
    limit.ok_or_else(|| refused(key, "must be an integer from 0 to 2^32 - 1"))
}
