//! The settings as the dialer wants them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bigbrotr_core::Config;
use bigbrotr_core::log::{Level, Log};
use bigbrotr_models::Network;
use tokio::sync::Semaphore;

use crate::probe::Large;
use bigbrotr_utils::{Dialer, DialerConfig, Proxies, USER_AGENT};

/// Bytes of one message. A frame's header alone reserves as much, times hundreds of strangers; the newest note of a relay
/// is far below.
const MAX_MESSAGE: usize = 128 << 10;

/// How long a try waits for a place at its address or in its overlay.
const PATIENCE: Duration = Duration::from_secs(2);

/// The dialer for the settings in force. Making one reads files, so it is kept until they change.
#[derive(Debug, Default)]
pub struct Dialers(Mutex<Option<(Arc<Config>, Pair)>>);

/// For all, and for those whose answer is a large one.
#[derive(Debug, Clone)]
pub struct Pair {
    /// With small messages.
    pub dialer: Dialer,
    /// With large ones.
    pub large: Large,
}

/// Candidates at a time that may send a message up to `max_message_size`.
const LARGE_AT_A_TIME: usize = 2;

impl Dialers {
    /// The dialer for `config`. What is wrong with a new one is said once.
    pub fn get(&self, config: &Arc<Config>, log: &Log) -> Pair {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((same, pair)) if same == config => pair.clone(),
            _ => {
                let dialer = Dialer::new(settings(config));
                if let Some(trouble) = dialer.without_roots() {
                    log.write(Level::Warning, trouble);
                }
                let large = dialer.with_max_message_size(config.max_message_size);
                let large = Large { dialer: large, permits: Arc::new(Semaphore::new(LARGE_AT_A_TIME)) };
                let pair = Pair { dialer, large };
                *kept = Some((config.clone(), pair.clone()));
                pair
            }
        }
    }
}

fn proxies(config: &Config) -> Proxies {
    Proxies { tor: config.tor_proxy.clone(), i2p: config.i2p_proxy.clone(), loki: config.loki_proxy.clone() }
}

/// The networks candidates are taken from: an overlay without a proxy is off.
pub fn networks(config: &Config) -> Vec<Network> {
    let proxies = proxies(config);
    let is_on = |network: &Network| *network == Network::Clearnet || proxies.of(*network).is_some();
    config.networks.iter().copied().filter(is_on).collect()
}

fn settings(config: &Config) -> DialerConfig {
    DialerConfig {
        name_servers: config.name_servers.clone(),
        address_policy: config.address_policy,
        ports: config.ports.clone(),
        user_agent: config.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned()),
        overlay_connect_timeout: config.overlay_connect_timeout,
        overlay_request_timeout: config.overlay_request_timeout,
        overlay_concurrency: config.overlay_concurrency,
        // Who has to wait longer is put off: thousands of names of one address, or a slow overlay, must not fill the slots.
        address_patience: PATIENCE,
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
        max_message_size: config.max_message_size.min(MAX_MESSAGE),
        proxies: proxies(config),
        networks: networks(config),
        ..DialerConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_without_a_proxy_is_off() {
        let mut config = Config { networks: vec![Network::Clearnet, Network::Tor, Network::I2p], ..Config::default() };
        config.tor_proxy = Some("127.0.0.1:9050".into());
        config.loki_proxy = Some("127.0.0.1:1090".into());
        assert_eq!(networks(&config), [Network::Clearnet, Network::Tor]);
        config.networks = vec![Network::Loki];
        assert_eq!(networks(&config), [Network::Loki]);
    }

    #[test]
    fn strangers_cannot_reserve_a_relays_message_size() {
        assert_eq!(settings(&Config::default()).max_message_size, MAX_MESSAGE);
        assert_eq!(settings(&Config { max_message_size: 4096, ..Config::default() }).max_message_size, 4096);
    }
}
