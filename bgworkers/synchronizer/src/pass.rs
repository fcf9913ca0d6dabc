//! One pass over one relay: what its ledger lacks, newest first, page by page.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::backoff::jitter;
use bigbrotr_core::{Config, Context, StoreError, Value};
use bigbrotr_models::{Filter, Ranges, RelayUrl, RelayUrlError};
use bigbrotr_nips::nip01::ClosePrefix;
use bigbrotr_nips::paging::{Answer, End, Pager, Reason, RelayLimits, Window};
use bigbrotr_utils::{Connection, DialError, Dialer, HostLimits};
use serde::{Deserialize, Serialize};

use crate::answer::{self, Received};
use crate::archivist::{Archivist, Job};
use crate::batch::Receipt;
use crate::now;

/// How long a pass waits for a connection of its host to become free.
const HOST_PATIENCE: Duration = Duration::from_secs(20);
/// How often what a relay could not give (a capped second, say) is asked for again.
const RETRY_OPEN: i64 = 3600;
/// Refusals in a row without progress, after which a pass gives up.
const MAX_REFUSALS: u32 = 3;
/// Answers over budget in a row, each to a smaller window, after which a relay is taken to send without end.
const MAX_OVERFLOWS: u32 = 32;
/// Smallest `limit` asked of a relay that breaks off.
const MIN_PAGE_LIMIT: u32 = 10;
/// Connections of one pass.
const MAX_CONNECTIONS: u32 = 20;

const LEDGER: &str = "SELECT bigbrotr.complete_ranges($1, $2), bigbrotr.stuck_ranges($1, $2)";
const COVER: &str = "SELECT bigbrotr.cover($1, $2, $3, $4)";
const RELEASE: &str = "SELECT bigbrotr.release_relay($1, $2, $3, $4, $5, $6)";

/// What all passes share.
pub struct Tools {
    /// Store, progress, memory.
    pub context: Context,
    /// The settings the pool was made for.
    pub config: Arc<Config>,
    /// Opens connections.
    pub dialer: Dialer,
    /// Connections per host.
    pub hosts: HostLimits,
    /// Takes what came.
    pub archivist: Archivist,
    /// Which ledger.
    pub filter_hash: [u8; 32],
}

/// `relay_sync.learned`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    limits: RelayLimits,
    /// When ranges the relay could not give are asked for again, unix seconds.
    retry_open_at: i64,
    /// The `limit` that came through where larger answers broke off.
    page_limit: Option<u32>,
}

/// A claimed relay.
pub struct Relay {
    /// `relay.id`.
    pub id: i32,
    /// `relay.url`, parsed.
    pub url: Result<RelayUrl, RelayUrlError>,
    /// What earlier passes learned.
    pub learned: Learned,
    /// Passes that failed since the last good one.
    pub failures: u32,
    /// NIP-11 `limitation.max_limit`.
    pub max_limit: Option<u32>,
}

/// What a pass did.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// REQs sent.
    pub requests: u64,
    /// Events received, copies included.
    pub received: u64,
    /// Events newly archived.
    pub archived: u64,
    /// Events refused.
    pub refused: u64,
    /// Valid events that are not for storing (ephemeral, off the filter).
    pub unstored: u64,
    /// Why it did not end well.
    pub error: Option<String>,
}

/// Sums over passes.
#[derive(Debug, Default)]
pub struct Totals {
    pub passes: u64,
    pub failed: u64,
    pub requests: u64,
    pub received: u64,
    pub archived: u64,
    pub refused: u64,
    pub unstored: u64,
}

impl Totals {
    /// Adds one pass.
    pub fn add(&mut self, outcome: &Outcome) {
        self.passes += 1;
        self.failed += u64::from(outcome.error.is_some());
        self.requests += outcome.requests;
        self.received += outcome.received;
        self.archived += outcome.archived;
        self.refused += outcome.refused;
        self.unstored += outcome.unstored;
    }
}

/// Why a pass ended before its work was done.
enum Failure {
    /// The relay cannot be reached, or the connection broke.
    Dial(DialError),
    /// The relay will not answer; the reason and how long to leave it alone.
    Relay(Reason, String),
    /// The archive did not take it.
    Store(String),
    /// Too many connections to this host already.
    Busy,
    /// The worker is leaving.
    Leaving,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Runs a pass and releases the relay.
pub async fn run(relay: Relay, tools: &Tools) -> Outcome {
    let most = relay.max_limit.map_or(tools.config.page_limit, |limit| limit.min(tools.config.page_limit));
    let most = relay.learned.page_limit.map_or(most, |limit| limit.clamp(MIN_PAGE_LIMIT.min(most), most));
    let mut pass = Pass {
        tools,
        id: relay.id,
        limits: relay.learned.limits.clone(),
        retry_open_at: relay.learned.retry_open_at,
        page_limit: most,
        most,
        horizon: now() - i64::try_from(tools.config.sync_lag.as_secs()).unwrap_or(0),
        outcome: Outcome::default(),
        progressed: false,
        last_notice: None,
    };
    let result = match &relay.url {
        Ok(url) => tokio::select! {
            result = pass.run(url) => result,
            () = tools.context.until_shutdown() => Err(Failure::Leaving),
        },
        Err(error) => Err(Failure::Relay(Reason::Unsupported, format!("unusable URL: {error}"))),
    };
    let failures = if pass.progressed { 0 } else { relay.failures };
    let interval = tools.config.synchronizer_interval;
    let (ok, pause, error) = match result {
        Ok(()) => (true, interval, None),
        Err(Failure::Leaving) => (true, Duration::ZERO, None),
        Err(Failure::Busy) => {
            (true, Duration::from_secs(5), Some("host: other connections to this host are open".to_owned()))
        }
        Err(Failure::Dial(error)) => {
            let base = if pass.progressed { 1 } else { 5 };
            (false, growing(base, failures, 3600), Some(format!("{}: {error}", error.class())))
        }
        Err(Failure::Store(error)) => (false, growing(5, failures, 300), Some(format!("archive: {error}"))),
        Err(Failure::Relay(reason, text)) => {
            let pause = match reason {
                // Asks again after a day, and longer when it goes on.
                Reason::NeedsAuth | Reason::Refused | Reason::Unsupported => {
                    growing(86_400, relay.failures, 7 * 86_400)
                }
                Reason::Timeout => growing(30, failures, 3600),
                _ => growing(10, failures, 3600),
            };
            (false, pause, Some(format!("{}: {text}", reason.as_str())))
        }
    };
    pass.outcome.error.clone_from(&error);
    let learned = Learned {
        limits: pass.limits.clone(),
        retry_open_at: pass.retry_open_at,
        // Kept while it is needed; after a pass without a break twice as much is tried.
        page_limit: (pass.page_limit < tools.config.page_limit)
            .then(|| if pass.page_limit < pass.most { pass.page_limit } else { pass.page_limit.saturating_mul(2) }),
    };
    let learned = serde_json::to_string(&learned).ok();
    let args = vec![
        Value::Int(relay.id),
        Value::Bool(ok),
        Value::Text(learned),
        Value::BigInt(pass.horizon),
        Value::Float(jitter(pause).as_secs_f64()),
        Value::Text(error),
    ];
    if let Err(error) = tools.context.store.call(RELEASE, args).await {
        // The lease runs out by itself.
        pass.outcome.error = Some(format!("release: {error}"));
    }
    pass.outcome
}

/// Seconds doubling with the number of failures.
fn growing(base: u64, failures: u32, max: u64) -> Duration {
    Duration::from_secs(base.saturating_mul(1 << failures.min(20)).min(max))
}

struct Pass<'a> {
    tools: &'a Tools,
    id: i32,
    limits: RelayLimits,
    retry_open_at: i64,
    page_limit: u32,
    /// `page_limit` at the beginning.
    most: u32,
    horizon: i64,
    outcome: Outcome,
    /// Whether anything new was archived or proven.
    progressed: bool,
    last_notice: Option<String>,
}

/// A page on its way into the archive.
type Pending = tokio::sync::oneshot::Receiver<Result<Receipt, String>>;

impl Pass<'_> {
    async fn run(&mut self, url: &RelayUrl) -> Result<(), Failure> {
        let Some(_permit) = self.tools.hosts.acquire_within(url, HOST_PATIENCE).await else {
            return Err(Failure::Busy);
        };
        let mut left = self.left().await?;
        let mut refusals = 0;
        for _ in 0..MAX_CONNECTIONS {
            let (mut connection, _) = self.tools.dialer.connect(url).await.map_err(Failure::Dial)?;
            let mut pager = Pager::new(left.clone(), self.page_limit, self.horizon, self.limits.clone());
            let proven_before = self.progressed;
            self.progressed = false;
            let ended = self.drive(&mut connection, &mut pager, &mut left).await;
            let progressed = self.progressed;
            self.progressed |= proven_before;
            self.limits = pager.limits().clone();
            connection.close().await;
            refusals = if progressed { 0 } else { refusals + 1 };
            let Stop { reason, error } = match ended? {
                None => return Ok(()),
                Some(stop) => stop,
            };
            if reason == Reason::Disconnected {
                // It may break off after so many events or bytes: less at a time may come through.
                self.page_limit = (self.page_limit / 2).max(MIN_PAGE_LIMIT);
            }
            let patient = match reason {
                Reason::Closed => !matches!(error, StopCause::Closed(ClosePrefix::RateLimited)),
                Reason::Oversize | Reason::Disconnected => true,
                _ => false,
            };
            if !patient || refusals >= MAX_REFUSALS {
                return Err(match error {
                    StopCause::Dial(error) => Failure::Dial(error),
                    StopCause::Closed(prefix) => {
                        Failure::Relay(reason, self.last_notice.clone().unwrap_or_else(|| prefix.as_str().to_owned()))
                    }
                    StopCause::Silent => {
                        Failure::Relay(reason, self.last_notice.clone().unwrap_or_else(|| "no answer".to_owned()))
                    }
                });
            }
            tokio::time::sleep(jitter(Duration::from_millis(300) * (1 << refusals.min(4)))).await;
        }
        Err(Failure::Relay(Reason::Disconnected, "the connection broke again and again".to_owned()))
    }

    /// What of the wanted range is not complete, without what the relay could not give lately.
    async fn left(&mut self) -> Result<Ranges, Failure> {
        let args = vec![Value::Int(self.id), Value::Bytea(Some(self.tools.filter_hash.to_vec()))];
        let rows = self.tools.context.store.call(LEDGER, args).await?;
        let row = rows.first().ok_or_else(|| Failure::Store("no ledger".to_owned()))?;
        let read = |column| -> Result<Ranges, Failure> {
            let text = row.text(column)?;
            Ranges::from_multirange(text).map_err(|error| Failure::Store(format!("ledger: {error}")))
        };
        let (complete, stuck) = (read(0)?, read(1)?);
        let since = self.tools.config.sync_since.max(self.tools.config.oldest_kept());
        let left = Ranges::single(since, None).subtract(&complete);
        if self.retry_open_at <= now() {
            self.retry_open_at = now() + RETRY_OPEN;
            return Ok(left);
        }
        Ok(left.subtract(&stuck))
    }

    /// Asks window after window. Some: the pager stopped before its work was done.
    async fn drive(
        &mut self,
        connection: &mut Connection,
        pager: &mut Pager,
        left: &mut Ranges,
    ) -> Result<Option<Stop>, Failure> {
        // A page is committed before the next one is handed over: coverage claims build on one another.
        let mut pending: Option<Pending> = None;
        let mut cause = StopCause::Silent;
        let mut overflows = 0;
        while let Some(window) = pager.next() {
            self.tools.context.memory.ready().await;
            let filter = merge(&self.tools.config.sync_filter, window);
            let mut request = answer::Request::new(&self.tools.config, filter, window);
            request.send(connection).await.map_err(Failure::Dial)?;
            self.outcome.requests += 1;
            let received = loop {
                let received = request.receive(connection).await;
                if received.end.is_some() {
                    break received;
                }
                // A large answer goes into the archive in parts, so that memory stays flat; coverage comes with the last.
                self.settle(&mut pending).await?;
                pending = Some(self.hand_over(received, Vec::new()).await?);
            };
            let (end, dial_error) = match &received.end {
                Some(end) => (*end, request.error.take()),
                None => (End::Disconnected, None),
            };
            let progress = pager.answer(Answer { items: &request.items, off_window: request.off_window, end });
            if let Some(notice) = request.notice.take() {
                self.last_notice = Some(notice);
            }
            cause = match (dial_error, end) {
                (Some(error), _) => StopCause::Dial(error),
                (None, End::Closed(prefix)) => StopCause::Closed(prefix),
                _ => StopCause::Silent,
            };
            *left = left.subtract(&progress.complete);
            self.progressed |= !progress.complete.is_empty();
            let mut coverage = Vec::new();
            if !progress.complete.is_empty() {
                coverage.push(("complete", progress.complete.to_multirange()));
            }
            for (range, reason) in &progress.incomplete {
                coverage.push((reason.as_str(), Ranges::from(*range).to_multirange()));
            }
            self.settle(&mut pending).await?;
            pending = Some(self.hand_over(received, coverage).await?);
            overflows = if end == End::Overflow { overflows + 1 } else { 0 };
            if overflows >= MAX_OVERFLOWS {
                self.settle(&mut pending).await?;
                self.last_notice = Some("its answers have no end".to_owned());
                return Ok(Some(Stop { reason: Reason::Unsupported, error: StopCause::Silent }));
            }
            if let StopCause::Dial(_) = cause
                && pager.ended().is_none()
            {
                // The pager would go on (an oversize frame, say), but this connection cannot.
                self.settle(&mut pending).await?;
                return Ok(Some(Stop { reason: Reason::Disconnected, error: cause }));
            }
        }
        self.settle(&mut pending).await?;
        Ok(pager.ended().map(|reason| Stop { reason, error: cause }))
    }

    async fn hand_over(
        &mut self,
        received: Received,
        coverage: Vec<(&'static str, String)>,
    ) -> Result<Pending, Failure> {
        self.outcome.received += received.received;
        self.outcome.unstored += received.unstored;
        self.outcome.refused += received.refused.len() as u64;
        let (receipt, pending) = tokio::sync::oneshot::channel();
        let cover = (!coverage.is_empty()).then(|| {
            let (states, ranges) =
                coverage.into_iter().map(|(state, ranges)| (Some(state.to_owned()), Some(ranges))).unzip();
            let hash = Value::Bytea(Some(self.tools.filter_hash.to_vec()));
            bigbrotr_core::Call::new(
                COVER,
                vec![Value::Int(self.id), hash, Value::TextArray(states), Value::TextArray(ranges)],
            )
        });
        let job = Job { relay_id: self.id, events: received.events, refused: received.refused, cover, receipt };
        if self.tools.archivist.submit(job).await { Ok(pending) } else { Err(Failure::Leaving) }
    }

    /// Waits until a page is committed.
    async fn settle(&mut self, pending: &mut Option<Pending>) -> Result<(), Failure> {
        let Some(pending) = pending.take() else { return Ok(()) };
        let receipt = pending.await.map_err(|_| Failure::Leaving)?.map_err(Failure::Store)?;
        self.outcome.archived += receipt.archived;
        self.outcome.refused += receipt.refused;
        self.progressed |= receipt.archived > 0;
        Ok(())
    }
}

/// Why a pager stopped.
struct Stop {
    reason: Reason,
    error: StopCause,
}

enum StopCause {
    Dial(DialError),
    Closed(ClosePrefix),
    Silent,
}

/// The filter of one REQ.
/// Always with a `since`: a relay may answer a filter without any condition by nothing at all (nostr-relay 1.14 does).
fn merge(filter: &Filter, window: Window) -> Filter {
    Filter { since: window.since.or(Some(0)), until: window.until, limit: Some(window.limit), ..filter.clone() }
}
