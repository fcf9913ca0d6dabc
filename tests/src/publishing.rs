//! For tests of what the monitor publishes: a cluster whose monitor has a key, and relays it knows.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use crate::{Cluster, ClusterOptions, RelayHandle, truth};
use nostr::event::Event;
use tokio_postgres::Client;
use tokio_postgres::types::FromSql;

/// Long enough for anything here.
pub const SOON: Duration = Duration::from_secs(30);
/// The key, in hex.
pub const SECRET: &str = "00000000000000000000000000000000000000000000000000000000000000c5";

/// A cluster in which only the monitor works.
pub struct World {
    /// The cluster; its database is `postgres`.
    pub cluster: Cluster,
    /// A superuser's session.
    pub client: Client,
    /// Path of the key file.
    pub key: String,
}

impl World {
    /// Only the monitor works, and nothing is published yet.
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        let mut options = ClusterOptions::preloaded()
            .with("max_worker_processes", "16")
            .with("bigbrotr.databases", "postgres")
            .with("bigbrotr.allow_private_addresses", "on")
            .with("bigbrotr.connect_timeout", "2000")
            .with("bigbrotr.request_timeout", "2000");
        for (name, value) in truth::only(&["monitor"]) {
            options = options.with(&name, value);
        }
        for (name, value) in settings {
            options = options.with(name, value);
        }
        let cluster = Cluster::start(options);
        let client = cluster.connect("postgres").await;
        client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
        let key = key_file(&cluster, SECRET, 0o600);
        Self { cluster, client, key }
    }

    /// Begins to publish to these relays.
    pub async fn publish_to(&mut self, relays: &[&RelayHandle], more: &[(&str, &str)]) {
        let urls: Vec<_> = relays.iter().map(|relay| relay.url()).collect();
        self.publish_to_url(&urls.join(","), more).await;
    }

    /// Begins to publish to these comma-separated URLs.
    pub async fn publish_to_url(&mut self, urls: &str, more: &[(&str, &str)]) {
        let key = self.key.clone();
        let mut settings = vec![
            ("bigbrotr.publish_enabled", "on"),
            ("bigbrotr.publish_relays", urls),
            ("bigbrotr.secret_key_file", key.as_str()),
        ];
        settings.extend(more);
        self.cluster.set(&settings).await;
    }

    /// A relay the monitor does not check itself.
    pub async fn relay(&self, url: &str) -> i32 {
        let sql = "WITH r AS (INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet') RETURNING id)
                   INSERT INTO bigbrotr.relay_monitor (relay_id, next_check_at) SELECT id, now() + interval '1 day' FROM r
                   RETURNING relay_id";
        self.client.query_one(sql, &[&url]).await.expect("a relay").get(0)
    }

    /// A check by hand.
    pub async fn check(&self, relay: i32, ok: bool) {
        let sql = "SELECT bigbrotr.record_check($1, EXTRACT(epoch FROM clock_timestamp())::double precision, $2, 12.4, 30, NULL,
                                                NULL, NULL, 86400)";
        self.client.query(sql, &[&relay, &ok]).await.expect("a check");
    }

    /// A document by hand, found now.
    pub async fn document(&self, relay: i32, kind: &str, json: &str) {
        let sql = "SELECT bigbrotr.record_metadata($1, $2, bigbrotr.content_hash($3::text::jsonb), $3,
                                                   EXTRACT(epoch FROM clock_timestamp())::double precision)";
        self.client.query(sql, &[&relay, &kind, &json]).await.expect("a document");
    }

    /// A relay that was found well.
    pub async fn well(&self, url: &str, document: &str) -> i32 {
        let id = self.relay(url).await;
        self.document(id, "nip11_info", document).await;
        self.check(id, true).await;
        id
    }

    /// Waits until this SQL is true.
    pub async fn wait(&self, sql: &str, what: &str) {
        self.cluster.wait_for(&self.client, sql, SOON, what).await;
    }

    /// Waits for what no SQL can tell.
    pub async fn until(&self, what: &str, mut is_true: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_true() {
            if began.elapsed() > SOON {
                let sql = "SELECT string_agg(s::text, E'\\n') FROM bigbrotr.publish_status AS s";
                let status: Option<String> = self.one(sql).await;
                let sql = "SELECT w::text FROM bigbrotr.stat_workers AS w WHERE service = 'monitor'";
                let worker: String = self.one(sql).await;
                panic!("waited in vain for {what}: {status:?}\n{worker}\n{}", self.cluster.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One value.
    pub async fn one<T: for<'a> FromSql<'a>>(&self, sql: &str) -> T {
        let row = self.client.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }
}

/// A file of the server's user, with this mode; its path.
pub fn key_file(cluster: &Cluster, text: &str, mode: u32) -> String {
    let path = cluster.dir().join(format!("key-{mode:o}"));
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
    let owner = fs::metadata(cluster.data()).expect("the data folder");
    chown(&path, Some(owner.uid()), Some(owner.gid())).expect("given away");
    path.to_string_lossy().into_owned()
}

/// The events of a kind a relay took, oldest first, checked by somebody else's code.
pub fn taken(relay: &RelayHandle, kind: u16) -> Vec<Event> {
    let events = relay.held_events().into_iter().map(|json| Event::from_json(json.as_ref()).expect("an event"));
    let mut events: Vec<_> = events.filter(|event| event.kind.as_u16() == kind).collect();
    for event in &events {
        event.verify().expect("valid");
    }
    events.sort_by_key(|event| event.created_at);
    events
}

/// The reports on one relay.
pub fn reports(relay: &RelayHandle, d: &str) -> Vec<Event> {
    let mut reports = taken(relay, 30166);
    reports.retain(|event| values(event, "d") == [d]);
    reports
}

/// First values of the tags of this name.
pub fn values(event: &Event, name: &str) -> Vec<String> {
    let tags = event.tags.iter().map(|tag| tag.as_slice());
    tags.filter(|tag| tag[0] == name).map(|tag| tag[1].to_string()).collect()
}
