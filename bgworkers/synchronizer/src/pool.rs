//! Which relays are at work, and when the next ones are taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context, CycleReport, Next, ServiceError, Value};
use bigbrotr_models::RelayUrl;
use bigbrotr_utils::{Dialer, DialerConfig, HostLimits, Proxies};
use serde_json::json;
use tokio::task::{Id, JoinSet};

use crate::archivist::Archivist;
use crate::auth;
use crate::guard::DiskGuard;
use crate::pass::{self, Outcome, Tools, Totals};

/// How long a lease lasts without being renewed.
const LEASE: i32 = 90;
/// How often the leases of running passes are renewed.
const RENEWAL: Duration = Duration::from_secs(30);
/// How often new relays are looked for while there is room.
const LOOK: Duration = Duration::from_secs(2);
/// How long one turn lasts at most before it reports.
const TURN: Duration = Duration::from_secs(30);
/// Relays taken in one transaction.
const MOST_CLAIMED: usize = 64;

const CLAIM: &str = "SELECT relay_id, url, learned, failures, max_limit FROM bigbrotr.claim_relays($1, $2, $3, $4)";
const RELEASE_ALL: &str = "SELECT bigbrotr.release_leases()";
const RETRY_NEEDS_AUTH: &str = "SELECT bigbrotr.retry_needs_auth($1)";
const EXTEND: &str = "SELECT bigbrotr.extend_leases($1, $2)";

/// Running passes and what they share.
pub struct Pool {
    config: Arc<Config>,
    tools: Arc<Tools>,
    guard: DiskGuard,
    passes: JoinSet<(i32, Outcome)>,
    relays: HashMap<Id, i32>,
    renewed: Instant,
    /// Whether leases of an earlier pool of this process have been given back.
    clean: bool,
}

impl Pool {
    /// An empty pool for these settings.
    pub fn new(context: &Context, config: Arc<Config>) -> Self {
        let dialer = Dialer::new(DialerConfig {
            address_policy: config.address_policy,
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
        });
        let signer = auth::signer(&config).unwrap_or_else(|error| {
            context.progress.error(error.clone());
            context.log.write(Level::Warning, format!("relays that ask for AUTH are left alone: {error}"));
            None
        });
        let tools = Arc::new(Tools {
            signer,
            context: context.clone(),
            config: config.clone(),
            dialer,
            hosts: HostLimits::default(),
            archivist: Archivist::start(context.clone(), config.clone()),
            filter_hash: config.sync_filter.hash(),
        });
        Self {
            config,
            tools,
            guard: DiskGuard::default(),
            passes: JoinSet::new(),
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
            context.store.call(RELEASE_ALL, Vec::new()).await?;
            if let Some(signer) = &self.tools.signer {
                let key = Value::from(bigbrotr_models::hex::encode(&signer.pubkey()));
                context.store.call(RETRY_NEEDS_AUTH, vec![key]).await?;
            }
            self.clean = true;
        }
        let mut totals = Totals::default();
        let mut asked = context.take_asked();
        let mut look = true;
        loop {
            if context.is_shutting_down() {
                break;
            }
            if let Some(reason) = self.guard.pause(context, &self.config).await? {
                context.progress.set_activity(format!("paused: {reason}"));
                // Stays in this turn, so that the reason stays in sight; passes under way come to their end.
                look = true;
            } else if look {
                look = self.claim(context, std::mem::take(&mut asked)).await?;
                context.progress.set_activity(format!(
                    "at {} relays, {} events archived in this turn",
                    self.passes.len(),
                    totals.archived
                ));
            }
            self.renew(context).await?;
            if self.passes.is_empty() && !look {
                let pause = self.config.synchronizer_interval.min(LOOK);
                return Ok(report(&totals, Next::After(pause)));
            }
            if started.elapsed() > TURN {
                return Ok(report(&totals, Next::Now));
            }
            tokio::select! {
                Some(joined) = self.passes.join_next_with_id() => {
                    self.count(joined, &mut totals);
                    self.reap(&mut totals);
                    look = true;
                }
                () = tokio::time::sleep(LOOK) => look = true,
                () = context.until_shutdown() => {}
            }
        }
        Ok(report(&totals, Next::Now))
    }

    /// Starts passes for relays that are due. True: there may be more.
    async fn claim(&mut self, context: &Context, asked: bool) -> Result<bool, ServiceError> {
        let room = self.config.synchronizer_concurrency.saturating_sub(self.passes.len()).min(MOST_CLAIMED);
        if room == 0 || context.memory.is_tight() {
            return Ok(false);
        }
        let networks = self.config.networks.iter().map(|network| Some(network.as_str().to_owned())).collect();
        let args = vec![Value::Int(room as i32), Value::Int(LEASE), Value::TextArray(networks), Value::Bool(asked)];
        let rows = context.store.call(CLAIM, args).await?;
        for row in &rows {
            let relay_id = row.int(0)?;
            let relay = pass::Relay {
                id: relay_id,
                url: RelayUrl::from_key(row.text(1)?),
                learned: serde_json::from_str(row.text(2)?).unwrap_or_default(),
                failures: u32::try_from(row.int(3)?).unwrap_or(0),
                max_limit: row.opt_int(4)?.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| *limit > 0),
            };
            let tools = self.tools.clone();
            let handle = self.passes.spawn(async move { (relay_id, pass::run(relay, &tools).await) });
            self.relays.insert(handle.id(), relay_id);
        }
        Ok(rows.len() == room && room == MOST_CLAIMED)
    }

    /// Takes in passes that have ended.
    fn reap(&mut self, totals: &mut Totals) {
        while let Some(joined) = self.passes.try_join_next_with_id() {
            self.count(joined, totals);
        }
    }

    fn count(&mut self, joined: Result<(Id, (i32, Outcome)), tokio::task::JoinError>, totals: &mut Totals) {
        match joined {
            Ok((id, (_, outcome))) => {
                self.relays.remove(&id);
                totals.add(&outcome);
            }
            // Its lease runs out; the panic itself is worth a line.
            Err(error) => {
                self.relays.remove(&error.id());
                totals.failed += 1;
                self.tools.context.progress.error(format!("a pass panicked: {error}"));
            }
        }
    }

    async fn renew(&mut self, context: &Context) -> Result<(), ServiceError> {
        if self.renewed.elapsed() > RENEWAL && !self.relays.is_empty() {
            self.renewed = Instant::now();
            let relays = self.relays.values().copied().collect();
            context.store.call(EXTEND, vec![Value::IntArray(relays), Value::Int(LEASE)]).await?;
        }
        Ok(())
    }
}

fn report(totals: &Totals, next: Next) -> CycleReport {
    CycleReport {
        items: totals.archived,
        detail: json!({
            "relays": totals.passes, "failed": totals.failed, "requests": totals.requests, "received": totals.received,
            "archived": totals.archived, "refused": totals.refused, "unstored": totals.unstored,
        }),
        next,
        record: totals.passes > 0,
    }
}
