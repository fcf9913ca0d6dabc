//! `relay_status` reads what triggers keep: it is what the tables say, whoever wrote them, and it is quick.

use tokio_postgres::Client;

use crate::documents::{add_relay, show};
use crate::support::{database, event, quote, rows, text};

/// The same columns, each looked up where it comes from.
const SLOW: &str = "
    SELECT r.url, r.network, r.state, c.ok, c.checked_at, c.open_ms, c.read_ms, c.write_ms,
           i.typed ->> 'name', i.typed ->> 'software', i.typed ->> 'version', (i.typed ->> 'supported_nips')::int[], g.typed ->> 'country',
           (SELECT coalesce(sum(s.n), 0) FROM bigbrotr.sighting AS s WHERE s.relay_id = r.id), c.error_class,
           (i.typed ->> 'auth_required')::bool, (t.typed ->> 'asn')::bigint, (l.typed ->> 'valid')::bool,
           to_timestamp((l.typed ->> 'not_after')::float8)
    FROM bigbrotr.relay AS r
    LEFT JOIN LATERAL (SELECT * FROM bigbrotr.relay_check AS x WHERE x.relay_id = r.id ORDER BY checked_at DESC LIMIT 1) AS c ON true
    LEFT JOIN LATERAL (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
      WHERE x.relay_id = r.id AND x.type = 'nip11_info' ORDER BY x.first_seen_at DESC LIMIT 1) AS i ON true
    LEFT JOIN LATERAL (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
      WHERE x.relay_id = r.id AND x.type = 'nip66_geo' ORDER BY x.first_seen_at DESC LIMIT 1) AS g ON true
    LEFT JOIN LATERAL (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
      WHERE x.relay_id = r.id AND x.type = 'nip66_net' ORDER BY x.first_seen_at DESC LIMIT 1) AS t ON true
    LEFT JOIN LATERAL (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
      WHERE x.relay_id = r.id AND x.type = 'nip66_ssl' ORDER BY x.first_seen_at DESC LIMIT 1) AS l ON true
    ORDER BY r.url";
const QUICK: &str = "
    SELECT url, network, state, online, checked_at, rtt_open_ms, rtt_read_ms, rtt_write_ms, name, software, version, supported_nips, country,
           event_count, error_class, auth_required, asn, ssl_valid, ssl_expires_at
    FROM bigbrotr.relay_status ORDER BY url";

async fn agree(client: &Client, after: &str) -> Vec<String> {
    let (slow, quick) = (rows(client, SLOW).await, rows(client, QUICK).await);
    assert_eq!(quick, slow, "after {after}");
    quick
}

#[tokio::test]
async fn it_is_what_the_tables_say_whoever_writes_them() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    add_relay(&client, "wss://b.com").await;
    show(&client, relay, "nip11_info", r#"{"name":"one","supported_nips":[1]}"#, 1_700_000_000).await;
    show(&client, relay, "nip66_geo", r#"{"country":"DE"}"#, 1_700_000_000).await;
    show(&client, relay, "nip66_net", r#"{"asn":64500}"#, 1_700_000_000).await;
    show(&client, relay, "nip66_ssl", r#"{"valid":true,"not_after":1800000000}"#, 1_700_000_000).await;
    let mut seen = vec![agree(&client, "documents").await];
    for sql in [
        "SELECT bigbrotr.record_check(1, 1700000000, true, 1, 2, 3, NULL, NULL, 60)",
        "SELECT bigbrotr.record_check(1, 1700000060, false, NULL, NULL, NULL, 'tcp', 'refused', 60)",
        "INSERT INTO bigbrotr.relay_check (relay_id, checked_at, ok, open_ms) SELECT r, to_timestamp(1700000000 + n), n % 2 = 0, n
         FROM generate_series(1, 2) AS r, generate_series(61, 90) AS n ORDER BY n % 7",
        "UPDATE bigbrotr.relay_check SET open_ms = 5, checked_at = checked_at + interval '1 s' WHERE checked_at >= to_timestamp(1700000090)",
        "DELETE FROM bigbrotr.relay_check WHERE checked_at > to_timestamp(1700000070)",
        "INSERT INTO bigbrotr.relay_check (relay_id, checked_at, ok) VALUES (1, to_timestamp(1600000000), true)",
        "DELETE FROM bigbrotr.relay_check WHERE relay_id = 2",
        "TRUNCATE bigbrotr.relay_check",
        "INSERT INTO bigbrotr.metadata (id, type, data) VALUES ('\\x01', 'nip11_info', '{\"name\": \"by hand\", \"limitation\": {\"auth_required\": true}}')",
        "INSERT INTO bigbrotr.relay_metadata VALUES (1, 'nip11_info', '\\x01', now(), now()), (2, 'nip11_info', '\\x01', now(), now())",
        "UPDATE bigbrotr.metadata SET data = '{\"name\": \"changed\", \"version\": \"2\"}' WHERE id = '\\x01'",
        "UPDATE bigbrotr.relay_metadata SET first_seen_at = 'epoch' WHERE relay_id = 1 AND metadata_id = '\\x01'",
        "UPDATE bigbrotr.relay_metadata SET relay_id = 1, first_seen_at = now() WHERE relay_id = 2",
        "DELETE FROM bigbrotr.relay_metadata WHERE metadata_id = '\\x01'",
        "INSERT INTO bigbrotr.sighting (relay_id, lo, hi, members, n) VALUES (1, 0, 9, '', 5), (1, 10, 19, '', 7), (2, 0, 5, '', 1)",
        "UPDATE bigbrotr.sighting SET n = n + 10 WHERE lo = 0",
        "UPDATE bigbrotr.sighting SET relay_id = 2 WHERE lo = 10",
        "DELETE FROM bigbrotr.sighting WHERE relay_id = 2 AND lo = 0",
        "TRUNCATE bigbrotr.sighting",
        "TRUNCATE bigbrotr.relay_metadata",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let now = agree(&client, sql).await;
        let older = "INSERT INTO bigbrotr.metadata";
        assert!(sql.starts_with(older) || sql.contains("1600000000") || seen.last() != Some(&now), "{sql} changed nothing");
        seen.push(now);
    }
}

#[tokio::test]
async fn event_counts_follow_the_archive() {
    let (_, client) = database().await;
    for (first, last, url) in [(0, 30, "wss://a.com"), (20, 40, "wss://b.com"), (10, 40, "wss://a.com")] {
        let events: Vec<_> = (first..last).map(|n| quote(&event(n, &n.to_string()))).collect();
        text(&client, &format!("SELECT bigbrotr.event_insert(ARRAY[{}], '{url}')", events.join(","))).await;
    }
    let counts = "SELECT url, event_count FROM bigbrotr.relay_status ORDER BY url";
    assert_eq!(rows(&client, counts).await, ["wss://a.com|40", "wss://b.com|20"]);
    client.batch_execute("DELETE FROM bigbrotr.event WHERE created_at >= 1700000035").await.expect("deleted");
    assert_eq!(rows(&client, counts).await, ["wss://a.com|35", "wss://b.com|15"]);
    agree(&client, "deletions").await;
}

#[tokio::test]
async fn ten_thousand_relays_are_joined_and_one_is_found_by_index() {
    let (_, client) = database().await;
    client
        .batch_execute(
            "INSERT INTO bigbrotr.relay (url, network) SELECT 'wss://relay-' || n || '.com', 'clearnet' FROM generate_series(1, 10000) AS n;
             INSERT INTO bigbrotr.relay_check (relay_id, checked_at, ok, open_ms)
               SELECT r, now() - n * interval '1 hour', r % 7 <> 0, r FROM generate_series(1, 10000) AS r, generate_series(1, 5) AS n;
             INSERT INTO bigbrotr.sighting (relay_id, lo, hi, members, n)
               SELECT r, n * 10, n * 10 + 9, '', 3 FROM generate_series(1, 10000) AS r, generate_series(1, 5) AS n;
             INSERT INTO bigbrotr.relay_sync (relay_id, horizon) SELECT r, 1700000000 FROM generate_series(1, 10000) AS r;
             INSERT INTO bigbrotr.coverage SELECT r, bigbrotr.sync_filter_hash(), 'complete', '{[0,1000)}' FROM generate_series(1, 10000) AS r;
             INSERT INTO bigbrotr.relay_monitor (relay_id) SELECT r FROM generate_series(1, 10000) AS r",
        )
        .await
        .expect("filled");
    client.batch_execute("ANALYZE").await.expect("analyzed");
    let all = rows(&client, "EXPLAIN SELECT * FROM bigbrotr.relay_status").await.join("\n");
    // No look-up a relay, and too cheap for the planner to compile it, which would take longer than running it.
    assert!(!all.contains("relay_check") && !all.contains("sighting") && !all.contains("JIT"), "{all}");
    let one = "SELECT * FROM bigbrotr.relay_status WHERE url = 'wss://relay-77.com'";
    assert_eq!(rows(&client, one).await.len(), 1);
    let one = rows(&client, &format!("EXPLAIN {one}")).await.join("\n");
    assert!(!one.contains("Seq Scan"), "{one}");
    for view in ["relay_uptime", "relay_history", "relay_outage", "relay_latency", "relay_info", "relay_changelog"] {
        let shown =
            rows(&client, &format!("EXPLAIN SELECT * FROM bigbrotr.{view} WHERE relay_url = 'wss://relay-77.com'"))
                .await
                .join("\n");
        assert!(
            !shown.contains("Seq Scan on relay_check") && !shown.contains("Seq Scan on relay "),
            "{view}:\n{shown}"
        );
    }
}
