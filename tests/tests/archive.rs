//! The archive against the relays' own stores, with the real synchronizer in a real server.

use std::time::Duration;

use bigbrotr_tests::relay::{Eose, Order, Refusal};
use bigbrotr_tests::truth::{self, archive_options, expected, wait_until_archived};
use bigbrotr_tests::{
    Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Stop, Store, distribute, generate, real_events,
};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(90);

/// A cluster whose only service in database `postgres` is the synchronizer.
fn cluster(more: &[(&str, &str)]) -> Cluster {
    Cluster::start(archive_options(more))
}

async fn database(cluster: &Cluster) -> Client {
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    client
}

async fn enrol<'a>(client: &Client, relays: impl IntoIterator<Item = &'a RelayHandle>) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

fn spec() -> Spec {
    let now = generate::now();
    Spec { authors: 40, created_at: now - 90 * 86_400..now - 60, ..Spec::default() }
}

/// `copies` of `events` over as many relays as there are behaviours.
fn network(events: usize, copies: usize, behaviours: Vec<RelayOptions>) -> Vec<RelayHandle> {
    let mut corpus = Generator::new(7).corpus(events, &spec());
    corpus.extend(real_events().unwrap_or_default().into_iter().map(Into::into));
    let store = Store::new(corpus);
    let shares = distribute(store.len(), behaviours.len(), copies, 11);
    let options = behaviours.into_iter().zip(shares);
    options.map(|(options, share)| Relay::start(RelayOptions { events: store.subset(&share), ..options })).collect()
}

/// Seconds that should be known complete and are not.
const GAPS: &str = "SELECT coalesce(string_agg(relay_url || ' ' || gap::text, ', '), '') FROM bigbrotr.coverage_gap WHERE NOT isempty(gap)";

#[tokio::test]
async fn everything_of_well_behaved_relays_is_archived_and_known_complete() {
    let capped = |cap| RelayOptions { cap: Some(cap), ..RelayOptions::default() };
    let relays = network(3000, 2, vec![RelayOptions::default(), capped(100), capped(500), capped(237)]);
    let cluster = cluster(&[]);
    let client = database(&cluster).await;
    enrol(&client, &relays).await;
    let expected = expected(&relays);
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let complete = "SELECT count(*) = 4 AND NOT EXISTS (SELECT FROM bigbrotr.coverage_gap WHERE NOT isempty(gap)) \
                    FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL";
    cluster.wait_for(&client, complete, DEADLINE, "complete coverage").await;
    // Nothing is fetched for nothing: each event about once per relay.
    let sent: u64 = relays.iter().map(|relay| relay.served().events).sum();
    let needed = expected.len() as u64;
    println!("fetched {sent} for {needed}");
    assert!(sent < needed + needed / 2, "{sent} events sent for {needed} pairs");
}

#[tokio::test]
async fn a_second_pass_fetches_only_what_is_new() {
    let relays = network(500, 1, vec![RelayOptions::default()]);
    let cluster = cluster(&[]);
    let client = database(&cluster).await;
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    cluster
        .wait_for(
            &client,
            "SELECT count(*) > 0 FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL",
            DEADLINE,
            "a pass",
        )
        .await;
    let before = relays[0].served().events;
    relays[0].add(&Generator::new(99).event(1, generate::now(), &[], "fresh"));
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    let after = relays[0].served().events;
    assert!(after - before < 20, "{} events sent for a new one", after - before);
}

#[tokio::test]
async fn misbehaving_relays_lose_nothing() {
    let normal = RelayOptions::default;
    let relays = network(
        1200,
        2,
        vec![
            RelayOptions { cap: Some(100), order: Order::NewestShuffled { seed: 1 }, ..normal() },
            RelayOptions { cap: Some(100), until_exclusive: true, since_exclusive: true, ..normal() },
            RelayOptions {
                cap: Some(50),
                refuse: Some(Refusal { every: 3, text: "error: try again".into(), notice: false }),
                ..normal()
            },
            RelayOptions { limit_ignored: true, ..normal() },
            RelayOptions { cap: Some(120), order: Order::NewestAscending, ..normal() },
            RelayOptions { cap: Some(80), eose: Eose::Hint, ..normal() },
        ],
    );
    let cluster = cluster(&[("bigbrotr.page_limit", "200")]);
    let client = database(&cluster).await;
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
}

#[tokio::test]
async fn a_restart_in_mid_sync_leaves_no_double_and_no_hole() {
    let slow =
        || RelayOptions { cap: Some(100), request_latency: Duration::from_millis(30), ..RelayOptions::default() };
    let relays = network(3000, 2, vec![slow(), slow(), slow()]);
    let mut cluster = cluster(&[]);
    let client = database(&cluster).await;
    enrol(&client, &relays).await;
    let expected = expected(&relays);
    for (share, mode) in [(8, Stop::Fast), (4, Stop::Immediate), (2, Stop::Fast)] {
        let client = cluster.connect("postgres").await;
        let some = format!("SELECT count(*) > {} FROM bigbrotr.event", 3000 / share);
        cluster.wait_for(&client, &some, DEADLINE, "a part of the archive").await;
        cluster.restart(mode);
    }
    let client = cluster.connect("postgres").await;
    let held: i64 = client.query_one("SELECT count(*) FROM bigbrotr.event", &[]).await.expect("a row").get(0);
    println!("{held} events at the last restart");
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let complete = "SELECT count(*) = 3 AND NOT EXISTS (SELECT FROM bigbrotr.coverage_gap WHERE NOT isempty(gap)) \
                    FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL";
    cluster.wait_for(&client, complete, DEADLINE, "complete coverage").await;
    let doubles: i64 = client
        .query_one("SELECT count(*) FROM (SELECT id FROM bigbrotr.event GROUP BY id HAVING count(*) > 1) AS d", &[])
        .await
        .expect("a row")
        .get(0);
    assert_eq!(doubles, 0);
}

#[tokio::test]
async fn what_is_invalid_goes_to_quarantine_and_stops_nothing() {
    let mut generator = Generator::new(3);
    let now = generate::now();
    let mut events: Vec<String> =
        (0..50).map(|n| generator.event(1, now - 1000 - n, &[], &format!("note {n}"))).collect();
    let with_nul = generator.event(1, now - 500, &[vec!["t".into(), "a\u{0}b".into()]], "nul \u{0} inside");
    let with_long_tag = generator.event(1, now - 501, &[vec!["t".into(), "x".repeat(100_000)]], "long tag");
    let many_tags: Vec<Vec<String>> = (0..5000).map(|n| vec!["p".into(), format!("{n:064x}")]).collect();
    let with_many_tags = generator.event(3, now - 502, &many_tags, "");
    let from_the_future = generator.event(1, now + 40 * 365 * 86_400, &[], "2066");
    let bad_sig = {
        let mut value: serde_json::Value = serde_json::from_str(&events[0]).expect("json");
        let other: serde_json::Value = serde_json::from_str(&events[1]).expect("json");
        value["sig"] = other["sig"].clone();
        value["content"] = "forged".into();
        value["created_at"] = (now - 700).into();
        let id =
            bigbrotr_tests::signed::id_preimage(value["pubkey"].as_str().expect("hex"), now - 700, 1, &[], "forged");
        value["id"] = bigbrotr_tests::signed::hex(&bigbrotr_tests::signed::sha256(id.as_bytes())).into();
        value.to_string()
    };
    let bad_id = events[2].replace("note 2", "note X").replacen(r#""id":""#, r#""id":"f"#, 0);
    let ephemeral = generator.event(20_001, now - 800, &[], "gone");
    events.extend([with_nul, with_long_tag, with_many_tags, from_the_future, bad_sig, bad_id, ephemeral]);
    let relay = Relay::start(RelayOptions { events: Store::new(events), ..RelayOptions::default() });
    let cluster = cluster(&[]);
    let client = database(&cluster).await;
    enrol(&client, [&relay]).await;
    let expected = expected([&relay]);
    assert_eq!(expected.len(), 54);
    wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let refused = "SELECT count(*) FILTER (WHERE reason = 'bad_signature') = 1 AND count(*) FILTER (WHERE reason = 'bad_id') = 1 FROM bigbrotr.quarantine";
    cluster.wait_for(&client, refused, DEADLINE, "quarantine").await;
    let exact: i64 = client
        .query_one("SELECT count(*) FROM bigbrotr.event AS e WHERE bigbrotr.event_id(bigbrotr.event_json(e)) = e.id AND bigbrotr.event_verify(bigbrotr.event_json(e))", &[])
        .await
        .expect("a row")
        .get(0);
    assert_eq!(exact, 54, "an event does not come out as it went in");
}

#[tokio::test]
async fn a_full_disk_pauses_archiving_and_says_so() {
    let relays = network(50, 1, vec![RelayOptions::default()]);
    let mut cluster = cluster(&[("bigbrotr.min_disk_free", "2000000000")]);
    let client = database(&cluster).await;
    enrol(&client, &relays).await;
    let paused = "SELECT count(*) = 1 FROM bigbrotr.stat_workers WHERE service = 'synchronizer' AND activity LIKE '%min_disk_free%'";
    cluster.wait_for(&client, paused, Duration::from_secs(15), "the pause").await;
    assert!(truth::archived(&client).await.is_empty());
    cluster.set(&[("bigbrotr.min_disk_free", "0")]).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
}

#[tokio::test]
async fn two_databases_are_archived_each_for_itself() {
    let relays =
        network(400, 1, vec![RelayOptions::default(), RelayOptions { cap: Some(100), ..RelayOptions::default() }]);
    let cluster = cluster(&[("bigbrotr.databases", "postgres, \"Other One\"")]);
    let first = database(&cluster).await;
    cluster.create_database("Other One").await;
    let second = cluster.connect("Other One").await;
    second.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    enrol(&first, &relays[..1]).await;
    enrol(&second, &relays[1..]).await;
    wait_until_archived(&cluster, &first, &expected(&relays[..1]), DEADLINE).await;
    wait_until_archived(&cluster, &second, &expected(&relays[1..]), DEADLINE).await;
    let gaps: String = second.query_one(GAPS, &[]).await.expect("a row").get(0);
    println!("gaps right after: {gaps}");
}
