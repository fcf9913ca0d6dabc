//! The ledger over weeks: every misbehaviour, late events, live subscriptions, re-reads and negentropy.
//!
//! Whatever is called complete at some time was all there was in the relay at that time. So at quiescence every event is
//! held, or lies in a second that is not complete, or arrived after the last proof of its second, which a re-check ends.
use super::testing::{FakeRelay, id};
use super::tests::{any_relay, config};
use super::{Answer, Id, Pager, RelayLimits, testing::Send};
use crate::ledger::Ledger;
use crate::nip77::testing::{NegRelay, drive};
use crate::nip77::{NegLimits, NegSync};
use bigbrotr_models::ranges::{Range, Ranges};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const START: i64 = 999_000;
const STEP: i64 = 200;

/// What happens between two passes.
#[derive(Debug, Clone)]
struct Turn {
    /// Seconds of events that arrive, counted back from now; below zero: ahead of it.
    arrive: Vec<i64>,
    /// Whether a live subscription is open, and after how many of them it breaks.
    live: Option<usize>,
    /// How the archive catches up.
    by: By,
    /// Events the relay drops.
    forgets: usize,
}

#[derive(Debug, Clone, Copy)]
enum By {
    /// What the ledger lacks.
    Pass,
    /// Everything again, or the last seconds of it.
    Reread(Option<i64>),
    /// Everything by NIP-77.
    Negentropy {
        frame: u64,
        max_records: usize,
        ids: usize,
        items: usize,
        exclusive: bool,
        withheld: usize,
        cap: usize,
    },
}

fn by() -> impl Strategy<Value = By> {
    let small = || prop_oneof![2 => Just(100_000usize), 1 => 10..300usize];
    let negentropy =
        (prop_oneof![Just(0u64), Just(4_096)], small(), small(), small(), any::<bool>(), 0..4usize, 1..80usize);
    prop_oneof![
        3 => Just(By::Pass),
        2 => proptest::option::of(1..1_000i64).prop_map(By::Reread),
        2 => negentropy.prop_map(|(frame, max_records, ids, items, exclusive, withheld, cap)| {
            By::Negentropy { frame, max_records, ids, items, exclusive, withheld, cap }
        }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let second = prop_oneof![4 => -20..400i64, 1 => 400..900_000i64, 1 => Just(250i64)];
    let burst = (second, prop_oneof![5 => 1..4usize, 1 => 4..120usize]).prop_map(|(at, n)| vec![at; n]);
    let arrive = proptest::collection::vec(burst, 0..8).prop_map(|bursts| bursts.concat());
    (arrive, proptest::option::of(0..20usize), by(), 0..3usize).prop_map(|(arrive, live, by, forgets)| Turn {
        arrive,
        live,
        by,
        forgets,
    })
}

#[derive(Default)]
struct World {
    ledger: Ledger,
    limits: RelayLimits,
    held: HashMap<Id, i64>,
    arrived: HashMap<Id, usize>,
    /// What was proven in which turn.
    proofs: Vec<(usize, Ranges)>,
}

impl World {
    fn prove(&mut self, turn: usize, ranges: &Ranges) {
        self.ledger.add_complete(ranges);
        self.proofs.push((turn, ranges.clone()));
    }

    fn read(&mut self, relay: &mut FakeRelay, turn: usize, wanted: Ranges, page_limit: u32, horizon: i64) {
        let mut pager = Pager::new(wanted, page_limit, horizon, self.limits.clone());
        let mut requests = 0;
        while let Some(window) = pager.next() {
            requests += 1;
            assert!(requests <= 30_000, "no end: {window:?}");
            let (items, off_window, end) = relay.answer(&window);
            self.held.extend(items.iter().map(|item| (item.id, item.created_at)));
            let progress = pager.answer(Answer { items: &items, off_window, end });
            self.ledger.apply(&progress);
            self.proofs.push((turn, progress.complete));
        }
        self.limits = pager.limits().clone();
    }

    fn compare(&mut self, relay: &FakeRelay, turn: usize, by: By, horizon: i64) {
        let By::Negentropy { frame, max_records, ids, items, exclusive, withheld, cap } = by else { return };
        let mut other = NegRelay::new(relay.events.clone());
        (other.frame, other.max_records, other.until_exclusive, other.cap) = (frame, max_records, exclusive, cap);
        other.tells_max = ids % 2 == 0;
        let mut some = relay.events.iter().map(|(_, id)| *id).step_by(7);
        other.withheld = some.by_ref().take(withheld).collect();
        other.shy = some.by_ref().take(withheld * 3).collect();
        other.restricted = some.take(withheld / 2).collect();
        let limits = NegLimits { ids, items, ..NegLimits::default() };
        let mut sync = NegSync::new(Range { lo: 0, hi: None }, horizon, limits);
        for outcome in drive(&mut sync, &mut other, &mut self.held) {
            self.prove(turn, &outcome.proven);
        }
    }

    fn broken_promises(&self, relay: &FakeRelay) -> Vec<i64> {
        let missing = relay.events.iter().filter(|(_, id)| !self.held.contains_key(id));
        let broken = missing.filter(|(at, id)| {
            let since = self.arrived.get(id).copied().unwrap_or(0);
            self.proofs.iter().any(|(turn, ranges)| *turn >= since && ranges.contains(*at))
        });
        broken.map(|(at, _)| *at).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: config().cases / 2, ..config() })]

    #[test]
    fn no_promise_is_broken_over_weeks(
        relay in any_relay(vec![Send::NewestFirst, Send::Ascending, Send::Random]),
        turns in proptest::collection::vec(turn(), 1..7),
        limit in prop_oneof![Just(500u32), 10..60u32],
        last in by(),
    ) {
        let mut relay = relay;
        let varying = relay.cap_from;
        let mut world = World::default();
        let mut next = 1_000_000u64;
        for (n, turn) in turns.iter().enumerate() {
            let now = START + STEP * n as i64;
            let horizon = now - 50;
            let mut counts: HashMap<i64, usize> = HashMap::new();
            for (at, _) in &relay.events {
                *counts.entry(*at).or_default() += 1;
            }
            for (i, back) in turn.arrive.iter().enumerate() {
                let at = now - back;
                let count = counts.entry(at).or_default();
                *count += 1;
                // A cap within the size of one second cannot be told from an end: see "What cannot be told".
                if varying.is_some_and(|least| *count >= least) {
                    continue;
                }
                next += 1;
                relay.events.push((at, id(next)));
                world.arrived.insert(id(next), n);
                if turn.live.is_some_and(|frames| i < frames) {
                    world.held.insert(id(next), at);
                }
            }
            for _ in 0..turn.forgets.min(relay.events.len()) {
                let gone = relay.events.len() / 2;
                relay.events.remove(gone);
            }
            match turn.by {
                By::Pass => {
                    let left = world.ledger.left(0);
                    world.read(&mut relay, n, left, limit, horizon);
                }
                By::Reread(back) => {
                    let since = back.map_or(0, |back| now - back);
                    world.read(&mut relay, n, Ranges::single(since, None), limit, horizon);
                }
                by => world.compare(&relay, n, by, horizon),
            }
            let broken = world.broken_promises(&relay);
            prop_assert!(broken.is_empty(), "turn {n}: {broken:?} {}", world.ledger.complete());
        }
        // Nothing arrives any more: a re-check of everything leaves no late event in a second it proves.
        let (n, horizon) = (turns.len(), START + STEP * turns.len() as i64);
        world.ledger.forget(&Ranges::single(0, None));
        match last {
            by @ By::Negentropy { .. } => world.compare(&relay, n, by, horizon),
            _ => world.read(&mut relay, n, Ranges::single(0, None), limit, horizon),
        }
        let complete: HashSet<i64> =
            relay.events.iter().map(|(at, _)| *at).filter(|at| world.ledger.complete().contains(*at)).collect();
        for (at, id) in &relay.events {
            prop_assert!(world.held.contains_key(id) || !complete.contains(at), "lost at {at}");
        }
    }
}
