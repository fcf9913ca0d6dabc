//! Which relay holds which event is the largest table: every way of asking must find its index.

use tokio_postgres::Client;

use crate::support::{database, rows, text};

/// 20,000 events on 100 relays, 2,000 on each: 200,000 sightings in about 300 leaves.
async fn fill(client: &Client) {
    client
        .batch_execute(
            "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig)
             SELECT sha256(n::text::bytea), sha256((n % 100)::text::bytea), 1600000000 + n * 1000, 1, '[]', repeat('x', 100), sha512('')
             FROM generate_series(1, 20000) AS n ORDER BY n;
             INSERT INTO bigbrotr.relay (url, network) SELECT 'wss://relay-' || n || '.com', 'clearnet' FROM generate_series(1, 100) AS n;
             SELECT bigbrotr.add_sightings(r.id, array_agg(e.created_at), array_agg(e.seq))
             FROM bigbrotr.relay AS r JOIN bigbrotr.event AS e ON (e.seq + r.id) % 10 = 0 GROUP BY r.id",
        )
        .await
        .expect("filled");
    client.batch_execute("ANALYZE").await.expect("analyzed");
}

async fn plan(client: &Client, sql: &str) -> String {
    rows(client, &format!("EXPLAIN (ANALYZE, TIMING off, SUMMARY off) {sql}")).await.join("\n")
}

/// Rows that any node of a plan gave, times its loops.
fn most_rows(plan: &str) -> f64 {
    let number = |line: &str, name: &str| line.split_once(name)?.1.split([' ', ')']).next()?.parse::<f64>().ok();
    let rows = plan.lines().filter_map(|line| {
        let actual = line.split_once("(actual ")?.1;
        Some(number(actual, "rows=")? * number(actual, "loops=")?)
    });
    rows.fold(0.0, f64::max)
}

#[tokio::test]
async fn sightings_are_found_by_index_from_either_side() {
    let (_, client) = database().await;
    fill(&client).await;
    let total = "SELECT count(*), sum(n) FROM bigbrotr.sighting";
    assert!(rows(&client, total).await[0].ends_with("|200000"), "{:?}", rows(&client, total).await);
    let id = text(&client, "SELECT id FROM bigbrotr.event WHERE seq = 10000").await.expect("an id");

    let by_event = format!("SELECT * FROM bigbrotr.event_relay WHERE event_id = '{id}'");
    assert_eq!(rows(&client, &by_event).await.len(), 10);
    let shown = plan(&client, &by_event).await;
    assert!(shown.contains("stored_event_id_excl") && !shown.contains("Seq Scan on stored_event "), "{shown}");
    assert!(most_rows(&shown) < 2_500.0, "{shown}");

    let by_relay = "SELECT * FROM bigbrotr.event_relay WHERE relay_url = 'wss://relay-7.com'";
    assert_eq!(rows(&client, by_relay).await.len(), 2_000);
    let shown = plan(&client, by_relay).await;
    assert!(most_rows(&shown) <= 4_100.0, "only this relay's events are looked at:\n{shown}");

    let some = "SELECT * FROM bigbrotr.event_relay LIMIT 10";
    assert_eq!(rows(&client, some).await.len(), 10);
    let shown = plan(&client, some).await;
    assert!(most_rows(&shown) <= 4_100.0, "a LIMIT ends early:\n{shown}");

    let relays_of = format!("SELECT * FROM bigbrotr.relays_of('{id}')");
    assert_eq!(rows(&client, &relays_of).await.len(), 10);
    let both = format!(
        "SELECT relay_url, seen_at FROM bigbrotr.event_relay WHERE event_id = '{id}' EXCEPT SELECT * FROM bigbrotr.relays_of('{id}')"
    );
    assert_eq!(rows(&client, &both).await, Vec::<String>::new(), "both ways of asking agree");
    let body = text(&client, "SELECT prosrc FROM pg_proc WHERE proname = 'relays_of'").await.expect("a body");
    let shown = plan(&client, &body.replace("relays_of.event_id", &format!("'{id}'::bytea"))).await;
    assert!(shown.contains("sighting_pkey") && !shown.contains("Seq Scan on sighting"), "{shown}");
    assert!(most_rows(&shown) <= 100.0, "one leaf for each relay:\n{shown}");
}

#[tokio::test]
async fn tag_hashes_of_the_view_use_the_index_of_the_table() {
    let (_, client) = database().await;
    fill(&client).await;
    let sql = "SELECT * FROM bigbrotr.event WHERE bigbrotr.tag_hashes(tags) @> ARRAY[bigbrotr.tag_hash('t', 'nobody')]";
    let shown = plan(&client, sql).await;
    assert!(shown.contains("stored_event_tag_idx") && !shown.contains("Seq Scan on stored_event "), "{shown}");
    let sql = "SELECT bigbrotr.tag_hashes(tags) = bigbrotr.tag_hashes((tags::text)::jsonb) FROM bigbrotr.event LIMIT 1";
    assert_eq!(text(&client, sql).await.as_deref(), Some("t"));
}

#[tokio::test]
async fn filters_use_the_indexes_of_events() {
    let (_, client) = database().await;
    fill(&client).await;
    client
        .batch_execute(
            "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig)
             SELECT sha256(('t' || n)::bytea), sha256('writer'), 1700000000 + n, 7, jsonb_build_array(jsonb_build_array('t', 'topic' || n % 1000)), '', sha512('')
             FROM generate_series(1, 5000) AS n",
        )
        .await
        .expect("filled");
    client.batch_execute("ANALYZE").await.expect("analyzed");
    let id = text(&client, "SELECT encode(id, 'hex') FROM bigbrotr.event WHERE seq = 10000").await.expect("an id");
    let pubkey =
        text(&client, "SELECT encode(pubkey, 'hex') FROM bigbrotr.event WHERE seq = 10000").await.expect("a key");
    // The hundred authors may be read whole.
    for (filter, index, most) in [
        (format!(r#"{{"ids":["{id}"]}}"#), "stored_event_id_excl", 110.0),
        (format!(r#"{{"authors":["{pubkey}"],"limit":20}}"#), "stored_event_author_id_created_at_idx", 500.0),
        ("{\"#t\":[\"topic7\"]}".to_owned(), "stored_event_tag_idx", 110.0),
        (r#"{"limit":20}"#.to_owned(), "stored_event_created_at_idx", 110.0),
        (r#"{"kinds":[7],"limit":20}"#.to_owned(), "event_", 500.0),
    ] {
        let condition = format!("SELECT bigbrotr.filter_condition('{filter}')");
        let condition = text(&client, &condition).await.expect("a condition");
        let limit = text(&client, &format!("SELECT coalesce(bigbrotr.filter_limit('{filter}')::text, 'ALL')"))
            .await
            .expect("a limit");
        for table in ["stored_event", "visible_stored_event"] {
            let sql = format!(
                "SELECT * FROM bigbrotr.{table} AS e WHERE {condition} ORDER BY e.created_at DESC, e.id LIMIT {limit}"
            );
            let shown = plan(&client, &sql).await;
            assert!(shown.contains(index) && !shown.contains("Seq Scan on stored_event "), "{filter}:\n{shown}");
            assert!(most_rows(&shown) <= most, "{filter}:\n{shown}");
        }
    }
}
