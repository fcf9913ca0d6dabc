//! One REQ, and what comes for it.
use super::{End, Id};
use crate::nip67::EoseHint;
use bigbrotr_models::{Event, Filter};
use std::sync::Arc;

/// A public key.
pub type Pubkey = [u8; 32];

/// One REQ to send: [`Window::filter`] makes its filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// NIP-01 `since`, unix seconds.
    pub since: Option<i64>,
    /// NIP-01 `until`, unix seconds.
    pub until: Option<i64>,
    /// NIP-01 `limit`.
    pub limit: u32,
    /// A part of a second that holds more events than the relay hands out.
    pub narrow: Option<Arc<Narrow>>,
}

/// Only events of these kinds, and of these authors. `None`: of any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrow {
    /// NIP-01 `kinds`.
    pub kinds: Option<Vec<u16>>,
    /// NIP-01 `authors`.
    pub authors: Option<Vec<Pubkey>>,
}

impl Window {
    /// What of `filter` (`sync_filter`) lies in this window, with its limit. `None`: no event can match both; nothing is to
    /// be sent, and [`Answer::NOTHING`] is the answer.
    pub fn filter(&self, filter: &Filter) -> Option<Filter> {
        let mut merged = Filter {
            since: self.since.max(filter.since),
            until: self.until.into_iter().chain(filter.until).min(),
            limit: Some(self.limit),
            ..filter.clone()
        };
        if let Some(narrow) = &self.narrow {
            merged.kinds = both(merged.kinds, narrow.kinds.as_deref());
            merged.authors = both(merged.authors, narrow.authors.as_deref());
        }
        let none = merged.kinds.as_ref().is_some_and(Vec::is_empty)
            || merged.authors.as_ref().is_some_and(Vec::is_empty)
            || merged.ids.as_ref().is_some_and(Vec::is_empty)
            || merged.tags.values().any(Vec::is_empty)
            || matches!((merged.since, merged.until), (Some(since), Some(until)) if since > until);
        (!none).then_some(merged)
    }
}

/// What is in both lists, where there are two.
fn both<T: PartialEq + Clone>(list: Option<Vec<T>>, narrow: Option<&[T]>) -> Option<Vec<T>> {
    match (list, narrow) {
        (list, None) => list,
        (None, Some(narrow)) => Some(narrow.to_vec()),
        (Some(mut list), Some(narrow)) => {
            list.retain(|value| narrow.contains(value));
            Some(list)
        }
    }
}

/// What the pager looks at of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Unix seconds.
    pub created_at: i64,
    /// The event's id.
    pub id: Id,
    /// Its kind.
    pub kind: u16,
    /// Its author.
    pub pubkey: Pubkey,
}

impl From<&Event> for Item {
    fn from(event: &Event) -> Self {
        Self { created_at: event.created_at, id: event.id, kind: event.kind, pubkey: event.pubkey }
    }
}

/// What one REQ brought.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Every event of this subscription that matches `sync_filter`, in order of arrival, duplicates and unstored kinds
    /// included. Events outside the window may be among them: they are recognised.
    pub items: &'a [Item],
    /// Events of this subscription that are not in `items`: off-filter, invalid, or outside the window.
    pub off_window: usize,
    /// How it ended.
    pub end: End,
}

impl Answer<'_> {
    /// The answer to a window in which nothing can match.
    pub const NOTHING: Self = Self { items: &[], off_window: 0, end: End::Eose { hint: Some(EoseHint::Finish) } };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn window(kinds: Option<&[u16]>, authors: Option<&[Pubkey]>) -> Window {
        let narrow = Narrow { kinds: kinds.map(<[u16]>::to_vec), authors: authors.map(<[Pubkey]>::to_vec) };
        Window { since: Some(5), until: Some(9), limit: 7, narrow: Some(Arc::new(narrow)) }
    }

    #[test]
    fn a_window_is_merged_with_the_filter_by_intersection() {
        let filter = Filter { kinds: Some(vec![1, 2, 3]), since: Some(1), ..Filter::default() };
        let plain = Window { since: Some(5), until: None, limit: 7, narrow: None };
        assert_eq!(plain.filter(&filter).unwrap().to_json(), r#"{"kinds":[1,2,3],"since":5,"limit":7}"#);
        let narrow = window(Some(&[2, 9]), None).filter(&filter).unwrap();
        assert_eq!(narrow.to_json(), r#"{"kinds":[2],"since":5,"until":9,"limit":7}"#);
        assert_eq!(window(Some(&[9]), None).filter(&filter), None);
        assert_eq!(window(Some(&[9]), None).filter(&Filter::default()).unwrap().kinds, Some(vec![9]));
        let authors = Filter { authors: Some(vec![[1; 32], [2; 32]]), ..filter };
        let of_two = window(None, Some(&[[2; 32], [3; 32]])).filter(&authors).unwrap();
        assert_eq!((of_two.authors, of_two.kinds), (Some(vec![[2; 32]]), Some(vec![1, 2, 3])));
        assert_eq!(window(None, Some(&[[3; 32]])).filter(&authors), None);
        assert_eq!(plain.filter(&Filter { until: Some(4), ..Filter::default() }), None);
        assert_eq!(plain.filter(&Filter { kinds: Some(Vec::new()), ..Filter::default() }), None);
    }
}
