//! Late events: what is complete is looked at again, by NIP-77 where the relay speaks it.

use std::time::{Duration, Instant};

use bigbrotr_tests::relay::{Live, NegFault, NegOff, NegOn, Negentropy};
use bigbrotr_tests::truth::{archive_options, archived, expected, wait_until_archived};
use bigbrotr_tests::{Cluster, Generator, Relay, RelayHandle, RelayOptions, Spec, Store, generate};
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(60);

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

fn relay(seed: u64, n: usize, negentropy: Negentropy) -> RelayHandle {
    let now = generate::now();
    let spec = Spec { authors: 10, created_at: now - 20 * 86_400..now - 100, ..Spec::default() };
    let events = Store::new(Generator::new(seed).corpus(n, &spec));
    Relay::start(RelayOptions { events, negentropy, cap: Some(100), ..RelayOptions::default() })
}

async fn enrol(client: &Client, relays: impl IntoIterator<Item = &RelayHandle>) {
    for relay in relays {
        client
            .execute("INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')", &[&relay.url()])
            .await
            .expect("enrolled");
    }
}

/// Lets the clock of a tier run out until the archive is as it should be.
async fn wait_with_tier_due(cluster: &Cluster, client: &Client, tier: &str, relays: &[RelayHandle]) {
    let expected = expected(relays);
    let due = format!(
        "UPDATE bigbrotr.relay_sync SET learned = jsonb_set(learned, '{{rechecks,{tier}}}', '{{\"done_at\": 1}}') \
         WHERE learned ? 'rechecks' AND leased_until IS NULL"
    );
    let end = Instant::now() + DEADLINE;
    while archived(client).await != expected && Instant::now() < end {
        client.batch_execute(&due).await.expect("due");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until_archived(cluster, client, &expected, Duration::ZERO).await;
}

/// Relays that are polled and have come to rest.
async fn polled(relays: &[RelayHandle]) -> (Cluster, Client) {
    let (cluster, client) = start(&[("bigbrotr.live_connections", "0")]).await;
    enrol(&client, relays).await;
    wait_until_archived(&cluster, &client, &expected(relays), DEADLINE).await;
    let rest = format!("SELECT count(*) = {} FROM bigbrotr.relay_sync WHERE last_synced_at IS NOT NULL", relays.len());
    cluster.wait_for(&client, &rest, DEADLINE, "passes").await;
    (cluster, client)
}

#[tokio::test]
async fn late_events_are_found_without_negentropy() {
    for off in [NegOff::Notice, NegOff::Silent, NegOff::Closed("error: unknown verb".into())] {
        let relays = [relay(1, 150, Negentropy::Off(off))];
        let (cluster, client) = polled(&relays).await;
        let mut generator = Generator::new(50);
        for age in [600, 1800, 5000] {
            relays[0].add(&generator.event(1, generate::now() - age, &[], &format!("late by {age}")));
        }
        wait_with_tier_due(&cluster, &client, "recent", &relays).await;
    }
}

#[tokio::test]
async fn with_negentropy_only_what_is_missing_is_fetched_and_copies_are_seen() {
    let relays = [relay(2, 150, Negentropy::on()), relay(3, 150, Negentropy::on())];
    let (cluster, client) = polled(&relays).await;
    let mut generator = Generator::new(51);
    let late = generator.event(1, generate::now() - 10 * 86_400, &[], "ten days late");
    relays[0].add(&late);
    // The other relay gets copies of what the archive holds already.
    let copies: Vec<_> = relays[0].held_events().into_iter().take(40).collect();
    for copy in &copies {
        relays[1].add(copy);
    }
    let before = [relays[0].served(), relays[1].served()];
    wait_with_tier_due(&cluster, &client, "negentropy", &relays).await;
    // A pass over what is new asks for a page of the newest each second.
    for copy in &copies {
        let id = serde_json::from_str::<serde_json::Value>(copy).expect("json")["id"].as_str().expect("hex").to_owned();
        let sent = |served: &bigbrotr_tests::relay::Served| served.sent.get(&id).copied().unwrap_or(0);
        assert!(sent(&relays[1].served()) <= sent(&before[1]) + 1, "a copy was fetched again and again");
    }
    let fetched: usize =
        relays.iter().map(|r| r.served().requests.iter().filter(|q| q.contains("\"ids\"")).count()).sum();
    assert!((1..=8).contains(&fetched), "{fetched} requests by id");
}

#[tokio::test]
async fn a_second_above_the_cap_is_completed_by_negentropy() {
    let relay = relay(4, 50, Negentropy::on());
    let burst = generate::now() - 5000;
    let mut generator = Generator::new(52);
    // One author, one kind: there is nothing to split by.
    for n in 0..350 {
        relay.add(&generator.event(1, burst, &[], &format!("burst {n}")));
    }
    let (cluster, client) = start(&[]).await;
    let relays = [relay];
    enrol(&client, &relays).await;
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    let complete = format!(
        "SELECT bool_or(state = 'complete' AND ranges @> {burst}::bigint) AND NOT bool_or(state = 'capped') FROM bigbrotr.coverage"
    );
    cluster.wait_for(&client, &complete, DEADLINE, "the second to be complete").await;
}

#[tokio::test]
async fn faults_of_negentropy_stop_nothing() {
    let faults = [
        NegFault::Garbage("zz".into()),
        NegFault::Endless,
        NegFault::Flood(100),
        NegFault::SilentFrom(1),
        NegFault::ErrAt(1, "closed: idle".into()),
        NegFault::CutAt(1),
        NegFault::ForeignSub,
        NegFault::OtherVersion,
    ];
    let relays: Vec<RelayHandle> = faults
        .into_iter()
        .zip(60..)
        .map(|(fault, seed)| relay(seed, 60, Negentropy::On(NegOn { fault: Some(fault), ..NegOn::default() })))
        .collect();
    let (cluster, client) = polled(&relays).await;
    let mut generator = Generator::new(53);
    for relay in &relays {
        relay.add(&generator.event(1, generate::now() - 3000, &[], &format!("late at {}", relay.url())));
    }
    wait_with_tier_due(&cluster, &client, "recent", &relays).await;
}

#[tokio::test]
async fn a_subscription_that_loses_events_is_found_out() {
    let relay = relay(5, 50, Negentropy::default());
    relay.update(|options| options.live = Live { lose_every: Some(1), ..Live::default() });
    let relays = [relay];
    let (cluster, client) = start(&[]).await;
    enrol(&client, &relays).await;
    cluster
        .wait_for(
            &client,
            "SELECT count(*) = 1 FROM bigbrotr.relay_sync WHERE live_since < now() - interval '4 s'",
            DEADLINE,
            "live",
        )
        .await;
    let at = generate::now();
    relays[0].add(&Generator::new(54).event(1, at, &[], "never told"));
    let claimed = format!("SELECT horizon > {} FROM bigbrotr.relay_sync", at + 1);
    cluster.wait_for(&client, &claimed, DEADLINE, "the claim").await;
    client.batch_execute("SELECT bigbrotr.run_service('synchronizer')").await.expect("asked");
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
    let learned = "SELECT learned ->> 'no_live' LIKE '%loses events%' FROM bigbrotr.relay_sync";
    cluster.wait_for(&client, learned, DEADLINE, "the lesson").await;
    relays[0].add(&Generator::new(55).event(1, generate::now(), &[], "polled"));
    wait_until_archived(&cluster, &client, &expected(&relays), DEADLINE).await;
}
