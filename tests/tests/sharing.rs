//! Who is asked when: the order of the queue, several synchronizers, hosts with many relays.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bigbrotr_tests::relay::Refusal;
use bigbrotr_tests::truth::{archive_options, expected, wait_until_archived};
use bigbrotr_tests::{Cluster, ClusterOptions, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(90);

async fn start(options: ClusterOptions) -> (Cluster, Client) {
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    (cluster, client)
}

fn relay(seed: u64, n: usize, options: RelayOptions) -> RelayHandle {
    let now = generate::now();
    let spec = Spec { authors: 10, created_at: now - 30 * 86_400..now - 100, ..Spec::default() };
    Relay::start(RelayOptions { events: Store::new(Generator::new(seed).corpus(n, &spec)), ..options })
}

async fn enrol(client: &Client, urls: impl IntoIterator<Item = String>) {
    for url in urls {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&url])
            .await
            .expect("enrolled");
    }
}

async fn claim(client: &Client, n: i32, busy: &str) -> Vec<String> {
    let sql = format!("SELECT url FROM bigbrotr.claim_relays({n}, 60, '{{clearnet}}', false, '{{{busy}}}')");
    client.query(&sql, &[]).await.expect("claimed").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_most_useful_come_first_and_nobody_starves() {
    let (_cluster, client) = start(ClusterOptions::default()).await;
    let names = ["fresh", "gaps", "novel", "dull", "waiting", "parked", "future", "dead"];
    enrol(&client, names.map(|name| format!("wss://{name}.example"))).await;
    client
        .batch_execute(
            "INSERT INTO bigbrotr.relay_sync (relay_id) SELECT id FROM bigbrotr.relay WHERE url NOT LIKE '%fresh%'; \
             UPDATE bigbrotr.relay_sync SET leased_by = pg_backend_pid(), leased_until = now() + interval '1 hour'; \
             UPDATE bigbrotr.relay SET state = 'dead' WHERE url LIKE '%dead%'",
        )
        .await
        .expect("prepared");
    for (name, pause, head_start) in [
        ("gaps", 0.0, 1800.0),
        ("novel", 0.0, 600.0),
        ("dull", 0.0, 0.0),
        ("waiting", -1900.0, 0.0),
        ("parked", 86_400.0, 0.0),
        ("future", 30.0, 600.0),
        ("dead", 0.0, 1800.0),
    ] {
        let sql = format!(
            "SELECT bigbrotr.release_relay(id, true, '{{}}', 5, {pause}, {head_start}, 0, NULL) FROM bigbrotr.relay WHERE url LIKE '%{name}%'"
        );
        client.batch_execute(&sql).await.expect("released");
    }
    let order = ["fresh", "waiting", "gaps", "novel", "dull"].map(|name| format!("wss://{name}.example"));
    assert_eq!(claim(&client, 3, "").await, order[..3]);
    assert_eq!(claim(&client, 10, "").await, order[3..]);
    assert_eq!(claim(&client, 10, "").await, [""; 0]);
    client
        .batch_execute("UPDATE bigbrotr.relay_sync SET next_attempt_at = now() WHERE leased_by IS NULL")
        .await
        .expect("by hand");
    assert_eq!(claim(&client, 10, "").await.len(), 2, "whoever is made due by hand is due");
}

#[tokio::test]
async fn hosts_with_connections_enough_are_passed_over() {
    let (_cluster, client) = start(ClusterOptions::default()).await;
    let urls =
        ["wss://a.example/1", "wss://a.example:444/2", "wss://b.example", "ws://[2001:db9::1]:81", "wss://aa.example"];
    enrol(&client, urls.map(str::to_owned)).await;
    let mut claimed = claim(&client, 10, "a.example,[2001:db9::1]").await;
    claimed.sort();
    assert_eq!(claimed, ["wss://aa.example", "wss://b.example"]);
    client.batch_execute("SELECT bigbrotr.release_leases()").await.expect("released");
    assert_eq!(claim(&client, 10, "a.example:444").await.len(), 4);
}

#[tokio::test]
async fn claiming_among_ten_thousand_reads_a_few_rows() {
    let (_cluster, client) = start(ClusterOptions::default()).await;
    client
        .batch_execute(
            "INSERT INTO bigbrotr.relay (url, network) SELECT 'wss://r' || n || '.example', 'clearnet' FROM generate_series(1, 10000) AS n; \
             INSERT INTO bigbrotr.relay_sync (relay_id, next_attempt_at, queue_at) \
             SELECT id, now() - make_interval(secs => id % 977), now() - make_interval(secs => id % 977) FROM bigbrotr.relay; \
             ANALYZE bigbrotr.relay, bigbrotr.relay_sync; SELECT bigbrotr.release_leases(); SET plan_cache_mode = force_generic_plan",
        )
        .await
        .expect("filled");
    let read = "SELECT sum(idx_tup_fetch + seq_tup_read)::bigint FROM pg_stat_xact_user_tables WHERE relname IN ('relay', 'relay_sync')";
    claim(&client, 64, "").await;
    client.batch_execute("BEGIN").await.expect("begun");
    // What this session read before may not have been counted yet.
    let before: i64 = client.query_one(read, &[]).await.expect("a row").get(0);
    assert_eq!(claim(&client, 64, "").await.len(), 64);
    let rows = client.query_one(read, &[]).await.expect("a row").get::<_, i64>(0) - before;
    client.batch_execute("COMMIT").await.expect("committed");
    // Those claimed before, these, and their updates.
    println!("{rows} rows read");
    assert!(rows < 2000, "{rows} rows read for 64");
}

#[tokio::test]
async fn three_synchronizers_share_and_take_over_from_a_dead_one() {
    let options =
        archive_options(&[("bigbrotr.synchronizer_workers", "3"), ("bigbrotr.synchronizer_concurrency", "6")]);
    let (cluster, client) = start(options).await;
    let relays: Vec<RelayHandle> = (0..18).map(|n| relay(300 + n, 60, RelayOptions::default())).collect();
    let three = "SELECT count(*) = 3 FROM bigbrotr.stat_workers WHERE service = 'synchronizer' AND pid IS NOT NULL";
    cluster.wait_for(&client, three, DEADLINE, "three workers").await;
    enrol(&client, relays.iter().map(RelayHandle::url)).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    let live = "SELECT count(*) = 18 FROM bigbrotr.relay_sync WHERE live_since IS NOT NULL";
    cluster.wait_for(&client, live, DEADLINE, "all to be live").await;
    let holders = "SELECT leased_by, count(*)::int FROM bigbrotr.relay_sync GROUP BY 1";
    let holders: HashMap<i32, i32> =
        client.query(holders, &[]).await.expect("rows").iter().map(|row| (row.get(0), row.get(1))).collect();
    println!("shares: {holders:?}");
    assert!(holders.len() >= 2, "one did it all: {holders:?}");
    for relay in &relays {
        assert_eq!((relay.open_connections(), relay.served().websockets), (1, 1), "two were at {}", relay.url());
    }
    let (pid, held) = holders.into_iter().max_by_key(|(_, held)| *held).expect("a holder");
    println!("kills {pid} with {held} relays");
    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminated");
    let gone = format!(
        "SELECT count(*) = 0 FROM bigbrotr.relay_sync WHERE leased_by = {pid} OR leased_by IS NULL OR live_since IS NULL"
    );
    cluster.wait_for(&client, &gone, DEADLINE, "its relays to be taken over").await;
    let mut generator = Generator::new(90);
    for relay in &relays {
        relay.add(&generator.event(1, generate::now(), &[], &format!("after it {}", relay.url())));
    }
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    assert!(relays.iter().all(|relay| relay.open_connections() == 1));
}

#[tokio::test]
async fn many_relays_on_one_host_do_not_hold_up_the_rest() {
    let (cluster, client) = start(archive_options(&[("bigbrotr.synchronizer_concurrency", "4")])).await;
    // Behind a private address a port is a host. Its answers take their time.
    let slow = relay(400, 5, RelayOptions { request_latency: Duration::from_secs(1), ..RelayOptions::default() });
    let others: Vec<RelayHandle> = (0..6).map(|n| relay(410 + n, 60, RelayOptions::default())).collect();
    enrol(&client, (0..30).map(|n| format!("{}/{n}", slow.url()))).await;
    let started = Instant::now();
    enrol(&client, others.iter().map(RelayHandle::url)).await;
    let done = format!(
        "SELECT count(*) = {} FROM bigbrotr.event_relay WHERE relay_url !~ '/[0-9]+$'",
        expected(&others).len()
    );
    cluster.wait_for(&client, &done, DEADLINE, "the others").await;
    println!("the others after {:?}", started.elapsed());
    let all = "SELECT count(*) = 36 FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL";
    cluster.wait_for(&client, all, DEADLINE, "every relay of the slow host").await;
    assert!(slow.served().open_peak <= 2, "{} connections to one host", slow.served().open_peak);
}

#[tokio::test]
async fn a_relay_that_wants_fewer_requests_gets_fewer_and_is_archived() {
    let refuse = Some(Refusal::rate_limited(4));
    let (cluster, client) = start(archive_options(&[])).await;
    let relay = relay(420, 300, RelayOptions { cap: Some(100), refuse, ..RelayOptions::default() });
    enrol(&client, [relay.url()]).await;
    let said = "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE last_error LIKE 'rate_limited:%' AND (learned ->> 'pace_ms')::int >= 250 \
                AND next_attempt_at > now() + interval '3 seconds'";
    cluster.wait_for(&client, said, DEADLINE, "the pause").await;
    let open = "SELECT count(*) > 0 FROM bigbrotr.coverage WHERE state = 'rate_limited'";
    cluster.wait_for(&client, open, DEADLINE, "the reason in coverage").await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
}
