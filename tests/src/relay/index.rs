//! What one relay holds, in the order of NIP-01, and the answer to a REQ over it.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    RelayOptions,
    filter::Filter,
    options::{LimitZero, MissingLimit, Order},
    store::{Held, Store},
};
use crate::generate::now;

/// An event at one relay.
#[derive(Debug)]
pub(crate) struct Slot {
    pub event: Arc<Held>,
    /// Tells apart copies with the same id, which an invalid event may claim.
    number: u64,
    sent: AtomicU64,
}

impl Slot {
    pub fn count(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    fn key(&self) -> (Reverse<i128>, Option<&str>, u64) {
        (Reverse(self.event.created_at), self.event.id.as_deref(), self.number)
    }
}

/// The stored part of an answer.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub slots: Vec<Arc<Slot>>,
    /// Whether a limit or the cap cut something off.
    pub cut: bool,
}

/// Sorted newest first, ties lowest id first.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: Vec<Arc<Slot>>,
    by_id: HashMap<String, Vec<Arc<Slot>>>,
}

impl Index {
    pub fn new(store: &Store) -> Self {
        let slot = |(number, event): (usize, &Arc<Held>)| {
            Arc::new(Slot { event: Arc::clone(event), number: number as u64, sent: AtomicU64::new(0) })
        };
        let mut slots: Vec<_> = store.events().iter().enumerate().map(slot).collect();
        slots.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        let mut by_id: HashMap<String, Vec<Arc<Slot>>> = HashMap::with_capacity(slots.len());
        for slot in &slots {
            if let Some(id) = &slot.event.id {
                by_id.entry(id.clone()).or_default().push(Arc::clone(slot));
            }
        }
        Self { slots, by_id }
    }

    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    pub fn holds(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Adds an event at its place.
    pub fn insert(&mut self, event: Arc<Held>) -> Arc<Slot> {
        let slot = Arc::new(Slot { event, number: self.slots.len() as u64, sent: AtomicU64::new(0) });
        let at = self.slots.partition_point(|other| other.key() < slot.key());
        self.slots.insert(at, Arc::clone(&slot));
        if let Some(id) = &slot.event.id {
            self.by_id.entry(id.clone()).or_default().push(Arc::clone(&slot));
        }
        slot
    }

    pub fn select(&self, filters: &[Filter], options: &RelayOptions) -> Page {
        let mut page = Page::default();
        for filter in filters {
            let asked = match filter.limit {
                _ if options.accepts.only_with_condition && filter.is_unconditional() => Some(0),
                _ if options.limit_ignored => None,
                Some(0) if options.accepts.limit_zero == LimitZero::Ignored => options.default_limit,
                None if options.accepts.missing_limit == MissingLimit::Empty => Some(0),
                limit => limit.or(options.default_limit),
            };
            // A filter alone needs no more than the cap; one more shows whether something is cut off.
            let limit = asked.unwrap_or(usize::MAX).min(options.cap.unwrap_or(usize::MAX));
            let mut found = self.find(filter, options, limit.saturating_add(1));
            arrange(&mut found, options.order);
            page.cut |= found.len() > limit;
            found.truncate(limit);
            page.slots.append(&mut found);
        }
        if filters.len() > 1 {
            let mut seen = HashSet::new();
            page.slots.retain(|slot| seen.insert(Arc::as_ptr(slot)));
            arrange(&mut page.slots, options.order);
            let cap = options.cap.unwrap_or(usize::MAX);
            page.cut |= page.slots.len() > cap;
            page.slots.truncate(cap);
        }
        match options.order {
            Order::NewestAscending => page.slots.reverse(),
            Order::NewestShuffled { seed } => page.slots.sort_by_cached_key(|slot| lot(seed, slot)),
            Order::Newest | Order::Ascending | Order::Random { .. } => {}
        }
        page
    }

    pub fn count(&self, filters: &[Filter], options: &RelayOptions) -> usize {
        self.all(filters, options).len()
    }

    /// Everything that matches, what is withheld included.
    pub fn all(&self, filters: &[Filter], options: &RelayOptions) -> Vec<Arc<Slot>> {
        let all = RelayOptions { cap: None, limit_ignored: true, withheld_kinds: Vec::new(), ..options.clone() };
        self.select(filters, &all).slots
    }

    /// Whether one of the ids named is that of an event which is withheld.
    pub fn names_withheld(&self, filter: &Filter, options: &RelayOptions) -> bool {
        let ids = filter.ids.iter().flatten();
        ids.filter_map(|id| self.by_id.get(id)).flatten().any(|slot| withheld(slot, options))
    }

    /// Up to `enough` matching events from the side of the order that is kept.
    fn find(&self, filter: &Filter, options: &RelayOptions, enough: usize) -> Vec<Arc<Slot>> {
        let bounds = Bounds::new(filter, options);
        if let Some(ids) = &filter.ids {
            let named = ids.iter().filter_map(|id| self.by_id.get(id)).flatten();
            let mut found: Vec<_> = named
                .filter(|s| bounds.contain(s.event.created_at) && filter.matches(&s.event) && !withheld(s, options))
                .cloned()
                .collect();
            found.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
            return found;
        }
        let start = self.slots.partition_point(|slot| slot.event.created_at > bounds.until);
        let end = self.slots.partition_point(|slot| slot.event.created_at >= bounds.since);
        let window = self.slots.get(start..end.max(start)).unwrap_or_default();
        let matching = |slot: &&Arc<Slot>| filter.matches(&slot.event) && !withheld(slot, options);
        match options.order {
            Order::Random { .. } => window.iter().filter(matching).cloned().collect(),
            Order::Ascending => window.iter().rev().filter(matching).take(enough).cloned().collect(),
            _ => window.iter().filter(matching).take(enough).cloned().collect(),
        }
    }
}

/// Whether an event is held back from every answer to a REQ.
fn withheld(slot: &Slot, options: &RelayOptions) -> bool {
    slot.event.kind.is_some_and(|kind| options.withheld_kinds.contains(&kind))
}

/// Inclusive bounds in created_at.
struct Bounds {
    since: i128,
    until: i128,
}

impl Bounds {
    fn new(filter: &Filter, options: &RelayOptions) -> Self {
        let oldest = options.retention.map_or(i128::MIN, |age| i128::from(now()) - i128::from(age));
        if options.ignore_since_until {
            return Self { since: oldest, until: i128::MAX };
        }
        Self {
            since: filter.since.map_or(oldest, |at| oldest.max(at + i128::from(options.since_exclusive))),
            until: filter.until.map_or(i128::MAX, |at| at - i128::from(options.until_exclusive)),
        }
    }
    fn contain(&self, at: i128) -> bool {
        (self.since..=self.until).contains(&at)
    }
}

/// Brings to the front what a limit keeps.
fn arrange(slots: &mut [Arc<Slot>], order: Order) {
    match order {
        Order::Ascending => slots.sort_unstable_by(|a, b| b.key().cmp(&a.key())),
        Order::Random { seed } => slots.sort_by_cached_key(|slot| lot(seed, slot)),
        Order::Newest | Order::NewestAscending | Order::NewestShuffled { .. } => {
            slots.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        }
    }
}

/// A random but repeatable place, so that the same question gets the same answer, as from a real index in odd order.
fn lot(seed: u64, slot: &Slot) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, &slot.event.id, slot.number).hash(&mut hasher);
    hasher.finish()
}
