//! The arithmetic of `coverage`: what is wanted, known, and left.
use crate::paging::{Progress, Reason};
use bigbrotr_models::ranges::Ranges;
use std::collections::BTreeMap;

/// What is known of one relay for one filter. No second is in two states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    complete: Ranges,
    incomplete: BTreeMap<Reason, Ranges>,
}

impl Ledger {
    /// From stored rows, which may overlap: complete wins, then the later row.
    pub fn new(complete: Ranges, incomplete: impl IntoIterator<Item = (Reason, Ranges)>) -> Self {
        let mut ledger = Self::default();
        for (reason, ranges) in incomplete {
            ledger.add_incomplete(reason, &ranges);
        }
        ledger.add_complete(&complete);
        ledger
    }

    /// Seconds known complete.
    pub fn complete(&self) -> &Ranges {
        &self.complete
    }

    /// Seconds tried and not complete, by reason; no entry is empty.
    pub fn incomplete(&self) -> impl Iterator<Item = (Reason, &Ranges)> {
        self.incomplete.iter().map(|(reason, ranges)| (*reason, ranges))
    }

    /// Seconds in `reason`.
    pub fn state(&self, reason: Reason) -> Ranges {
        self.incomplete.get(&reason).cloned().unwrap_or_default()
    }

    /// `ranges` were proven complete, whatever they were before.
    pub fn add_complete(&mut self, ranges: &Ranges) {
        self.complete = self.complete.union(ranges);
        self.remove_incomplete(ranges);
    }

    /// `ranges` were tried and not proven: replaces other reasons there, and leaves what is complete.
    pub fn add_incomplete(&mut self, reason: Reason, ranges: &Ranges) {
        let ranges = ranges.subtract(&self.complete);
        self.remove_incomplete(&ranges);
        if !ranges.is_empty() {
            let held = self.incomplete.entry(reason).or_default();
            *held = held.union(&ranges);
        }
    }

    /// What one answer showed.
    pub fn apply(&mut self, progress: &Progress) {
        for (range, reason) in &progress.incomplete {
            self.add_incomplete(*reason, &(*range).into());
        }
        self.add_complete(&progress.complete);
    }

    /// `ranges` are to be read again, e.g. because events arrive late.
    pub fn forget(&mut self, ranges: &Ranges) {
        self.complete = self.complete.subtract(ranges);
        self.remove_incomplete(ranges);
    }

    /// What a pager is to fetch: everything from `since` on, unbounded above, that is not complete.
    pub fn left(&self, since: i64) -> Ranges {
        Ranges::single(since, None).subtract(&self.complete)
    }

    /// The share, 0–1, of `[since, horizon)` that is complete; 1 if that is empty.
    pub fn share(&self, since: i64, horizon: i64) -> f64 {
        let wanted = Ranges::single(since, Some(horizon));
        let seconds = |ranges: &Ranges| ranges.seconds().unwrap_or(u64::MAX) as f64;
        if wanted.is_empty() { 1.0 } else { seconds(&self.complete.intersect(&wanted)) / seconds(&wanted) }
    }

    fn remove_incomplete(&mut self, ranges: &Ranges) {
        for held in self.incomplete.values_mut() {
            *held = held.subtract(ranges);
        }
        self.incomplete.retain(|_, held| !held.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn complete_wins_and_reasons_replace_one_another() {
        let mut ledger = Ledger::default();
        ledger.add_incomplete(Reason::Timeout, &Ranges::single(0, Some(10)));
        ledger.add_incomplete(Reason::Capped, &Ranges::single(5, Some(6)));
        assert_eq!(ledger.state(Reason::Timeout).to_multirange(), "{[0,5),[6,10)}");
        ledger.add_complete(&Ranges::single(0, Some(7)));
        assert_eq!(ledger.state(Reason::Timeout).to_multirange(), "{[7,10)}");
        assert!(ledger.state(Reason::Capped).is_empty());
        ledger.add_incomplete(Reason::Closed, &Ranges::single(0, Some(10)));
        assert_eq!(ledger.complete().to_multirange(), "{[0,7)}");
        assert_eq!(ledger.state(Reason::Closed).to_multirange(), "{[7,10)}");
        assert_eq!(ledger.left(2).to_multirange(), "{[7,)}");
        assert!((ledger.share(0, 14) - 0.5).abs() < 1e-9);
        ledger.forget(&Ranges::single(3, Some(4)));
        assert_eq!(ledger.left(2).to_multirange(), "{[3,4),[7,)}");
    }

    #[test]
    fn share_of_nothing_is_whole() {
        assert_eq!(Ledger::default().share(10, 10), 1.0);
        assert_eq!(Ledger::default().share(0, 10), 0.0);
    }

    proptest! {
        #[test]
        fn no_second_is_in_two_states(steps in proptest::collection::vec((0..9usize, 0..40i64, 1..12i64), 0..20)) {
            let mut ledger = Ledger::default();
            for (state, lo, len) in steps {
                let ranges = Ranges::single(lo, Some(lo + len));
                match Reason::ALL.get(state) {
                    Some(reason) => ledger.add_incomplete(*reason, &ranges),
                    None => ledger.add_complete(&ranges),
                }
            }
            for second in 0..60 {
                let states = ledger.incomplete().filter(|(_, ranges)| ranges.contains(second)).count();
                prop_assert!(states + usize::from(ledger.complete().contains(second)) <= 1);
            }
        }
    }
}
