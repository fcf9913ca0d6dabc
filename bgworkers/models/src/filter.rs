//! Filters (NIP-01).
use crate::event::Event;
use std::collections::BTreeMap;

/// Why a JSON value is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(pub String);

/// One NIP-01 filter. `None` = absent (no constraint); `Some(vec![])` matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub ids: Option<Vec<[u8; 32]>>,
    pub authors: Option<Vec<[u8; 32]>>,
    pub kinds: Option<Vec<u16>>,
    pub tags: BTreeMap<char, Vec<String>>,
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub limit: Option<u32>,
}
impl Filter {
    /// Strict: unknown keys, wrong types, wrong lengths and upper-case hex are errors.
    pub fn from_json(json: &str) -> Result<Self, FilterError> {
        let _ = json;
        todo!()
    }
    /// Whether a relay may send this event for this filter (`limit` is ignored).
    pub fn matches(&self, event: &Event) -> bool {
        let _ = event;
        todo!()
    }
    pub fn to_json(&self) -> String {
        todo!()
    }
}
