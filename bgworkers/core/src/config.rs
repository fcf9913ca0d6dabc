//! The settings of `bigbrotr.*` as plain data, copied from PostgreSQL when a worker starts and at each reload.

use std::net::SocketAddr;
use std::time::Duration;

use bigbrotr_models::{AddressPolicy, Filter, Network, PortPolicy};

use crate::Retention;

/// A snapshot of the settings a service needs. Units are in the types; the contract gives ranges and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `finder_interval`.
    pub finder_interval: Duration,
    /// `validator_interval`.
    pub validator_interval: Duration,
    /// `monitor_interval`: the age at which a relay is checked again.
    pub monitor_interval: Duration,
    /// `synchronizer_interval`.
    pub synchronizer_interval: Duration,
    /// `refresher_interval`.
    pub refresher_interval: Duration,
    /// `validator_concurrency`: relays at a time.
    pub validator_concurrency: usize,
    /// `monitor_concurrency`: relays at a time.
    pub monitor_concurrency: usize,
    /// `synchronizer_concurrency`: relays at a time.
    pub synchronizer_concurrency: usize,
    /// `live_connections`: relays a synchronizer stays connected to.
    pub live_connections: usize,
    /// `networks`: which networks are dialled.
    pub networks: Vec<Network>,
    /// `tor_proxy`, as `host:port`.
    pub tor_proxy: Option<String>,
    /// `i2p_proxy`, as `host:port`.
    pub i2p_proxy: Option<String>,
    /// `loki_proxy`, as `host:port`.
    pub loki_proxy: Option<String>,
    /// `allow_private_addresses`.
    pub address_policy: AddressPolicy,
    /// `dns_server`: name servers to ask; empty: those of the system.
    pub name_servers: Vec<SocketAddr>,
    /// `blocked_ports`.
    pub ports: PortPolicy,
    /// `user_agent`; `None` is the built-in one.
    pub user_agent: Option<String>,
    /// `connect_timeout`: to an open WebSocket.
    pub connect_timeout: Duration,
    /// `request_timeout`: to the first answer.
    pub request_timeout: Duration,
    /// `overlay_connect_timeout`: `connect_timeout` in Tor, I2P and Lokinet.
    pub overlay_connect_timeout: Duration,
    /// `overlay_request_timeout`: `request_timeout` in Tor, I2P and Lokinet.
    pub overlay_request_timeout: Duration,
    /// `overlay_concurrency`: connections of a service to each overlay at a time.
    pub overlay_concurrency: usize,
    /// `idle_timeout`: without any frame.
    pub idle_timeout: Duration,
    /// `max_message_size`, in bytes.
    pub max_message_size: usize,
    /// `max_event_size`, in bytes.
    pub max_event_size: usize,
    /// `page_limit`: `limit` asked of a relay.
    pub page_limit: u32,
    /// `sync_filter`.
    pub sync_filter: Filter,
    /// `sync_since`: unix seconds.
    pub sync_since: i64,
    /// `sync_lag`: what is newer than now − lag is archived but not called complete.
    pub sync_lag: Duration,
    /// `event_retention_kinds`, then `event_retention`.
    pub retention: Retention,
    /// `event_retention_size` in bytes; `None` is no limit.
    pub event_retention_size: Option<u64>,
    /// `archive_max_size` in bytes; `None` is no limit.
    pub archive_max_size: Option<u64>,
    /// `min_disk_free` in bytes; `None` is no limit.
    pub min_disk_free: Option<u64>,
    /// `vanish_enabled` (NIP-62).
    pub vanish_enabled: bool,
    /// `auth_enabled` (NIP-42).
    pub auth_enabled: bool,
    /// `publish_enabled` (NIP-66).
    pub publish_enabled: bool,
    /// `monitor_checks`.
    pub monitor_checks: Vec<String>,
    /// `write_check_enabled`: whether the monitor measures writing.
    pub write_check_enabled: bool,
    /// `publish_relays`.
    pub publish_relays: Vec<String>,
    /// `publish_interval`; `None` is `monitor_interval`.
    pub publish_interval: Option<Duration>,
    /// `monitor_profile`: content of the monitor's kind 0; `None`: none is published.
    pub monitor_profile: Option<String>,
    /// `monitor_geohash`.
    pub monitor_geohash: Option<String>,
    /// `seed_file`; `None` is the built-in list.
    pub seed_file: Option<String>,
    /// `secret_key_file`.
    pub secret_key_file: Option<String>,
    /// `geoip_city_file`.
    pub geoip_city_file: Option<String>,
    /// `geoip_asn_file`.
    pub geoip_asn_file: Option<String>,
    /// `history_retention`.
    pub history_retention: Duration,
    /// `quarantine_retention`.
    pub quarantine_retention: Duration,
    /// `worker_memory` in bytes.
    pub worker_memory: u64,
    /// `inject_fault`: a fault the tests want, as `service:fault`.
    pub inject_fault: Option<String>,
}

impl Default for Config {
    /// The defaults of the contract.
    fn default() -> Self {
        Self {
            finder_interval: Duration::from_secs(300),
            validator_interval: Duration::from_secs(60),
            monitor_interval: Duration::from_secs(3600),
            synchronizer_interval: Duration::from_secs(60),
            refresher_interval: Duration::from_secs(300),
            validator_concurrency: 512,
            monitor_concurrency: 200,
            synchronizer_concurrency: 64,
            live_connections: 200,
            networks: vec![Network::Clearnet],
            tor_proxy: None,
            i2p_proxy: None,
            loki_proxy: None,
            address_policy: AddressPolicy::default(),
            name_servers: Vec::new(),
            ports: PortPolicy::default(),
            user_agent: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            overlay_connect_timeout: Duration::from_secs(30),
            overlay_request_timeout: Duration::from_secs(30),
            overlay_concurrency: 32,
            idle_timeout: Duration::from_secs(60),
            max_message_size: 4096 << 10,
            max_event_size: 1024 << 10,
            page_limit: 500,
            sync_filter: Filter::default(),
            sync_since: 0,
            sync_lag: Duration::from_secs(30),
            retention: Retention::default(),
            event_retention_size: None,
            archive_max_size: None,
            min_disk_free: Some(2048 << 20),
            vanish_enabled: true,
            auth_enabled: false,
            publish_enabled: false,
            monitor_checks: ["nip11", "rtt", "ssl", "dns", "geo", "net", "http"].map(String::from).to_vec(),
            write_check_enabled: true,
            publish_relays: Vec::new(),
            publish_interval: None,
            monitor_profile: None,
            monitor_geohash: None,
            seed_file: None,
            secret_key_file: None,
            geoip_city_file: None,
            geoip_asn_file: None,
            history_retention: Duration::from_secs(30 * 86_400),
            quarantine_retention: Duration::from_secs(30 * 86_400),
            worker_memory: 256 << 20,
            inject_fault: None,
        }
    }
}
