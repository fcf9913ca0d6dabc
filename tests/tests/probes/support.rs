//! A cluster in which only the monitor works, and what it recorded.

use std::time::Duration;

use bigbrotr_tests::{Cluster, ClusterOptions};
use serde_json::Value;
use tokio_postgres::Client;

pub const DATABASE: &str = "nostr";
pub const SOON: Duration = Duration::from_secs(30);

pub fn options(settings: &[(&str, &str)]) -> ClusterOptions {
    let mut options = ClusterOptions::preloaded()
        .with("max_worker_processes", "16")
        .with("bigbrotr.databases", DATABASE)
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.connect_timeout", "2000")
        .with("bigbrotr.request_timeout", "1000")
        .with("bigbrotr.monitor_interval", "1");
    for other in ["seeder", "finder", "validator", "synchronizer", "refresher"] {
        options = options.with(&format!("bigbrotr.{other}_enabled"), "off");
    }
    settings.iter().fold(options, |options, (name, value)| options.with(name, value))
}

pub async fn start(options: ClusterOptions) -> (Cluster, Client) {
    let cluster = Cluster::start(options);
    cluster.create_database(DATABASE).await;
    let client = cluster.connect(DATABASE).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    (cluster, client)
}

pub async fn add(client: &Client, url: &str) -> i32 {
    let sql = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet') RETURNING id";
    client.query_one(sql, &[&url]).await.expect("a relay by hand").get(0)
}

/// Waits until a relay was checked so often.
pub async fn checked(cluster: &Cluster, client: &Client, relay: i32, times: i32) {
    let sql = format!("SELECT count(*) >= {times} FROM bigbrotr.relay_check WHERE relay_id = {relay}");
    cluster.wait_for(client, &sql, SOON, "the checks").await;
}

/// The documents of one type a relay has had, oldest first.
pub async fn documents(client: &Client, relay: i32, kind: &str) -> Vec<Value> {
    let sql = "SELECT m.data::text FROM bigbrotr.relay_metadata AS r
               JOIN bigbrotr.metadata AS m ON m.id = r.metadata_id AND m.type = r.type
               WHERE r.relay_id = $1 AND r.type::text = $2 ORDER BY r.first_seen_at";
    let rows = client.query(sql, &[&relay, &kind]).await.expect("documents");
    rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")).collect()
}

/// The only document of one type a relay has had.
pub async fn document(client: &Client, relay: i32, kind: &str) -> Value {
    let mut all = documents(client, relay, kind).await;
    assert_eq!(all.len(), 1, "{kind} of relay {relay}: {all:?}");
    all.remove(0)
}

/// A relay's last check: ok, whether it was written to, class and text.
pub async fn last_check(client: &Client, relay: i32) -> (bool, bool, Option<String>, Option<String>) {
    let sql = "SELECT ok, write_ms IS NOT NULL, error_class, error FROM bigbrotr.relay_check
               WHERE relay_id = $1 ORDER BY checked_at DESC LIMIT 1";
    let row = client.query_one(sql, &[&relay]).await.expect("a check");
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

/// A file the server's user can read.
pub fn public_file(bytes: &[u8]) -> tempfile::NamedTempFile {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).expect("opened to all");
    file
}
