//! When what is complete is read again, because events arrive late.
//!
//! Four tiers, each with an interval that grows up to fourfold while it finds nothing and falls back when it does:
//! the last two hours, the last three days, everything by NIP-77 where the relay speaks it, and where not, a rolling
//! re-read: one older slice at a time, everything once in 30 to 90 days.
use bigbrotr_models::ranges::Range;
use serde::{Deserialize, Serialize};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Events to be re-read of one relay in a day, while a round takes no more than 90 days by that.
const EVENTS_PER_DAY: u64 = 50_000;
const SHORTEST_ROUND: i64 = 30 * DAY;
const LONGEST_ROUND: i64 = 90 * DAY;
/// Slices of a round, at least a day of time each.
const MAX_SLICES: i64 = 30;
const MAX_FACTOR: u8 = 4;
/// A second of overlap is not enough where clocks differ.
const OVERLAP: i64 = 10 * MINUTE;

/// What is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The last two hours by REQ, every 15 minutes.
    Recent,
    /// The last three days by REQ, daily.
    Days,
    /// Everything by NIP-77, weekly.
    Negentropy,
    /// A slice of what is older than three days by REQ; 30 to 90 days for all of them.
    Slice,
}

impl Tier {
    const ALL: [Self; 4] = [Self::Recent, Self::Days, Self::Negentropy, Self::Slice];

    /// Shortest interval, seconds; of [`Tier::Slice`] for a relay with one slice a day.
    pub fn base(self) -> i64 {
        match self {
            Self::Recent => 15 * MINUTE,
            Self::Days | Self::Slice => DAY,
            Self::Negentropy => 7 * DAY,
        }
    }

    /// How far back it reaches, seconds.
    fn span(self) -> i64 {
        match self {
            Self::Recent => 2 * HOUR,
            Self::Days | Self::Slice => 3 * DAY,
            Self::Negentropy => 0,
        }
    }
}

/// One re-read that is due. Its range is read anew although complete, and stays complete meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recheck {
    /// Which, for [`Rechecks::done`].
    pub tier: Tier,
    /// What to read; the caller clips it at its horizon.
    pub range: Range,
}

/// The clock of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Clock {
    /// Unix seconds; 0: never begun.
    done_at: i64,
    /// Not due before, whatever else (after a failure).
    not_before: i64,
    /// Times the base, 1–4; 0 counts as 1.
    factor: u8,
}

impl Clock {
    fn interval(&self, base: i64) -> i64 {
        base.saturating_mul(i64::from(self.factor.clamp(1, MAX_FACTOR)))
    }

    fn due_at(&self, interval: i64) -> i64 {
        self.done_at.saturating_add(interval).max(self.not_before)
    }
}

/// Where the rolling re-read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Round {
    /// Number of slices; 0: none begun.
    slices: i64,
    /// Slices done.
    done: i64,
    /// Lower end of the first slice, apart from what lies below all events.
    start: i64,
    /// Seconds of a slice.
    length: i64,
    /// Between slices, seconds, by the events held.
    pace: i64,
}

/// The schedule of one relay; kept with what else was learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rechecks {
    recent: Clock,
    days: Clock,
    negentropy: Clock,
    slice: Clock,
    round: Round,
}

impl Rechecks {
    /// What is due at `now`, the most recent tier first; the same until [`Rechecks::done`] or [`Rechecks::failed`]. All times
    /// in unix seconds. The first call starts the clocks.
    ///
    /// `floor`: nothing below it is wanted (`sync_since`). `oldest_known`: least `created_at` seen of this relay.
    /// `events_held`: how many events it was seen to hold.
    pub fn due(
        &mut self,
        now: i64,
        floor: i64,
        oldest_known: Option<i64>,
        events_held: u64,
        speaks_nip77: bool,
    ) -> Option<Recheck> {
        for tier in Tier::ALL {
            let clock = self.clock(tier);
            // A clock set back must not stop the schedule.
            clock.done_at = if clock.done_at == 0 { now } else { clock.done_at.min(now) };
            clock.not_before = clock.not_before.min(now.saturating_add(tier.base().saturating_mul(4)));
        }
        if !speaks_nip77 && self.round.slices == 0 {
            self.begin(now, floor, oldest_known, events_held);
        }
        for tier in Tier::ALL {
            let spoken = match tier {
                Tier::Recent | Tier::Days => true,
                Tier::Negentropy => speaks_nip77,
                Tier::Slice => !speaks_nip77,
            };
            if !spoken || now < self.due_at(tier) {
                continue;
            }
            let range = self.range(tier, now, floor);
            match Range::new(range.lo, range.hi) {
                Some(range) => return Some(Recheck { tier, range }),
                None => self.done(tier, now, 0),
            }
        }
        None
    }

    /// A re-read came to its end and found so many events that were not held.
    pub fn done(&mut self, tier: Tier, now: i64, new_events_found: u64) {
        let clock = self.clock(tier);
        let factor = clock.factor.max(1);
        clock.factor = if new_events_found > 0 { 1 } else { factor.saturating_mul(2).min(MAX_FACTOR) };
        clock.done_at = now;
        clock.not_before = 0;
        match tier {
            // The longer reach covers the shorter.
            Tier::Days => self.recent.done_at = self.recent.done_at.max(now),
            Tier::Slice => {
                self.round.done += 1;
                if self.round.done >= self.round.slices {
                    self.round.slices = 0;
                }
            }
            Tier::Recent | Tier::Negentropy => {}
        }
    }

    /// A re-read did not come to its end: tried again after a quarter of its base.
    pub fn failed(&mut self, tier: Tier, now: i64) {
        self.clock(tier).not_before = now.saturating_add(tier.base() / 4);
    }

    /// When the next one falls due, unix seconds, after a first [`Rechecks::due`].
    pub fn next_at(&self, speaks_nip77: bool) -> i64 {
        let whole = if speaks_nip77 { Tier::Negentropy } else { Tier::Slice };
        [Tier::Recent, Tier::Days, whole].into_iter().map(|tier| self.due_at(tier)).min().unwrap_or(i64::MAX)
    }

    fn clock(&mut self, tier: Tier) -> &mut Clock {
        match tier {
            Tier::Recent => &mut self.recent,
            Tier::Days => &mut self.days,
            Tier::Negentropy => &mut self.negentropy,
            Tier::Slice => &mut self.slice,
        }
    }

    fn due_at(&self, tier: Tier) -> i64 {
        match tier {
            Tier::Recent => self.recent.due_at(self.recent.interval(tier.base())),
            Tier::Days => self.days.due_at(self.days.interval(tier.base())),
            Tier::Negentropy => self.negentropy.due_at(self.negentropy.interval(tier.base())),
            Tier::Slice => {
                // However little it finds, a round has an end.
                let longest = LONGEST_ROUND / self.round.slices.max(1);
                let pace = self.round.pace.clamp(DAY, longest.max(DAY));
                self.slice.due_at(self.slice.interval(pace).min(longest.max(DAY)))
            }
        }
    }

    fn range(&self, tier: Tier, now: i64, floor: i64) -> Range {
        match tier {
            Tier::Recent | Tier::Days => {
                let done_at = if tier == Tier::Recent { self.recent.done_at } else { self.days.done_at };
                // Also what has aged out of reach since the last time.
                let lo = now.saturating_sub(tier.span()).min(done_at.saturating_sub(tier.base()));
                Range { lo: lo.max(floor), hi: Some(now) }
            }
            Tier::Negentropy => Range { lo: floor, hi: Some(now) },
            Tier::Slice => {
                let round = &self.round;
                let at = |slice: i64| round.start.saturating_add(round.length.saturating_mul(slice));
                let last = round.done.saturating_add(1) >= round.slices;
                // The first takes what lies below all events, the last what has grown old since the round began.
                let lo = if round.done == 0 { floor } else { at(round.done).saturating_sub(1).max(floor) };
                let top = now.saturating_sub(tier.span()).saturating_add(OVERLAP);
                Range { lo, hi: Some(if last { top } else { at(round.done.saturating_add(1)).min(top) }) }
            }
        }
    }

    fn begin(&mut self, now: i64, floor: i64, oldest_known: Option<i64>, events_held: u64) {
        let top = now.saturating_sub(Tier::Slice.span());
        let start = oldest_known.unwrap_or(top).clamp(floor.min(top), top);
        let span = top.saturating_sub(start);
        let slices = (span / DAY).clamp(1, MAX_SLICES);
        let days = i64::try_from(events_held / EVENTS_PER_DAY).unwrap_or(i64::MAX);
        let round = days.saturating_mul(DAY).clamp(SHORTEST_ROUND, LONGEST_ROUND);
        self.round = Round { slices, done: 0, start, length: span / slices, pace: round / slices };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000;

    #[test]
    fn nothing_is_due_at_first_and_the_recent_soon() {
        let mut schedule = Rechecks::default();
        assert_eq!(schedule.due(NOW, 0, Some(0), 10, true), None);
        assert_eq!(schedule.next_at(true), NOW + 900);
        assert_eq!(schedule.due(NOW + 899, 0, Some(0), 10, true), None);
        let due = schedule.due(NOW + 900, 0, Some(0), 10, true).unwrap();
        assert_eq!(due, Recheck { tier: Tier::Recent, range: Range { lo: NOW + 900 - 7_200, hi: Some(NOW + 900) } });
        assert_eq!(schedule.due(NOW + 901, 0, Some(0), 10, true).unwrap().tier, Tier::Recent);
        schedule.failed(Tier::Recent, NOW + 901);
        assert_eq!(schedule.due(NOW + 902, 0, Some(0), 10, true), None);
        assert!(schedule.due(NOW + 901 + 225, 0, Some(0), 10, true).is_some());
    }

    #[test]
    fn a_tier_that_finds_nothing_slows_down_fourfold_and_comes_back() {
        let mut schedule = Rechecks::default();
        schedule.due(NOW, 0, None, 0, true);
        let mut now = NOW;
        for (new, pause) in [(0, 900), (0, 1_800), (0, 3_600), (5, 3_600), (0, 900), (0, 1_800)] {
            assert!(schedule.due(now + pause - 1, 0, None, 0, true).is_none());
            now += pause;
            assert_eq!(schedule.due(now, 0, None, 0, true).unwrap().tier, Tier::Recent);
            schedule.done(Tier::Recent, now, new);
        }
    }

    #[test]
    fn what_was_never_done_lately_is_caught_up() {
        let mut schedule = Rechecks::default();
        schedule.due(NOW, 0, None, 0, true);
        let later = NOW + 40 * DAY;
        let due = schedule.due(later, 0, None, 0, true).unwrap();
        assert!(due.range.lo <= NOW);
        schedule.done(due.tier, later, 0);
        let due = schedule.due(later, 0, None, 0, true).unwrap();
        assert_eq!((due.tier, due.range.lo <= NOW), (Tier::Days, true));
        schedule.done(due.tier, later, 0);
        let due = schedule.due(later, 7, None, 0, true).unwrap();
        assert_eq!(due, Recheck { tier: Tier::Negentropy, range: Range { lo: 7, hi: Some(later) } });
        schedule.done(due.tier, later, 0);
        assert_eq!(schedule.due(later, 7, None, 0, true), None);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_schedule() {
        let mut schedule = Rechecks::default();
        schedule.due(NOW + 1_000 * DAY, 0, None, 0, false);
        schedule.failed(Tier::Recent, NOW + 1_000 * DAY);
        assert_eq!(schedule.due(NOW, 0, None, 0, false), None);
        assert!(schedule.due(NOW + HOUR, 0, None, 0, false).is_some());
    }

    #[test]
    fn the_schedule_survives_being_stored() {
        let mut schedule = Rechecks::default();
        schedule.due(NOW, 0, Some(NOW - 400 * DAY), 1 << 40, false);
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Rechecks>(&json).unwrap(), schedule);
        assert_eq!(serde_json::from_str::<Rechecks>("{}").unwrap(), Rechecks::default());
        let odd = r#"{"round":{"slices":-5,"done":9223372036854775806,"length":9223372036854775807},"recent":{"factor":200}}"#;
        let mut odd: Rechecks = serde_json::from_str(odd).unwrap();
        for day in 0..10 {
            while let Some(due) = odd.due(NOW + day * DAY, 0, None, 0, false) {
                odd.done(due.tier, NOW + day * DAY, 0);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_second_is_read_again_within_its_bound_and_no_tier_too_often(
            step in 60..900i64, finds in proptest::collection::vec(any::<bool>(), 1..50),
            age in 0..2_000i64, held in prop_oneof![0..10_000u64, 0..20_000_000u64], nip77: bool,
            depth in 0..2_100i64,
        ) {
            let floor = NOW - 2_050 * DAY;
            let oldest = Some(NOW - age * DAY);
            let mut schedule = Rechecks::default();
            // Seconds watched: old ones and some that are new during the run.
            let mut watched: Vec<(i64, i64)> = (0..40)
                .map(|i| NOW - (depth % 2_050) * DAY + i * 5 * DAY + i * 977)
                .filter(|second| *second >= floor)
                .map(|second| (second, second.max(NOW)))
                .collect();
            let mut last = [None::<i64>; 4];
            let mut found = finds.iter().cycle();
            let mut now = NOW;
            while now < NOW + 200 * DAY {
                while let Some(due) = schedule.due(now, floor, oldest, held, nip77) {
                    let slot = match due.tier { Tier::Recent => 0, Tier::Days => 1, Tier::Negentropy => 2, Tier::Slice => 3 };
                    prop_assert!(last[slot].is_none_or(|last| now - last >= due.tier.base()), "{due:?} too soon");
                    last[slot] = Some(now);
                    prop_assert!(due.range.hi.is_some_and(|hi| hi <= now) && due.range.lo >= floor);
                    for (second, read) in &mut watched {
                        if due.range.contains(*second) {
                            *read = now;
                        }
                    }
                    schedule.done(due.tier, now, u64::from(*found.next().unwrap()));
                }
                for (second, read) in &watched {
                    if now > *second {
                        let age = now - second;
                        let bound = if age <= 2 * HOUR { HOUR } else if age <= 3 * DAY { 4 * DAY } else if nip77 { 28 * DAY } else { LONGEST_ROUND + 4 * DAY };
                        prop_assert!(now - read <= bound + 31 * step, "{second} aged {age}: {} > {bound}", now - read);
                    }
                }
                now += if now < NOW + DAY { step } else { step * 8 };
            }
        }
    }
}
