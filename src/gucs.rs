//! Every setting of the extension, in the order of the documentation, and their copy as plain data.
//!
//! `Sighup` settings belong to the launcher, which has no database. `Suset` ones may also be set per database; a worker
//! reads those when it starts.

use std::ffi::{CStr, CString};
use std::time::Duration;

use bigbrotr_core::retention::{Keep, parse_rules};
use bigbrotr_core::{Config, Retention, ServiceKind};
use bigbrotr_models::{AddressPolicy, Filter, Network, PortPolicy};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

mod checks;
mod list;

pub use checks::{parse_name_servers, parse_proxy};
pub use list::parse_list;

type Text = GucSetting<Option<CString>>;
const fn empty() -> Text {
    Text::new(Some(c""))
}

static DATABASES: Text = empty();
static ENABLED: [GucSetting<bool>; 6] = [const { GucSetting::<bool>::new(true) }; 6];
static SYNCHRONIZER_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(1);
static FINDER_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(300);
static VALIDATOR_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static MONITOR_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(3600);
static SYNCHRONIZER_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static REFRESHER_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(300);
static VALIDATOR_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(512);
static MAX_RELAYS_PER_DOMAIN: GucSetting<i32> = GucSetting::<i32>::new(500);
static MONITOR_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(200);
static SYNCHRONIZER_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(64);
static LIVE_CONNECTIONS: GucSetting<i32> = GucSetting::<i32>::new(200);
static WORKER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(2);
static WORKER_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(256);
static NETWORKS: Text = Text::new(Some(c"clearnet"));
static TOR_PROXY: Text = empty();
static I2P_PROXY: Text = empty();
static LOKI_PROXY: Text = empty();
static ALLOW_PRIVATE_ADDRESSES: GucSetting<bool> = GucSetting::<bool>::new(false);
static DNS_SERVER: Text = empty();
static BLOCKED_PORTS: Text = Text::new(Some(PortPolicy::DEFAULT));
static USER_AGENT: Text = empty();
static OVERLAY_CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static OVERLAY_REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static OVERLAY_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(32);
static CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static REQUEST_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static MAX_MESSAGE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(4096);
static MAX_EVENT_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024);
static MAX_CANDIDATES: GucSetting<i32> = GucSetting::<i32>::new(1_000_000);
static MAX_CANDIDATES_PER_AUTHOR: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static MAX_CANDIDATES_PER_DOMAIN: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static PAGE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(500);
static SYNC_FILTER: Text = Text::new(Some(c"{}"));
static SYNC_SINCE: GucSetting<i32> = GucSetting::<i32>::new(0);
static SYNC_LAG: GucSetting<i32> = GucSetting::<i32>::new(30);
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(0);
static EVENT_RETENTION_KINDS: Text = empty();
static EVENT_RETENTION_SIZE: GucSetting<i32> = GucSetting::<i32>::new(0);
static ARCHIVE_MAX_SIZE: GucSetting<i32> = GucSetting::<i32>::new(0);
static MIN_DISK_FREE: GucSetting<i32> = GucSetting::<i32>::new(2048);
static VANISH_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static AUTH_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(false);
static PUBLISH_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(false);
static WRITE_CHECK_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static MONITOR_CHECKS: Text = Text::new(Some(c"nip11,rtt,ssl,dns,geo,net,http"));
static PUBLISH_RELAYS: Text = empty();
static PUBLISH_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);
static MONITOR_PROFILE: Text = Text::new(Some(
    c"{\"name\":\"bigbrotr monitor\",\"about\":\"Relay monitor (NIP-66), run with BigBrotr for PostgreSQL\",\"bot\":true}",
));
static MONITOR_GEOHASH: Text = empty();
static SEED_FILE: Text = empty();
static SECRET_KEY_FILE: Text = empty();
static GEOIP_CITY_FILE: Text = empty();
static GEOIP_ASN_FILE: Text = empty();
static HISTORY_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(2_592_000);
static QUARANTINE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(2_592_000);
static INJECT_FAULT: Text = empty();

const R: GucContext = GucContext::Sighup;
const S: GucContext = GucContext::Suset;
const SECONDS: GucFlags = GucFlags::UNIT_S;
const MILLISECONDS: GucFlags = GucFlags::UNIT_MS;
const MEGABYTES: GucFlags = GucFlags::UNIT_MB;
const KILOBYTES: GucFlags = GucFlags::UNIT_KB;
const PLAIN: GucFlags = GucFlags::empty();
const DAY: i32 = 86_400;

fn bool(
    name: &'static CStr,
    setting: &'static GucSetting<bool>,
    context: GucContext,
    short: &'static CStr,
    long: &'static CStr,
) {
    GucRegistry::define_bool_guc(name, short, long, setting, context, PLAIN);
}

#[allow(clippy::too_many_arguments)]
fn int(
    name: &'static CStr,
    setting: &'static GucSetting<i32>,
    min: i32,
    max: i32,
    context: GucContext,
    unit: GucFlags,
    short: &'static CStr,
    long: &'static CStr,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, unit);
}

fn text(
    name: &'static CStr,
    setting: &'static Text,
    context: GucContext,
    flags: GucFlags,
    check: pgrx::pg_sys::GucStringCheckHook,
    short: &'static CStr,
    long: &'static CStr,
) {
    // SAFETY: every hook in `checks` is wrapped in pg_guard, so a panic in it becomes a PostgreSQL error.
    unsafe { GucRegistry::define_string_guc_with_hooks(name, short, long, setting, context, flags, check, None, None) }
}

/// Registers all of them. Called from `_PG_init`, whether or not the library is preloaded.
pub fn register() {
    text(
        c"bigbrotr.databases",
        &DATABASES,
        R,
        PLAIN,
        Some(checks::databases),
        c"Databases whose workers run.",
        c"Comma-separated, at most 32; names keep their case. Empty: no worker runs and nothing goes to the network.",
    );
    for (kind, name, short) in [
        (
            ServiceKind::Seeder,
            c"bigbrotr.seeder_enabled",
            c"Runs the seeder, which puts known relay URLs into candidate.",
        ),
        (
            ServiceKind::Finder,
            c"bigbrotr.finder_enabled",
            c"Runs the finder, which looks for relay URLs in archived events and API sources.",
        ),
        (
            ServiceKind::Validator,
            c"bigbrotr.validator_enabled",
            c"Runs the validator, which promotes candidates that answer as Nostr relays.",
        ),
        (ServiceKind::Monitor, c"bigbrotr.monitor_enabled", c"Runs the monitor, which watches the health of relays."),
        (
            ServiceKind::Synchronizer,
            c"bigbrotr.synchronizer_enabled",
            c"Runs the synchronizer, which archives the events of relays.",
        ),
        (
            ServiceKind::Refresher,
            c"bigbrotr.refresher_enabled",
            c"Runs the refresher, which does maintenance and keeps limits.",
        ),
    ] {
        bool(
            name,
            &ENABLED[kind as usize],
            R,
            short,
            c"Takes effect within a second of a reload, in every database of bigbrotr.databases.",
        );
    }
    int(
        c"bigbrotr.synchronizer_workers",
        &SYNCHRONIZER_WORKERS,
        1,
        16,
        R,
        PLAIN,
        c"Processes that synchronize one database.",
        c"They share the relays by leases. Each needs one of max_worker_processes.",
    );
    int(
        c"bigbrotr.finder_interval",
        &FINDER_INTERVAL,
        1,
        30 * DAY,
        S,
        SECONDS,
        c"Pause between two cycles of the finder.",
        c"It follows the archive from where it stopped; bigbrotr.run_service('finder') starts a cycle at once.",
    );
    int(
        c"bigbrotr.validator_interval",
        &VALIDATOR_INTERVAL,
        1,
        30 * DAY,
        S,
        SECONDS,
        c"Pause between two cycles of the validator.",
        c"Each candidate has its own next attempt, from a minute after a failure to a week.",
    );
    int(
        c"bigbrotr.monitor_interval",
        &MONITOR_INTERVAL,
        1,
        30 * DAY,
        S,
        SECONDS,
        c"Age at which a relay is checked again.",
        c"Relays that fail are looked at sooner at first, later when they stay silent.",
    );
    int(
        c"bigbrotr.synchronizer_interval",
        &SYNCHRONIZER_INTERVAL,
        1,
        30 * DAY,
        S,
        SECONDS,
        c"Pause before a relay is asked again for what is new.",
        c"A relay that has more to give is not paused.",
    );
    int(
        c"bigbrotr.refresher_interval",
        &REFRESHER_INTERVAL,
        1,
        30 * DAY,
        S,
        SECONDS,
        c"Pause between two cycles of the refresher.",
        c"Each cycle does a bounded piece of maintenance.",
    );
    int(
        c"bigbrotr.validator_concurrency",
        &VALIDATOR_CONCURRENCY,
        1,
        10_000,
        S,
        PLAIN,
        c"Candidates the validator tries at a time.",
        c"Each takes a connection for seconds.",
    );
    int(
        c"bigbrotr.max_relays_per_domain",
        &MAX_RELAYS_PER_DOMAIN,
        0,
        i32::MAX,
        S,
        PLAIN,
        c"Relays below one registrable domain or at one address that candidates named by events and APIs may become.",
        c"0: no limit. Seeds and seed() may exceed it. What is beyond it stays a candidate.",
    );
    int(
        c"bigbrotr.monitor_concurrency",
        &MONITOR_CONCURRENCY,
        1,
        10_000,
        S,
        PLAIN,
        c"Relays the monitor checks at a time.",
        c"Each takes a connection and little memory.",
    );
    int(
        c"bigbrotr.synchronizer_concurrency",
        &SYNCHRONIZER_CONCURRENCY,
        1,
        10_000,
        S,
        PLAIN,
        c"Relays a synchronizer talks to at a time.",
        c"Each of bigbrotr.synchronizer_workers talks to as many.",
    );
    int(
        c"bigbrotr.live_connections",
        &LIVE_CONNECTIONS,
        0,
        10_000,
        S,
        PLAIN,
        c"Relays a synchronizer stays connected to, to hear of new events at once.",
        c"Besides bigbrotr.synchronizer_concurrency; of each synchronizer. The rest is asked every bigbrotr.synchronizer_interval. 0: all are.",
    );
    int(
        c"bigbrotr.max_candidates",
        &MAX_CANDIDATES,
        0,
        i32::MAX,
        S,
        PLAIN,
        c"Candidates at a time.",
        c"0: no limit. Beyond it what events and APIs name is counted in candidate_refusal; seeds and seed() may exceed it.",
    );
    int(
        c"bigbrotr.max_candidates_per_author",
        &MAX_CANDIDATES_PER_AUTHOR,
        0,
        i32::MAX,
        S,
        PLAIN,
        c"Candidates that the events of one author may add in a day.",
        c"0: no limit. What is beyond it is counted in candidate_refusal, and comes in when it is named again and there is room.",
    );
    int(
        c"bigbrotr.max_candidates_per_domain",
        &MAX_CANDIDATES_PER_DOMAIN,
        0,
        i32::MAX,
        S,
        PLAIN,
        c"Candidates and relays that may be found below one registrable domain or at one address.",
        c"0: no limit. What is beyond it is counted in candidate_refusal, and comes in when it is named again and there is room.",
    );
    int(
        c"bigbrotr.worker_threads",
        &WORKER_THREADS,
        1,
        64,
        S,
        PLAIN,
        c"Network threads of a worker.",
        c"Read when a worker starts.",
    );
    int(
        c"bigbrotr.worker_memory",
        &WORKER_MEMORY,
        16,
        65_536,
        S,
        MEGABYTES,
        c"Memory budget of a worker.",
        c"Above 80 % it stops reading sockets; at 100 % it ends in order and is started again.",
    );
    text(
        c"bigbrotr.networks",
        &NETWORKS,
        S,
        PLAIN,
        Some(checks::networks),
        c"Networks whose relays are dialled: clearnet, tor, i2p, loki.",
        c"The last three need their proxy setting.",
    );
    for (name, setting, short) in [
        (c"bigbrotr.tor_proxy", &TOR_PROXY, c"SOCKS5 proxy for .onion relays."),
        (c"bigbrotr.i2p_proxy", &I2P_PROXY, c"SOCKS5 proxy for .i2p relays."),
        (c"bigbrotr.loki_proxy", &LOKI_PROXY, c"SOCKS5 proxy for .loki relays."),
    ] {
        text(
            name,
            setting,
            S,
            PLAIN,
            Some(checks::proxy),
            short,
            c"As socks5://host:port. Empty: that network is off.",
        );
    }
    bool(
        c"bigbrotr.allow_private_addresses",
        &ALLOW_PRIVATE_ADDRESSES,
        S,
        c"Admits loopback and private addresses, localhost, single-label and *.local hosts.",
        c"For tests and private networks: with it, a stranger's URL can make this server connect to its own network.",
    );
    text(
        c"bigbrotr.dns_server",
        &DNS_SERVER,
        S,
        PLAIN,
        Some(checks::name_servers),
        c"Name servers to ask instead of the system's.",
        c"Comma-separated addresses, each with a port or without: 127.0.0.1, 127.0.0.1:5353, [::1]:53. Empty: those of resolv.conf.",
    );
    text(
        c"bigbrotr.blocked_ports",
        &BLOCKED_PORTS,
        S,
        PLAIN,
        Some(checks::blocked_ports),
        c"Ports no relay, document or API is fetched from.",
        c"Comma-separated ports and ranges such as 6665-6669, in every network, also with bigbrotr.allow_private_addresses. The default is what browsers block, and databases. Empty: none.",
    );
    text(
        c"bigbrotr.user_agent",
        &USER_AGENT,
        S,
        PLAIN,
        Some(checks::user_agent),
        c"Who asks, in every request.",
        c"Visible ASCII. Empty: bigbrotr, its version and its address. Put a way to reach you into it.",
    );
    int(
        c"bigbrotr.overlay_connect_timeout",
        &OVERLAY_CONNECT_TIMEOUT,
        100,
        600_000,
        S,
        MILLISECONDS,
        c"Time to an open WebSocket in tor, i2p and loki.",
        c"In place of bigbrotr.connect_timeout there: a way has to be built first.",
    );
    int(
        c"bigbrotr.overlay_request_timeout",
        &OVERLAY_REQUEST_TIMEOUT,
        100,
        600_000,
        S,
        MILLISECONDS,
        c"Time to the first answer to a request in tor, i2p and loki.",
        c"In place of bigbrotr.request_timeout there.",
    );
    int(
        c"bigbrotr.overlay_concurrency",
        &OVERLAY_CONCURRENCY,
        1,
        10_000,
        S,
        PLAIN,
        c"Connections of a service to each of tor, i2p and loki at a time.",
        c"Further relays of that network are put off, so that a slow network does not take the places of the clearnet.",
    );
    int(
        c"bigbrotr.connect_timeout",
        &CONNECT_TIMEOUT,
        100,
        600_000,
        S,
        MILLISECONDS,
        c"Time to an open WebSocket.",
        c"Look-up, TCP, TLS and upgrade together.",
    );
    int(
        c"bigbrotr.request_timeout",
        &REQUEST_TIMEOUT,
        100,
        600_000,
        S,
        MILLISECONDS,
        c"Time to the first answer to a request.",
        c"A relay that lets it pass counts as silent; that is never taken for an empty answer.",
    );
    int(
        c"bigbrotr.idle_timeout",
        &IDLE_TIMEOUT,
        100,
        3_600_000,
        S,
        MILLISECONDS,
        c"Time without any frame after which a connection counts as dead.",
        c"A connection is closed then, and what was fetched is kept.",
    );
    int(
        c"bigbrotr.max_message_size",
        &MAX_MESSAGE_SIZE,
        16,
        65_536,
        S,
        KILOBYTES,
        c"Largest WebSocket message that is read.",
        c"Larger ones are refused and counted.",
    );
    int(
        c"bigbrotr.max_event_size",
        &MAX_EVENT_SIZE,
        1,
        16_384,
        S,
        KILOBYTES,
        c"Largest event that is archived.",
        c"Larger ones are refused and counted.",
    );
    int(
        c"bigbrotr.page_limit",
        &PAGE_LIMIT,
        10,
        5_000,
        S,
        PLAIN,
        c"The limit asked of a relay in one request.",
        c"A relay that gives less is noticed and asked for what it gives.",
    );
    text(
        c"bigbrotr.sync_filter",
        &SYNC_FILTER,
        S,
        PLAIN,
        Some(checks::sync_filter),
        c"What to archive, as a NIP-01 filter.",
        c"Without since, until and limit. Each filter has a ledger of its own in coverage.",
    );
    int(
        c"bigbrotr.sync_since",
        &SYNC_SINCE,
        0,
        i32::MAX,
        S,
        PLAIN,
        c"How far back to archive, in unix seconds.",
        c"0: from the beginning. Nothing older is asked for, and coverage counts from here.",
    );
    int(
        c"bigbrotr.sync_lag",
        &SYNC_LAG,
        0,
        DAY,
        S,
        SECONDS,
        c"What is newer than this is archived but not called complete.",
        c"Events arrive late: what is that young is looked at again.",
    );
    int(
        c"bigbrotr.event_retention",
        &EVENT_RETENTION,
        0,
        i32::MAX,
        S,
        SECONDS,
        c"Age at which events leave the archive; 0 keeps them for ever.",
        c"Counted by created_at. It also applies to what relays offer again, and the synchronizer asks for nothing older.",
    );
    text(
        c"bigbrotr.event_retention_kinds",
        &EVENT_RETENTION_KINDS,
        S,
        PLAIN,
        Some(checks::retention_kinds),
        c"Age at which events of some kinds leave the archive.",
        c"Comma-separated kinds=age: a kind or a range such as 20000-29999, and an age such as 30d; 0: not kept, or forever. The first match wins; bigbrotr.event_retention is for the other kinds.",
    );
    int(
        c"bigbrotr.event_retention_size",
        &EVENT_RETENTION_SIZE,
        0,
        i32::MAX,
        S,
        MEGABYTES,
        c"Size of the archive above which its oldest events leave it; 0: no limit.",
        c"What is alive counts, not the files, which do not shrink. Nothing as old as what has left is taken in again.",
    );
    int(
        c"bigbrotr.archive_max_size",
        &ARCHIVE_MAX_SIZE,
        0,
        i32::MAX,
        S,
        MEGABYTES,
        c"Size of the archive at which the synchronizer pauses; 0: no limit.",
        c"Events and sightings with their indexes count. The synchronizer says in its activity and in the log that it pauses.",
    );
    int(
        c"bigbrotr.min_disk_free",
        &MIN_DISK_FREE,
        0,
        i32::MAX,
        S,
        MEGABYTES,
        c"Free disk space below which the synchronizer pauses; 0: no limit.",
        c"Looked at on the disk of the data directory. The synchronizer says in its activity and in the log that it pauses.",
    );
    bool(
        c"bigbrotr.vanish_enabled",
        &VANISH_ENABLED,
        S,
        c"Honours requests to vanish (NIP-62) addressed to ALL_RELAYS.",
        c"What the author wrote up to the request leaves the archive and stays out.",
    );
    bool(
        c"bigbrotr.auth_enabled",
        &AUTH_ENABLED,
        S,
        c"Authenticates to relays that ask for it (NIP-42).",
        c"Needs bigbrotr.secret_key_file. It ties the address of this server to that key.",
    );
    bool(
        c"bigbrotr.publish_enabled",
        &PUBLISH_ENABLED,
        S,
        c"Publishes what the monitor finds (NIP-66).",
        c"Kinds 0, 10002, 10166 and 30166, by the monitor. Needs bigbrotr.secret_key_file, with a key of its own, and bigbrotr.publish_relays.",
    );
    text(
        c"bigbrotr.monitor_checks",
        &MONITOR_CHECKS,
        S,
        PLAIN,
        Some(checks::monitor_checks),
        c"What the monitor checks: nip11, rtt, ssl, dns, geo, net, http.",
        c"Geo needs bigbrotr.geoip_city_file, net needs bigbrotr.geoip_asn_file; without them they are off, and the monitor says so.",
    );
    bool(
        c"bigbrotr.write_check_enabled",
        &WRITE_CHECK_ENABLED,
        S,
        c"Measures how long relays take to accept an event.",
        c"Needs bigbrotr.secret_key_file and the checks rtt and nip11. An ephemeral event is sent where the relay's NIP-11 document does not forbid it.",
    );
    text(
        c"bigbrotr.publish_relays",
        &PUBLISH_RELAYS,
        S,
        PLAIN,
        Some(checks::relay_urls),
        c"Relays to publish to.",
        c"Comma-separated; the first 20 are used. The monitor keeps one connection to each.",
    );
    int(
        c"bigbrotr.publish_interval",
        &PUBLISH_INTERVAL,
        0,
        30 * DAY,
        S,
        SECONDS,
        c"Age at which the report of a relay that is online is published again; 0: bigbrotr.monitor_interval.",
        c"A relay whose document, place or network changed is reported after the check that found it. Announced as the frequency of the monitor.",
    );
    text(
        c"bigbrotr.monitor_profile",
        &MONITOR_PROFILE,
        S,
        PLAIN,
        Some(checks::monitor_profile),
        c"Profile of the monitor, the content of its kind 0 event.",
        c"A JSON object with name, about and the like. Empty: none is published.",
    );
    text(
        c"bigbrotr.monitor_geohash",
        &MONITOR_GEOHASH,
        S,
        PLAIN,
        Some(checks::monitor_geohash),
        c"Where the monitor is, as a geohash, for its announcement.",
        c"1 to 12 characters; the fewer, the larger the region. Empty: it does not say.",
    );
    text(
        c"bigbrotr.seed_file",
        &SEED_FILE,
        S,
        PLAIN,
        None,
        c"File of relay URLs that replaces the built-in list.",
        c"One URL a line, # begins a comment. Read by the seeder when it runs.",
    );
    text(
        c"bigbrotr.secret_key_file",
        &SECRET_KEY_FILE,
        S,
        GucFlags::SUPERUSER_ONLY,
        None,
        c"File with the secret key (nsec or hex) used to authenticate and to publish.",
        c"Nobody but its owner may read it, as with ssl_key_file; the key is never logged or stored.",
    );
    for (name, setting, short) in [
        (c"bigbrotr.geoip_city_file", &GEOIP_CITY_FILE, c"MaxMind city database."),
        (c"bigbrotr.geoip_asn_file", &GEOIP_ASN_FILE, c"MaxMind ASN database."),
    ] {
        text(
            name,
            setting,
            S,
            GucFlags::SUPERUSER_ONLY,
            None,
            short,
            c"Read into memory by the monitor, and again within a minute when it changes.",
        );
    }
    int(
        c"bigbrotr.history_retention",
        &HISTORY_RETENTION,
        0,
        i32::MAX,
        S,
        SECONDS,
        c"How long cycles and checks are kept.",
        c"Rows of stat_cycles, relay_check, relay_change and relay_period.",
    );
    int(
        c"bigbrotr.quarantine_retention",
        &QUARANTINE_RETENTION,
        0,
        i32::MAX,
        S,
        SECONDS,
        c"How long refused bytes are kept.",
        c"At most 100,000 are kept however young they are.",
    );
    text(
        c"bigbrotr.inject_fault",
        &INJECT_FAULT,
        S,
        GucFlags::NO_SHOW_ALL | GucFlags::SUPERUSER_ONLY,
        None,
        c"For the tests of this extension.",
        c"service:fault, where fault is sql, panic, main, exit, busy or memory.",
    );
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    // SAFETY: called once from _PG_init with a static string.
    unsafe {
        pgrx::pg_sys::MarkGUCPrefixReserved(c"bigbrotr".as_ptr());
    }
}

fn string(setting: &Text) -> String {
    setting.get().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

fn optional(setting: &Text) -> Option<String> {
    Some(string(setting)).filter(|value| !value.is_empty())
}

fn items(setting: &Text) -> Vec<String> {
    // The check hook has accepted it, so an error can only mean an empty setting.
    parse_list(&string(setting)).unwrap_or_default()
}

fn seconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_secs(u64::from(setting.get().unsigned_abs()))
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::from(setting.get().unsigned_abs()))
}

fn count(setting: &GucSetting<i32>) -> usize {
    setting.get().unsigned_abs() as usize
}

fn limit_in_bytes(setting: &GucSetting<i32>) -> Option<u64> {
    Some(u64::from(setting.get().unsigned_abs()) << 20).filter(|bytes| *bytes > 0)
}

/// `bigbrotr.databases`.
pub fn databases() -> Vec<String> {
    items(&DATABASES)
}

/// `bigbrotr.<service>_enabled`.
pub fn enabled(kind: ServiceKind) -> bool {
    ENABLED[kind as usize].get()
}

/// Processes of a service per database.
pub fn workers_of(kind: ServiceKind) -> usize {
    if kind == ServiceKind::Synchronizer { count(&SYNCHRONIZER_WORKERS) } else { 1 }
}

/// `bigbrotr.worker_threads`.
pub fn worker_threads() -> usize {
    count(&WORKER_THREADS)
}

/// `bigbrotr.seed_file` as the configuration file has it.
pub fn seed_file() -> Option<String> {
    optional(&SEED_FILE)
}

/// `bigbrotr.allow_private_addresses` as the URL rules take it.
pub fn address_policy() -> AddressPolicy {
    AddressPolicy { allow_private: ALLOW_PRIVATE_ADDRESSES.get() }
}

/// `bigbrotr.max_event_size` in bytes.
pub fn max_event_size() -> usize {
    count(&MAX_EVENT_SIZE) << 10
}

/// The fault a test wants in this service (`sql`, `panic`, `main`, `exit`).
pub fn fault_of(kind: ServiceKind) -> Option<String> {
    let setting = optional(&INJECT_FAULT)?;
    let (service, fault) = setting.split_once(':')?;
    (service == kind.as_str()).then(|| fault.to_owned())
}

fn retention() -> Retention {
    let age = seconds(&EVENT_RETENTION);
    let rest = if age.is_zero() { Keep::Always } else { Keep::For(age) };
    // The check hook has accepted it.
    Retention::new(parse_rules(&string(&EVENT_RETENTION_KINDS)).unwrap_or_default(), rest)
}

/// A copy of all settings the services need.
pub fn config() -> Config {
    Config {
        finder_interval: seconds(&FINDER_INTERVAL),
        validator_interval: seconds(&VALIDATOR_INTERVAL),
        monitor_interval: seconds(&MONITOR_INTERVAL),
        synchronizer_interval: seconds(&SYNCHRONIZER_INTERVAL),
        refresher_interval: seconds(&REFRESHER_INTERVAL),
        validator_concurrency: count(&VALIDATOR_CONCURRENCY),
        monitor_concurrency: count(&MONITOR_CONCURRENCY),
        synchronizer_concurrency: count(&SYNCHRONIZER_CONCURRENCY),
        live_connections: count(&LIVE_CONNECTIONS),
        networks: items(&NETWORKS).iter().filter_map(|name| name.parse::<Network>().ok()).collect(),
        tor_proxy: optional(&TOR_PROXY).and_then(|url| parse_proxy(&url).ok()),
        i2p_proxy: optional(&I2P_PROXY).and_then(|url| parse_proxy(&url).ok()),
        loki_proxy: optional(&LOKI_PROXY).and_then(|url| parse_proxy(&url).ok()),
        address_policy: address_policy(),
        // The check hook has accepted it.
        name_servers: parse_name_servers(&string(&DNS_SERVER)).unwrap_or_default(),
        ports: string(&BLOCKED_PORTS).parse().unwrap_or_default(),
        user_agent: optional(&USER_AGENT),
        overlay_connect_timeout: milliseconds(&OVERLAY_CONNECT_TIMEOUT),
        overlay_request_timeout: milliseconds(&OVERLAY_REQUEST_TIMEOUT),
        overlay_concurrency: count(&OVERLAY_CONCURRENCY),
        connect_timeout: milliseconds(&CONNECT_TIMEOUT),
        request_timeout: milliseconds(&REQUEST_TIMEOUT),
        idle_timeout: milliseconds(&IDLE_TIMEOUT),
        max_message_size: count(&MAX_MESSAGE_SIZE) << 10,
        max_event_size: max_event_size(),
        page_limit: PAGE_LIMIT.get().unsigned_abs(),
        sync_filter: Filter::from_json(&string(&SYNC_FILTER)).unwrap_or_default(),
        sync_since: i64::from(SYNC_SINCE.get()),
        sync_lag: seconds(&SYNC_LAG),
        retention: retention(),
        event_retention_size: limit_in_bytes(&EVENT_RETENTION_SIZE),
        archive_max_size: limit_in_bytes(&ARCHIVE_MAX_SIZE),
        min_disk_free: limit_in_bytes(&MIN_DISK_FREE),
        vanish_enabled: VANISH_ENABLED.get(),
        auth_enabled: AUTH_ENABLED.get(),
        publish_enabled: PUBLISH_ENABLED.get(),
        monitor_checks: items(&MONITOR_CHECKS),
        write_check_enabled: WRITE_CHECK_ENABLED.get(),
        publish_relays: items(&PUBLISH_RELAYS),
        publish_interval: Some(seconds(&PUBLISH_INTERVAL)).filter(|interval| !interval.is_zero()),
        monitor_profile: optional(&MONITOR_PROFILE),
        monitor_geohash: optional(&MONITOR_GEOHASH),
        seed_file: seed_file(),
        secret_key_file: optional(&SECRET_KEY_FILE),
        geoip_city_file: optional(&GEOIP_CITY_FILE),
        geoip_asn_file: optional(&GEOIP_ASN_FILE),
        history_retention: seconds(&HISTORY_RETENTION),
        quarantine_retention: seconds(&QUARANTINE_RETENTION),
        worker_memory: u64::from(WORKER_MEMORY.get().unsigned_abs()) << 20,
        inject_fault: optional(&INJECT_FAULT),
    }
}
