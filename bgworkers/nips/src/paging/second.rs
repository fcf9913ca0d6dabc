//! A second that holds more events than the relay hands out: by kinds, and those by authors.
//!
//! Nothing is proven by that, as no filter says "any other kind" or "any other author"; but the events are fetched.
use super::{Answer, End, Narrow, Page, Pager, Progress, Pubkey, Reason, Step, Task, Window, fail};
use crate::nip01::ClosePrefix;
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// REQs for one second.
const MAX_REQUESTS: u16 = 200;
/// REQs of one pager for all such seconds.
pub(super) const MAX_ALL_REQUESTS: u16 = 800;
/// Authors of one REQ.
const MAX_AUTHORS: usize = 200;
/// Authors remembered for one second.
const MAX_KNOWN_AUTHORS: usize = 20_000;
/// Kinds asked one by one.
const MAX_KINDS: usize = 500;
/// Kinds that are common on relays, asked in one list where none of them was seen.
const COMMON: [u16; 62] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 20, 21, 22, 40, 41, 42, 43, 44, 62, 818, 1018, 1021,
    1059, 1063, 1068, 1111, 1222, 1311, 1617, 1621, 1971, 1984, 1985, 3000, 5000, 6000, 7000, 9734, 9735, 9802, 10000,
    10001, 10002, 10003, 10050, 13194, 30000, 30003, 30008, 30009, 30023, 30078, 30166, 30311, 31990,
];

/// The parts of a second that are left, and who and what was seen in it.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// A stack. `None` on it: the second as a whole.
    parts: Vec<Option<Arc<Narrow>>>,
    kinds: BTreeSet<u16>,
    authors: BTreeSet<Pubkey>,
    /// Authors a kind was asked for already.
    asked: BTreeMap<u16, BTreeSet<Pubkey>>,
    requests: u16,
}

impl Second {
    fn new() -> Self {
        Self { parts: vec![None], ..Self::default() }
    }

    pub fn part(&self) -> Option<Arc<Narrow>> {
        self.parts.last().cloned().flatten()
    }

    /// Kinds not seen before are asked, each by itself.
    fn see(&mut self, answer: &Answer<'_>, range: Range) {
        for item in answer.items.iter().filter(|item| range.contains(item.created_at)) {
            if self.authors.len() < MAX_KNOWN_AUTHORS {
                self.authors.insert(item.pubkey);
            }
            if self.kinds.len() < MAX_KINDS && self.kinds.insert(item.kind) {
                self.push(vec![item.kind], None);
            }
        }
    }

    fn push(&mut self, kinds: Vec<u16>, authors: Option<Vec<Pubkey>>) {
        self.parts.push(Some(Arc::new(Narrow { kinds: Some(kinds), authors })));
    }

    /// A part was cut: smaller ones in its place, if there are any.
    fn cut(&mut self, part: Option<&Narrow>, suggested: &BTreeSet<Pubkey>) {
        let Some(Narrow { kinds: Some(kinds), authors }) = part else { return };
        match (kinds.as_slice(), authors) {
            ([], _) => {}
            ([kind], None) => self.by_authors(*kind, suggested),
            ([kind], Some(authors)) if authors.len() > 1 => {
                let (left, right) = authors.split_at(authors.len() / 2);
                self.push(vec![*kind], Some(left.to_vec()));
                self.push(vec![*kind], Some(right.to_vec()));
            }
            ([_], Some(_)) => {}
            (many, _) => {
                let (left, right) = many.split_at(many.len() / 2);
                self.push(left.to_vec(), None);
                self.push(right.to_vec(), None);
            }
        }
    }

    fn by_authors(&mut self, kind: u16, suggested: &BTreeSet<Pubkey>) {
        let asked = self.asked.entry(kind).or_default();
        let new: Vec<Pubkey> =
            self.authors.iter().chain(suggested).filter(|author| asked.insert(**author)).copied().collect();
        for chunk in new.chunks(MAX_AUTHORS) {
            self.push(vec![kind], Some(chunk.to_vec()));
        }
    }
}

impl Pager {
    /// Seconds that could not be had as a whole are asked in parts, once.
    pub(super) fn look_closer(&mut self, progress: &Progress) {
        for (range, reason) in &progress.incomplete {
            if matches!(reason, Reason::Capped | Reason::Oversize)
                && range.seconds() == Some(1)
                && self.second_requests < MAX_ALL_REQUESTS
                && self.closer.insert(range.lo)
            {
                let step = Step::Second(Box::new(Second::new()));
                self.work.push(Task { range: *range, step, parent: None });
            }
        }
    }

    pub(super) fn on_second(
        &mut self,
        mut task: Task,
        page: &Page,
        answer: &Answer<'_>,
        asked: &Window,
        progress: &mut Progress,
    ) {
        let range = task.range;
        let Step::Second(second) = &mut task.step else { return };
        second.requests += 1;
        self.second_requests += 1;
        let part = second.parts.pop().flatten();
        let cut = match answer.end {
            End::Eose { hint } => {
                self.silent_timeouts = 0;
                self.limits.learn(page, asked);
                let below = page.reaches_below && self.limits.order == super::Order::NewestFirst;
                if part.is_none() && hint == Some(EoseHint::Finish) {
                    progress.complete.insert(range);
                    return;
                }
                let full = u64::from(self.limits.max_page.min(asked.limit));
                let full = self.limits.min_cut.map_or(full, |cut| full.min(u64::from(cut)));
                hint != Some(EoseHint::Finish)
                    && !below
                    && (hint == Some(EoseHint::More) || page.raw > 0 && page.raw as u64 * 5 >= full * 4)
            }
            End::Overflow => {
                self.overflows += 1;
                if self.overflows >= super::MAX_OVERFLOWS {
                    self.ended = Some(Reason::Oversize);
                }
                true
            }
            // The relay does not take such a filter; other windows it may.
            End::Closed(ClosePrefix::Invalid | ClosePrefix::Unsupported | ClosePrefix::Error) => return,
            End::Closed(prefix) => {
                self.ended = Some(prefix.into());
                return;
            }
            End::Disconnected => {
                fail(&range.into(), Reason::Capped, progress);
                self.ended = Some(Reason::Disconnected);
                return;
            }
            End::Timeout => {
                self.timeouts += 1;
                self.silent_timeouts = if answer.items.is_empty() { self.silent_timeouts + 1 } else { 0 };
                if self.timeouts >= super::MAX_TIMEOUTS || self.silent_timeouts >= super::MAX_SILENT_TIMEOUTS {
                    self.ended = Some(Reason::Timeout);
                }
                return;
            }
        };
        if cut {
            second.cut(part.as_deref(), &self.suggested);
        }
        second.see(answer, range);
        if part.is_none() {
            // Below those seen on the stack: what is there for certain comes first.
            let rest: Vec<u16> = COMMON.into_iter().filter(|kind| !second.kinds.contains(kind)).collect();
            second.parts.insert(0, Some(Arc::new(Narrow { kinds: Some(rest), authors: None })));
        }
        if !second.parts.is_empty() && second.requests < MAX_REQUESTS && self.second_requests < MAX_ALL_REQUESTS {
            self.work.push(task);
        }
    }
}
