//! The history of a relay: what its ledger lacks, newest first, page by page.

use std::time::Duration;

use bigbrotr_core::backoff::jitter;
use bigbrotr_core::{Call, Value};
use bigbrotr_models::{Range, Ranges};
use bigbrotr_nips::nip01::{ClosePrefix, NoticeClass};
use bigbrotr_nips::paging::{Answer, End, Pager, Progress, Reason};

use crate::answer::Request;
use crate::archivist::Job;
use crate::batch::Receipt;
use crate::inbox::Inbox;
use crate::link::Link;
use crate::now;
use crate::session::Session;
use crate::tally::Outcome;
use crate::verdict::{Failure, Stop, StopCause};

/// How often what a relay could not give (a capped second, say) is asked for again.
const RETRY_OPEN: i64 = 3600;
/// Answers over budget in a row, each to a smaller window, after which a relay is taken to send without end.
const MAX_OVERFLOWS: u32 = 32;
/// `error:` in a row that are asked again on the same connection.
const MAX_ERRORS: u32 = 3;
/// Half the pause after the first of them.
const FIRST_ERROR_PAUSE: Duration = Duration::from_millis(150);
/// How long a relay that admits one subscription is used without live, seconds.
const WEEK: i64 = 7 * 86_400;

const LEDGER: &str = "SELECT bigbrotr.complete_ranges($1, $2), bigbrotr.stuck_ranges($1, $2), bigbrotr.event_floor()";
const COVER: &str = "SELECT bigbrotr.cover($1, $2, $3, $4)";

/// A page on its way into the archive.
pub type Pending = tokio::sync::oneshot::Receiver<Result<Receipt, String>>;

impl Session<'_> {
    /// What of the wanted range is not complete, without what the relay could not give lately.
    pub async fn left(&mut self) -> Result<Ranges, Failure> {
        let args = vec![Value::Int(self.id), Value::Bytea(Some(self.tools.filter_hash.to_vec()))];
        let rows = self.tools.context.store.call(LEDGER, args).await?;
        let row = rows.first().ok_or_else(|| Failure::Store("no ledger".to_owned()))?;
        let read = |column| -> Result<Ranges, Failure> {
            let text = row.text(column)?;
            Ranges::from_multirange(text).map_err(|error| Failure::Store(format!("ledger: {error}")))
        };
        let (complete, stuck) = (read(0)?, read(1)?);
        let since = self.tools.config.sync_since.max(self.tools.config.retention.oldest_kept()).max(row.bigint(2)?);
        let left = Ranges::single(since, None).subtract(&complete);
        if self.learned.retry_open_at <= now() {
            self.learned.retry_open_at = now() + RETRY_OPEN;
            return Ok(left);
        }
        Ok(left.subtract(&stuck))
    }

    /// Asks window after window; what is proven leaves `left`. Some: the pager stopped before its work was done.
    pub async fn drive(
        &mut self,
        link: &mut Link,
        pager: &mut Pager,
        left: &mut Ranges,
    ) -> Result<Option<Stop>, Failure> {
        // A page is committed before the next one is handed over: coverage claims build on one another.
        let mut pending: Option<Pending> = None;
        let mut cause = StopCause::Silent;
        let mut overflows = 0;
        let mut patience = Patience::default();
        while let Some(window) = pager.next() {
            self.tools.context.memory.ready().await;
            if self.learned.pace_ms > 0
                && let Err(error) = link.pace(Duration::from_millis(self.learned.pace_ms.into())).await
            {
                self.settle(&mut pending).await?;
                return Ok(Some(Stop::broken(error)));
            }
            let Some(mut filter) = window.filter(&self.tools.config.sync_filter) else {
                let progress = pager.answer(Answer::NOTHING);
                self.record(&progress, Answer::NOTHING.end, Inbox::default(), left, &mut pending).await?;
                continue;
            };
            // A relay may answer a filter without any condition by nothing at all (nostr-relay 1.14 does).
            filter.since.get_or_insert(0);
            let mut request = Request::new(&self.tools.config, filter);
            if let Err(error) = request.send(link).await {
                self.settle(&mut pending).await?;
                return Ok(Some(Stop::broken(error)));
            }
            self.did(&Outcome { requests: 1, ..Outcome::default() });
            let (received, end) = loop {
                let part = request.receive(link).await;
                if let Some(end) = part.end {
                    break (part.inbox, end);
                }
                // A large answer goes into the archive in parts, so that memory stays flat; coverage comes with the last.
                self.settle(&mut pending).await?;
                pending = Some(self.hand_over(part.inbox, Vec::new()).await?);
            };
            let dial_error = request.error.take();
            if dial_error.is_none() {
                let again = match self.worth_repeating(link, end, &request, &mut patience).await {
                    Ok(again) => again,
                    Err(error) => {
                        self.settle(&mut pending).await?;
                        return Ok(Some(error));
                    }
                };
                if again {
                    self.settle(&mut pending).await?;
                    pending = Some(self.hand_over(received, Vec::new()).await?);
                    continue;
                }
            }
            if let Some(watch) = &mut self.watch {
                watch.look(&request.items);
            }
            if matches!(end, End::Eose { .. }) {
                patience = Patience { answered: true, errors: 0 };
            }
            let progress = pager.answer(Answer { items: &request.items, off_window: request.off_window, end });
            if let Some(refusal) = link.auth.refusal.take() {
                self.last_notice = Some(format!("AUTH refused: {refusal}"));
            } else if let Some(notice) = link.notice.take() {
                self.last_notice = Some(notice);
            }
            cause = match (dial_error, end) {
                (Some(error), _) => StopCause::Dial(error),
                (None, End::Closed(prefix)) => StopCause::Closed(prefix),
                _ => StopCause::Silent,
            };
            self.record(&progress, end, received, left, &mut pending).await?;
            overflows = if end == End::Overflow { overflows + 1 } else { 0 };
            if overflows >= MAX_OVERFLOWS {
                self.settle(&mut pending).await?;
                self.last_notice = Some("its answers have no end".to_owned());
                return Ok(Some(Stop { reason: Reason::Unsupported, cause: StopCause::Silent }));
            }
            if let StopCause::Dial(_) = cause
                && pager.ended().is_none()
            {
                // The pager would go on (an oversize frame, say), but this connection cannot.
                self.settle(&mut pending).await?;
                return Ok(Some(Stop { reason: Reason::Disconnected, cause }));
            }
        }
        self.settle(&mut pending).await?;
        Ok(pager.ended().map(|reason| Stop { reason, cause }))
    }

    /// Hands an answer over with what it proves, once the one before is committed.
    async fn record(
        &mut self,
        progress: &Progress,
        end: End,
        received: Inbox,
        left: &mut Ranges,
        pending: &mut Option<Pending>,
    ) -> Result<(), Failure> {
        *left = left.subtract(&progress.complete);
        self.progressed |= !progress.complete.is_empty();
        let coverage = self.coverage(&progress.complete, &progress.incomplete, end);
        self.settle(pending).await?;
        *pending = Some(self.hand_over(received, coverage).await?);
        Ok(())
    }

    /// Whether the request that ended so would do better now: after AUTH, or without a live subscription beside it.
    async fn worth_repeating(
        &mut self,
        link: &mut Link,
        end: End,
        request: &Request,
        patience: &mut Patience,
    ) -> Result<bool, Stop> {
        if link.helped_by_auth(end, request.items.is_empty()).await.map_err(Stop::broken)? {
            return Ok(true);
        }
        let End::Closed(prefix) = end else { return Ok(false) };
        let said = link.notice.clone().unwrap_or_default();
        let is_crowded = NoticeClass::parse(&said) == NoticeClass::Subscription;
        if !patience.answered && link.live.is_some() && (is_crowded || prefix == ClosePrefix::Error) {
            if is_crowded {
                self.learned.without_live(now(), WEEK, &said);
            }
            link.close_live().await.map_err(Stop::broken)?;
            return Ok(true);
        }
        if prefix != ClosePrefix::Error || patience.errors >= MAX_ERRORS {
            return Ok(false);
        }
        patience.errors += 1;
        let pause = jitter(FIRST_ERROR_PAUSE * (1 << patience.errors.min(4)));
        link.pace(pause).await.map_err(Stop::broken)?;
        Ok(true)
    }

    /// What an answer proves and fails to, below the horizon, in the words of the ledger.
    fn coverage(&self, complete: &Ranges, incomplete: &[(Range, Reason)], end: End) -> Vec<(&'static str, String)> {
        let settled = Ranges::single(i64::MIN, Some(self.horizon));
        let mut coverage = Vec::new();
        let complete = complete.intersect(&settled);
        if !complete.is_empty() {
            coverage.push(("complete", complete.to_multirange()));
        }
        for (range, reason) in incomplete {
            let range = Ranges::from(*range).intersect(&settled);
            if !range.is_empty() {
                let state = match (reason, end) {
                    (Reason::Closed, End::Closed(ClosePrefix::RateLimited)) => "rate_limited",
                    _ => reason.as_str(),
                };
                coverage.push((state, range.to_multirange()));
            }
        }
        coverage
    }

    /// Hands events over, with what they prove.
    pub async fn hand_over(
        &mut self,
        received: Inbox,
        coverage: Vec<(&'static str, String)>,
    ) -> Result<Pending, Failure> {
        let cover = self.cover_call(coverage);
        self.hand_over_with(received, cover).await
    }

    /// The statement that enters states with their ranges into the ledger; `None`: there is nothing to enter.
    pub fn cover_call(&self, coverage: Vec<(&'static str, String)>) -> Option<Call> {
        (!coverage.is_empty()).then(|| {
            let (states, ranges) =
                coverage.into_iter().map(|(state, ranges)| (Some(state.to_owned()), Some(ranges))).unzip();
            let hash = Value::Bytea(Some(self.tools.filter_hash.to_vec()));
            Call::new(COVER, vec![Value::Int(self.id), hash, Value::TextArray(states), Value::TextArray(ranges)])
        })
    }

    /// Hands events over, with a statement for their transaction.
    pub async fn hand_over_with(&mut self, received: Inbox, cover: Option<Call>) -> Result<Pending, Failure> {
        self.did(&Outcome {
            received: received.received,
            unstored: received.unstored,
            refused: received.refused.len() as u64,
            ..Outcome::default()
        });
        let (receipt, pending) = tokio::sync::oneshot::channel();
        let job = Job { relay_id: self.id, events: received.events, refused: received.refused, cover, receipt };
        if self.tools.archivist.submit(job).await { Ok(pending) } else { Err(Failure::Leaving) }
    }

    /// Waits until a page is committed.
    pub async fn settle(&mut self, pending: &mut Option<Pending>) -> Result<(), Failure> {
        let Some(pending) = pending.take() else { return Ok(()) };
        let receipt = pending.await.map_err(|_| Failure::Leaving)?.map_err(Failure::Store)?;
        self.did(&Outcome { archived: receipt.archived, refused: receipt.refused, ..Outcome::default() });
        self.progressed |= receipt.archived > 0;
        Ok(())
    }
}

/// What one connection has shown so far.
#[derive(Default)]
struct Patience {
    /// A request was answered to its end.
    answered: bool,
    /// Errors in a row.
    errors: u32,
}
