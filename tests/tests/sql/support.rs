//! One server for all tests of this file, a database for each.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use bigbrotr_tests::{Cluster, ClusterOptions, cluster::SUPERUSER, signed};
use serde_json::Value;
use tokio_postgres::{Client, Error, SimpleQueryMessage, error::DbError};

/// A server with the library preloaded and no workers.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(ClusterOptions::preloaded().with("max_connections", "200")))
}

/// A new database with the extension.
pub async fn database() -> (String, Client) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    cluster().create_database(&name).await;
    let client = cluster().connect(&name).await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    (name, client)
}

/// The first column of the first row as text; `None` for NULL and for no row.
pub async fn text(client: &Client, sql: &str) -> Option<String> {
    try_text(client, sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"))
}

/// As [`text`].
pub async fn try_text(client: &Client, sql: &str) -> Result<Option<String>, Error> {
    let messages = client.simple_query(sql).await?;
    let first = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(first.and_then(|row| row.get(0).map(str::to_owned)))
}

/// All rows, their columns as text separated by `|`.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|n| row.get(n).unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect()
}

/// The server's error for a statement that must fail.
pub async fn refusal(client: &Client, sql: &str) -> DbError {
    match client.simple_query(sql).await {
        Ok(_) => panic!("this succeeds: {sql}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}\n{error:?}")).clone(),
    }
}

/// As an SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A valid event of the generator's first author.
pub fn event(n: i64, content: &str) -> String {
    bigbrotr_tests::Generator::new(7).event(1, 1_700_000_000 + n, &[vec!["t".into(), "test".into()]], content)
}

/// The `id` of an event, in hex.
pub fn id(event: &str) -> String {
    serde_json::from_str::<Value>(event).expect("JSON")["id"].as_str().expect("an id").to_owned()
}

/// As the postmaster's user.
pub async fn superuser() -> Client {
    cluster().connect(SUPERUSER).await
}

/// `\x…` of the SHA-256 of a text.
pub fn sha256(text: &str) -> String {
    format!("\\x{}", signed::hex(&signed::sha256(text.as_bytes())))
}
