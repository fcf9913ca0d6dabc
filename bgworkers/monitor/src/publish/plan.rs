//! What is to be published, by which key and where to: the settings, read once.

use std::time::Duration;

use bigbrotr_core::Config;
use bigbrotr_models::{AddressPolicy, RelayUrl, Signer};
use bigbrotr_nips::nip19;
use bigbrotr_nips::nip66::{self, Announcement, Draft};
use bigbrotr_utils::{DialerConfig, secret_file};

use crate::settings;

/// Relays published to at a time.
const MAX_TARGETS: usize = 20;
/// A publish relay has nothing long to say.
const MESSAGE_SIZE: usize = 128 << 10;

/// A relay to publish to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub url: RelayUrl,
    /// A private address or local name: only such a relay is told of others of that sort.
    pub is_private: bool,
}

/// Everything the settings decide. Two equal plans need no new connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// At least one, each once.
    pub targets: Vec<Target>,
    /// Whose events.
    pub pubkey: [u8; 32],
    /// The profile, relay list and announcement.
    pub own: Vec<Draft>,
    /// Age at which a report is published again.
    pub interval: Duration,
    /// Whether relays that ask for it are told who we are (NIP-42).
    pub auth_enabled: bool,
    /// How relay URLs are read.
    pub address_policy: AddressPolicy,
    /// How long a check may take: it is recorded that much after its time.
    pub longest_check: Duration,
    /// What the operator should know.
    pub remarks: Vec<String>,
    /// How to connect.
    pub dialer: DialerConfig,
}

impl Plan {
    /// The plan and the key it needs. None: nothing is to be published.
    ///
    /// # Errors
    /// What keeps the key from being used, for people; it holds no secret.
    pub fn new(config: &Config) -> Result<Option<(Self, Signer)>, String> {
        if !config.publish_enabled || config.publish_relays.is_empty() {
            return Ok(None);
        }
        let (targets, remarks) = targets(config);
        if targets.is_empty() {
            return Err(format!("bigbrotr.publish_relays: {}", remarks.join("; ")));
        }
        let signer = signer(config)?;
        // Nothing is reported more often than it is checked.
        let interval = config.publish_interval.unwrap_or_default().max(config.monitor_interval);
        let plan = Self {
            own: own(config, &targets, interval),
            targets,
            pubkey: signer.pubkey(),
            interval,
            auth_enabled: config.auth_enabled,
            address_policy: config.address_policy,
            longest_check: 2
                * (config.connect_timeout.max(config.overlay_connect_timeout)
                    + config.request_timeout.max(config.overlay_request_timeout))
                + Duration::from_secs(60),
            remarks,
            dialer: DialerConfig {
                max_message_size: MESSAGE_SIZE.min(config.max_message_size),
                ..settings::dialer_config(config)
            },
        };
        Ok(Some((plan, signer)))
    }
}

/// Whether a URL only means something in a private network.
pub fn is_private(url: &RelayUrl) -> bool {
    RelayUrl::parse(url.as_str(), AddressPolicy { allow_private: false }).is_err()
}

fn targets(config: &Config) -> (Vec<Target>, Vec<String>) {
    let (mut targets, mut remarks): (Vec<Target>, _) = (Vec::new(), Vec::new());
    for text in &config.publish_relays {
        match RelayUrl::parse(text, config.address_policy) {
            Err(error) => remarks.push(format!("nothing is published to {text}: {error}")),
            Ok(url) if targets.iter().any(|target| target.url == url) => {}
            Ok(url) if targets.len() == MAX_TARGETS => {
                remarks.push(format!("nothing is published to {url}: {MAX_TARGETS} relays are enough"));
            }
            Ok(url) => targets.push(Target { is_private: is_private(&url), url }),
        }
    }
    (targets, remarks)
}

/// The key of `bigbrotr.secret_key_file`.
fn signer(config: &Config) -> Result<Signer, String> {
    const HINT: &str = "HINT: put the key (nsec1… or 64 hex digits) of this monitor into a file that only the server's \
                        user can read (chmod 0600), name it in bigbrotr.secret_key_file and reload";
    let Some(path) = &config.secret_key_file else {
        return Err(format!("bigbrotr.publish_enabled is on and bigbrotr.secret_key_file is not set. {HINT}"));
    };
    let text = secret_file::read(path).map_err(|error| format!("bigbrotr.secret_key_file: {error}. {HINT}"))?;
    let signer = nip19::secret_key(&text).ok().and_then(|secret| Signer::new(&secret));
    signer.ok_or_else(|| format!("bigbrotr.secret_key_file: \"{path}\" holds no key. {HINT}"))
}

fn own(config: &Config, targets: &[Target], interval: Duration) -> Vec<Draft> {
    let has_public = targets.iter().any(|target| !target.is_private);
    let listed = targets.iter().filter(|target| !(has_public && target.is_private)).map(|target| &target.url);
    let profile = config.monitor_profile.as_deref().map(nip66::profile);
    let announcement = announcement(config, interval).draft();
    profile.into_iter().chain([nip66::relay_list(listed), announcement]).collect()
}

/// The checks that run, and how long they may take.
fn announcement(config: &Config, frequency: Duration) -> Announcement {
    let has = |check: &str| config.monitor_checks.iter().any(|name| name.trim().eq_ignore_ascii_case(check));
    let (open, answer) = (config.connect_timeout, config.request_timeout);
    let all = [
        ("open", has("rtt"), Some(open)),
        ("read", has("rtt"), Some(answer)),
        // There is a key, or nothing would be announced.
        ("write", has("rtt") && has("nip11") && config.write_check_enabled, Some(answer)),
        ("nip11", has("nip11"), Some(answer)),
        ("ssl", has("ssl"), None),
        ("dns", has("dns"), None),
        ("geo", has("geo") && config.geoip_city_file.is_some(), None),
        ("net", has("net") && config.geoip_asn_file.is_some(), None),
        ("http", has("http"), None),
    ];
    let run = all.into_iter().filter(|(_, runs, _)| *runs);
    Announcement {
        frequency,
        timeouts: run.clone().filter_map(|(name, _, limit)| Some((name, limit?))).collect(),
        checks: run.map(|(name, ..)| name).collect(),
        geohash: config.monitor_geohash.clone(),
    }
}
