//! What is complete is looked at again, since events arrive late: by NIP-77 where the relay speaks it, by pages where not.

use std::collections::HashSet;

use bigbrotr_core::Value;
use bigbrotr_models::kind::{KindClass, class};
use bigbrotr_models::{Range, Ranges};
use bigbrotr_nips::nip77::{NegLimits, NegSync, NegWindow};
use bigbrotr_nips::paging::{Id, Item, Pager};
use bigbrotr_nips::recheck::Tier;

use crate::link::Link;
use crate::now;
use crate::reconcile::Reconciled;
use crate::session::Session;
use crate::verdict::{Failure, Stop};

/// Re-checks of one stretch of listening.
const MOST_AT_A_TIME: u32 = 3;
/// The stretch a live subscription is tested by, seconds.
const RECENT: i64 = 2 * 3600;
/// How long a relay whose subscription loses events is used without, seconds.
const WEEK: i64 = 7 * 86_400;
/// Bounds of one comparison: 40 bytes an item, 32 an id.
const LIMITS: NegLimits = NegLimits { frame: 60_000, rounds: 1_000, idle_rounds: 48, ids: 5_000, items: 20_000 };

const HOLDINGS: &str = "SELECT oldest, held FROM bigbrotr.relay_holdings($1)";

impl Session<'_> {
    /// Whether a re-check is due.
    pub fn recheck_is_due(&self) -> bool {
        self.learned.rechecks.next_at(self.may_reconcile()) <= now()
    }

    /// Does what is due. Some: the relay stopped it.
    pub async fn recheck(&mut self, link: &mut Link) -> Result<Option<Stop>, Failure> {
        for _ in 0..MOST_AT_A_TIME {
            if !self.recheck_is_due() {
                return Ok(None);
            }
            let rows = self.tools.context.store.call(HOLDINGS, vec![Value::Int(self.id)]).await?;
            let (oldest, held) = match rows.first() {
                Some(row) => (
                    row.opt_bigint(0).map_err(Failure::from)?,
                    u64::try_from(row.bigint(1).map_err(Failure::from)?).unwrap_or(0),
                ),
                None => (None, 0),
            };
            let floor = self.tools.config.sync_since.max(self.tools.config.retention.oldest_kept());
            let speaks = self.may_reconcile();
            let Some(due) = self.learned.rechecks.due(now(), floor, oldest, held, speaks) else { return Ok(None) };
            let before = self.outcome.archived;
            let stop = self.look_again(link, due.range, due.tier != Tier::Negentropy).await?;
            let found = self.outcome.archived - before;
            match &stop {
                Looked::Through => self.learned.rechecks.done(due.tier, now(), found),
                Looked::NotThrough | Looked::Stopped(_) => self.learned.rechecks.failed(due.tier, now()),
            }
            if let Looked::Stopped(stop) = stop {
                return Ok(Some(stop));
            }
        }
        Ok(None)
    }

    /// The last hours, whatever the schedule says: somebody asked.
    pub async fn recheck_recent(&mut self, link: &mut Link) -> Result<Option<Stop>, Failure> {
        match self.look_again(link, Range { lo: (now() - RECENT).max(0), hi: None }, true).await? {
            Looked::Stopped(stop) => Ok(Some(stop)),
            Looked::Through | Looked::NotThrough => Ok(None),
        }
    }

    /// Seconds the relay hands out only in part, compared by id.
    pub async fn reconcile_stuck(&mut self, link: &mut Link, left: &mut Ranges) -> Result<Option<Stop>, Failure> {
        let stuck = left.intersect(&Ranges::single(0, Some(self.horizon)));
        for range in stuck.iter().rev().take(64).collect::<Vec<_>>() {
            if !self.may_reconcile() {
                break;
            }
            let mut sync = NegSync::new(range, self.horizon, LIMITS);
            match self.reconcile(link, &mut sync).await? {
                Reconciled::Stopped(stop) => return Ok(Some(stop)),
                Reconciled::Proven(proven) => *left = left.subtract(&proven),
            }
        }
        Ok(None)
    }

    async fn look_again(&mut self, link: &mut Link, range: Range, may_page: bool) -> Result<Looked, Failure> {
        let live_since = link.live.as_ref().map(|live| live.began_at);
        let top = self.lagging(now());
        let Some(range) = Range::new(range.lo.max(0), Some(range.hi.map_or(top, |hi| hi.min(top)))) else {
            return Ok(Looked::Through);
        };
        self.watch = match live_since.filter(|since| *since < top) {
            Some(since) => Some(self.watch(since, top).await?),
            None => None,
        };
        let looked = self.compare(link, range, may_page).await;
        if self.watch.take().as_ref().is_some_and(Watch::found_late) && !self.lost_live(link).await {
            return Ok(Looked::NotThrough);
        }
        looked
    }

    /// Something arrived while we listened, and we were not told. False: the connection broke.
    pub async fn lost_live(&mut self, link: &mut Link) -> bool {
        self.learned.without_live(now(), WEEK, "its subscription loses events");
        link.close_live().await.is_ok()
    }

    /// What was seen of a stretch of listening.
    pub async fn watch(&self, since: i64, top: i64) -> Result<Watch, Failure> {
        let stretch = Range { lo: since, hi: Some(top) };
        let window = NegWindow { range: stretch, since: Some(since), until: Some(top) };
        let held = self.held(&window, LIMITS.items).await?;
        // Of a longer stretch than is loaded only the newer part is judged.
        let since = if held.len() < LIMITS.items {
            since
        } else {
            held.iter().map(|item| item.created_at).min().map_or(top, |at| at + 1)
        };
        let seen = held.into_iter().filter(|item| item.seen).map(|item| item.id).collect();
        Ok(Watch { stretch: Range { lo: since, ..stretch }, seen, late: 0 })
    }

    async fn compare(&mut self, link: &mut Link, range: Range, may_page: bool) -> Result<Looked, Failure> {
        let mut left = Ranges::from(range);
        if self.may_reconcile() {
            let mut sync = NegSync::new(range, self.horizon.max(range.last()), LIMITS);
            match self.reconcile(link, &mut sync).await? {
                Reconciled::Stopped(stop) => return Ok(Looked::Stopped(stop)),
                Reconciled::Proven(proven) => left = left.subtract(&proven),
            }
            if left.is_empty() {
                return Ok(Looked::Through);
            }
            // What it names and does not send is no reason to read everything again.
            if sync.ended().is_none() && !may_page {
                return Ok(Looked::Through);
            }
        }
        if !may_page {
            return Ok(Looked::NotThrough);
        }
        let limits = self.learned.limits.clone();
        let top = range.last().saturating_add(1);
        let mut pager = Pager::new(left.clone(), self.page_limit, top, limits);
        let stop = Box::pin(self.drive(link, &mut pager, &mut left)).await?;
        self.learned.limits = pager.limits().clone();
        Ok(stop.map_or(Looked::Through, Looked::Stopped))
    }
}

/// Notices events that a live subscription should have brought.
pub struct Watch {
    stretch: Range,
    seen: HashSet<Id>,
    late: usize,
}

impl Watch {
    /// Whether something came that had not been seen on the relay before.
    pub fn found_late(&self) -> bool {
        self.late > 0
    }

    /// Looks at what a request brought.
    pub fn look(&mut self, items: &[Item]) {
        let mut late = items
            .iter()
            .filter(|item| self.stretch.contains(item.created_at) && class(item.kind) != KindClass::Ephemeral);
        self.late += usize::from(late.any(|item| !self.seen.contains(&item.id)));
    }
}

/// How a second look ended.
enum Looked {
    /// All was compared.
    Through,
    /// Not all; another time.
    NotThrough,
    /// The relay stopped it.
    Stopped(Stop),
}
