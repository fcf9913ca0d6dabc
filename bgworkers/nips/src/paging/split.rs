//! Proving a range by halving it, for relays whose cut side is unknown.
use super::{Id, Order, Page, Pager, Progress, Reason, Step, Task, Window, fail};
use crate::nip67::EoseHint;
use bigbrotr_models::ranges::Range;
use std::collections::HashSet;
use std::sync::Arc;

/// The answer a range was split for: events its parts bring beyond it prove that it was cut.
#[derive(Debug)]
pub(super) struct Parent {
    pub count: usize,
    pub limit: u32,
    /// The first eight bytes of each id: a collision hides a cut, and invents none.
    ids: HashSet<[u8; 8]>,
}

impl Parent {
    fn new(page: &Page, limit: u32) -> Self {
        let ids = page.inside.iter().filter_map(|(_, id)| id.first_chunk().copied()).collect();
        Self { count: page.distinct, limit, ids }
    }

    pub fn held(&self, id: &Id) -> bool {
        id.first_chunk().is_some_and(|head| self.ids.contains(head))
    }
}

impl Pager {
    pub(super) fn on_split(
        &mut self,
        task: Task,
        page: Page,
        hint: Option<EoseHint>,
        asked: Window,
        learned: bool,
        progress: &mut Progress,
    ) {
        let more = hint == Some(EoseHint::More);
        let again = task.parent.as_ref().is_some_and(|parent| page.inside.iter().all(|(_, id)| parent.held(id)));
        let proven = hint == Some(EoseHint::Finish)
            || !more && (page.raw == 0 || self.limits.fits(page.raw, asked.limit, again))
            || self.limits.order == Order::NewestFirst && page.reaches_below;
        if proven {
            progress.complete.insert(task.range);
        } else if page.is_stray() {
            self.stray(&task, progress);
        } else if learned {
            // The overlap may be what filled the page: ask again without it.
            self.work.push(task);
        } else {
            match page.middle(task.range, self.horizon) {
                None => fail(&task.range.into(), Reason::Capped, progress),
                Some(mid) => {
                    let parent = Arc::new(Parent::new(&page, asked.limit));
                    for range in [Range { lo: task.range.lo, hi: Some(mid) }, Range { lo: mid, hi: task.range.hi }] {
                        self.work.push(Task { range, step: Step::Split, parent: Some(Arc::clone(&parent)) });
                    }
                }
            }
        }
    }
}
