//! One answer, looked at.
use super::{Answer, Id, Window};
use bigbrotr_models::ranges::Range;
use std::collections::HashSet;

/// What there is to know of an answer's events.
#[derive(Debug)]
pub(super) struct Page {
    /// Everything that came, duplicates and strays included: what a cap would have counted.
    pub raw: usize,
    /// Distinct events within the window asked.
    pub distinct: usize,
    /// Came although outside the window (or not matching the filter).
    pub off: usize,
    /// Distinct events of the task itself, in order of arrival: without the seconds of overlap.
    pub inside: Vec<(i64, Id)>,
    /// An event older than the task's range came.
    pub reaches_below: bool,
    /// An older event came before a newer one. What is at or above the horizon may be live and is not looked at.
    pub disordered: bool,
    /// Never a newer event before an older one, and not all of one second.
    pub ascending: bool,
    /// Newest second within the window asked.
    pub newest: Option<i64>,
    /// Oldest second within the window asked.
    pub oldest: Option<i64>,
    seconds: usize,
}

impl Page {
    /// `lo` and `top` (inclusive) bound the task; `asked` is wider by the overlap.
    pub fn new(answer: &Answer<'_>, asked: &Window, lo: i64, top: Option<i64>, horizon: i64) -> Self {
        let mut page = Self {
            raw: answer.items.len().saturating_add(answer.off_window),
            distinct: 0,
            off: answer.off_window,
            inside: Vec::new(),
            reaches_below: false,
            disordered: false,
            ascending: false,
            newest: None,
            oldest: None,
            seconds: 0,
        };
        let mut ids = HashSet::new();
        let (mut last, mut falls) = (None, 0usize);
        for item in answer.items {
            let (at, id) = (&item.created_at, &item.id);
            if !ids.insert(*id) {
                continue;
            }
            if *at < horizon {
                match last {
                    Some(last) if last < *at => page.disordered = true,
                    Some(last) if last > *at => falls += 1,
                    _ => {}
                }
                last = Some(*at);
            }
            page.reaches_below |= *at < lo;
            if asked.since.is_some_and(|since| *at < since) || asked.until.is_some_and(|until| *at > until) {
                page.off += 1;
                continue;
            }
            page.distinct += 1;
            page.newest = page.newest.max(Some(*at));
            page.oldest = Some(page.oldest.map_or(*at, |oldest| oldest.min(*at)));
            if *at >= lo && top.is_none_or(|top| *at <= top) {
                page.inside.push((*at, *id));
            }
        }
        page.ascending = page.disordered && falls == 0;
        page.seconds = if last.is_some() { falls + 1 } else { 0 };
        page
    }

    /// The oldest second of the task that came.
    pub fn min(&self) -> Option<i64> {
        self.inside.iter().map(|(at, _)| *at).min()
    }

    /// Ids of the task at `second`.
    pub fn ids_at(&self, second: i64) -> Vec<Id> {
        self.inside.iter().filter(|(at, _)| *at == second).map(|(_, id)| *id).collect()
    }

    /// log2(n!) for n distinct seconds in falling order: what this page says against an accident.
    pub fn order_bits(&self) -> u16 {
        const BITS: [u16; 9] = [0, 0, 1, 2, 4, 6, 9, 12, 15];
        BITS.get(self.seconds).copied().unwrap_or(18)
    }

    /// Whether strays make up most of it, so that a narrower window would bring the same.
    pub fn is_stray(&self) -> bool {
        self.off > self.distinct
    }

    /// Where to split `range`: strictly inside it, by what was seen; `None` if it is one second wide or all of it lies
    /// at or above the horizon.
    pub fn middle(&self, range: Range, horizon: i64) -> Option<i64> {
        if range.lo >= horizon && range.hi.is_none() {
            return None;
        }
        let hi = range.hi.unwrap_or(horizon.saturating_add(1)).max(range.lo.saturating_add(1));
        if range.hi.is_some() && hi.saturating_sub(range.lo) <= 1 {
            return None;
        }
        let mut seen: Vec<i64> = self.inside.iter().map(|(at, _)| *at).filter(|at| range.contains(*at)).collect();
        seen.sort_unstable();
        let median = seen.get(seen.len() / 2).copied();
        let mid = match median {
            // The newest are missing: halve what lies above the median.
            Some(median) if self.ascending && median < hi => median + (hi - median) / 2,
            Some(median) => median,
            None => range.lo + (hi - range.lo) / 2,
        };
        let mid = mid.max(range.lo.saturating_add(1));
        Some(range.hi.map_or(mid, |hi| mid.min(hi.saturating_sub(1))))
    }
}
