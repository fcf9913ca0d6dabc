//! Which leaves change when a relay was seen to hold more events.

use super::{Changes, FILL_LEAF, GROW_LEAF, Leaf, MAX_LEAF};
use roaring::RoaringTreemap;
use std::collections::{BTreeSet, HashMap};

/// `(created_at, seq)` of the members of one second, which always stay together; never empty.
#[derive(Clone, Copy)]
struct Second<'a>(&'a [(i64, u64)]);

impl<'a> Second<'a> {
    /// Seconds of what is sorted by them.
    fn all(dated: &'a [(i64, u64)]) -> impl Iterator<Item = Self> {
        dated.chunk_by(|(one, _), (other, _)| one == other).map(Self)
    }

    fn at(self) -> i64 {
        self.0.first().map_or(0, |(at, _)| *at)
    }

    fn n(self) -> u64 {
        self.0.len() as u64
    }
}

/// A leaf at work.
struct Slot {
    leaf: Leaf,
    /// `lo` of the row it was read from.
    stored: Option<i64>,
    /// Whether it was small enough to grow at its ends.
    grows: bool,
    changed: bool,
}

/// Plans the union of `new` sightings, as `(created_at, seq)`, into the leaves of one relay.
///
/// `existing` are those of its leaves that overlap the range of `new`, and the nearest one below and above. What a leaf
/// contains already changes nothing. New members go into the leaf whose range they are in; between leaves the nearest one
/// with room is extended, or else a new one opened. Only where a leaf has to be split, `created_at_of` is asked for the
/// seconds of its members, once for all; a member it does not know is gone from the archive and is dropped.
pub fn plan<E>(
    existing: Vec<Leaf>,
    new: &[(i64, i64)],
    mut created_at_of: impl FnMut(&[i64]) -> Result<HashMap<i64, i64>, E>,
) -> Result<Changes, E> {
    let mut slots: Vec<Slot> = existing
        .into_iter()
        .map(|leaf| Slot { stored: Some(leaf.lo), grows: leaf.n() < GROW_LEAF, leaf, changed: false })
        .collect();
    slots.sort_by_key(|slot| slot.leaf.lo);

    // `gaps[i]`: what comes before `slots[i]`; the last, what comes after all of them.
    let mut gaps: Vec<Vec<Second>> = std::iter::repeat_with(Vec::new).take(slots.len() + 1).collect();
    let new = by_second(new);
    for second in Second::all(&new) {
        let above = slots.partition_point(|slot| slot.leaf.lo <= second.at());
        let containing =
            above.checked_sub(1).and_then(|at| slots.get_mut(at)).filter(|slot| second.at() <= slot.leaf.hi);
        match (containing, gaps.get_mut(above)) {
            (Some(slot), _) => slot.add(second),
            (None, Some(gap)) => gap.push(second),
            (None, None) => {}
        }
    }
    let mut opened = Vec::new();
    for (at, gap) in gaps.into_iter().enumerate() {
        let (below, above) = slots.split_at_mut(at);
        opened.extend(fill_gap(below.last_mut(), gap, above.first_mut()));
    }
    slots.extend(opened.into_iter().map(|leaf| Slot { leaf, stored: None, grows: false, changed: true }));
    slots.retain(|slot| slot.changed);

    let is_overfull = |slot: &Slot| slot.leaf.n() > MAX_LEAF && slot.leaf.lo < slot.leaf.hi;
    let mut seconds: HashMap<i64, i64> = HashMap::new();
    if slots.iter().any(is_overfull) {
        seconds.extend(new.iter().map(|(at, seq)| (seq.cast_signed(), *at)));
        let members = slots.iter().filter(|slot| is_overfull(slot)).flat_map(|slot| slot.leaf.members.iter());
        let unknown: Vec<i64> = members.map(u64::cast_signed).filter(|seq| !seconds.contains_key(seq)).collect();
        if !unknown.is_empty() {
            seconds.extend(created_at_of(&unknown)?);
        }
    }
    let mut changes = Changes::default();
    for slot in slots {
        changes.deleted.extend(slot.stored);
        if is_overfull(&slot) {
            changes.upserted.extend(split(slot.leaf, &seconds));
        } else {
            changes.upserted.push(slot.leaf);
        }
    }
    changes.upserted.sort_by_key(|leaf| leaf.lo);
    let kept: BTreeSet<i64> = changes.upserted.iter().map(|leaf| leaf.lo).collect();
    changes.deleted.retain(|lo| !kept.contains(lo));
    Ok(changes)
}

/// `new` by second, ascending, each once. A negative `seq` is none.
fn by_second(new: &[(i64, i64)]) -> Vec<(i64, u64)> {
    let mut new: Vec<(i64, u64)> = new.iter().filter_map(|(at, seq)| Some((*at, u64::try_from(*seq).ok()?))).collect();
    new.sort_unstable();
    new.dedup();
    new
}

impl Slot {
    fn add(&mut self, second: Second) {
        let before = self.leaf.n();
        self.leaf.add(second);
        self.changed |= self.leaf.n() > before;
    }

    /// Grows by `second` if there is room for all of it, and if it is worth writing the leaf again.
    fn extend(&mut self, second: Second) -> bool {
        let is_wanted = self.grows && self.leaf.n() + second.n() <= FILL_LEAF;
        if is_wanted {
            self.leaf.add(second);
            self.changed = true;
        }
        is_wanted
    }
}

impl Leaf {
    fn add(&mut self, second: Second) {
        self.lo = self.lo.min(second.at());
        self.hi = self.hi.max(second.at());
        self.members.extend(second.0.iter().map(|(_, seq)| *seq));
    }

    fn of(second: Second) -> Self {
        let mut leaf = Self { lo: second.at(), hi: second.at(), members: RoaringTreemap::new() };
        leaf.add(second);
        leaf
    }
}

/// Distributes the seconds between two leaves: from each end to the leaf there as long as it is the nearer one, then as long
/// as either has room; new leaves hold what is left in the middle.
fn fill_gap(mut below: Option<&mut Slot>, gap: Vec<Second>, mut above: Option<&mut Slot>) -> Vec<Leaf> {
    let mut gap: std::collections::VecDeque<Second> = gap.into();
    for nearer_only in [true, false] {
        if let Some(slot) = above.as_deref_mut() {
            let other = below.as_deref().map(|slot| slot.leaf.hi);
            let is_wanted =
                |at: i64, lo: i64| !nearer_only || other.is_none_or(|hi| at.abs_diff(lo) <= at.abs_diff(hi));
            while gap.back().is_some_and(|second| is_wanted(second.at(), slot.leaf.lo) && slot.extend(*second)) {
                gap.pop_back();
            }
        }
        if let Some(slot) = below.as_deref_mut() {
            let other = above.as_deref().map(|slot| slot.leaf.lo);
            let is_wanted = |at: i64, hi: i64| !nearer_only || other.is_none_or(|lo| at.abs_diff(hi) < at.abs_diff(lo));
            while gap.front().is_some_and(|second| is_wanted(second.at(), slot.leaf.hi) && slot.extend(*second)) {
                gap.pop_front();
            }
        }
    }
    // From the newest down, so that the leaf with room is the one that the next, older page extends.
    let mut opened: Vec<Leaf> = Vec::new();
    while let Some(second) = gap.pop_back() {
        match opened.last_mut() {
            Some(leaf) if leaf.n() + second.n() <= FILL_LEAF => leaf.add(second),
            _ => opened.push(Leaf::of(second)),
        }
    }
    opened
}

/// Cuts a leaf between seconds into parts of about equal size. The outer ends stay where they are, except around a second
/// too large to be cut: its leaf is that second exactly, so that it does not ask to be split again.
fn split(leaf: Leaf, seconds: &HashMap<i64, i64>) -> Vec<Leaf> {
    let mut dated: Vec<(i64, u64)> = leaf
        .members
        .iter()
        .filter_map(|seq| Some((seconds.get(&seq.cast_signed())?.clamp(&leaf.lo, &leaf.hi).to_owned(), seq)))
        .collect();
    dated.sort_unstable();
    let parts = dated.len().div_ceil(FILL_LEAF as usize).max(1);
    let target = dated.len().div_ceil(parts) as u64;
    let mut leaves: Vec<Leaf> = Vec::with_capacity(parts);
    for second in Second::all(&dated) {
        match leaves.last_mut() {
            Some(last) if last.n() < target && last.n() + second.n() <= MAX_LEAF => last.add(second),
            _ => leaves.push(Leaf::of(second)),
        }
    }
    if let Some(first) = leaves.first_mut().filter(|leaf| leaf.n() <= MAX_LEAF) {
        first.lo = leaf.lo;
    }
    if let Some(last) = leaves.last_mut().filter(|leaf| leaf.n() <= MAX_LEAF) {
        last.hi = leaf.hi;
    }
    leaves
}
