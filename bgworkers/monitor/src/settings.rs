//! The settings of the service, taken out of the worker's configuration.

use std::sync::Arc;

use bigbrotr_core::Config;
use bigbrotr_models::{AddressPolicy, Network};
use bigbrotr_utils::{Dialer, DialerConfig, Proxies, USER_AGENT};
use tokio::sync::Semaphore;

/// Cap of one WebSocket message while hundreds of relays are asked: a frame's header alone reserves memory for all of it.
const SMALL_MESSAGE: usize = 128 << 10;
/// Relays at a time that may send a message up to `max_message_size`.
const LARGE_AT_A_TIME: usize = 2;

/// What the checks of a stretch share.
#[derive(Debug)]
pub struct Settings {
    /// Opens every connection; its messages are small.
    pub dialer: Dialer,
    /// The same with the cap of the operator, for those under `large_permits`.
    pub large_dialer: Dialer,
    /// Who may use the `large_dialer`.
    pub large_permits: Semaphore,
    /// Relays checked at a time.
    pub slots: Arc<Semaphore>,
    /// `monitor_concurrency`.
    pub concurrency: usize,
    /// Age at which a relay is checked again, seconds.
    pub interval_s: i32,
    /// Networks that can be dialed: an overlay without a proxy would make all its relays look dead.
    pub networks: Vec<Network>,
    /// How relay URLs are read.
    pub address_policy: AddressPolicy,
    /// Whether round-trip times are measured.
    pub rtt: bool,
    /// Whether NIP-11 documents are fetched.
    pub nip11: bool,
}

impl Settings {
    /// Makes the dialers; call it inside the runtime.
    pub fn new(config: &Config) -> Self {
        let proxies =
            Proxies { tor: config.tor_proxy.clone(), i2p: config.i2p_proxy.clone(), loki: config.loki_proxy.clone() };
        let mut networks = config.networks.clone();
        networks.retain(|network| *network == Network::Clearnet || proxies.of(*network).is_some());
        let large_dialer = Dialer::new(DialerConfig {
            address_policy: config.address_policy,
            ports: config.ports.clone(),
            user_agent: config.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned()),
            overlay_connect_timeout: config.overlay_connect_timeout,
            overlay_request_timeout: config.overlay_request_timeout,
            overlay_concurrency: config.overlay_concurrency,
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            idle_timeout: config.idle_timeout,
            max_message_size: config.max_message_size,
            proxies,
            networks: networks.clone(),
            ..DialerConfig::default()
        });
        let concurrency = config.monitor_concurrency.max(1);
        let wants = |name: &str| config.monitor_checks.iter().any(|check| check.trim().eq_ignore_ascii_case(name));
        Self {
            dialer: large_dialer.with_max_message_size(SMALL_MESSAGE.min(config.max_message_size)),
            large_dialer,
            large_permits: Semaphore::new(LARGE_AT_A_TIME),
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            interval_s: i32::try_from(config.monitor_interval.as_secs()).unwrap_or(i32::MAX).max(1),
            networks,
            address_policy: config.address_policy,
            rtt: wants("rtt"),
            nip11: wants("nip11"),
        }
    }

    /// Whether there is anything to do at all.
    pub fn has_work(&self) -> bool {
        (self.rtt || self.nip11) && !self.networks.is_empty()
    }
}
