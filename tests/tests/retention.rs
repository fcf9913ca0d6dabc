//! Events leave by kind and by size with the real refresher, and the real synchronizer does not bring them back.

use std::time::{Duration, Instant};

use bigbrotr_tests::truth::{archive_options, only};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;

async fn start(services: &[&str], more: &[(&str, &str)]) -> (Cluster, Client) {
    let mut options = archive_options(&[("bigbrotr.refresher_interval", "1s")]);
    let services = only(services);
    for (name, value) in services.iter().map(|(name, value)| (name.as_str(), *value)).chain(more.iter().copied()) {
        options = options.with(name, value);
    }
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

async fn enrol(client: &Client, relay: &RelayHandle) {
    let sql = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')";
    client.execute(sql, &[&relay.url()]).await.expect("enrolled");
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// `count` events of a kind, a minute apart, the youngest `days` days old.
fn events(generator: &mut Generator, kind: u32, count: i64, days: i64) -> Vec<String> {
    let at = generate::now() - days * DAY;
    (0..count).map(|n| generator.event(kind, at - 60 * n, &[], &format!("{kind} of {days} d, {n}"))).collect()
}

/// Sightings name what is there, once, and count right.
async fn is_consistent(client: &Client) {
    let wrong = "SELECT count(*) FROM bigbrotr.sighting AS s CROSS JOIN unnest(bigbrotr.sighting_members(s.members)) AS m (seq) \
                 LEFT JOIN bigbrotr.stored_event AS e ON e.seq = m.seq WHERE e.created_at BETWEEN s.lo AND s.hi IS NOT TRUE";
    assert_eq!(number(client, wrong).await, 0, "dangling sightings");
    let miscounted =
        "SELECT count(*) FROM bigbrotr.sighting WHERE n <> cardinality(bigbrotr.sighting_members(members))";
    assert_eq!(number(client, miscounted).await, 0);
    let unseen = "SELECT (SELECT count(*) FROM bigbrotr.stored_event) - (SELECT count(DISTINCT m.seq) FROM bigbrotr.sighting AS s, \
                  unnest(bigbrotr.sighting_members(s.members)) AS m (seq))";
    assert_eq!(number(client, unseen).await, 0, "events nobody holds");
}

/// Two passes over every relay that began after now.
async fn passes(cluster: &Cluster, client: &Client) {
    for _ in 0..2 {
        let now: String = client.query_one("SELECT now()::text", &[]).await.expect("a row").get(0);
        let passed = format!("SELECT bool_and(last_synced_at > '{now}') FROM bigbrotr.relay_sync");
        cluster.wait_for(client, &passed, DEADLINE, "a pass").await;
    }
}

#[tokio::test]
async fn kinds_leave_at_their_own_age_and_stay_out() {
    let rules = "5=forever, 1059=30d, 30000-30010 = 2d, 8=0, 7=90d";
    let mut generator = Generator::new(1);
    let mut all = Vec::new();
    // kind, days old, whether it is kept
    let cases = [
        (5, 400, true),
        (1059, 29, true),
        (1059, 31, false),
        (30_000, 1, true),
        (30_005, 3, false),
        (30_010, 3, false),
        (30_011, 3, true),
        (8, 0, false),
        (8, 500, false),
        (7, 89, true),
        (7, 91, false),
        (1, 199, true),
        (1, 201, false),
    ];
    for (kind, days, _) in cases {
        all.extend(events(&mut generator, kind, 20, days));
    }
    let relay =
        Relay::start(RelayOptions { events: Store::new(all.clone()), cap: Some(60), ..RelayOptions::default() });
    // Into an archive that keeps everything first.
    let (mut cluster, client) = start(&["synchronizer", "refresher"], &[("bigbrotr.live_connections", "0")]).await;
    enrol(&client, &relay).await;
    let there = format!("SELECT count(*) = {} FROM bigbrotr.event", all.len());
    cluster.wait_for(&client, &there, DEADLINE, "the archive").await;
    passes(&cluster, &client).await;
    let coverage = "SELECT string_agg((SELECT min(lower(r))::text FROM unnest(ranges) AS r), ',') FROM bigbrotr.coverage WHERE state = 'complete'";
    let before: String = client.query_one(coverage, &[]).await.expect("coverage").get(0);
    cluster.set(&[("bigbrotr.event_retention_kinds", rules), ("bigbrotr.event_retention", "200d")]).await;
    let left = i64::try_from(cases.iter().filter(|case| case.2).count()).expect("few") * 20;
    cluster
        .wait_for(&client, &format!("SELECT count(*) = {left} FROM bigbrotr.event"), DEADLINE, "the old to go")
        .await;
    is_consistent(&client).await;
    for (kind, days, kept) in cases {
        let found =
            format!("SELECT count(*) FROM bigbrotr.event WHERE kind = {kind} AND content LIKE '% of {days} d,%'");
        assert_eq!(number(&client, &found).await, if kept { 20 } else { 0 }, "kind {kind}, {days} days");
    }
    assert_eq!(
        before,
        client.query_one(coverage, &[]).await.expect("coverage").get::<_, String>(0),
        "coverage is unchanged"
    );
    let told = "SELECT sum((detail ->> 'expired')::int) = 140 FROM bigbrotr.stat_cycles WHERE service = 'refresher'";
    cluster.wait_for(&client, told, DEADLINE, "the counts").await;
    // Neither a client nor a ledger that begins anew brings them back.
    let again = client.query_one("SELECT bigbrotr.event_insert($1, 'ws://127.0.0.1:1')", &[&all]).await;
    assert_eq!(again.expect("inserted").get::<_, i32>(0), 0);
    client.batch_execute("DELETE FROM bigbrotr.coverage").await.expect("forgotten");
    cluster.set(&[("bigbrotr.sync_filter", "{\"kinds\": [1, 5, 7, 8, 1059, 30000, 30005, 30010, 30011]}")]).await;
    let complete = "SELECT count(*) > 0 FROM bigbrotr.coverage WHERE state = 'complete'";
    cluster.wait_for(&client, complete, DEADLINE, "the second walk").await;
    passes(&cluster, &client).await;
    assert_eq!(number(&client, "SELECT count(*) FROM bigbrotr.event").await, left);
    is_consistent(&client).await;
}

#[tokio::test]
async fn the_oldest_leave_until_the_archive_is_small_enough_and_stay_out() {
    let mut generator = Generator::new(2);
    let at = generate::now() - DAY;
    // Some 4 MB, not to be compressed away.
    let text = |n: i64| {
        (0..60)
            .map(|k| bigbrotr_tests::signed::hex(&bigbrotr_tests::signed::sha256(format!("{n} {k}").as_bytes())))
            .collect::<String>()
    };
    let all: Vec<String> = (0..1500).map(|n| generator.event(1, at - n * 600, &[], &text(n))).collect();
    let relay = Relay::start(RelayOptions { events: Store::new(all), cap: Some(200), ..RelayOptions::default() });
    let (mut cluster, client) = start(
        &["synchronizer", "refresher"],
        &[("bigbrotr.event_retention_size", "2MB"), ("bigbrotr.live_connections", "0")],
    )
    .await;
    enrol(&client, &relay).await;
    let floor = "SELECT bigbrotr.event_floor()";
    cluster.wait_for(&client, &format!("{floor} IS NULL OR ({floor}) > 0"), DEADLINE, "the floor").await;
    passes(&cluster, &client).await;
    cluster.wait_for(&client, "SELECT bytes <= 2 << 20 FROM bigbrotr.live_size()", DEADLINE, "a small archive").await;
    let count = number(&client, "SELECT count(*) FROM bigbrotr.event").await;
    let size = number(&client, "SELECT bytes FROM bigbrotr.live_size()").await;
    println!("{count} events of 1500 in {size} bytes");
    assert!((300..1400).contains(&count) && size > 1 << 20, "{count} events in {size} bytes");
    // Those that are left are the newest without a hole.
    let newest = format!("SELECT count(*) FROM bigbrotr.event WHERE created_at > {}", at - count * 600);
    assert_eq!(number(&client, &newest).await, count);
    is_consistent(&client).await;
    // The history below is not fetched over and over, nor taken from others.
    let before = relay.served().events;
    passes(&cluster, &client).await;
    passes(&cluster, &client).await;
    assert!(relay.served().events - before < 50, "{} events sent for nothing", relay.served().events - before);
    let old = vec![generator.event(1, at - 5_000_000, &[], "old"), generator.event(1, at + 5, &[], "young")];
    let new =
        client.query_one("SELECT bigbrotr.event_insert($1, 'ws://127.0.0.1:1')", &[&old]).await.expect("inserted");
    assert_eq!(new.get::<_, i32>(0), 1, "only the young one");
    let another = Relay::start(RelayOptions {
        events: Store::new(relay.held_events().iter().map(|json| json.to_string()).collect::<Vec<_>>()),
        cap: Some(200),
        ..RelayOptions::default()
    });
    enrol(&client, &another).await;
    passes(&cluster, &client).await;
    assert!(another.served().events < 1500, "the other relay's history is asked for from the floor on");
    // A higher limit lets the rest in, where it was never asked for.
    cluster.set(&[("bigbrotr.event_retention_size", "100MB")]).await;
    cluster.wait_for(&client, &format!("SELECT ({floor}) = 0"), DEADLINE, "the end of the floor").await;
    cluster.wait_for(&client, "SELECT count(*) = 1501 FROM bigbrotr.event", DEADLINE, "the whole history").await;
    is_consistent(&client).await;
}

#[tokio::test]
async fn whoever_archives_meanwhile_does_not_wait_long() {
    let (mut cluster, client) = start(&["refresher"], &[]).await;
    let mut generator = Generator::new(3);
    let at = generate::now() - 10 * DAY;
    let old: Vec<String> = (0..6000).map(|n| generator.event(1, at - n, &[], "old")).collect();
    for relay in 0..40 {
        let url = format!("wss://relay-{relay}.com");
        client.execute("SELECT bigbrotr.event_insert($1, $2)", &[&old, &url]).await.expect("archived");
    }
    cluster.set(&[("bigbrotr.event_retention", "5d")]).await;
    let (started, mut longest, mut calls) = (Instant::now(), Duration::ZERO, 0);
    while number(&client, "SELECT count(*) FROM bigbrotr.event WHERE content = 'old'").await > 0 {
        assert!(started.elapsed() < DEADLINE, "the old do not go");
        let one = vec![generator.event(1, generate::now(), &[], &format!("new {calls}"))];
        let before = Instant::now();
        client.execute("SELECT bigbrotr.event_insert($1, 'wss://relay-0.com')", &[&one]).await.expect("archived");
        longest = longest.max(before.elapsed());
        calls += 1;
    }
    println!("6000 events of 40 relays left in {:?}; the longest of {calls} calls took {longest:?}", started.elapsed());
    assert!(longest < Duration::from_secs(10), "event_insert() waited {longest:?}");
    assert_eq!(number(&client, "SELECT count(*) FROM bigbrotr.event").await, calls);
    is_consistent(&client).await;
}
