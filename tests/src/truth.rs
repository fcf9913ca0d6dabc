//! What the archive should hold, from what the relays hold, by code that shares nothing with the extension.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::{Cluster, ClusterOptions, RelayHandle, relay::Dialect, signed};

/// `(event id in hex, relay URL)`.
pub type Pair = (String, String);

/// Default of `bigbrotr.max_event_size`, in bytes.
const MAX_EVENT_SIZE: usize = 1 << 20;

/// Services in the order of `bigbrotr.<service>_enabled`.
pub const SERVICES: [&str; 6] = ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"];

/// Settings that switch every service off but these.
pub fn only(services: &[&str]) -> Vec<(String, &'static str)> {
    SERVICES
        .iter()
        .map(|service| (format!("bigbrotr.{service}_enabled"), if services.contains(service) { "on" } else { "off" }))
        .collect()
}

/// A preloaded cluster that archives database `postgres` as fast as tests want it, with no service but the synchronizer.
pub fn archive_options(more: &[(&str, &str)]) -> ClusterOptions {
    let mut options = ClusterOptions::preloaded()
        .with("max_worker_processes", "20")
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.synchronizer_interval", "1s")
        .with("bigbrotr.sync_lag", "1s")
        .with("bigbrotr.min_disk_free", "0");
    for (name, value) in only(&["synchronizer"]) {
        options = options.with(&name, value);
    }
    for (name, value) in more {
        options = options.with(name, value);
    }
    options
}

/// An event as strict parsers take it: no member twice, none missing, integers that are integers.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Strict {
    id: String,
    pubkey: String,
    created_at: u64,
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
    sig: String,
}

/// Whether an archive must hold this event: fields, id and signature are good, a bigint takes its time, it is not too
/// large (for the default of `bigbrotr.max_event_size`), and its kind is not ephemeral.
pub fn is_archivable(json: &str) -> bool {
    json.len() <= MAX_EVENT_SIZE
        && serde_json::from_str::<Strict>(json)
            .is_ok_and(|event| i64::try_from(event.created_at).is_ok() && !(20_000..30_000).contains(&event.kind))
        && serde_json::from_str::<Value>(json).is_ok_and(|event| signed::verify(&event).is_ok())
}

/// Every event–relay pair the archive should hold: of what the relays hold and do not withhold.
pub fn expected<'a>(relays: impl IntoIterator<Item = &'a RelayHandle>) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for relay in relays {
        let url = relay.url();
        if Dialect::INVALID.contains(&relay.options().dialect) {
            continue;
        }
        for json in relay.held_events() {
            if is_archivable(&json)
                && let Ok(event) = serde_json::from_str::<Value>(&json)
                && let Some(id) = event["id"].as_str()
                && !relay.withholds(event["kind"].as_u64().unwrap_or(0))
            {
                pairs.insert((id.to_owned(), url.clone()));
            }
        }
    }
    pairs
}

/// Makes relays known to the archive, without a validator.
///
/// # Panics
/// When they are known already.
pub async fn enrol<'a>(client: &Client, relays: impl IntoIterator<Item = &'a RelayHandle>) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

/// `created_at` of everything these relays hold, by id.
pub fn times<'a>(relays: impl IntoIterator<Item = &'a RelayHandle>) -> HashMap<String, i64> {
    let events = relays.into_iter().flat_map(RelayHandle::held_events);
    let events = events.filter_map(|json| serde_json::from_str::<Value>(&json).ok());
    events.filter_map(|event| Some((event["id"].as_str()?.to_owned(), event["created_at"].as_i64()?))).collect()
}

/// What the archive says of a second of a relay from which it lacks something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// `relay.url`.
    pub relay: String,
    /// Unix seconds.
    pub created_at: i64,
    /// `coverage.state` of that second, if the ledger has one.
    pub state: Option<String>,
    /// `relay_sync.last_error`.
    pub last_error: Option<String>,
}

impl Hole {
    /// Whether the archive admits it: the second has a state other than complete or, without one, the relay's last
    /// error says why.
    pub fn is_admitted(&self) -> bool {
        self.state.as_ref().map_or(self.last_error.is_some(), |state| state != "complete")
    }
}

/// The seconds of all expected pairs that are not archived.
///
/// # Panics
/// When the query fails.
pub async fn holes(client: &Client, expected: &BTreeSet<Pair>, times: &HashMap<String, i64>) -> BTreeSet<Hole> {
    let archived = archived(client).await;
    let missing = expected.difference(&archived);
    let seconds: BTreeSet<(&str, i64)> =
        missing.map(|(id, relay)| (relay.as_str(), times.get(id).copied().unwrap_or(-1))).collect();
    let (relays, at): (Vec<_>, Vec<_>) = seconds.into_iter().unzip();
    let rows = client
        .query(
            "SELECT u.url, u.at, (SELECT min(c.state::text) FROM bigbrotr.coverage c WHERE c.relay_id = r.id AND c.ranges @> u.at), s.last_error \
             FROM unnest($1::text[], $2::bigint[]) AS u(url, at) LEFT JOIN bigbrotr.relay r ON r.url = u.url \
             LEFT JOIN bigbrotr.relay_sync s ON s.relay_id = r.id",
            &[&relays, &at],
        )
        .await
        .expect("ledger");
    let hole = |row: &tokio_postgres::Row| Hole {
        relay: row.get(0),
        created_at: row.get(1),
        state: row.get(2),
        last_error: row.get(3),
    };
    rows.iter().map(hole).collect()
}

/// Events of the archive that should not be there: ids or signatures do not hold, or an id is there twice.
///
/// # Panics
/// When the query fails.
pub async fn forged(client: &Client) -> Vec<String> {
    let rows = client
        .query("SELECT bigbrotr.event_json(e), encode(e.id, 'hex') FROM bigbrotr.event AS e", &[])
        .await
        .expect("events");
    let mut seen = BTreeSet::new();
    let mut forged = Vec::new();
    for row in rows {
        let (json, id): (String, String) = (row.get(0), row.get(1));
        let is_exact = serde_json::from_str::<Value>(&json)
            .is_ok_and(|event| event["id"] == id.as_str() && signed::verify(&event).is_ok());
        if !is_exact || !seen.insert(id) {
            forged.push(json);
        }
    }
    forged
}

/// Every event–relay pair it does hold.
///
/// # Panics
/// When the query fails.
pub async fn archived(client: &Client) -> BTreeSet<Pair> {
    let rows = client
        .query("SELECT encode(event_id, 'hex'), relay_url FROM bigbrotr.event_relay", &[])
        .await
        .expect("event_relay");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Waits until the archive holds as many pairs as it should, then compares.
///
/// # Panics
/// With the number of missing and extra pairs, samples of both, and what the server says about the relays.
pub async fn wait_until_archived(cluster: &Cluster, client: &Client, expected: &BTreeSet<Pair>, deadline: Duration) {
    let end = Instant::now() + deadline;
    loop {
        let count: i64 = client
            .query_one("SELECT coalesce(sum(n), 0)::bigint FROM bigbrotr.sighting", &[])
            .await
            .expect("sightings")
            .get(0);
        if usize::try_from(count).unwrap_or(0) >= expected.len() || Instant::now() > end {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let archived = archived(client).await;
    let missing: Vec<&Pair> = expected.difference(&archived).collect();
    let extra: Vec<&Pair> = archived.difference(expected).collect();
    if missing.is_empty() && extra.is_empty() {
        return;
    }
    let rows = client
        .query(
            "SELECT r.url || ' ' || r.state || ' failures=' || coalesce(s.failures, -1) || ' ' || coalesce(s.last_error, '') || ' ' \
               || coalesce((SELECT string_agg(c.state || ' ' || c.ranges::text, ' ') FROM bigbrotr.coverage c WHERE c.relay_id = r.id), '') \
             FROM bigbrotr.relay r LEFT JOIN bigbrotr.relay_sync s ON s.relay_id = r.id",
            &[],
        )
        .await
        .expect("relays");
    let relays: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0).chars().take(400).collect()).collect();
    let log = cluster.log();
    let tail: Vec<&str> = log.lines().rev().take(30).collect();
    panic!(
        "{} of {} pairs missing, {} extra\nmissing: {:?}\nextra: {:?}\n{}\nlog, newest first:\n{}",
        missing.len(),
        expected.len(),
        extra.len(),
        &missing[..missing.len().min(5)],
        &extra[..extra.len().min(5)],
        relays.join("\n"),
        tail.join("\n"),
    );
}
