//! The settings of the service, taken out of the worker's configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use bigbrotr_core::Config;
use bigbrotr_models::{AddressPolicy, Network, Signer};
use bigbrotr_nips::nip19;
use bigbrotr_utils::{Dialer, DialerConfig, GeoIp, Proxies, USER_AGENT, secret_file};
use tokio::sync::Semaphore;

use crate::checks::Checks;
use crate::checks::write::Writer;
use crate::clock::Clocks;

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
    /// Relays of one overlay checked at a time: each may take two of its connections.
    pub overlay_checks: usize,
    /// Age at which a relay is checked again, seconds.
    pub interval_s: i32,
    /// Networks that can be dialed: an overlay without a proxy would make all its relays look dead.
    pub networks: Vec<Network>,
    /// How relay URLs are read.
    pub address_policy: AddressPolicy,
    /// What other clocks say of ours.
    pub clocks: Clocks,
    /// The checks that are chosen and can be done.
    pub checks: Checks,
    /// What writes to relays; None: nobody does.
    pub writer: Option<Writer>,
    /// Places and owners of addresses.
    pub geo: Arc<GeoIp>,
    /// Checks that are chosen and cannot be done, with the reason.
    pub off: BTreeMap<&'static str, String>,
    /// What the log should say of the key, which nobody else may read.
    pub key_trouble: Option<String>,
}

/// How this worker connects, with messages as large as a relay may send them.
pub fn dialer_config(config: &Config) -> DialerConfig {
    let proxies =
        Proxies { tor: config.tor_proxy.clone(), i2p: config.i2p_proxy.clone(), loki: config.loki_proxy.clone() };
    let mut networks = config.networks.clone();
    networks.retain(|network| *network == Network::Clearnet || proxies.of(*network).is_some());
    DialerConfig {
        address_policy: config.address_policy,
        ports: config.ports.clone(),
        user_agent: config.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned()),
        overlay_connect_timeout: config.overlay_connect_timeout,
        overlay_request_timeout: config.overlay_request_timeout,
        // The document is fetched beside an open WebSocket.
        overlay_concurrency: config.overlay_concurrency.max(2),
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
        max_message_size: config.max_message_size,
        name_servers: config.name_servers.clone(),
        proxies,
        networks,
        ..DialerConfig::default()
    }
}

impl Settings {
    /// Makes the dialers; call it inside the runtime. `geo`: files that are read already.
    pub fn new(config: &Config, geo: Option<Arc<GeoIp>>) -> Self {
        let large_dialer = Dialer::new(dialer_config(config));
        let networks = large_dialer.config().networks.clone();
        let concurrency = config.monitor_concurrency.max(1);
        let mut checks = Checks::chosen(config);
        let mut off = BTreeMap::new();
        let geo = geo.unwrap_or_else(|| Arc::new(geo_files(config)));
        for (name, chosen, state) in [("geo", &mut checks.geo, geo.has_city()), ("net", &mut checks.net, geo.has_asn())]
        {
            if *chosen && let Err(reason) = state {
                *chosen = false;
                off.insert(name, reason);
            }
        }
        let mut key_trouble = None;
        let mut writer = None;
        if config.write_check_enabled && checks.rtt {
            match writer_of(config, checks) {
                Ok(made) => writer = Some(made),
                Err(NoWriter { reason, trouble }) => {
                    off.insert("write", reason.to_owned());
                    key_trouble = trouble;
                }
            }
        }
        Self {
            dialer: large_dialer.with_max_message_size(SMALL_MESSAGE.min(config.max_message_size)),
            large_dialer,
            large_permits: Semaphore::new(LARGE_AT_A_TIME),
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            overlay_checks: (config.overlay_concurrency / 2).clamp(1, concurrency.div_ceil(2)),
            interval_s: i32::try_from(config.monitor_interval.as_secs()).unwrap_or(i32::MAX).max(1),
            networks,
            address_policy: config.address_policy,
            clocks: Clocks::default(),
            checks,
            writer,
            geo,
            off,
            key_trouble,
        }
    }

    /// Whether there is anything to do at all.
    pub fn has_work(&self) -> bool {
        self.checks.any() && !self.networks.is_empty()
    }
}

/// The files of the settings, not read yet.
pub fn geo_files(config: &Config) -> GeoIp {
    let checks = Checks::chosen(config);
    // A file nobody looks into is not read: a city file takes a hundred megabytes.
    let city = config.geoip_city_file.as_deref().filter(|_| checks.geo);
    GeoIp::new(city, config.geoip_asn_file.as_deref().filter(|_| checks.net))
}

/// Why nobody writes.
struct NoWriter {
    /// For everybody.
    reason: &'static str,
    /// For the log.
    trouble: Option<String>,
}

fn writer_of(config: &Config, checks: Checks) -> Result<Writer, NoWriter> {
    let not = |reason| NoWriter { reason, trouble: None };
    if !checks.nip11 {
        return Err(not("it needs nip11 in bigbrotr.monitor_checks, to know where writing is allowed"));
    }
    let Some(path) = &config.secret_key_file else { return Err(not("bigbrotr.secret_key_file is not set")) };
    let bad = |trouble: String| NoWriter { reason: "bigbrotr.secret_key_file cannot be used", trouble: Some(trouble) };
    let text = secret_file::read(path).map_err(|error| bad(format!("bigbrotr.secret_key_file: {error}")))?;
    let signer = nip19::secret_key(&text).ok().and_then(|secret| Signer::new(&secret));
    let no_key = || bad(format!("bigbrotr.secret_key_file: \"{path}\" holds no nsec and no 64 hex digits of a key"));
    Ok(Writer::new(Arc::new(signer.ok_or_else(no_key)?)))
}
