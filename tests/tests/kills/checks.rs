//! What must be true after every kill.

use std::collections::{BTreeSet, HashMap};

use bigbrotr_tests::RelayHandle;
use bigbrotr_tests::truth::{archived, is_archivable};
use tokio_postgres::Client;

/// For people.
pub async fn summary(client: &Client) -> String {
    let sql = "SELECT format('%s events, %s pairs, %s leaves, seq to %s', \
                 (SELECT count(*) FROM bigbrotr.stored_event), (SELECT sum(n) FROM bigbrotr.sighting), \
                 (SELECT count(*) FROM bigbrotr.sighting), (SELECT max(seq) FROM bigbrotr.stored_event))";
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

/// Relays that are not known complete, with what is known of them. A second with more than half a page of events may be
/// left open as capped: that claims less than is true, never more.
pub async fn open(client: &Client) -> Vec<String> {
    let sql = "SELECT format('%s gap=%s horizon=%s synced=%s live=%s lease=%s by %s next=%s failures=%s %s ledger: %s', r.url, g.gap, y.horizon, \
                 y.last_synced_at, y.live_since, y.leased_until, y.leased_by, y.next_attempt_at, y.failures, coalesce(y.last_error, '') || y.learned::text, \
                 (SELECT string_agg(c.state || ' ' || c.ranges, ' ') FROM bigbrotr.coverage AS c WHERE c.relay_id = r.id)) \
               FROM bigbrotr.relay AS r LEFT JOIN bigbrotr.relay_sync AS y ON y.relay_id = r.id \
               LEFT JOIN bigbrotr.coverage_gap AS g ON g.relay_url = r.url \
               WHERE r.url <> $1 AND (g.gap IS NULL OR NOT isempty(g.gap - coalesce( \
                 (SELECT c.ranges FROM bigbrotr.coverage AS c WHERE c.relay_id = r.id AND c.state = 'capped'), '{}')))";
    let rows = client.query(sql, &[&crate::load::CLIENT_RELAY]).await.expect("relays");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What coverage calls complete is in the archive.
pub async fn claims_are_true(client: &Client, relays: impl Iterator<Item = &RelayHandle>) {
    // Before the snapshot: what comes later is none of its business.
    let held: Vec<(String, Vec<std::sync::Arc<str>>)> =
        relays.map(|relay| (relay.url(), relay.held_events())).collect();
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begun");
    let sql = "SELECT r.url, lower(u.range), upper(u.range) FROM bigbrotr.coverage AS c \
               JOIN bigbrotr.relay AS r ON r.id = c.relay_id CROSS JOIN unnest(c.ranges) AS u (range) \
               WHERE c.state = 'complete'";
    let mut complete: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
    for row in client.query(sql, &[]).await.expect("coverage") {
        let range =
            (row.get::<_, Option<i64>>(1).unwrap_or(i64::MIN), row.get::<_, Option<i64>>(2).unwrap_or(i64::MAX));
        complete.entry(row.get(0)).or_default().push(range);
    }
    let pairs = archived(client).await;
    client.batch_execute("COMMIT").await.expect("ended");
    let mut missing = BTreeSet::new();
    for (url, events) in &held {
        let Some(ranges) = complete.get(url) else { continue };
        for json in events {
            let event: serde_json::Value = serde_json::from_str(json).expect("JSON");
            let (Some(id), Some(at)) = (event["id"].as_str(), event["created_at"].as_i64()) else { continue };
            let pair = (id.to_owned(), url.clone());
            if ranges.iter().any(|(from, to)| (*from..*to).contains(&at))
                && !pairs.contains(&pair)
                && is_archivable(json)
            {
                missing.insert((pair, at));
            }
        }
    }
    assert!(missing.is_empty(), "{} called complete and missing: {:?}", missing.len(), missing.iter().take(5));
}

/// Each counts what is wrong.
const WRONG: [(&str, &str); 11] = [
    ("events twice", "SELECT count(*) - count(DISTINCT id) FROM bigbrotr.stored_event"),
    ("authors missing", "SELECT (SELECT count(*) FROM bigbrotr.stored_event) - (SELECT count(*) FROM bigbrotr.event)"),
    (
        "events that do not verify",
        "SELECT count(*) FROM (SELECT e.id, bigbrotr.event_json(e) AS json FROM bigbrotr.event AS e OFFSET 0) AS e \
         WHERE bigbrotr.event_id(e.json) IS DISTINCT FROM e.id OR NOT bigbrotr.event_verify(e.json)",
    ),
    (
        "leaves with a wrong n",
        "SELECT count(*) FROM bigbrotr.sighting AS s \
         WHERE s.n IS DISTINCT FROM cardinality(bigbrotr.sighting_members(s.members)) OR s.n < 1",
    ),
    (
        "members without an event, or outside their leaf",
        "SELECT count(*) FROM bigbrotr.sighting AS s CROSS JOIN unnest(bigbrotr.sighting_members(s.members)) AS m (seq) \
         LEFT JOIN bigbrotr.stored_event AS e ON e.seq = m.seq \
         WHERE e.created_at BETWEEN s.lo AND s.hi IS NOT TRUE",
    ),
    (
        "members in two leaves of a relay",
        "SELECT count(*) FROM (SELECT FROM bigbrotr.sighting AS s, unnest(bigbrotr.sighting_members(s.members)) AS m (seq) \
         GROUP BY s.relay_id, m.seq HAVING count(*) > 1) AS d",
    ),
    (
        "leaves that overlap",
        "SELECT count(*) FROM (SELECT lo <= lag(hi) OVER (PARTITION BY relay_id ORDER BY lo) AS wrong FROM bigbrotr.sighting) AS s \
         WHERE s.wrong",
    ),
    (
        "events nobody holds",
        "SELECT count(*) FROM bigbrotr.stored_event AS e WHERE e.seq NOT IN \
         (SELECT m.seq FROM bigbrotr.sighting AS s, unnest(bigbrotr.sighting_members(s.members)) AS m (seq))",
    ),
    (
        "deletion requests without their rows",
        "SELECT count(*) FROM bigbrotr.event AS e \
         CROSS JOIN bigbrotr.deletion_targets(e.id, e.pubkey, e.created_at, e.tags) AS d \
         WHERE e.kind = 5 AND NOT EXISTS (SELECT FROM bigbrotr.deletion AS k WHERE k.target = d.target AND k.pubkey = d.pubkey)",
    ),
    (
        "positions beyond the sequence",
        "SELECT count(*) FROM bigbrotr.stored_event AS e, bigbrotr.event_seq AS s WHERE e.seq > s.last_value",
    ),
    (
        "overlapping coverage",
        "SELECT count(*) FROM bigbrotr.coverage AS a JOIN bigbrotr.coverage AS b USING (relay_id, filter_hash) \
         WHERE a.state < b.state AND a.ranges && b.ranges",
    ),
];

/// The number by the heap, and the number by one index.
const COUNTS: [(&str, &str, &str); 5] = [
    (
        "stored_event_pkey",
        "SELECT count(*) FROM bigbrotr.stored_event",
        "SELECT count(*) FROM bigbrotr.stored_event WHERE seq > 0",
    ),
    (
        "stored_event_created_at_idx",
        "SELECT count(*) FROM bigbrotr.stored_event",
        "SELECT count(*) FROM (SELECT created_at FROM bigbrotr.stored_event WHERE created_at >= 0 ORDER BY created_at) AS e",
    ),
    (
        "stored_event_kind_idx",
        "SELECT count(*) FROM bigbrotr.stored_event WHERE kind = 1",
        "SELECT count(*) FROM bigbrotr.stored_event WHERE kind = 1",
    ),
    (
        "stored_event_id_excl",
        "SELECT sum(seq)::bigint FROM bigbrotr.stored_event",
        "SELECT sum(k.seq)::bigint FROM bigbrotr.known_events(ARRAY(SELECT id FROM bigbrotr.stored_event)) AS k",
    ),
    (
        "stored_event_tag_idx",
        "SELECT count(*) FROM (SELECT DISTINCT seq, h FROM bigbrotr.stored_event, unnest(bigbrotr.body_tag_hashes(body)) AS h \
         WHERE h % 16 = 0) AS t",
        "SELECT sum(c.n)::bigint FROM \
         (SELECT DISTINCT h FROM bigbrotr.stored_event, unnest(bigbrotr.body_tag_hashes(body)) AS h WHERE h % 16 = 0) AS t \
         CROSS JOIN LATERAL (SELECT count(*) AS n FROM bigbrotr.stored_event AS e \
           WHERE bigbrotr.body_tag_hashes(e.body) @> ARRAY[t.h]) AS c",
    ),
];

async fn number(client: &Client, sql: &str) -> i64 {
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.get::<_, Option<i64>>(0).unwrap_or_default()
}

/// Tables and indexes agree with themselves and with each other, in one snapshot.
pub async fn is_sound(client: &Client) {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begun");
    for (what, sql) in WRONG {
        assert_eq!(number(client, sql).await, 0, "{what}");
    }
    for (index, by_heap, by_index) in COUNTS {
        let heap = "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
                    SET LOCAL enable_bitmapscan = off";
        client.batch_execute(heap).await.expect("set");
        let wanted = number(client, by_heap).await;
        let indexes = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; \
                       SET LOCAL enable_bitmapscan = on";
        client.batch_execute(indexes).await.expect("set");
        assert_eq!(number(client, by_index).await, wanted, "{index} and the heap differ");
    }
    client.batch_execute("COMMIT").await.expect("ended");
    by_amcheck(client).await;
}

/// Every page of every table and every entry of every btree, where the server has amcheck.
async fn by_amcheck(client: &Client) {
    let there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck' AND default_version >= '1.3'";
    if number(client, there).await == 0 {
        println!("no amcheck here");
        return;
    }
    client.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck").await.expect("amcheck");
    let btrees = "SELECT count(bt_index_check(c.oid, true)::text) FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam \
                  WHERE c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind = 'i' AND a.amname = 'btree'";
    assert!(number(client, btrees).await > 10);
    let damage = "SELECT string_agg(c.relname || ': ' || v.msg, E'\\n') FROM pg_class AS c \
                  CROSS JOIN LATERAL verify_heapam(c.oid) AS v \
                  WHERE c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind = 'r'";
    let found: Option<String> = client.query_one(damage, &[]).await.expect("amcheck").get(0);
    assert_eq!(found, None);
}
