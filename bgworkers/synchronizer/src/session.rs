//! A session with one relay: connect, subscribe to what arrives, read what is missing, stay while there is room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::backoff::jitter;
use bigbrotr_core::{Config, Context, Value};
use bigbrotr_models::{Ranges, RelayUrl, RelayUrlError, Signer};
use bigbrotr_nips::nip01::ClosePrefix;
use bigbrotr_nips::paging::{End, Pager, Reason};
use bigbrotr_utils::{DialError, Dialer, HostPermit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::archivist::Archivist;
use crate::auth::Auth;
use crate::budget::Budget;
use crate::learned::{Learned, MIN_PAGE_LIMIT};
use crate::link::Link;
use crate::live::Left;
use crate::now;
use crate::recheck::Watch;
use crate::tally::{Outcome, Tally};
use crate::verdict::{Ending, StopCause};
pub use crate::verdict::{Failure, Stop};

/// Refusals in a row without progress, after which a session gives up.
const MAX_REFUSALS: u32 = 3;
/// Connections of one session.
const MAX_CONNECTIONS: u32 = 20;
/// A live connection that broke after so long is opened again at once.
const STEADY: Duration = Duration::from_secs(60);
/// Weight of the past in `novelty`.
const MEMORY: f64 = 0.7;
/// How long a relay that does not open live subscriptions is used without, seconds.
const DAY: i64 = 86_400;

const RELEASE: &str = "SELECT bigbrotr.release_relay($1, $2, $3, $4, $5, $6, $7, $8)";
const IS_LIVE: &str = "SELECT bigbrotr.relay_is_live($1, $2, $3)";
const COUNT: &str = "SELECT bigbrotr.count_sync($1, $2, $3, $4, $5)";

/// What all sessions share.
pub struct Tools {
    /// Store, progress, memory.
    pub context: Context,
    /// The settings the pool was made for.
    pub config: Arc<Config>,
    /// Opens connections.
    pub dialer: Dialer,
    /// Takes what came.
    pub archivist: Archivist,
    /// Which ledger.
    pub filter_hash: [u8; 32],
    /// The key to authenticate with.
    pub signer: Option<Arc<Signer>>,
    /// Seats of those that stay connected.
    pub live: Budget,
    /// Sums.
    pub tally: Tally,
    /// Re-checks of sessions that otherwise only listen.
    pub rechecks: Semaphore,
    /// Changes when somebody calls `run_service()`.
    pub asked: watch::Sender<u64>,
}

/// A claimed relay.
pub struct Relay {
    /// `relay.id`.
    pub id: i32,
    /// `relay.url`, parsed.
    pub url: Result<RelayUrl, RelayUrlError>,
    /// What earlier sessions learned.
    pub learned: Learned,
    /// Sessions that failed since the last good one.
    pub failures: u32,
    /// NIP-11 `limitation.max_limit`.
    pub max_limit: Option<u32>,
    /// New events per request lately.
    pub novelty: f64,
    /// NIP-11 software and version, as one text.
    pub software: String,
}

/// What a session occupies.
pub struct Place {
    /// One of `synchronizer_concurrency`; given up while the session only listens.
    pub slot: Option<OwnedSemaphorePermit>,
    /// One of the host's connections.
    pub host: Option<HostPermit>,
    /// The host, as connections are counted by.
    pub host_key: String,
    /// Whether the session may stay: others do not wait for its host.
    pub may_stay: bool,
}

/// One session.
pub struct Session<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) id: i32,
    pub(crate) learned: Learned,
    /// `limit` of the next request.
    pub(crate) page_limit: u32,
    /// Upper end of what may be called complete, unix seconds.
    pub(crate) horizon: i64,
    /// What was done.
    pub(crate) outcome: Outcome,
    /// New events per request lately.
    pub(crate) novelty: f64,
    /// Whether anything new was archived or proven.
    pub(crate) progressed: bool,
    /// The last thing the relay said.
    pub(crate) last_notice: Option<String>,
    /// NIP-11 software and version.
    pub(crate) software: String,
    /// What a re-check is to notice; `None`: nothing.
    pub(crate) watch: Option<Watch>,
    place: Place,
    /// `page_limit` at the beginning.
    most: u32,
    /// What of `outcome` is in the database.
    counted: Outcome,
}

/// Runs a session and releases the relay. Why it did not end well, if so.
pub async fn run(relay: Relay, place: Place, tools: &Tools) -> Option<String> {
    let most = relay.max_limit.map_or(tools.config.page_limit, |limit| limit.min(tools.config.page_limit));
    let most = relay.learned.page_limit.map_or(most, |limit| limit.clamp(MIN_PAGE_LIMIT.min(most), most));
    let mut session = Session {
        tools,
        id: relay.id,
        learned: relay.learned,
        page_limit: most,
        horizon: 0,
        outcome: Outcome::default(),
        novelty: relay.novelty,
        progressed: false,
        last_notice: None,
        software: relay.software,
        watch: None,
        place,
        most,
        counted: Outcome::default(),
    };
    session.horizon = session.lagging(now());
    let result = match &relay.url {
        Ok(url) => tokio::select! {
            result = session.run(url) => result,
            () = tools.context.until_shutdown() => Err(Failure::Leaving),
        },
        Err(error) => Err(Failure::Relay(Reason::Unsupported, format!("unusable URL: {error}"))),
    };
    session.release(result, relay.failures).await
}

impl Session<'_> {
    /// Ok: how long until it is to be asked again.
    async fn run(&mut self, url: &RelayUrl) -> Result<Duration, Failure> {
        let interval = self.tools.config.synchronizer_interval;
        let mut left = self.left().await?;
        let mut refusals = 0;
        for _ in 0..MAX_CONNECTIONS {
            let (connection, _) = self.tools.dialer.connect(url).await.map_err(Failure::Dial)?;
            let opened = Instant::now();
            let auth = Auth::new(self.tools.signer.clone(), url.as_str().to_owned());
            let mut link = Link::new(connection, self.tools.config.clone(), self.tools.archivist.known().clone(), auth);
            let proven_before = std::mem::take(&mut self.progressed);
            let ended = self.serve(&mut link, &mut left).await;
            let progressed = self.progressed;
            self.progressed |= proven_before;
            // What came last is archived whatever became of the rest.
            let mut pending = Some(self.hand_over(link.inbox.drain(), Vec::new()).await?);
            self.settle(&mut pending).await?;
            if link.auth.was_asked() {
                self.learned.key = link.auth.key();
                // A relay that hangs up on strangers is greeted properly the next time.
                let hung_up = matches!(&ended, Ok(Ended::Stopped(stop)) if stop.reason == Reason::Disconnected);
                self.learned.auth |= link.auth.is_accepted() || hung_up && !progressed;
            }
            link.close().await;
            refusals = if progressed { 0 } else { refusals + 1 };
            let stop = match ended? {
                Ended::Done => return Ok(interval),
                // The gap is short if the relay is asked soon, and a relay that hangs up each time is not.
                Ended::Live(Left::Lost) if opened.elapsed() >= STEADY => {
                    return Ok(interval.min(Duration::from_secs(2)));
                }
                Ended::Live(Left::Lost | Left::Evicted) => return Ok(interval),
                Ended::Live(Left::Stopped(stop)) | Ended::Stopped(stop) => stop,
            };
            if stop.reason == Reason::Disconnected {
                // It may break off after so many events or bytes: less at a time may come through.
                self.page_limit = (self.page_limit / 2).max(MIN_PAGE_LIMIT);
            }
            if !stop.is_passing() || refusals >= MAX_REFUSALS {
                return Err(stop.into_failure(self.last_notice.clone()));
            }
            tokio::time::sleep(jitter(Duration::from_millis(300) * (1 << refusals.min(4)))).await;
        }
        Err(Failure::Relay(Reason::Disconnected, "the connection broke again and again".to_owned()))
    }

    /// One connection, to its end.
    async fn serve(&mut self, link: &mut Link, left: &mut Ranges) -> Result<Ended, Failure> {
        if self.learned.auth
            && let Err(error) = link.authenticate().await
        {
            return Ok(Ended::Stopped(Stop::broken(error)));
        }
        if self.wants_live() {
            match link.open_live().await {
                Ok(None) => {}
                Ok(Some(end)) => match end {
                    End::Closed(prefix @ ClosePrefix::RateLimited) => {
                        self.last_notice = link.notice.take();
                        return Ok(Ended::Stopped(Stop { reason: Reason::Closed, cause: StopCause::Closed(prefix) }));
                    }
                    End::Overflow => self.learned.without_live(now(), DAY, "events without end"),
                    End::Timeout => self.learned.without_live(now(), DAY, "no EOSE"),
                    End::Closed(ClosePrefix::Unsupported | ClosePrefix::Invalid) => {
                        let why = link.notice.clone().unwrap_or_default();
                        self.learned.without_live(now(), DAY, &why);
                    }
                    // History will tell what it means.
                    _ => {}
                },
                Err(error) => {
                    if matches!(error, DialError::Oversize { .. } | DialError::Protocol(_)) {
                        // What it sends beside the answer breaks the connection; history has ways around that.
                        self.learned.without_live(now(), DAY, &error.to_string());
                    }
                    return Ok(Ended::Stopped(Stop::broken(error)));
                }
            }
        }
        self.horizon = self.lagging(now());
        let mut pager = Pager::new(left.clone(), self.page_limit, self.horizon, self.learned.limits.clone());
        // Boxed, so that a session that only listens holds no room for it.
        let stopped = Box::pin(self.drive(link, &mut pager, left)).await;
        self.learned.limits = pager.limits().clone();
        drop(pager);
        if let Some(stop) = stopped? {
            return Ok(Ended::Stopped(stop));
        }
        if let Some(stop) = Box::pin(self.reconcile_stuck(link, left)).await? {
            return Ok(Ended::Stopped(stop));
        }
        if let Some(stop) = Box::pin(self.recheck(link)).await? {
            return Ok(Ended::Stopped(stop));
        }
        if link.live.is_none() {
            return Ok(Ended::Done);
        }
        self.count(0).await?;
        let Some(ticket) = self.tools.live.admit(self.id, self.novelty, self.place.host_key.clone()) else {
            return Ok(Ended::Done);
        };
        self.forget_limits();
        self.note_live().await?;
        self.place.slot = None;
        self.stay(link, &ticket).await.map(Ended::Live)
    }

    /// Enters what was learned, and that the session stays.
    pub(crate) async fn note_live(&self) -> Result<(), Failure> {
        let learned = Value::Text(serde_json::to_string(&self.learned).ok());
        let args = vec![Value::Int(self.id), learned, Value::BigInt(self.horizon)];
        self.tools.context.store.call(IS_LIVE, args).await?;
        Ok(())
    }

    fn wants_live(&self) -> bool {
        self.place.may_stay
            && self.learned.pace_ms == 0
            && self.learned.no_live_until <= now()
            && !self.tools.context.memory.is_tight()
            && self.tools.live.would_admit(self.novelty)
    }

    /// Now, as far as completeness is concerned.
    pub(crate) fn lagging(&self, now: i64) -> i64 {
        now.saturating_sub(i64::try_from(self.tools.config.sync_lag.as_secs()).unwrap_or(0))
    }

    /// Adds to what was done.
    pub(crate) fn did(&mut self, done: &Outcome) {
        self.outcome.requests += done.requests;
        self.outcome.received += done.received;
        self.outcome.archived += done.archived;
        self.outcome.refused += done.refused;
        self.outcome.unstored += done.unstored;
        self.tools.tally.add(done);
    }

    /// Enters what was done into the database; `listened`: stretches of listening, each worth a request.
    pub(crate) async fn count(&mut self, listened: u64) -> Result<(), Failure> {
        let done = self.outcome.since(&self.counted);
        self.counted = self.outcome;
        let asked = done.requests.saturating_add(listened).max(1);
        let before = self.novelty;
        self.novelty = MEMORY * before + (1.0 - MEMORY) * (done.archived as f64 / asked as f64);
        if self.novelty < 0.001 {
            self.novelty = 0.0;
        }
        if done == Outcome::default() && self.novelty == before {
            return Ok(());
        }
        let number = |count: u64| Value::BigInt(i64::try_from(count).unwrap_or(i64::MAX));
        let (requests, received, archived) = (number(done.requests), number(done.received), number(done.archived));
        let args = vec![Value::Int(self.id), requests, received, archived, Value::Float(self.novelty)];
        self.tools.context.store.call(COUNT, args).await?;
        Ok(())
    }

    /// A pass ended well: what it had to be careful about is tried a little bolder the next time.
    fn forget_limits(&mut self) {
        self.learned.speed_up();
        self.note_page_limit();
    }

    /// Kept while it is needed; after a pass without a break twice as much is tried.
    fn note_page_limit(&mut self) {
        let (page_limit, most) = (self.page_limit, self.most);
        self.learned.page_limit = (page_limit < self.tools.config.page_limit)
            .then(|| if page_limit < most { page_limit } else { page_limit.saturating_mul(2) });
    }

    async fn release(mut self, result: Result<Duration, Failure>, failures: u32) -> Option<String> {
        match &result {
            Ok(_) => self.forget_limits(),
            Err(Failure::RateLimited(_)) => self.learned.slow_down(self.page_limit),
            Err(_) => self.note_page_limit(),
        }
        let leaving = matches!(result, Err(Failure::Leaving));
        // What cannot be counted now is not worth another try.
        let counted = if leaving { Ok(()) } else { self.count(0).await };
        let ending = Ending { result: &result, failures, progressed: self.progressed, novelty: self.novelty };
        let verdict = ending.verdict();
        let args = vec![
            Value::Int(self.id),
            Value::Bool(verdict.ok),
            Value::Text(serde_json::to_string(&self.learned).ok()),
            Value::BigInt(self.horizon),
            Value::Float(jitter(verdict.pause).as_secs_f64()),
            Value::Float(verdict.head_start),
            Value::Int(i32::try_from(verdict.failures).unwrap_or(i32::MAX)),
            Value::Text(verdict.error.clone()),
        ];
        // The place is free before the relay is: who takes it next must find room at its host.
        self.place.slot = None;
        self.place.host = None;
        match (counted, self.tools.context.store.call(RELEASE, args).await) {
            (Ok(()), Ok(_)) => verdict.error,
            // The lease runs out by itself.
            (_, Err(error)) => Some(format!("release: {error}")),
            (Err(_), _) => verdict.error.or_else(|| Some("release: not counted".to_owned())),
        }
    }
}

/// How a connection ended.
enum Ended {
    /// History is done, and there is no seat to stay.
    Done,
    /// It was live.
    Live(Left),
    /// Before history was done.
    Stopped(Stop),
}
