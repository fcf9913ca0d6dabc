//! A whole range by NIP-77: window by window, and what differs fetched by id.
//!
//! The service asks [`NegSync::next`] what to do and does it:
//! * [`NegAction::Open`]: load the items of the window, hand them to [`NegSync::open`], send `NEG-OPEN`, and hand over what
//!   comes: [`NegSync::message`] for `NEG-MSG`, [`NegSync::refused`] for anything else that ends the session.
//! * [`NegAction::Fetch`]: one REQ of these ids (and nothing else: neither `since` nor kinds); [`NegSync::arrived`] for each
//!   event of it that came, valid or not, then [`NegSync::fetched`]. The events are to be committed before the next `Open`.
//! * [`NegAction::Settled`]: what a window came to. `proven` is to be written as complete after the events are stored.
use super::{NegError, NegLimits, Reconciled, Reconciler, Reply, Verdict};
use crate::nip01::ClosePrefix;
use crate::paging::{End, Id};
use bigbrotr_models::Filter;
use bigbrotr_models::ranges::{Range, Ranges};
use std::collections::{HashSet, VecDeque};

/// Ids of one REQ.
pub const FETCH_IDS: usize = 50;
/// Windows split because the relay found them too large; the rest of the range is left for another time.
const MAX_SPLITS: u32 = 256;
/// Sessions that named as many ids as allowed, after which no further one is begun for the rest: four million ids.
const MAX_AGAIN: u32 = 200;
/// Ids asked one at a time in a row and in vain, after which the rest of their window is not asked.
const MAX_BARREN: u32 = 24;
/// So many items of ours say where those of the relay may lie.
const TELLING: usize = 100;
/// Ids named in an outcome; more are counted only.
const MAX_NAMED: usize = 1_000;

/// One set to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegWindow {
    /// What is to be proven.
    pub range: Range,
    /// NIP-01 `since`: one second lower where the range has a lower end, for relays that leave it out.
    pub since: Option<i64>,
    /// NIP-01 `until`: one second higher, likewise.
    pub until: Option<i64>,
}

impl NegWindow {
    fn new(range: Range) -> Self {
        Self { range, since: (range.lo > 0).then_some(range.lo - 1), until: range.hi }
    }

    /// The filter of `NEG-OPEN`: `filter` (`sync_filter`) within this window, without a limit.
    pub fn filter(&self, filter: &Filter) -> Filter {
        Filter { since: self.since, until: self.until, limit: None, ..filter.clone() }
    }

    fn holds(&self, at: i64) -> bool {
        at >= 0 && self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegAction {
    /// Load the newest [`NegSync::most_items`] items from `since` to `until`, both inclusive, for [`NegSync::open`].
    Open(NegWindow),
    /// Fetch these ids, at most [`FETCH_IDS`].
    Fetch(Vec<Id>),
    /// A window is done with.
    Settled(NegOutcome),
}

/// What a window came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegOutcome {
    /// The window.
    pub range: Range,
    /// What of it is complete now: all of it below the horizon, or nothing.
    pub proven: Ranges,
    /// Ids that arrived.
    pub arrived: usize,
    /// Ours within the window that the relay does not hold (any more).
    pub have: Vec<Id>,
    /// Ids the relay named and did not send, the first 1,000 of them.
    pub unavailable: Vec<Id>,
    /// How many those were.
    pub missing: usize,
    /// How many it refused to send (restricted kinds, say): not lost, but not for us.
    pub refused: usize,
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegOpening {
    /// Send `NEG-OPEN` with the filter of this window, which may be narrower than the one asked, and this message.
    Send(NegWindow, String),
    /// Nothing to send: see [`NegSync::next`].
    Skip,
}

#[derive(Debug)]
enum State {
    Idle,
    Loading(Range),
    Open { window: NegWindow, median: Option<i64>, session: Box<Reconciler> },
    Fetching(Box<Fetching>),
    Settled(NegOutcome),
}

#[derive(Debug)]
struct Fetching {
    range: Range,
    /// The session was closed before it had named everything.
    partial: bool,
    chunk: usize,
    queue: VecDeque<Id>,
    /// To be asked one at a time.
    single: VecDeque<Id>,
    asked: Vec<Id>,
    waiting: HashSet<Id>,
    barren: u32,
    outcome: NegOutcome,
}

/// The state machine; see the module's documentation.
#[derive(Debug)]
pub struct NegSync {
    /// A stack, newest on top.
    work: Vec<Range>,
    horizon: i64,
    limits: NegLimits,
    state: State,
    ended: Option<Verdict>,
    error: Option<NegError>,
    /// Whether the relay ever sent a `NEG-MSG`, or compared a window.
    answered: bool,
    splits: u32,
    again: u32,
}

impl NegSync {
    /// Everything in `range`, newest first. `horizon`: as for [`crate::paging::Pager::new`]; nothing at or above it is ever
    /// called proven.
    pub fn new(range: Range, horizon: i64, limits: NegLimits) -> Self {
        let range = Range::new(range.lo.max(0), range.hi);
        Self {
            work: range.into_iter().collect(),
            horizon,
            limits: NegLimits { items: limits.items.max(1), ids: limits.ids.max(1), ..limits },
            state: State::Idle,
            ended: None,
            error: None,
            answered: false,
            splits: 0,
            again: 0,
        }
    }

    /// How many items to load for a window: one more than are compared, so that it is known whether there are more.
    pub fn most_items(&self) -> usize {
        self.limits.items.saturating_add(1)
    }

    /// Why it stopped before the end of its range.
    pub fn ended(&self) -> Option<Verdict> {
        self.ended
    }

    /// What was wrong with the relay's last message, where that ended it.
    pub fn error(&self) -> Option<NegError> {
        self.error
    }

    /// What was not compared yet.
    pub fn left(&self) -> Ranges {
        let current = match &self.state {
            State::Idle | State::Settled(_) => None,
            State::Loading(range) => Some(*range),
            State::Open { window, .. } => Some(window.range),
            State::Fetching(fetching) => Some(fetching.range),
        };
        self.work.iter().copied().chain(current).collect()
    }

    /// What to do next; `None`: all is done, or the relay is to be left alone ([`NegSync::ended`]).
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<NegAction> {
        if let State::Settled(_) = self.state
            && let State::Settled(outcome) = std::mem::replace(&mut self.state, State::Idle)
        {
            return Some(NegAction::Settled(outcome));
        }
        if self.ended.is_some() {
            return None;
        }
        if let State::Fetching(_) = self.state
            && let State::Fetching(fetching) = std::mem::replace(&mut self.state, State::Idle)
        {
            return self.fetch(fetching);
        }
        if let State::Idle = self.state {
            self.state = State::Loading(self.work.pop()?);
        }
        match &self.state {
            State::Loading(range) => Some(NegAction::Open(NegWindow::new(*range))),
            State::Open { window, .. } => Some(NegAction::Open(*window)),
            _ => None,
        }
    }

    /// Takes our items of the window [`NegAction::Open`] named, `(created_at, id)` in any order. `probe`: 32 random bytes.
    pub fn open(&mut self, mut items: Vec<(i64, Id)>, probe: Id) -> NegOpening {
        let range = match &self.state {
            State::Loading(range) => *range,
            State::Open { window, .. } => window.range,
            _ => return NegOpening::Skip,
        };
        let mut window = NegWindow::new(range);
        items.retain(|(at, _)| window.holds(*at));
        items.sort_unstable_by(|a, b| b.cmp(a));
        items.dedup();
        if items.len() > self.limits.items {
            // The newest that fit; below them a whole second of overlap, as everywhere.
            let cut = items.get(self.limits.items).map_or(range.lo, |(at, _)| *at);
            let lo = cut.saturating_add(2).max(range.lo);
            let Some(upper) = Range::new(lo, range.hi) else {
                // With its overlap even the newest second is more than is compared.
                let last = range.last();
                self.work.extend(Range::new(range.lo, Some(last)));
                self.unproven(Range { lo: last, hi: range.hi });
                return NegOpening::Skip;
            };
            items.retain(|(at, _)| *at > cut);
            self.work.extend(Range::new(range.lo, Some(lo)));
            window = NegWindow::new(upper);
        }
        let inside: Vec<i64> = items.iter().map(|(at, _)| *at).filter(|at| window.range.contains(*at)).collect();
        let median = inside.get(inside.len() / 2).copied();
        let at = median.unwrap_or(window.range.lo);
        let median = median.filter(|_| inside.len() >= TELLING);
        let opened = Reconciler::new(items, (at, probe), self.limits).and_then(|mut session| {
            let message = session.open()?;
            Ok((session, message))
        });
        match opened {
            Ok((session, message)) => {
                self.state = State::Open { window, median, session: Box::new(session) };
                NegOpening::Send(window, message)
            }
            Err(error) => {
                self.fail(error, window.range);
                NegOpening::Skip
            }
        }
    }

    /// A `NEG-MSG` of the session, hex. `Some`: send this `NEG-MSG`; `None`: send `NEG-CLOSE` and go on with
    /// [`NegSync::next`].
    pub fn message(&mut self, message: &str) -> Option<String> {
        let State::Open { window, session, .. } = &mut self.state else { return None };
        let range = window.range;
        self.answered = true;
        let partial = match session.message(message) {
            Ok(Reply::Send(reply)) => return Some(reply),
            Ok(Reply::Done) => false,
            Ok(Reply::Full) => true,
            Err(error) => {
                self.fail(error, range);
                return None;
            }
        };
        if let State::Open { session, .. } = std::mem::replace(&mut self.state, State::Idle) {
            let Reconciled { need, have } = session.finish();
            let outcome = NegOutcome {
                range,
                proven: Ranges::empty(),
                arrived: 0,
                // Without the seconds of overlap, which the relay may read otherwise.
                have: have.into_iter().filter(|(at, _)| !partial && range.contains(*at)).map(|(_, id)| id).collect(),
                unavailable: Vec::new(),
                missing: 0,
                refused: 0,
            };
            self.state = State::Fetching(Box::new(Fetching {
                range,
                partial,
                chunk: FETCH_IDS,
                queue: need.into(),
                single: VecDeque::new(),
                asked: Vec::new(),
                waiting: HashSet::new(),
                barren: 0,
                outcome,
            }));
        }
        None
    }

    /// The session ended otherwise: `NEG-ERR`, `CLOSED`, a `NOTICE` that means it, silence.
    pub fn refused(&mut self, verdict: Verdict) {
        let (range, median) = match &self.state {
            State::Open { window, median, .. } => (window.range, *median),
            State::Loading(range) => (*range, None),
            _ => return,
        };
        let Verdict::TooLarge { max } = verdict else {
            self.end(verdict, range);
            return;
        };
        if let Some(max) = max.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0) {
            self.limits.items = self.limits.items.min(max);
        }
        let hi = range.hi.or((range.lo < self.horizon).then_some(self.horizon));
        let middle = hi.and_then(|hi| {
            let half = range.lo + hi.saturating_sub(range.lo) / 2;
            // Our items may be an eighth of the relay's, and at one end: every other time by the clock.
            let median = median.filter(|_| self.splits.is_multiple_of(2));
            [median, Some(half)].into_iter().flatten().find(|mid| *mid > range.lo && *mid < hi)
        });
        let middle = middle.or(if range.hi.is_none() { hi } else { None });
        self.state = State::Idle;
        match middle {
            _ if self.splits >= MAX_SPLITS => self.end(verdict, range),
            Some(middle) => {
                self.splits += 1;
                self.work.push(Range { lo: range.lo, hi: Some(middle) });
                self.work.push(Range { lo: middle, hi: range.hi });
            }
            // Every window there is is too large for it.
            None if !self.answered => self.end(verdict, range),
            None => self.unproven(range),
        }
    }

    /// An event of the ids asked for came, valid or not. Whether it was one of them, and the first time.
    pub fn arrived(&mut self, id: &Id) -> bool {
        let State::Fetching(fetching) = &mut self.state else { return false };
        let new = fetching.waiting.remove(id);
        fetching.outcome.arrived += usize::from(new);
        new
    }

    /// The REQ of [`NegAction::Fetch`] ended.
    pub fn fetched(&mut self, end: End) {
        let State::Fetching(fetching) = &mut self.state else { return };
        let asked = std::mem::take(&mut fetching.asked);
        let missing: Vec<Id> = asked.iter().filter(|id| fetching.waiting.contains(*id)).copied().collect();
        fetching.waiting.clear();
        let verdict = match end {
            End::Disconnected | End::Timeout => Verdict::Broken,
            End::Closed(prefix @ ClosePrefix::RateLimited) => Verdict::Refused(prefix),
            End::Eose { .. } | End::Overflow | End::Closed(_) => return fetching.sort_out(&asked, missing, end),
        };
        let range = fetching.range;
        self.end(verdict, range);
    }

    fn fetch(&mut self, mut fetching: Box<Fetching>) -> Option<NegAction> {
        if !fetching.asked.is_empty() {
            // Asked again without an end in between.
            let again = fetching.asked.clone();
            self.state = State::Fetching(fetching);
            return Some(NegAction::Fetch(again));
        }
        let chunk = fetching.chunk.min(fetching.queue.len());
        let ids: Vec<Id> = match chunk {
            0 => fetching.single.pop_front().into_iter().collect(),
            chunk => fetching.queue.drain(..chunk).collect(),
        };
        if !ids.is_empty() {
            fetching.asked.clone_from(&ids);
            fetching.waiting = ids.iter().copied().collect();
            self.state = State::Fetching(fetching);
            return Some(NegAction::Fetch(ids));
        }
        let Fetching { range, partial, mut outcome, .. } = *fetching;
        if partial && outcome.arrived > 0 {
            // What came is ours now: the rest is named by another session.
            self.again += 1;
            if self.again >= MAX_AGAIN {
                self.end(Verdict::Broken, range);
            } else {
                self.work.push(range);
            }
            return Some(NegAction::Settled(outcome));
        }
        if !partial && outcome.missing == 0 && outcome.refused == 0 {
            outcome.proven = Ranges::from(range).intersect(&Ranges::single(i64::MIN, Some(self.horizon)));
        }
        Some(NegAction::Settled(outcome))
    }

    fn fail(&mut self, error: NegError, range: Range) {
        self.error = Some(error);
        let verdict = if error == NegError::Version { Verdict::Unsupported } else { Verdict::Broken };
        self.end(verdict, range);
    }

    fn end(&mut self, verdict: Verdict, range: Range) {
        self.state = State::Idle;
        self.work.push(range);
        self.ended = Some(verdict);
    }

    fn unproven(&mut self, range: Range) {
        self.state = State::Settled(NegOutcome {
            range,
            proven: Ranges::empty(),
            arrived: 0,
            have: Vec::new(),
            unavailable: Vec::new(),
            missing: 0,
            refused: 0,
        });
    }
}

impl Fetching {
    fn sort_out(&mut self, asked: &[Id], missing: Vec<Id>, end: End) {
        let came = asked.len().saturating_sub(missing.len());
        if asked.len() > 1 {
            let many = missing.len() > came;
            match end {
                // Fewer at a time than asked, or too large together.
                End::Eose { .. } if came > 0 && many => self.again(missing, came),
                End::Overflow if came > 0 || self.chunk > 1 => self.again(missing, (asked.len() / 2).max(1)),
                _ => self.single.extend(missing),
            }
            return;
        }
        let Some(id) = missing.first() else {
            self.barren = 0;
            return;
        };
        self.barren += 1;
        let refused = matches!(
            end,
            End::Closed(ClosePrefix::AuthRequired | ClosePrefix::Restricted | ClosePrefix::Blocked | ClosePrefix::Mute)
        );
        self.lost(*id, refused);
        if self.barren >= MAX_BARREN {
            for id in std::mem::take(&mut self.single) {
                self.lost(id, refused);
            }
        }
    }

    fn again(&mut self, missing: Vec<Id>, chunk: usize) {
        self.chunk = self.chunk.min(chunk);
        for id in missing.into_iter().rev() {
            self.queue.push_front(id);
        }
    }

    fn lost(&mut self, id: Id, refused: bool) {
        if refused {
            self.outcome.refused += 1;
            return;
        }
        self.outcome.missing += 1;
        if self.outcome.unavailable.len() < MAX_NAMED {
            self.outcome.unavailable.push(id);
        }
    }
}
