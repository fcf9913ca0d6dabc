//! From the answers of one relay to proven coverage.
//!
//! The service asks [`Pager::next`] for a window, sends it as one REQ, stores what comes, and hands what came to
//! [`Pager::answer`], which says what is proven thereby. Nothing is inferred from silence, and a count proves something
//! only against counts this relay has shown before ([`RelayLimits`]).
//!
//! Two ways through a range:
//! * **Page down** ([`chain`]) while the relay is not known to send out of order: each page overlaps the last by one
//!   second. What is above the oldest second of a page is proven once the relay is known to send newest first.
//! * **Split** ([`split`]) when the cut side is unknown: halve the window until each piece is proven or one second wide.
//!
//! A second that is too large even so is asked by kinds and authors ([`second`]): its events come, its coverage stays open.
//!
//! # What cannot be told
//! Without NIP-67 some relays look like smaller ones, and are called complete although they are not:
//! * a hidden cap of ten or fewer over events of a single second, or below it with no order to go by;
//! * a cap that changes from request to request and happens to fall within one second of many events, or (if it may be
//!   as low as one) onto any answer;
//! * an arbitrary selection, or the oldest events, sent sorted newest first;
//! * an empty answer in place of a refusal.

mod chain;
mod limits;
mod page;
mod second;
#[cfg(test)]
mod soak;
mod split;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod window;

pub use limits::{Order, RelayLimits};
pub use window::{Answer, Item, Narrow, Pubkey, Window};

use crate::nip01::ClosePrefix;
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::{Range, Ranges};
use chain::Chain;
use page::Page;
use second::Second;
use split::Parent;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// An event id.
pub type Id = [u8; 32];

/// Smallest `limit` asked after time-outs.
const MIN_LIMIT: u32 = 10;
/// Time-outs in a row that brought nothing, after which the relay is left alone.
const MAX_SILENT_TIMEOUTS: u8 = 2;
/// Time-outs of one pager in all.
const MAX_TIMEOUTS: u8 = 8;
/// Answers over budget of one pager in all.
const MAX_OVERFLOWS: u8 = 96;
/// Answers mostly outside their window, after which the relay is taken not to support windows.
const MAX_STRAYS: u8 = 3;
/// Known ids missing from an overlap, after which a relay's order is no longer believed.
const MAX_VANISHED: u8 = 2;
/// Answers in a row that neither prove anything nor move a cursor.
const MAX_BARREN: u16 = 160;
/// Ranges waiting at a time.
const MAX_WORK: usize = 4096;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `EOSE`, with its NIP-67 hint if any.
    Eose {
        /// The hint.
        hint: Option<EoseHint>,
    },
    /// Nothing came for too long.
    Timeout,
    /// `CLOSED`, or a `NOTICE` that can only mean this subscription.
    Closed(ClosePrefix),
    /// The connection ended.
    Disconnected,
    /// More bytes or events than an answer may have; the subscription was closed by us.
    Overflow,
}

/// Why a range is not complete; the words of `coverage.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// More events in one second than the relay hands out, or it cannot be told.
    Capped,
    /// The relay stopped answering.
    Timeout,
    /// `CLOSED` for a reason that may pass.
    Closed,
    /// `CLOSED auth-required:`.
    NeedsAuth,
    /// `CLOSED restricted:` or `blocked:`.
    Refused,
    /// More bytes in one second than an answer may have.
    Oversize,
    /// The relay does not do what `since`, `until` and `limit` mean.
    Unsupported,
    /// The connection ended.
    Disconnected,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Capped,
        Self::Timeout,
        Self::Closed,
        Self::NeedsAuth,
        Self::Refused,
        Self::Oversize,
        Self::Unsupported,
        Self::Disconnected,
    ];

    /// The word in `coverage.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capped => "capped",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NeedsAuth => "needs_auth",
            Self::Refused => "refused",
            Self::Oversize => "oversize",
            Self::Unsupported => "unsupported",
            Self::Disconnected => "disconnected",
        }
    }
}

impl From<ClosePrefix> for Reason {
    fn from(prefix: ClosePrefix) -> Self {
        match prefix {
            ClosePrefix::AuthRequired => Self::NeedsAuth,
            ClosePrefix::Restricted | ClosePrefix::Blocked | ClosePrefix::Mute => Self::Refused,
            ClosePrefix::Invalid | ClosePrefix::Unsupported => Self::Unsupported,
            ClosePrefix::RateLimited | ClosePrefix::Duplicate | ClosePrefix::Pow | ClosePrefix::Error => Self::Closed,
        }
    }
}

/// What an answer proves. To be written in the transaction that stores the events of this answer, after those of all
/// earlier answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Newly proven complete: inside what was wanted and below the horizon.
    pub complete: Ranges,
    /// Tried and not proven.
    pub incomplete: Vec<(Range, Reason)>,
}

/// One range to be proven.
#[derive(Debug)]
struct Task {
    range: Range,
    step: Step,
    parent: Option<Arc<Parent>>,
}

#[derive(Debug)]
enum Step {
    Page(Chain),
    Split,
    Second(Box<Second>),
}

impl Task {
    fn page(range: Range) -> Self {
        Self { range, step: Step::Page(Chain::default()), parent: None }
    }

    /// What of the task is not proven yet: its range, and what waits for the order to be believed.
    fn open(&self) -> Ranges {
        if let Step::Second(_) = self.step {
            // Said already to be incomplete.
            return Ranges::empty();
        }
        let mut open = Ranges::from(self.range);
        if let Step::Page(chain) = &self.step {
            open.extend(chain.pending.iter());
        }
        open
    }
}

/// The state machine; see the module's documentation.
#[derive(Debug)]
pub struct Pager {
    wanted: Ranges,
    horizon: i64,
    claims_above: bool,
    limits: RelayLimits,
    limit: u32,
    /// A stack, newest range on top.
    work: Vec<Task>,
    asked: Option<Window>,
    ended: Option<Reason>,
    silent_timeouts: u8,
    timeouts: u8,
    overflows: u8,
    strays: u8,
    vanished: u8,
    barren: u16,
    /// Seconds asked in parts.
    closer: HashSet<i64>,
    second_requests: u16,
    /// Authors who may have written in a second that is asked in parts.
    suggested: BTreeSet<Pubkey>,
}

impl Pager {
    /// A pager over `wanted` (what is left), newest first.
    ///
    /// `page_limit`: `limit` to ask, the lesser of the setting and NIP-11 `max_limit`. `horizon`: now − lag in unix
    /// seconds; nothing at or above it is ever called complete, and a range that reaches it is asked without `until`.
    pub fn new(wanted: Ranges, page_limit: u32, horizon: i64, limits: RelayLimits) -> Self {
        let work = wanted
            .iter()
            .map(|range| {
                let open = range.hi.is_none_or(|hi| hi >= horizon);
                Task::page(Range { lo: range.lo.max(0), hi: range.hi.filter(|_| !open) })
            })
            .filter(|task| task.range.hi.is_none_or(|hi| hi > task.range.lo))
            .collect();
        Self {
            wanted,
            horizon,
            claims_above: false,
            limits,
            limit: page_limit.max(1),
            work,
            asked: None,
            ended: None,
            silent_timeouts: 0,
            timeouts: 0,
            overflows: 0,
            strays: 0,
            vanished: 0,
            barren: 0,
            closer: HashSet::new(),
            second_requests: 0,
            suggested: BTreeSet::new(),
        }
    }

    /// As of the moment of asking also what lies at or above the horizon can be complete: for a caller who hears of
    /// everything that arrives after it, by a subscription opened before.
    #[must_use]
    pub fn claiming_above(mut self) -> Self {
        self.claims_above = true;
        self
    }

    /// Authors the archive knows (the most active of the relay, say), at most 2,000: a second with more events of one kind
    /// than the relay hands out is asked for theirs too.
    pub fn suggest_authors(&mut self, authors: impl IntoIterator<Item = Pubkey>) {
        self.suggested.extend(authors.into_iter().take(2_000));
    }

    /// The next REQ; `None` when all is done or the relay is to be left alone ([`Pager::ended`]).
    /// Asking again without [`Pager::answer`] in between gives the same window.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Window> {
        if self.ended.is_some() {
            return None;
        }
        self.asked = self.work.last().map(|task| self.window(task));
        self.asked.clone()
    }

    /// What was learned of the relay; to be kept for its next pager.
    pub fn limits(&self) -> &RelayLimits {
        &self.limits
    }

    /// Why the pager stopped before its work was done.
    pub fn ended(&self) -> Option<Reason> {
        self.ended
    }

    /// Takes the answer to the window [`Pager::next`] gave. Without one outstanding it proves nothing.
    pub fn answer(&mut self, answer: Answer<'_>) -> Progress {
        let mut progress = Progress::default();
        let Some(asked) = self.asked.take() else { return progress };
        let Some(task) = self.work.pop() else { return progress };
        let page = Page::new(&answer, &asked, task.range.lo, self.top(&task), self.horizon);
        if let Step::Second(_) = task.step {
            self.on_second(task, &page, &answer, &asked, &mut progress);
            self.clip(&mut progress);
            return progress;
        }
        match answer.end {
            End::Eose { hint } => self.on_eose(task, page, hint, asked, &mut progress),
            End::Timeout => self.on_timeout(task, page, &mut progress),
            End::Overflow => self.on_overflow(task, page, &mut progress),
            End::Closed(prefix) => self.give_up(&task, prefix.into(), &mut progress),
            End::Disconnected => self.give_up(&task, Reason::Disconnected, &mut progress),
        }
        if self.barren > MAX_BARREN || self.work.len() > MAX_WORK {
            self.barren = 0;
            if let Some(task) = self.work.pop() {
                fail(&task.open(), Reason::Capped, &mut progress);
            }
        }
        self.clip(&mut progress);
        self.look_closer(&progress);
        progress
    }

    /// The highest second the task's next window must hold; `None`: unbounded.
    fn top(&self, task: &Task) -> Option<i64> {
        match &task.step {
            Step::Page(chain) => chain.top(task.range),
            Step::Split | Step::Second(_) => task.range.hi.map(|hi| hi.saturating_sub(1)),
        }
    }

    fn window(&self, task: &Task) -> Window {
        let overlap = match self.limits.until_exclusive {
            Some(exclusive) => exclusive,
            None => match &task.step {
                Step::Page(chain) => chain.overlap_unknown(),
                Step::Split | Step::Second(_) => true,
            },
        };
        let until = self.top(task).map(|top| top.saturating_add(i64::from(overlap)));
        let lo = task.range.lo;
        // Whether `since` is inclusive is learned only from an event found right on it.
        let since = if self.limits.since_exclusive == Some(false) { lo } else { lo - 1 };
        let narrow = match &task.step {
            Step::Second(second) => second.part(),
            Step::Page(_) | Step::Split => None,
        };
        Window { since: (lo > 0).then_some(since), until, limit: self.limit, narrow }
    }

    fn on_eose(&mut self, task: Task, page: Page, hint: Option<EoseHint>, asked: Window, progress: &mut Progress) {
        self.silent_timeouts = 0;
        let before = (self.limits.until_exclusive, self.limits.since_exclusive);
        self.limits.learn(&page, &asked);
        let learned = before != (self.limits.until_exclusive, self.limits.since_exclusive);
        if let Some(parent) = &task.parent
            && page.inside.iter().any(|(at, id)| *at < self.horizon && !parent.held(id))
        {
            self.limits.cut(parent.count, parent.limit);
        }
        if hint == Some(EoseHint::More) {
            self.limits.cut(page.distinct, asked.limit);
        }
        let held = progress.complete.clone();
        match task.step {
            Step::Page(_) => self.on_page(task, page, hint, asked, learned, progress),
            Step::Split => self.on_split(task, page, hint, asked, learned, progress),
            Step::Second(_) => {}
        }
        if progress.complete != held {
            self.barren = 0;
        } else {
            self.barren = self.barren.saturating_add(1);
        }
    }

    fn on_timeout(&mut self, task: Task, page: Page, progress: &mut Progress) {
        self.timeouts += 1;
        self.silent_timeouts = if page.inside.is_empty() { self.silent_timeouts + 1 } else { 0 };
        if self.timeouts >= MAX_TIMEOUTS || self.silent_timeouts >= MAX_SILENT_TIMEOUTS {
            return self.give_up(&task, Reason::Timeout, progress);
        }
        self.limit = (self.limit / 2).max(MIN_LIMIT.min(self.limit));
        match page.min() {
            // What came is stored but proves nothing; what lies below may still be had.
            Some(oldest) if !page.disordered && self.limits.order != Order::Unordered && oldest > task.range.lo => {
                let below = Range { lo: task.range.lo, hi: Some(oldest.saturating_add(1)) };
                fail(&task.open().subtract(&below.into()), Reason::Timeout, progress);
                let chain = Chain::resume(oldest, page.ids_at(oldest));
                self.work.push(Task { range: below, step: Step::Page(chain), parent: None });
            }
            _ => self.halve(task, &page, Reason::Timeout, progress),
        }
    }

    fn on_overflow(&mut self, task: Task, page: Page, progress: &mut Progress) {
        self.overflows += 1;
        if self.overflows >= MAX_OVERFLOWS {
            return self.give_up(&task, Reason::Oversize, progress);
        }
        self.halve(task, &page, Reason::Oversize, progress);
    }

    /// Two smaller tasks in place of one, or `reason` where it cannot be made smaller.
    fn halve(&mut self, task: Task, page: &Page, reason: Reason, progress: &mut Progress) {
        for range in task.open().iter() {
            match page.middle(range, self.horizon) {
                Some(mid) => {
                    self.work.push(Task::page(Range { lo: range.lo, hi: Some(mid) }));
                    self.work.push(Task::page(Range { lo: mid, hi: range.hi }));
                }
                None => progress.incomplete.push((range, reason)),
            }
        }
    }

    fn give_up(&mut self, task: &Task, reason: Reason, progress: &mut Progress) {
        fail(&task.open(), reason, progress);
        self.ended = Some(reason);
    }

    /// The answer lies mostly outside its window: asking for smaller windows would not help.
    fn stray(&mut self, task: &Task, progress: &mut Progress) {
        fail(&task.open(), Reason::Unsupported, progress);
        self.strays += 1;
        if self.strays >= MAX_STRAYS {
            for task in self.work.drain(..) {
                fail(&task.open(), Reason::Unsupported, progress);
            }
            self.ended = Some(Reason::Unsupported);
        }
    }

    fn clip(&self, progress: &mut Progress) {
        let top = (!self.claims_above).then_some(self.horizon);
        let claimable = self.wanted.intersect(&Ranges::single(i64::MIN, top));
        progress.complete = progress.complete.intersect(&claimable);
        let failed = std::mem::take(&mut progress.incomplete);
        for (range, reason) in failed {
            let open = claimable.intersect(&range.into()).subtract(&progress.complete);
            progress.incomplete.extend(open.iter().map(|range| (range, reason)));
        }
    }
}

fn fail(ranges: &Ranges, reason: Reason, progress: &mut Progress) {
    progress.incomplete.extend(ranges.iter().map(|range| (range, reason)));
}
