//! A relay in memory, honest or not.
use super::{Answer, End, Id, Item, Pager, RelayLimits, Window};
use crate::nip01::ClosePrefix;
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::Ranges;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    NewestFirst,
    /// The oldest are handed out, ascending.
    Ascending,
    /// Any, in any order.
    Random,
}

#[derive(Clone)]
pub struct FakeRelay {
    pub events: Vec<(i64, Id)>,
    pub cap: Option<usize>,
    /// Each answer has a cap of its own between this and `cap`.
    pub cap_from: Option<usize>,
    pub send: Send,
    /// How many kinds and authors its events have in turn.
    pub kinds: u64,
    pub authors: u64,
    pub until_exclusive: bool,
    pub since_exclusive: bool,
    pub ignores_limit: bool,
    pub ignores_bounds: bool,
    pub hints: bool,
    pub duplicates: bool,
    pub strays: usize,
    /// Chances in a hundred.
    pub loses_eose: u32,
    pub closes: u32,
    pub disconnects: u32,
    /// More events than this in an answer and the reader closes it.
    pub budget: usize,
    pub rng: StdRng,
    pub seed: u64,
}

pub fn id(n: u64) -> Id {
    let mut id = [0; 32];
    // Spread, so that the order of ids is not the order of insertion.
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    id[8..16].copy_from_slice(&n.to_be_bytes());
    id
}

impl std::fmt::Debug for FakeRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut seconds = std::collections::BTreeMap::new();
        for (at, _) in &self.events {
            *seconds.entry(*at).or_insert(0) += 1;
        }
        write!(
            f,
            "{seconds:?} cap {:?}..{:?} {:?} ue {} se {} ",
            self.cap_from, self.cap, self.send, self.until_exclusive, self.since_exclusive
        )?;
        write!(
            f,
            "ignores {} {} hints {} dup {} strays {} ",
            self.ignores_limit, self.ignores_bounds, self.hints, self.duplicates, self.strays
        )?;
        write!(f, "kinds {} authors {} ", self.kinds, self.authors)?;
        write!(
            f,
            "trouble {} {} {} budget {} seed {}",
            self.loses_eose, self.closes, self.disconnects, self.budget, self.seed
        )
    }
}

impl FakeRelay {
    pub fn honest(seconds: &[i64]) -> Self {
        Self {
            events: seconds.iter().enumerate().map(|(n, at)| (*at, id(n as u64))).collect(),
            cap: None,
            cap_from: None,
            send: Send::NewestFirst,
            kinds: 1,
            authors: 1,
            until_exclusive: false,
            since_exclusive: false,
            ignores_limit: false,
            ignores_bounds: false,
            hints: false,
            duplicates: false,
            strays: 0,
            loses_eose: 0,
            closes: 0,
            disconnects: 0,
            budget: usize::MAX,
            rng: StdRng::seed_from_u64(7),
            seed: 7,
        }
    }

    /// The event of an id: kinds from 1 on, authors by number.
    pub fn item(&self, (created_at, id): (i64, Id)) -> Item {
        let n = id.last_chunk::<24>().and_then(|tail| tail.first_chunk()).map_or(0, |n| u64::from_be_bytes(*n));
        let mut pubkey = [0; 32];
        pubkey[..8].copy_from_slice(&(n / self.kinds % self.authors).to_be_bytes());
        Item { created_at, id, kind: 1 + (n % self.kinds) as u16, pubkey }
    }

    pub fn answer(&mut self, window: &Window) -> (Vec<Item>, usize, End) {
        let mut hits: Vec<(i64, Id)> = self.events.clone();
        if !self.ignores_bounds {
            let (ue, se) = (i64::from(self.until_exclusive), i64::from(self.since_exclusive));
            hits.retain(|(at, _)| window.until.is_none_or(|until| *at <= until - ue));
            hits.retain(|(at, _)| window.since.is_none_or(|since| *at >= since + se));
        }
        if let Some(narrow) = &window.narrow {
            hits.retain(|hit| {
                let item = self.item(*hit);
                narrow.kinds.as_ref().is_none_or(|kinds| kinds.contains(&item.kind))
                    && narrow.authors.as_ref().is_none_or(|authors| authors.contains(&item.pubkey))
            });
        }
        match self.send {
            Send::NewestFirst => hits.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1))),
            Send::Ascending => hits.sort(),
            Send::Random => hits.shuffle(&mut self.rng),
        }
        let all = hits.len();
        let mut cap = self.cap.unwrap_or(usize::MAX);
        if let Some(from) = self.cap_from {
            cap = self.rng.random_range(from.min(cap)..=cap.min(5_000));
        }
        if !self.ignores_limit {
            cap = cap.min(window.limit as usize);
        }
        hits.truncate(cap);
        let hint = self.hints.then_some(if hits.len() == all { EoseHint::Finish } else { EoseHint::More });
        if self.duplicates {
            hits = hits.iter().flat_map(|hit| [*hit, *hit]).collect();
        }
        let mut end = End::Eose { hint };
        if self.rng.random_range(0..100) < self.disconnects {
            let frames = self.rng.random_range(0..=hits.len());
            hits.truncate(frames);
            end = End::Disconnected;
        } else if self.rng.random_range(0..100) < self.closes {
            let frames = self.rng.random_range(0..=hits.len());
            hits.truncate(frames);
            end = End::Closed(ClosePrefix::RateLimited);
        } else if self.rng.random_range(0..100) < self.loses_eose {
            end = End::Timeout;
        } else if hits.len() > self.budget {
            hits.truncate(self.budget);
            end = End::Overflow;
        }
        (hits.into_iter().map(|hit| self.item(hit)).collect(), self.strays, end)
    }
}

#[derive(Debug, Default)]
pub struct Archive {
    pub held: HashSet<Id>,
    pub complete: Ranges,
    pub limits: RelayLimits,
    pub requests: usize,
    pub fetched: usize,
    pub incomplete: usize,
}

impl Archive {
    /// One pager over what is left, to its end.
    pub fn pass(&mut self, relay: &mut FakeRelay, since: i64, page_limit: u32, horizon: i64, max_requests: usize) {
        let wanted = Ranges::single(since, None).subtract(&self.complete);
        let mut pager = Pager::new(wanted.clone(), page_limit, horizon, self.limits.clone());
        let mut requests = 0;
        while let Some(window) = pager.next() {
            requests += 1;
            assert!(requests <= max_requests, "no end: {window:?} {pager:?}");
            let (items, off_window, end) = relay.answer(&window);
            self.held.extend(items.iter().map(|item| item.id));
            self.fetched += items.len();
            let progress = pager.answer(Answer { items: &items, off_window, end });
            assert!(wanted.covers(&progress.complete), "claimed more than was wanted");
            assert!(progress.complete.last().is_none_or(|last| last.last() < horizon), "claimed beyond the horizon");
            self.incomplete += progress.incomplete.len();
            self.complete = self.complete.union(&progress.complete);
        }
        self.limits = pager.limits().clone();
        self.requests += requests;
    }

    /// Events of the relay that were called complete and never came.
    pub fn lost(&self, relay: &FakeRelay) -> Vec<i64> {
        let lost = relay.events.iter().filter(|(at, id)| self.complete.contains(*at) && !self.held.contains(id));
        lost.map(|(at, _)| *at).collect()
    }

    pub fn is_complete(&self, since: i64, horizon: i64) -> bool {
        self.complete.covers(&Ranges::single(since, Some(horizon)))
    }
}
