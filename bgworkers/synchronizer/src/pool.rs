//! Which relays are at work, and when the next ones are taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context, CycleReport, Next, Row, ServiceError, Value};
use bigbrotr_models::RelayUrl;
use bigbrotr_utils::{Dialer, DialerConfig, HostLimits, Proxies, USER_AGENT, host_key};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::archivist::Archivist;
use crate::auth;
use crate::budget::Budget;
use crate::guard::DiskGuard;
use crate::session::{self, Place, Relay, Tools};
use crate::tally::Tally;

/// How long a lease lasts without being renewed.
const LEASE: i32 = 90;
/// How often the leases of running sessions are renewed.
const RENEWAL: Duration = Duration::from_secs(30);
/// How often new relays are looked for while there is room.
const LOOK: Duration = Duration::from_secs(2);
/// How long one turn lasts at most before it reports.
const TURN: Duration = Duration::from_secs(30);
/// Relays taken in one transaction.
const MOST_CLAIMED: usize = 64;
/// How long the relays of a host that has more of them than connections are asked in turn, none staying.
const SHARED: Duration = Duration::from_secs(3600);
/// Hosts remembered as such.
const MOST_SHARED: usize = 10_000;

/// Sessions that look again while they listen.
const MOST_RECHECKS: usize = 8;

const CLAIM: &str = "SELECT relay_id, url, learned, failures, max_limit, novelty, software \
     FROM bigbrotr.claim_relays($1, $2, $3, $4, $5)";
const ENROL: &str = "SELECT bigbrotr.enrol_relays()";
const RETURN: &str = "SELECT bigbrotr.return_relays($1)";
const RELEASE_ALL: &str = "SELECT bigbrotr.release_leases()";
const RETRY_NEEDS_AUTH: &str = "SELECT bigbrotr.retry_needs_auth($1)";
const EXTEND: &str = "SELECT relay_id FROM bigbrotr.extend_leases($1, $2) AS relay_id";

/// Running sessions and what they share.
pub struct Pool {
    config: Arc<Config>,
    tools: Arc<Tools>,
    guard: DiskGuard,
    hosts: HostLimits,
    /// Hosts with more relays than connections, and since when.
    shared: HashMap<String, Instant>,
    slots: Arc<Semaphore>,
    sessions: JoinSet<Option<String>>,
    relays: HashMap<Id, (i32, AbortHandle)>,
    renewed: Instant,
    /// Whether leases of an earlier pool of this process have been given back.
    clean: bool,
}

/// Sessions that ended in one turn.
#[derive(Default)]
struct Ended {
    all: u64,
    failed: u64,
}

impl Pool {
    /// An empty pool for these settings.
    pub fn new(context: &Context, config: Arc<Config>) -> Self {
        let signer = auth::signer(&config).unwrap_or_else(|error| {
            context.progress.error(error.clone());
            context.log.write(Level::Warning, format!("relays that ask for AUTH are left alone: {error}"));
            None
        });
        let tools = Arc::new(Tools {
            context: context.clone(),
            config: config.clone(),
            dialer: dialer(&config),
            archivist: Archivist::start(context.clone(), config.clone()),
            filter_hash: config.sync_filter.hash(),
            signer,
            live: Budget::new(config.live_connections),
            tally: Tally::default(),
            rechecks: Semaphore::new(MOST_RECHECKS),
            asked: watch::channel(0).0,
        });
        Self {
            slots: Arc::new(Semaphore::new(config.synchronizer_concurrency)),
            config,
            tools,
            guard: DiskGuard::default(),
            hosts: HostLimits::default(),
            shared: HashMap::new(),
            sessions: JoinSet::new(),
            relays: HashMap::new(),
            renewed: Instant::now(),
            clean: false,
        }
    }

    /// Whether the pool was made for settings that still hold.
    pub fn fits(&self, config: &Config) -> bool {
        *self.config == *config
    }

    /// Takes relays as they become due and as room comes, until nothing is left or the turn is over.
    pub async fn turn(&mut self, context: &Context) -> Result<CycleReport, ServiceError> {
        let started = Instant::now();
        if !self.clean {
            self.tidy(context).await?;
        }
        context.store.call(ENROL, Vec::new()).await?;
        let mut ended = Ended::default();
        let mut asked = context.take_asked();
        let mut look = true;
        while !context.is_shutting_down() && self.fits(&context.config()) {
            if asked {
                self.tools.asked.send_modify(|times| *times += 1);
            }
            if let Some(reason) = self.guard.pause(context, &self.config).await? {
                // Stays in this turn, so that the reason stays in sight; passes under way come to their end.
                context.progress.set_activity(format!("paused: {reason}"));
                self.tools.live.shed(usize::MAX);
                look = true;
            } else if look {
                look = self.claim(context, std::mem::take(&mut asked)).await?;
                let live = self.tools.live.taken();
                let active = self.sessions.len().saturating_sub(live);
                context.progress.set_activity(format!("at {active} relays, listening to {live}"));
            }
            if context.memory.is_tight() {
                // Who only listens goes first.
                self.tools.live.shed(self.tools.live.taken().div_ceil(4));
            }
            self.renew(context).await?;
            if self.sessions.is_empty() && !look {
                let pause = self.config.synchronizer_interval.min(LOOK);
                return Ok(self.report(&ended, Next::After(pause)));
            }
            if started.elapsed() > TURN {
                break;
            }
            tokio::select! {
                Some(joined) = self.sessions.join_next_with_id() => {
                    self.count(joined, &mut ended);
                    while let Some(joined) = self.sessions.try_join_next_with_id() {
                        self.count(joined, &mut ended);
                    }
                    look = true;
                }
                () = tokio::time::sleep(LOOK) => look = true,
                () = context.wake.notified() => {
                    look = true;
                    asked |= context.take_asked();
                }
                () = context.until_shutdown() => {}
            }
        }
        Ok(self.report(&ended, Next::Now))
    }

    /// Before the first look: what an earlier pool of this process left.
    async fn tidy(&mut self, context: &Context) -> Result<(), ServiceError> {
        context.store.call(RELEASE_ALL, Vec::new()).await?;
        if let Some(signer) = &self.tools.signer {
            let key = Value::from(bigbrotr_models::hex::encode(&signer.pubkey()));
            context.store.call(RETRY_NEEDS_AUTH, vec![key]).await?;
        }
        self.clean = true;
        Ok(())
    }

    /// Starts sessions with relays that are due. True: there may be more.
    async fn claim(&mut self, context: &Context, asked: bool) -> Result<bool, ServiceError> {
        let room = self.slots.available_permits().min(MOST_CLAIMED);
        if room == 0 || context.memory.is_tight() {
            return Ok(false);
        }
        // Who would only wait for a connection to its host does not take a place; who listens there can be asked to go.
        let listening = self.tools.live.hosts();
        let busy = self.hosts.full().into_iter().filter(|host| !listening.contains(host)).map(Some).collect();
        let networks = self.config.networks.iter().map(|network| Some(network.as_str().to_owned())).collect();
        let args = vec![
            Value::Int(i32::try_from(room).unwrap_or(i32::MAX)),
            Value::Int(LEASE),
            Value::TextArray(networks),
            Value::Bool(asked),
            Value::TextArray(busy),
        ];
        let rows = context.store.call(CLAIM, args).await?;
        let mut returned = Vec::new();
        for row in &rows {
            let relay = relay(row)?;
            let relay_id = relay.id;
            match self.place(&relay) {
                Some(place) => self.begin(relay, place),
                None => returned.push(relay_id),
            }
        }
        let begun = rows.len() - returned.len();
        if !returned.is_empty() {
            context.store.call(RETURN, vec![Value::IntArray(returned)]).await?;
        }
        Ok(rows.len() == room && begun > 0)
    }

    /// Room for a session. None: its host has connections enough just now.
    fn place(&mut self, relay: &Relay) -> Option<Place> {
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        let Ok(url) = &relay.url else {
            return Some(Place { slot: Some(slot), host: None, host_key: String::new(), may_stay: false });
        };
        let host_key = host_key(url);
        let Some(host) = self.hosts.try_acquire(url) else {
            self.tools.live.shed_host(&host_key);
            if self.shared.len() >= MOST_SHARED {
                self.shared.clear();
            }
            self.shared.insert(host_key, Instant::now());
            return None;
        };
        let may_stay = self.shared.get(&host_key).is_none_or(|since| since.elapsed() > SHARED);
        Some(Place { slot: Some(slot), host: Some(host), host_key, may_stay })
    }

    fn begin(&mut self, relay: Relay, place: Place) {
        let (relay_id, tools) = (relay.id, self.tools.clone());
        let handle = self.sessions.spawn(async move { session::run(relay, place, &tools).await });
        self.relays.insert(handle.id(), (relay_id, handle));
    }

    /// Takes in a session that has ended.
    fn count(&mut self, joined: Result<(Id, Option<String>), JoinError>, ended: &mut Ended) {
        ended.all += 1;
        match joined {
            Ok((id, error)) => {
                self.relays.remove(&id);
                ended.failed += u64::from(error.is_some());
            }
            Err(error) => {
                self.relays.remove(&error.id());
                // Ended by us, since another synchronizer has its relay.
                if error.is_panic() {
                    // Its lease runs out; the panic itself is worth a line.
                    ended.failed += 1;
                    self.tools.context.progress.error(format!("a session panicked: {error}"));
                }
            }
        }
    }

    async fn renew(&mut self, context: &Context) -> Result<(), ServiceError> {
        if self.renewed.elapsed() <= RENEWAL || self.relays.is_empty() {
            return Ok(());
        }
        self.renewed = Instant::now();
        let relays: Vec<i32> = self.relays.values().map(|(relay_id, _)| *relay_id).collect();
        let rows = context.store.call(EXTEND, vec![Value::IntArray(relays.clone()), Value::Int(LEASE)]).await?;
        let kept = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<i32>, _>>()?;
        for (relay_id, session) in self.relays.values() {
            // A session that has just released its relay is about to end by itself, and ends here no worse.
            if !kept.contains(relay_id) {
                session.abort();
            }
        }
        Ok(())
    }

    fn report(&self, ended: &Ended, next: Next) -> CycleReport {
        let done = self.tools.tally.take();
        CycleReport {
            items: done.archived,
            detail: json!({
                "relays": ended.all, "failed": ended.failed, "live": self.tools.live.taken(), "requests": done.requests,
                "received": done.received, "archived": done.archived, "refused": done.refused, "unstored": done.unstored,
            }),
            next,
            record: ended.all > 0 || done.requests > 0 || done.archived > 0,
        }
    }
}

fn relay(row: &Row) -> Result<Relay, ServiceError> {
    Ok(Relay {
        id: row.int(0)?,
        url: RelayUrl::from_key(row.text(1)?),
        learned: serde_json::from_str(row.text(2)?).unwrap_or_default(),
        failures: u32::try_from(row.int(3)?).unwrap_or(0),
        max_limit: row.opt_int(4)?.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| *limit > 0),
        novelty: row.float(5)?,
        software: row.opt_text(6)?.unwrap_or_default().to_owned(),
    })
}

fn dialer(config: &Config) -> Dialer {
    Dialer::new(DialerConfig {
        name_servers: config.name_servers.clone(),
        address_policy: config.address_policy,
        ports: config.ports.clone(),
        user_agent: config.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned()),
        overlay_connect_timeout: config.overlay_connect_timeout,
        overlay_request_timeout: config.overlay_request_timeout,
        overlay_concurrency: config.overlay_concurrency,
        // Those it stays connected to have asked for it, by an upgrade; they are many behind one address of a hoster.
        is_counted_while_open: false,
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
        max_message_size: config.max_message_size,
        proxies: Proxies {
            tor: config.tor_proxy.clone(),
            i2p: config.i2p_proxy.clone(),
            loki: config.loki_proxy.clone(),
        },
        networks: config.networks.clone(),
        ..DialerConfig::default()
    })
}
