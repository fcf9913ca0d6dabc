#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

/// The rows of one relay, and which events are really there.
#[derive(Default)]
struct Relay {
    rows: BTreeMap<i64, Leaf>,
    /// seq → created_at
    model: HashMap<i64, i64>,
    look_ups: usize,
}

impl Relay {
    /// What the SQL side reads: overlapping leaves and the nearest neighbours.
    fn existing(&self, new: &[(i64, i64)]) -> Vec<Leaf> {
        let (Some(min), Some(max)) = (new.iter().map(|n| n.0).min(), new.iter().map(|n| n.0).max()) else {
            return vec![];
        };
        let below = self.rows.values().rfind(|leaf| leaf.hi < min);
        let above = self.rows.values().find(|leaf| leaf.lo > max);
        let overlapping = self.rows.values().filter(|leaf| leaf.lo <= max && leaf.hi >= min);
        // Through bytes, as they are stored.
        let stored = |leaf: &Leaf| Leaf { members: deserialize(&serialize(&leaf.members)).unwrap(), ..leaf.clone() };
        above.into_iter().chain(overlapping).chain(below).map(stored).collect()
    }

    fn plan(&mut self, new: &[(i64, i64)]) -> Changes {
        let existing = self.existing(new);
        let (model, look_ups) = (&self.model, &mut self.look_ups);
        let Ok(changes) = plan(existing, new, |seqs| {
            *look_ups += 1;
            Ok::<_, Infallible>(seqs.iter().filter_map(|seq| Some((*seq, *model.get(seq)?))).collect())
        });
        changes
    }

    /// Writes, and checks that writing again would change nothing.
    fn see(&mut self, new: &[(i64, i64)]) {
        let changes = self.plan(new);
        for lo in &changes.deleted {
            assert!(self.rows.remove(lo).is_some(), "deletes a leaf that is not there");
            assert!(changes.upserted.iter().all(|leaf| leaf.lo != *lo));
        }
        self.rows.extend(changes.upserted.into_iter().map(|leaf| (leaf.lo, leaf)));
        self.model.extend(new.iter().map(|&(at, seq)| (seq, at)));
        let look_ups = self.look_ups;
        assert!(self.plan(new).is_empty(), "the same again is a change");
        assert_eq!(self.look_ups, look_ups, "the same again asks for seconds");
    }

    fn check(&self) {
        let mut end = i64::MIN;
        let mut total = 0;
        for (lo, leaf) in &self.rows {
            assert_eq!(*lo, leaf.lo);
            assert!(leaf.lo <= leaf.hi && leaf.n() > 0);
            assert!(leaf.lo > end, "leaves overlap");
            end = leaf.hi;
            total += leaf.n();
            let seconds: Vec<i64> = leaf.members.iter().map(|seq| self.model[&seq.cast_signed()]).collect();
            assert!(seconds.iter().all(|at| (leaf.lo..=leaf.hi).contains(at)), "a member outside of its leaf");
            let one_second = seconds.iter().all(|at| *at == seconds[0]);
            assert!(leaf.n() <= MAX_LEAF || one_second, "a leaf of {} members", leaf.n());
        }
        // Disjoint leaves with every member inside of its own: equal numbers mean equal sets.
        assert_eq!(total, self.model.len() as u64);
    }

    fn fill(&self) -> u64 {
        self.model.len() as u64 / self.rows.len() as u64
    }
}

#[test]
fn members_round_trip_and_runs_are_small() {
    for set in [
        RoaringTreemap::new(),
        [1, 5, 70_000, 1 << 40, i64::MAX as u64].into_iter().collect(),
        (1_000_000..1_001_000).collect(),
        (0..200_000).step_by(2).collect(),
    ] {
        let bytes = serialize(&set);
        assert_eq!(deserialize(&bytes).unwrap(), set);
        assert_eq!(members(&bytes).unwrap(), set.iter().map(u64::cast_signed).collect::<Vec<_>>());
    }
    let bytes = serialize(&(1_000_000..1_001_000).collect());
    assert!(bytes.len() < 50);
    assert_eq!(contains(&bytes, 1_000_500), Ok(true));
    assert_eq!(contains(&bytes, 999_999), Ok(false));
    assert_eq!(contains(&bytes, -1), Ok(false));
}

#[test]
fn a_part_without_members_is_damage() {
    // Two parts of 32 bits each: number 0 with one member, number 5 with none.
    let whole = serialize(&[7].into_iter().collect());
    let (_, part) = whole.split_at(8 + 4);
    let empty = serialize_part(&roaring::RoaringBitmap::new());
    let bytes = [&2_u64.to_le_bytes()[..], &0_u32.to_le_bytes(), part, &5_u32.to_le_bytes(), &empty].concat();
    assert!(deserialize(&whole).is_ok());
    assert_eq!(deserialize(&bytes), Err(BadMembers));
}

fn serialize_part(part: &roaring::RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.serialize_into(&mut bytes).expect("memory takes it");
    bytes
}

#[test]
fn damaged_bytes_are_an_error() {
    let bytes = serialize(&[1, 5, 70_000].into_iter().collect());
    for end in 0..bytes.len() {
        assert_eq!(deserialize(&bytes[..end]), Err(BadMembers));
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert_eq!(members(&longer), Err(BadMembers));
    assert_eq!(contains(&[0xff; 64], 1), Err(BadMembers));
    assert_eq!(deserialize(&serialize(&[u64::MAX].into_iter().collect())), Err(BadMembers));
    // A few bytes can stand for billions of members.
    let mut all = RoaringTreemap::new();
    all.insert_range(0..1 << 32);
    let bomb = serialize(&all);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(members(&bomb), Err(BadMembers));
}

#[test]
fn nothing_new_changes_nothing() {
    assert!(Relay::default().plan(&[]).is_empty());
    assert!(Relay::default().plan(&[(5, -1)]).is_empty());
}

#[test]
fn an_older_page_extends_the_oldest_leaf_and_moves_its_row() {
    let mut relay = Relay::default();
    relay.see(&[(100, 1), (110, 2)]);
    let changes = relay.plan(&[(100, 1), (90, 3)]);
    assert_eq!(changes.deleted, [100]);
    assert_eq!(changes.upserted, [Leaf { lo: 90, hi: 110, members: [1, 2, 3].into_iter().collect() }]);
}

#[test]
fn between_leaves_the_nearest_with_room_grows() {
    let leaf = |lo, hi, seqs: std::ops::Range<u64>| Leaf { lo, hi, members: seqs.collect() };
    let never = |_: &[i64]| -> Result<_, ()> { panic!("no split needed") };
    let small = vec![leaf(0, 10, 0..5), leaf(100, 110, 10..15)];
    let changes = plan(small.clone(), &[(20, 100), (90, 101)], never).unwrap();
    assert_eq!(changes.deleted, [100]);
    assert_eq!(changes.upserted.iter().map(|leaf| (leaf.lo, leaf.hi)).collect::<Vec<_>>(), [(0, 20), (90, 110)]);
    let full_above = vec![leaf(0, 10, 0..5), leaf(100, 110, 1000..1950)];
    let changes = plan(full_above, &[(90, 101)], never).unwrap();
    assert_eq!((changes.deleted.len(), changes.upserted[0].lo, changes.upserted[0].hi), (0, 0, 90));
    let both_full = vec![leaf(0, 10, 3000..3950), leaf(100, 110, 1000..1950)];
    let changes = plan(both_full, &[(90, 101)], never).unwrap();
    assert_eq!((changes.deleted.len(), changes.upserted[0].lo, changes.upserted[0].hi), (0, 90, 90));
}

#[test]
fn bulk_loading_fills_leaves_without_a_split() {
    // 20,000 events, up to three a second; each page begins with the second the last one ended with.
    for (page, ascending) in [(500, false), (100, false), (1000, false), (5000, false), (500, true), (1, false)] {
        let count = if page == 1 { 3_000 } else { 20_000 };
        let mut events: Vec<(i64, i64)> =
            (0..count).map(|i| (1_700_000_000 + i * 5 / 11, (i * 7919) % count)).collect();
        if !ascending {
            events.reverse();
        }
        let mut relay = Relay::default();
        let mut from = 0;
        while from < events.len() {
            let to = events.len().min(from + page);
            relay.see(&events[from.saturating_sub(3)..to]);
            from = to;
        }
        relay.check();
        assert_eq!(relay.look_ups, 0, "page {page}");
        assert!(relay.fill() >= GROW_LEAF, "page {page}: {} a leaf", relay.fill());
    }
}

#[test]
fn the_members_of_one_second_stay_together() {
    let mut relay = Relay::default();
    relay.see(&(0..2500).map(|seq| (7, seq)).collect::<Vec<_>>());
    assert_eq!(relay.rows.len(), 1);
    relay.see(&(0..2500).map(|seq| (seq % 3 + 6, 10_000 + seq)).collect::<Vec<_>>());
    relay.check();
    assert_eq!(relay.rows.values().map(|leaf| (leaf.lo, leaf.hi)).collect::<Vec<_>>(), [(6, 6), (7, 7), (8, 8)]);
    assert_eq!(relay.look_ups, 0);
}

#[test]
fn a_full_leaf_is_split_in_halves_once() {
    let mut relay = Relay::default();
    relay.see(&[(0, 0), (10_000, 1)]);
    relay.see(&(2..1_001).map(|seq| (seq * 10 - 10, seq)).collect::<Vec<_>>());
    relay.check();
    assert_eq!(relay.look_ups, 1);
    assert!(
        relay.rows.values().all(|leaf| leaf.n() >= 400),
        "{:?}",
        relay.rows.values().map(Leaf::n).collect::<Vec<_>>()
    );
}

#[test]
fn a_second_too_large_to_be_cut_is_cut_out_once() {
    let mut relay = Relay::default();
    relay.see(&[(0, 0), (100, 1)]);
    relay.see(&(2..1_502).map(|seq| (50, seq)).collect::<Vec<_>>());
    relay.check();
    assert_eq!(relay.look_ups, 1);
    relay.see(&[(50, 5_000), (50, 5_001), (49, 5_002)]);
    relay.check();
    assert_eq!(relay.look_ups, 1);
}

#[test]
fn members_gone_from_the_archive_are_dropped_by_a_split() {
    let old = Leaf { lo: 0, hi: 100, members: (0..1000).collect() };
    let changes =
        plan(vec![old], &[(50, 5000)], |seqs| Ok::<_, ()>(seqs.iter().skip(1).map(|&seq| (seq, seq / 10)).collect()))
            .unwrap();
    assert_eq!(changes.upserted.iter().map(Leaf::n).sum::<u64>(), 1000);
}

#[test]
fn an_error_of_the_look_up_is_returned() {
    let old = Leaf { lo: 0, hi: 100, members: (0..1000).collect() };
    assert_eq!(plan(vec![old], &[(50, 5000)], |_| Err("gone")), Err("gone"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn leaves_hold_what_was_seen(
        span in prop_oneof![1i64..20, 1i64..5_000, 1i64..10_000_000],
        count in 1i64..6_000,
        batch in 1usize..3_000,
        mult in prop::sample::select(vec![1i64, 7, 7919, 104_729]),
        order in 0..3,
        seed in any::<u64>(),
    ) {
        let mut random = seed | 1;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 1) as i64
        };
        let mut events: Vec<(i64, i64)> = (0..count).map(|seq| (next() % span, seq * mult)).collect();
        match order {
            0 => events.sort_unstable(),
            1 => events.sort_unstable_by(|one, other| other.cmp(one)),
            _ => {}
        }
        let mut relay = Relay::default();
        for batch in events.chunks(batch) {
            relay.see(batch);
        }
        relay.check();
        // Again, in other portions.
        for batch in events.chunks(777) {
            prop_assert!(relay.plan(batch).is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_are_members_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60usize, byte in any::<u8>()) {
        let _ = members(&bytes);
        for set in [(0..1000u64).collect::<RoaringTreemap>(), (0..20_000).step_by(3).collect(), (0..70_000).step_by(9).collect()] {
            let mut spoiled = serialize(&set);
            if let Some(slot) = spoiled.get_mut(at) {
                *slot = byte;
            }
            if let Ok(found) = members(&spoiled) {
                prop_assert!(found.is_sorted());
            }
        }
    }
}
