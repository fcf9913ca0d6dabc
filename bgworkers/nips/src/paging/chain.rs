//! Paging down from the newest second of a range.
//!
//! A page whose oldest second is *m* proves what lies above *m*, if the relay sends newest first. Second *m* may have been
//! cut: the next request starts at *m* again, and an older event in its answer proves *m* too. An answer of nothing but
//! *m* is followed by one strictly below: if that is empty the bottom is reached, and *m* counts as whole if its events
//! are fewer than the relay is known to return; if not, the answer was cut within *m*.
use super::{Id, MAX_VANISHED, Order, Page, Pager, Progress, Reason, Step, Task, Window, fail};
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::{Range, Ranges};

/// How often a second is read again when the relay's cap varies.
const MAX_REREADS: u8 = 3;

/// Where a range has been read down to.
#[derive(Debug, Default)]
pub(super) struct Chain {
    cursor: Cursor,
    /// Read, and proven once the relay is known to send newest first.
    pub pending: Ranges,
    /// Events seen so far.
    total: usize,
    /// Size and limit of the page before, to be called cut when more turns up.
    before: Option<(usize, u32)>,
}

#[derive(Debug, Default, Clone)]
enum Cursor {
    #[default]
    Top,
    /// From `second` down, of which `known` have come already.
    At { second: i64, known: Vec<Id>, after_exclusive: bool, rereads: u8 },
    /// Strictly below `second`, whose own answer was `only` that.
    Below { second: i64, known: Vec<Id>, only: Only, rereads: u8 },
}

/// An answer of nothing but one second.
#[derive(Debug, Clone, Copy)]
struct Only {
    count: usize,
    limit: u32,
    /// It brought exactly what had come of that second before, within a larger answer.
    again: bool,
}

impl Cursor {
    fn at(second: i64, known: Vec<Id>) -> Self {
        Self::At { second, known, after_exclusive: false, rereads: 0 }
    }
}

impl Chain {
    /// Goes on at `second` after an answer that proved nothing.
    pub fn resume(second: i64, known: Vec<Id>) -> Self {
        Self { cursor: Cursor::at(second, known), ..Self::default() }
    }

    /// The highest second the next window must hold.
    pub fn top(&self, range: Range) -> Option<i64> {
        match self.cursor {
            Cursor::Top => range.hi.map(|hi| hi.saturating_sub(1)),
            Cursor::At { second, .. } => Some(second),
            Cursor::Below { second, .. } => Some(second.saturating_sub(1)),
        }
    }

    /// Whether to ask one second more while it is unknown how the relay reads `until`.
    pub fn overlap_unknown(&self) -> bool {
        match self.cursor {
            // The known events tell: without them in the answer it is asked again.
            Cursor::At { after_exclusive, .. } => after_exclusive,
            Cursor::Top | Cursor::Below { .. } => true,
        }
    }
}

impl Pager {
    pub(super) fn on_page(
        &mut self,
        mut task: Task,
        page: Page,
        hint: Option<EoseHint>,
        asked: Window,
        learned: bool,
        progress: &mut Progress,
    ) {
        let Step::Page(mut chain) = std::mem::replace(&mut task.step, Step::Split) else { return };
        if self.limits.order == Order::Unordered {
            // Nothing read so far shows which side was cut.
            self.push_split(&chain.pending);
            return match chain.cursor {
                // This answer need not cover the cursor's own second.
                Cursor::At { .. } | Cursor::Below { .. } => self.work.push(task),
                Cursor::Top => self.on_split(task, page, hint, asked, learned, progress),
            };
        }
        let cursor = std::mem::take(&mut chain.cursor);
        let more = hint == Some(EoseHint::More);
        let whole = hint == Some(EoseHint::Finish) || !more && self.limits.short(page.raw, asked.limit);
        let empty = !more && page.raw == 0;
        let walk = Walk { task, chain, page, asked, whole, empty, learned };
        match cursor {
            Cursor::Top => self.at_top(walk, progress),
            Cursor::At { second, known, after_exclusive, rereads } => {
                self.at_second(walk, (second, known, after_exclusive, rereads), progress);
            }
            Cursor::Below { second, known, only, rereads } => {
                self.below_second(walk, (second, known, only, rereads), progress);
            }
        }
    }

    fn at_top(&mut self, walk: Walk, progress: &mut Progress) {
        let range = walk.task.range;
        if walk.whole || walk.empty {
            progress.complete.insert(range);
            return self.finish(walk.chain, progress);
        }
        if walk.page.is_stray() && !walk.page.reaches_below {
            return self.stray_walk(walk, progress);
        }
        if walk.page.inside.is_empty() && !walk.page.reaches_below && walk.learned {
            // The overlap may be what filled the page: ask again without it.
            return self.resume(walk, Cursor::Top);
        }
        self.descend(walk, 0, progress);
    }

    /// Claims what a page shows from the top of the task's range, and goes on below. `again` of its events came before.
    fn descend(&mut self, mut walk: Walk, again: usize, progress: &mut Progress) {
        let range = walk.task.range;
        walk.chain.total = walk.chain.total.saturating_add(walk.page.raw.saturating_sub(again));
        let fits = self.limits.fits(walk.page.raw, walk.asked.limit, false);
        let Some(oldest) = walk.page.min() else {
            if walk.page.reaches_below {
                self.claim(&mut walk.chain, Some(range), progress);
            } else if fits {
                progress.complete.insert(range);
            } else {
                fail(&range.into(), Reason::Capped, progress);
            }
            return self.finish(walk.chain, progress);
        };
        if walk.page.reaches_below {
            self.claim(&mut walk.chain, Some(range), progress);
            return self.finish(walk.chain, progress);
        }
        self.claim(&mut walk.chain, Range::new(oldest.saturating_add(1), range.hi), progress);
        walk.task.range = Range { lo: range.lo, hi: Some(oldest.saturating_add(1)) };
        walk.chain.before = Some((walk.page.distinct, walk.asked.limit));
        let known = walk.page.ids_at(oldest);
        let only = known.len() == walk.page.distinct && walk.page.off == 0;
        if only && self.limits.until_exclusive.is_some() {
            return self.only_second(walk, oldest, known, (false, 0), progress);
        }
        self.resume(walk, Cursor::at(oldest, known));
    }

    /// The answer held nothing but `second`.
    fn only_second(&mut self, walk: Walk, second: i64, known: Vec<Id>, seen: (bool, u8), progress: &mut Progress) {
        let (again, rereads) = seen;
        let only = Only { count: walk.page.raw, limit: walk.asked.limit, again };
        if second <= walk.task.range.lo {
            if self.limits.fits(only.count, only.limit, only.again) {
                progress.complete.insert(walk.task.range);
            } else {
                fail(&walk.task.range.into(), Reason::Capped, progress);
            }
            return self.finish(walk.chain, progress);
        }
        self.resume(walk, Cursor::Below { second, known, only, rereads });
    }

    fn at_second(&mut self, mut walk: Walk, cursor: (i64, Vec<Id>, bool, u8), progress: &mut Progress) {
        let (second, mut known, after_exclusive, rereads) = cursor;
        let range = walk.task.range;
        let here = walk.page.ids_at(second);
        if here.is_empty() && !known.is_empty() {
            if self.limits.until_exclusive.is_none() && !after_exclusive {
                return self.resume(walk, Cursor::At { second, known, after_exclusive: true, rereads });
            }
            return self.vanished(walk, second, progress);
        }
        if after_exclusive && self.limits.until_exclusive.is_none() && !here.is_empty() {
            self.limits.until_exclusive = Some(true);
        }
        if walk.whole || walk.empty {
            self.cut_before(&walk, &known);
            progress.complete.insert(range);
            return self.finish(walk.chain, progress);
        }
        if walk.page.is_stray() && !walk.page.reaches_below {
            return self.stray_walk(walk, progress);
        }
        self.cut_before(&walk, &known);
        let missing = known.iter().any(|id| !here.contains(id));
        let oldest = walk.page.min().unwrap_or(second);
        if oldest < second || walk.page.reaches_below {
            if missing {
                return self.vanished(walk, second, progress);
            }
            walk.chain.before = None;
            return self.descend(walk, known.len(), progress);
        }
        let larger = walk.chain.before.is_some_and(|(count, _)| count > walk.page.raw);
        let again = larger && !missing && known.len() == here.len();
        known.extend(here);
        known.sort_unstable();
        known.dedup();
        walk.chain.before = None;
        self.only_second(walk, second, known, (again, rereads), progress);
    }

    fn below_second(&mut self, mut walk: Walk, cursor: (i64, Vec<Id>, Only, u8), progress: &mut Progress) {
        let (second, known, only, rereads) = cursor;
        let range = walk.task.range;
        let lower = Range { lo: range.lo, hi: Some(second) };
        let this = Range { lo: second, hi: range.hi };
        if walk.learned && walk.page.inside.is_empty() && !walk.empty {
            return self.resume(walk, Cursor::Below { second, known, only, rereads });
        }
        if walk.empty || walk.whole && walk.page.inside.is_empty() {
            progress.complete.insert(lower);
            if self.limits.fits(only.count, only.limit, only.again) {
                progress.complete.insert(this);
                self.limits.confirm();
            } else {
                fail(&this.into(), Reason::Capped, progress);
            }
            return self.finish(walk.chain, progress);
        }
        if walk.page.is_stray() && !walk.page.reaches_below {
            return self.stray_walk(walk, progress);
        }
        if !walk.page.inside.is_empty() {
            self.limits.cut(only.count, only.limit);
            let count = u32::try_from(only.count).unwrap_or(u32::MAX);
            if rereads < MAX_REREADS && self.limits.varies(count) {
                return self.resume(walk, Cursor::At { second, known, after_exclusive: false, rereads: rereads + 1 });
            }
        }
        fail(&this.into(), Reason::Capped, progress);
        walk.task.range = lower;
        if walk.whole {
            progress.complete.insert(lower);
            return self.finish(walk.chain, progress);
        }
        self.descend(walk, 0, progress);
    }

    /// Events known at `second` did not come again: they were removed meanwhile, or the relay does not send newest first.
    fn vanished(&mut self, mut walk: Walk, second: i64, progress: &mut Progress) {
        if second >= self.horizon {
            // Not to be proven anyway (and an exclusive `until` cannot be set above the last second there is).
            let pending = walk.chain.pending.intersect(&Ranges::single(0, Some(self.horizon)));
            self.push_page(&pending);
            return self.push_page(&Ranges::single(walk.task.range.lo, Some(second)));
        }
        self.vanished += 1;
        if self.vanished >= MAX_VANISHED {
            self.limits.order = Order::Unordered;
            self.push_split(&walk.chain.pending);
            walk.task.step = Step::Split;
            return self.work.push(walk.task);
        }
        let range = walk.task.range;
        let has_older = walk.page.min().is_some_and(|oldest| oldest < second);
        if !has_older || second <= range.lo {
            fail(&range.into(), Reason::Unsupported, progress);
            return self.finish(walk.chain, progress);
        }
        fail(&Range { lo: second, hi: range.hi }.into(), Reason::Unsupported, progress);
        walk.task.range = Range { lo: range.lo, hi: Some(second) };
        walk.page.inside.retain(|(at, _)| *at < second);
        walk.chain.before = None;
        self.descend(walk, 0, progress);
    }

    /// The page before was cut if this one brings more of its window.
    fn cut_before(&mut self, walk: &Walk, known: &[Id]) {
        if let Some((count, limit)) = walk.chain.before
            && walk.page.inside.iter().any(|(_, id)| !known.contains(id))
        {
            self.limits.cut(count, limit);
        }
    }

    /// Complete at once if the relay is known to send newest first, or when that is known.
    fn claim(&mut self, chain: &mut Chain, range: Option<Range>, progress: &mut Progress) {
        chain.pending.extend(range);
        if self.limits.order == Order::NewestFirst {
            progress.complete.extend(std::mem::take(&mut chain.pending).iter());
        }
    }

    fn finish(&mut self, mut chain: Chain, progress: &mut Progress) {
        self.claim(&mut chain, None, progress);
        if self.limits.tiny(chain.total, self.limit) {
            progress.complete.extend(std::mem::take(&mut chain.pending).iter());
        }
        self.push_split(&chain.pending);
    }

    fn resume(&mut self, mut walk: Walk, cursor: Cursor) {
        // Events came and the cursor moved: that is progress though nothing may be proven yet.
        self.barren = self.barren.saturating_sub(u16::from(!walk.page.inside.is_empty()));
        walk.chain.cursor = cursor;
        walk.task.step = Step::Page(walk.chain);
        self.work.push(walk.task);
    }

    fn stray_walk(&mut self, mut walk: Walk, progress: &mut Progress) {
        walk.task.step = Step::Page(walk.chain);
        self.stray(&walk.task, progress);
    }

    fn push_page(&mut self, ranges: &Ranges) {
        self.work.extend(ranges.iter().map(Task::page));
    }

    fn push_split(&mut self, ranges: &Ranges) {
        self.work.extend(ranges.iter().map(|range| Task { range, step: Step::Split, parent: None }));
    }
}

/// A chain and the answer it has just got.
struct Walk {
    task: Task,
    chain: Chain,
    page: Page,
    asked: Window,
    /// The answer holds all there is in its window.
    whole: bool,
    empty: bool,
    /// How the relay reads its bounds was learned from this very answer.
    learned: bool,
}
