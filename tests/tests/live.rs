//! Sessions that stay: new events within seconds, gaps where a connection broke, and a bounded number of connections.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::rss_anon;
use bigbrotr_tests::relay::{Live, LiveEnd};
use bigbrotr_tests::truth::{archive_options, expected, wait_until_archived};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(90);

async fn start(more: &[(&str, &str)]) -> (Cluster, Client) {
    let mut options = archive_options(&[("bigbrotr.request_timeout", "2s")]);
    for (name, value) in more {
        options = options.with(name, value);
    }
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

async fn enrol(client: &Client, relays: impl IntoIterator<Item = &RelayHandle>) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

const LIVE: &str = "SELECT count(*) FROM bigbrotr.relay_sync WHERE live_since IS NOT NULL";

async fn wait_for_live(cluster: &Cluster, client: &Client, relays: usize) {
    cluster
        .wait_for(client, &LIVE.replace("count(*)", &format!("count(*) = {relays}")), DEADLINE, "live sessions")
        .await;
}

#[tokio::test]
async fn an_event_of_a_running_relay_is_archived_within_seconds_whatever_its_date() {
    // Polling would take an hour.
    let (cluster, client) = start(&[("bigbrotr.synchronizer_interval", "1h")]).await;
    let relay = relay(1, 200, RelayOptions { cap: Some(60), ..RelayOptions::default() });
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    let before = relay.served();
    let mut generator = Generator::new(99);
    relay.add(&generator.event(1, generate::now(), &[], "fresh"));
    relay.add(&generator.event(1, generate::now() - 20 * 86_400, &[], "backdated"));
    relay.add(&generator.event(20_001, generate::now(), &[], "ephemeral"));
    let added = Instant::now();
    wait_until_archived(&cluster, &client, &expected([&relay]), Duration::from_secs(10)).await;
    println!("archived after {:?}", added.elapsed());
    let after = relay.served();
    assert_eq!(after.websockets, before.websockets, "a connection of its own for what is new");
    assert_eq!(relay.open_connections(), 1);
}

#[tokio::test]
async fn what_arrives_is_entered_into_coverage_without_asking_again() {
    let (cluster, client) = start(&[]).await;
    let relay = relay(2, 100, RelayOptions::default());
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    // Until it has shown that it delivers, pages are read beside it.
    let mut generator = Generator::new(97);
    let believed = "SELECT (learned ->> 'live_proofs')::int >= 3 FROM bigbrotr.relay_sync";
    let until = Instant::now() + DEADLINE;
    while !client.query_one(believed, &[]).await.expect("a row").get::<_, Option<bool>>(0).unwrap_or(false) {
        assert!(Instant::now() < until, "never believed");
        relay.add(&generator.event(1, generate::now(), &[], "a proof"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let horizon: i64 = client.query_one("SELECT horizon FROM bigbrotr.relay_sync", &[]).await.expect("a row").get(0);
    let later = format!("SELECT horizon > {} FROM bigbrotr.relay_sync", horizon + 4);
    cluster.wait_for(&client, &later, DEADLINE, "the first claims").await;
    let reqs = relay.served().reqs;
    let later = format!("SELECT horizon > {} FROM bigbrotr.relay_sync", horizon + 9);
    cluster.wait_for(&client, &later, DEADLINE, "more claims").await;
    assert_eq!(relay.served().reqs, reqs, "listening takes no requests");
    let gaps: i64 = client
        .query_one("SELECT count(*) FROM bigbrotr.coverage_gap WHERE NOT isempty(gap)", &[])
        .await
        .expect("a row")
        .get(0);
    assert_eq!(gaps, 0);
    let ranges: i32 = client
        .query_one("SELECT count(*)::int FROM bigbrotr.coverage AS c, unnest(c.ranges) WHERE c.state = 'complete'", &[])
        .await
        .expect("a row")
        .get(0);
    assert_eq!(ranges, 1, "claims must join");
}

#[tokio::test]
async fn a_subscription_that_delivers_nothing_is_not_believed() {
    let (cluster, client) = start(&[]).await;
    let relay = relay(
        20,
        100,
        RelayOptions { live: Live { lose_every: Some(1), ..Live::default() }, ..RelayOptions::default() },
    );
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    let mut generator = Generator::new(96);
    let given_up = "SELECT learned ->> 'no_live' LIKE '%loses events%' FROM bigbrotr.relay_sync";
    let until = Instant::now() + DEADLINE;
    while !client.query_one(given_up, &[]).await.expect("a row").get::<_, Option<bool>>(0).unwrap_or(false) {
        assert!(Instant::now() < until, "still believed");
        relay.add(&generator.event(1, generate::now(), &[], "not delivered"));
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
}

#[tokio::test]
async fn a_broken_connection_leaves_a_gap_and_the_next_pass_fills_it() {
    let (cluster, client) = start(&[]).await;
    let relay = relay(3, 100, RelayOptions::default());
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    let mut generator = Generator::new(98);
    for round in 0..3 {
        // Nobody can connect while these arrive.
        relay.update(|options| options.connect_latency = Duration::from_secs(3));
        relay.kill_connections();
        for n in 0..20 {
            relay.add(&generator.event(1, generate::now(), &[], &format!("missed {round} {n}")));
        }
        relay.update(|options| options.connect_latency = Duration::ZERO);
        wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
        wait_for_live(&cluster, &client, 1).await;
    }
    let now = generate::now();
    let complete =
        format!("SELECT bool_or(state = 'complete' AND ranges @> int8range(0, {now})) FROM bigbrotr.coverage");
    cluster.wait_for(&client, &complete, DEADLINE, "coverage without a hole").await;
}

#[tokio::test]
async fn without_a_budget_relays_are_polled() {
    let (cluster, client) = start(&[("bigbrotr.live_connections", "0")]).await;
    let relay = relay(4, 100, RelayOptions::default());
    enrol(&client, [&relay]).await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    relay.add(&Generator::new(97).event(1, generate::now(), &[], "polled"));
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    let live: i64 = client.query_one(LIVE, &[]).await.expect("a row").get(0);
    assert_eq!(live, 0);
    assert!(relay.served().requests.iter().all(|request| !request.contains(r#""limit":1}"#)));
}

#[tokio::test]
async fn thirty_relays_share_five_seats_and_all_are_heard() {
    let (cluster, client) =
        start(&[("bigbrotr.live_connections", "5"), ("bigbrotr.synchronizer_concurrency", "8")]).await;
    let relays: Vec<RelayHandle> = (0..30).map(|n| relay(100 + n, 40, RelayOptions::default())).collect();
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    wait_for_live(&cluster, &client, 5).await;
    let mut generator = Generator::new(96);
    for round in 0..3 {
        for relay in &relays {
            relay.add(&generator.event(1, generate::now(), &[], &format!("{round} {}", relay.url())));
        }
        wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
        let open: u64 = relays.iter().map(RelayHandle::open_connections).sum();
        assert!(open <= 5 + 8, "{open} connections");
    }
    let live: i64 = client.query_one(LIVE, &[]).await.expect("a row").get(0);
    assert_eq!(live, 5);
}

#[tokio::test]
async fn a_session_that_listens_takes_little_memory() {
    let (cluster, client) = start(&[]).await;
    let pid = "SELECT pid FROM bigbrotr.stat_workers WHERE service = 'synchronizer' AND pid IS NOT NULL";
    let few: Vec<RelayHandle> = (0..20).map(|n| relay(500 + n, 5, RelayOptions::default())).collect();
    enrol(&client, &few).await;
    wait_for_live(&cluster, &client, 20).await;
    let pid: i32 = client.query_one(pid, &[]).await.expect("a worker").get(0);
    let memory = || rss_anon(u32::try_from(pid).expect("a process")).expect("a size");
    let before = memory();
    let more: Vec<RelayHandle> = (0..120).map(|n| relay(600 + n, 5, RelayOptions::default())).collect();
    enrol(&client, &more).await;
    wait_for_live(&cluster, &client, 140).await;
    let each = memory().saturating_sub(before) / 120;
    println!("{each} bytes for each session, {before} before");
    assert!(each < 150_000, "{each} bytes for each session");
}

#[tokio::test]
async fn a_relay_of_one_subscription_is_used_without_live() {
    let (cluster, client) = start(&[]).await;
    let relay = relay(5, 200, RelayOptions { cap: Some(60), max_subscriptions: Some(1), ..RelayOptions::default() });
    enrol(&client, [&relay]).await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    relay.add(&Generator::new(95).event(1, generate::now(), &[], "later"));
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    let learned = "SELECT learned ->> 'no_live' LIKE '%subscription%' FROM bigbrotr.relay_sync";
    cluster.wait_for(&client, learned, DEADLINE, "the lesson").await;
}

#[tokio::test]
async fn leaving_is_as_quick_with_live_sessions() {
    let (mut cluster, client) = start(&[]).await;
    let relays: Vec<RelayHandle> = (0..10).map(|n| relay(200 + n, 20, RelayOptions::default())).collect();
    enrol(&client, &relays).await;
    wait_for_live(&cluster, &client, 10).await;
    let started = Instant::now();
    client.batch_execute("DROP EXTENSION bigbrotr CASCADE").await.expect("dropped");
    println!("dropped in {:?}", started.elapsed());
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    enrol(&client, &relays).await;
    wait_for_live(&cluster, &client, 10).await;
    // A setting that changes ends the sessions; new ones begin with it.
    cluster.set(&[("bigbrotr.page_limit", "100")]).await;
    relays[0].add(&Generator::new(94).event(1, generate::now(), &[], "after the reload"));
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    wait_for_live(&cluster, &client, 10).await;
    let started = Instant::now();
    client.batch_execute("SELECT bigbrotr.stop_workers()").await.expect("stopped");
    println!("stopped in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(relays.iter().map(RelayHandle::open_connections).sum::<u64>(), 0);
}

/// Whether the ledger calls this second of the relay complete.
async fn is_complete(client: &Client, relay: &RelayHandle, second: i64) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM bigbrotr.coverage c JOIN bigbrotr.relay r ON r.id = c.relay_id \
               WHERE r.url = $1 AND c.state = 'complete' AND c.ranges @> $2::bigint)";
    client.query_one(sql, &[&relay.url(), &second]).await.expect("a row").get(0)
}

#[tokio::test]
async fn nothing_is_claimed_of_a_relay_that_has_vanished() {
    let (cluster, client) = start(&[("bigbrotr.idle_timeout", "6s")]).await;
    let relay = relay(6, 50, RelayOptions::default());
    relay.update(|options| options.link.freeze = Some(Duration::from_secs(6)));
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    // From now on new connections are good; the one there is dies without a word.
    relay.update(|options| options.link.freeze = None);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let at = generate::now();
    let event = Generator::new(93).event(1, at, &[], "into the void");
    relay.add(&event);
    let archived = expected([&relay]).len();
    for _ in 0..40 {
        let complete = is_complete(&client, &relay, at).await;
        let held: i64 = client.query_one("SELECT count(*) FROM bigbrotr.event_relay", &[]).await.expect("a row").get(0);
        assert!(!complete || held == archived as i64, "a second is called complete whose event is missing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
}

#[tokio::test]
async fn a_relay_without_pongs_is_polled() {
    let (cluster, client) = start(&[("bigbrotr.idle_timeout", "3s")]).await;
    let relay = relay(7, 50, RelayOptions::default());
    relay.update(|options| options.link.mute_pongs = true);
    enrol(&client, [&relay]).await;
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    relay.add(&Generator::new(92).event(1, generate::now(), &[], "polled"));
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
    let now = generate::now();
    let complete =
        format!("SELECT bool_or(state = 'complete' AND ranges @> int8range(0, {now})) FROM bigbrotr.coverage");
    cluster.wait_for(&client, &complete, DEADLINE, "coverage by polling").await;
}

#[tokio::test]
async fn a_subscription_the_relay_ends_again_and_again_loses_nothing() {
    let (cluster, client) = start(&[]).await;
    let end = LiveEnd { after_events: Some(2), after: None, text: "error: enough".into() };
    let options = RelayOptions { live: Live { end: Some(end), ..Live::default() }, ..RelayOptions::default() };
    let relay = relay(8, 50, options);
    enrol(&client, [&relay]).await;
    wait_for_live(&cluster, &client, 1).await;
    let mut generator = Generator::new(91);
    for n in 0..12 {
        relay.add(&generator.event(1, generate::now(), &[], &format!("one of many {n}")));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    wait_until_archived(&cluster, &client, &expected([&relay]), DEADLINE).await;
}
