//! Who may do what: PUBLIC nothing, the reader reads, the writer also calls what writes.

use tokio_postgres::{Client, error::SqlState};

use crate::support::{database, event, id, quote, refusal, rows, text};

const WRITING: [&str; 5] =
    ["seed(text[])", "event_insert(text[],text)", "run_service(text)", "stop_workers()", "start_workers()"];

async fn relations(client: &Client) -> Vec<(String, bool)> {
    let sql = "SELECT oid::regclass, relkind = 'r' FROM pg_class
               WHERE relnamespace = 'bigbrotr'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') ORDER BY 1";
    rows(client, sql)
        .await
        .iter()
        .map(|row| row.split_once('|').map(|(name, is_table)| (name.to_owned(), is_table == "t")).expect("two columns"))
        .collect()
}

async fn with_data() -> Client {
    let (_, client) = database().await;
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://relay.damus.io')", quote(&event(0, "hello")));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    client
}

#[tokio::test]
async fn public_can_do_nothing() {
    let client = with_data().await;
    client.batch_execute("CREATE ROLE roles_stranger").await.expect("a role");
    let granted = "
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'bigbrotr'::regnamespace AND has_function_privilege('roles_stranger', p.oid, 'EXECUTE')";
    assert_eq!(rows(&client, granted).await, Vec::<String>::new());
    let granted = "
        SELECT c.oid::regclass FROM pg_class AS c
        WHERE c.relnamespace = 'bigbrotr'::regnamespace AND CASE c.relkind
          WHEN 'S' THEN has_sequence_privilege('roles_stranger', c.oid, 'USAGE, SELECT, UPDATE')
          WHEN 'i' THEN false
          ELSE has_table_privilege('roles_stranger', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END";
    assert_eq!(rows(&client, granted).await, Vec::<String>::new());
    let create = "SELECT has_schema_privilege('roles_stranger', 'bigbrotr', 'CREATE')";
    assert_eq!(text(&client, create).await.as_deref(), Some("f"));
    client.batch_execute("SET ROLE roles_stranger").await.expect("the role");
    for (name, _) in relations(&client).await {
        denied(&client, &format!("SELECT * FROM {name}")).await;
    }
    denied(&client, "SELECT bigbrotr.npub('\\x00')").await;
    denied(&client, "SELECT bigbrotr.stop_workers()").await;
    denied(&client, "CREATE TABLE bigbrotr.mine ()").await;
}

async fn denied(client: &Client, sql: &str) {
    let error = refusal(client, sql).await;
    assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {error:?}");
}

#[tokio::test]
async fn the_reader_reads_everything_and_writes_nothing() {
    let client = with_data().await;
    client.batch_execute("SET ROLE bigbrotr_reader").await.expect("the role");
    let relations = relations(&client).await;
    for (name, is_table) in &relations {
        rows(&client, &format!("SELECT * FROM {name}")).await;
        if *is_table {
            for sql in [
                format!("INSERT INTO {name} DEFAULT VALUES"),
                format!("DELETE FROM {name}"),
                format!("TRUNCATE {name}"),
                format!("UPDATE {name} SET {} = NULL", any_column(&client, name).await),
            ] {
                denied(&client, &sql).await;
            }
        }
    }
    assert!(relations.len() > 30, "{relations:?}");
    let writable = "
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'bigbrotr'::regnamespace AND p.provolatile = 'v' AND has_function_privilege(p.oid, 'EXECUTE')";
    // workers() is volatile because the workers' memory is no table.
    assert_eq!(rows(&client, writable).await, ["bigbrotr.workers()"]);
    denied(&client, "SELECT nextval('bigbrotr.event_seq')").await;
    denied(&client, "SELECT bigbrotr.seed(ARRAY['wss://relay.damus.io'])").await;
    denied(&client, "SELECT bigbrotr.event_insert(ARRAY['{}'], 'wss://relay.damus.io')").await;
}

async fn any_column(client: &Client, name: &str) -> String {
    let sql =
        format!("SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum = 1");
    text(client, &sql).await.expect("a column")
}

#[tokio::test]
async fn the_reader_can_call_every_function_for_reading() {
    let client = with_data().await;
    client.batch_execute("SET ROLE bigbrotr_reader").await.expect("the role");
    let hello = event(0, "hello");
    let id = id(&hello);
    for (call, expected) in [
        ("bigbrotr.normalize_relay_url('WSS://Relay.Damus.IO/')".to_owned(), "wss://relay.damus.io".to_owned()),
        ("(SELECT url FROM bigbrotr.extract_relay_urls('see wss://nos.lol'))".to_owned(), "wss://nos.lol".to_owned()),
        (format!("bigbrotr.event_id({})", quote(&hello)), format!("\\x{id}")),
        (format!("bigbrotr.event_verify({})", quote(&hello)), "t".to_owned()),
        ("(SELECT bigbrotr.event_json(e) FROM bigbrotr.event AS e)".to_owned(), hello.clone()),
        ("(SELECT bigbrotr.event_json(e) FROM bigbrotr.query('{}') AS e)".to_owned(), hello.clone()),
        ("(SELECT bigbrotr.event_json(e) FROM bigbrotr.visible_event AS e)".to_owned(), hello.clone()),
        ("bigbrotr.canonical_json('{\"b\": 1.0, \"a\": []}')".to_owned(), "{\"a\":[],\"b\":1}".to_owned()),
        ("encode(bigbrotr.content_hash('{}'), 'hex')".to_owned(), crate::support::sha256("{}")[2..].to_owned()),
        (format!("(SELECT relay_url FROM bigbrotr.relays_of('\\x{id}'))"), "wss://relay.damus.io".to_owned()),
        (format!("bigbrotr.nip19_decode(bigbrotr.note('\\x{id}')) ->> 'data'"), id.clone()),
    ] {
        assert_eq!(text(&client, &format!("SELECT {call}")).await, Some(expected), "{call}");
    }
}

#[tokio::test]
async fn the_writer_calls_what_writes_and_touches_no_table_but_the_operators() {
    let client = with_data().await;
    client.batch_execute("SET ROLE bigbrotr_writer").await.expect("the role");
    assert_eq!(
        text(&client, "SELECT bigbrotr.seed(ARRAY['nos.lol', 'https://relay.primal.net'])").await.as_deref(),
        Some("2")
    );
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", quote(&event(1, "more")));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.event").await.as_deref(), Some("2"));
    for call in ["run_service('finder')", "stop_workers()", "start_workers()"] {
        text(&client, &format!("SELECT bigbrotr.{call}")).await;
    }
    client
        .batch_execute(
            "INSERT INTO bigbrotr.block VALUES ('wss://bad.%', 'spam');
             UPDATE bigbrotr.block SET reason = 'more spam';
             DELETE FROM bigbrotr.block;
             INSERT INTO bigbrotr.api_source (url) VALUES ('https://api.nostr.watch/v1/online');
             DELETE FROM bigbrotr.api_source",
        )
        .await
        .expect("the operator's tables");
    for (name, is_table) in relations(&client).await {
        if is_table && !["bigbrotr.block", "bigbrotr.api_source"].contains(&name.as_str()) {
            denied(&client, &format!("DELETE FROM {name}")).await;
            denied(&client, &format!("INSERT INTO {name} DEFAULT VALUES")).await;
        }
    }
    let callable = "
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'bigbrotr'::regnamespace AND p.provolatile = 'v' AND has_function_privilege(p.oid, 'EXECUTE')";
    let mut wanted: Vec<_> = WRITING.iter().chain(&["workers()"]).map(|name| format!("bigbrotr.{name}")).collect();
    let mut found = rows(&client, callable).await;
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    denied(&client, "SELECT bigbrotr.add_relay('wss://nos.lol')").await;
}

#[tokio::test]
async fn a_second_database_shares_the_roles() {
    let (_, first) = database().await;
    let (_, second) = database().await;
    for client in [&first, &second] {
        client
            .batch_execute("SET ROLE bigbrotr_reader; SELECT * FROM bigbrotr.relay; RESET ROLE")
            .await
            .expect("both read");
        client.batch_execute("DROP EXTENSION bigbrotr CASCADE").await.expect("dropped");
    }
    let left = "SELECT count(*) FROM pg_roles WHERE rolname IN ('bigbrotr_reader', 'bigbrotr_writer')";
    assert_eq!(text(&first, left).await.as_deref(), Some("2"), "roles are never dropped");
    first.batch_execute("CREATE EXTENSION bigbrotr").await.expect("and are used again");
}
