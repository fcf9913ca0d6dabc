//! The extension without its library in shared_preload_libraries.

use bigbrotr_tests::{Cluster, ClusterOptions};

use crate::support::{event, quote, rows, text};

#[tokio::test]
async fn without_preload_there_is_a_warning_and_the_functions_work() {
    let cluster = Cluster::start(ClusterOptions::default());
    cluster.create_database("plain").await;
    let output =
        cluster.psql_command().args(["-d", "plain", "-c", "CREATE EXTENSION bigbrotr"]).output().expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("WARNING:") && said.contains("HINT:") && said.contains("shared_preload_libraries"), "{said}");

    let client = cluster.connect("plain").await;
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://relay.damus.io')", quote(&event(0, "hello")));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    assert_eq!(text(&client, "SELECT content FROM bigbrotr.query('{\"kinds\":[1]}')").await.as_deref(), Some("hello"));
    assert_eq!(rows(&client, "SELECT * FROM bigbrotr.stat_workers").await, Vec::<String>::new());
    assert_eq!(text(&client, "SELECT bigbrotr.run_service('finder')").await.as_deref(), Some("f"));
    assert_eq!(text(&client, "SELECT bigbrotr.stop_workers()").await.as_deref(), Some("0"));
    assert_eq!(text(&client, "SELECT bigbrotr.start_workers()").await.as_deref(), Some("0"));
    // In a session of its own, so that the library is loaded by the first function called.
    let client = cluster.connect("plain").await;
    assert_eq!(
        text(&client, "SELECT bigbrotr.normalize_relay_url('wss://nos.lol/')").await.as_deref(),
        Some("wss://nos.lol")
    );
    assert_eq!(text(&client, "SELECT coverage FROM bigbrotr.relay_status").await, None);
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused_with_a_hint() {
    let cluster = Cluster::start(ClusterOptions::default());
    let client = cluster.connect("postgres").await;
    client
        .batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await
        .expect("a database");
    let client = cluster.connect("latin").await;
    let error = crate::support::refusal(&client, "CREATE EXTENSION bigbrotr").await;
    assert_eq!(error.code().code(), "0A000");
    assert!(error.hint().is_some_and(|hint| hint.contains("UTF8")), "{error:?}");
}
