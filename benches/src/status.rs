//! How long the views of the health of relays take over many relays with a history.

use std::time::Instant;

use bigbrotr_tests::{Cluster, ClusterOptions};
use tokio_postgres::Client;

const CHECKS: usize = 100;
const RUNS: usize = 3;
const LEAVES: usize = 20;
/// Times each question is asked; the median is printed.
const TIMES: usize = 7;

/// What is asked, and of how many milliseconds it should take no more.
const QUESTIONS: [(&str, &str, f64); 12] = [
    ("relay_status, all", "SELECT * FROM bigbrotr.relay_status", 300.0),
    ("relay_status, one", "SELECT * FROM bigbrotr.relay_status WHERE url = 'wss://relay-77.example.com'", 2.0),
    (
        "relay_status, the 20 quickest",
        "SELECT * FROM bigbrotr.relay_status WHERE state = 'active' AND online ORDER BY rtt_open_ms LIMIT 20",
        300.0,
    ),
    ("relay_status, by country", "SELECT country, count(*) FROM bigbrotr.relay_status GROUP BY country", 300.0),
    ("relay_uptime, all", "SELECT * FROM bigbrotr.relay_uptime", 1500.0),
    ("relay_uptime, one", "SELECT * FROM bigbrotr.relay_uptime WHERE relay_url = 'wss://relay-77.example.com'", 5.0),
    ("relay_outage, all", "SELECT * FROM bigbrotr.relay_outage", 1500.0),
    ("relay_outage, one", "SELECT * FROM bigbrotr.relay_outage WHERE relay_url = 'wss://relay-77.example.com'", 5.0),
    ("relay_latency, all", "SELECT * FROM bigbrotr.relay_latency", 3000.0),
    ("relay_latency, one", "SELECT * FROM bigbrotr.relay_latency WHERE relay_url = 'wss://relay-77.example.com'", 5.0),
    ("relay_info, all", "SELECT * FROM bigbrotr.relay_info", 500.0),
    ("relay_info, one", "SELECT * FROM bigbrotr.relay_info WHERE relay_url = 'wss://relay-77.example.com'", 5.0),
];

/// Fills a database with as many relays and prints the median of each question in milliseconds, with what is wanted.
pub async fn run(relays: usize) {
    let cluster = Cluster::start(ClusterOptions::preloaded().with("shared_buffers", "512MB").with("autovacuum", "off"));
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    fill(&client, relays).await;
    println!("{relays} relays, {CHECKS} checks, {RUNS} runs of six documents and {LEAVES} leaves each:");
    for (name, sql, wanted) in QUESTIONS {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begin = Instant::now();
            client.simple_query(sql).await.expect("an answer");
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(TIMES / 2).copied().unwrap_or_default();
        println!("{name}: {median:.1} ms, wanted ≤ {wanted:.1} ({:.2})", median / wanted);
    }
}

async fn fill(client: &Client, relays: usize) {
    let sql = format!(
        "INSERT INTO bigbrotr.relay (url, network, discovered_at)
           SELECT 'wss://relay-' || n || '.example.com', 'clearnet', now() - interval '60 days' FROM generate_series(1, {relays}) AS n;
         INSERT INTO bigbrotr.relay_check (relay_id, checked_at, ok, open_ms, read_ms, error_class)
           SELECT r, now() - h * interval '1 hour', (r + h) % 17 <> 0, random() * 500, random() * 300, CASE WHEN (r + h) % 17 = 0 THEN 'tcp' END
           FROM generate_series(1, {relays}) AS r, generate_series(0, {CHECKS} - 1) AS h ORDER BY h DESC, r;
         CREATE TEMP TABLE document AS
           SELECT r, v, t, CASE t
             WHEN 'nip11_info' THEN jsonb_build_object('name', 'relay ' || r, 'description', repeat('a relay for everybody ', 8),
               'software', 'git+https://example.com/relay.git', 'version', '1.0.' || v, 'pubkey', encode(sha256(r::text::bytea), 'hex'),
               'supported_nips', jsonb '[1,2,4,9,11,22,28,40,70,77]',
               'limitation', jsonb '{{\"max_message_length\":131072,\"max_subscriptions\":20,\"max_limit\":500,\"auth_required\":false}}')
             WHEN 'nip66_ssl' THEN jsonb_build_object('valid', true, 'issuer_cn', 'E5', 'not_after', 1767776000 + v * 1000000,
               'sans', jsonb_build_array('relay-' || r || '.example.com'), 'fingerprint', encode(sha256((r || '-' || v)::bytea), 'hex'))
             WHEN 'nip66_geo' THEN jsonb_build_object('country', (ARRAY['US', 'DE', 'FI', 'JP'])[r % 4 + 1], 'geohash', 'u0y' || r || v)
             ELSE jsonb_build_object('asn', r % 500 + v, 'server', 'nginx', 'a', jsonb_build_array(r || '-' || v), 'ttl', 300)
           END AS data
           FROM generate_series(1, {relays}) AS r, generate_series(1, {RUNS}) AS v, unnest(enum_range(NULL::bigbrotr.metadata_type)) AS t;
         INSERT INTO bigbrotr.metadata (id, type, data) SELECT DISTINCT sha256(data::text::bytea), t, data FROM document;
         INSERT INTO bigbrotr.relay_metadata
           SELECT r, t, sha256(data::text::bytea), now() - (5 - v) * interval '7 days', now() - (4 - v) * interval '7 days' FROM document ORDER BY v, r;
         INSERT INTO bigbrotr.sighting (relay_id, lo, hi, members, n)
           SELECT r, l * 1000000, l * 1000000 + 999999, decode(repeat('00', 800), 'hex'), 400
           FROM generate_series(1, {LEAVES}) AS l, generate_series(1, {relays}) AS r;
         INSERT INTO bigbrotr.relay_sync (relay_id, horizon) SELECT r, 1790000000 FROM generate_series(1, {relays}) AS r;
         INSERT INTO bigbrotr.coverage
           SELECT r, bigbrotr.sync_filter_hash(), 'complete', int8multirange(int8range(0, 1000000000 + r), int8range(1500000000, 1790000000))
           FROM generate_series(1, {relays}) AS r;
         INSERT INTO bigbrotr.relay_period (relay_id, since, until, online)
           SELECT r, now() - (20 - k) * interval '36 hours', CASE WHEN k < 19 THEN now() - (19 - k) * interval '36 hours' END, k % 2 = 0
           FROM generate_series(1, {relays}) AS r, generate_series(0, 19) AS k ORDER BY k;
         INSERT INTO bigbrotr.relay_monitor (relay_id, last_check_at, online) SELECT r, now(), false FROM generate_series(1, {relays}) AS r"
    );
    client.batch_execute(&sql).await.expect("filled");
    client.batch_execute("VACUUM ANALYZE").await.expect("analyzed");
}
