//! Processes killed at random moments while the archive grows: nothing is lost, doubled or wrongly called complete.
//!
//! `KILLS` says how many (`make kills`: 200), `KILLS_SEED` repeats a run as far as time allows.

mod checks;
mod load;
mod victims;

use std::time::{Duration, Instant};

use bigbrotr_tests::truth::{archive_options, only};
use bigbrotr_tests::{Cluster, generate};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_postgres::Client;

use load::{Inserter, Network};
use victims::Victim;

/// Kills of the short form, which is part of all tests.
const KILLS: usize = 8;
/// From a kill to two synchronizers at work.
const RETURN: Duration = Duration::from_secs(60);
/// From the last kill to a complete archive.
const DEADLINE: Duration = Duration::from_secs(180);

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect(name))
}

fn cluster() -> Cluster {
    let mut settings = vec![
        ("bigbrotr.synchronizer_workers", "2"),
        ("bigbrotr.finder_interval", "1s"),
        ("bigbrotr.refresher_interval", "1s"),
        // More than a busy machine takes between the date of a new event and its arrival at the relay.
        ("bigbrotr.sync_lag", "5s"),
        ("bigbrotr.request_timeout", "3s"),
        ("max_connections", "50"),
    ];
    let services = only(&["synchronizer", "finder", "refresher"]);
    settings.extend(services.iter().map(|(name, value)| (name.as_str(), *value)));
    Cluster::start(archive_options(&settings))
}

/// Waits until the server answers and its synchronizers are past their start; starts it when the postmaster is dead.
async fn come_back(cluster: &mut Cluster) -> Client {
    let killed = Instant::now();
    loop {
        assert!(killed.elapsed() < RETURN, "not back after {RETURN:?}:\n{}", cluster.log());
        if !cluster.is_running() {
            cluster.kill9();
            cluster.start_server();
        }
        // A session may be made just before the postmaster notices: then the query fails, and the next round waits.
        if let Ok(client) = cluster.try_connect("postgres", "postgres").await {
            let ready = "SELECT count(*) = 2 FROM bigbrotr.stat_workers \
                         WHERE service = 'synchronizer' AND pid IS NOT NULL AND state IN ('running', 'idle')";
            if client.query_one(ready, &[]).await.is_ok_and(|row| row.get(0)) {
                return client;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_double_nothing_and_claim_nothing() {
    let kills = from_environment("KILLS").map_or(KILLS, |kills| kills as usize);
    let seed = from_environment("KILLS_SEED").unwrap_or_else(|| generate::now().unsigned_abs());
    println!("{kills} kills, KILLS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = cluster();
    let mut client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let mut network = Network::new(seed, 6 + kills / 5);
    network.enrol(&client, 3).await;
    let feeder = network.feed();
    let inserter = Inserter::start(&cluster, seed, &network);

    let mut tally = std::collections::BTreeMap::<String, usize>::new();
    for round in 1..=kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        let victim = Victim::choose(&cluster, &mut random);
        *tally.entry(victim.name()).or_default() += 1;
        victim.kill(&mut cluster);
        // Now and then the next one comes while the server is still on its way up.
        if random.random_bool(0.2) && round < kills {
            continue;
        }
        client = come_back(&mut cluster).await;
        checks::claims_are_true(&client, network.enrolled()).await;
        if round % 10 == 0 {
            println!("{round} kills: {}", checks::summary(&client).await);
            checks::is_sound(&client).await;
        }
        let due = network.len() * round / kills;
        network.enrol(&client, due).await;
    }
    println!("killed: {tally:?}");
    network.enrol(&client, network.len()).await;
    feeder.abort();
    let _ = feeder.await;
    let inserted = inserter.finish().await;
    println!("by event_insert(): {} pairs", inserted.len());
    let mut expected = bigbrotr_tests::truth::expected(network.enrolled());
    expected.extend(inserted);
    println!("at the last kill: {}", checks::summary(&client).await);
    bigbrotr_tests::truth::wait_until_archived(&cluster, &client, &expected, DEADLINE).await;
    let waited = Instant::now();
    loop {
        let open = checks::open(&client).await;
        if open.is_empty() {
            break;
        }
        assert!(waited.elapsed() < DEADLINE, "coverage is not complete:\n{}", open.join("\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    checks::claims_are_true(&client, network.enrolled()).await;
    checks::is_sound(&client).await;
    let followed = "SELECT (SELECT max(seq) FROM bigbrotr.event) <= \
                    (SELECT (state ->> 'seq')::bigint FROM bigbrotr.service_state WHERE service = 'finder')";
    cluster.wait_for(&client, followed, DEADLINE, "the finder").await;
    println!("at the end: {}", checks::summary(&client).await);
}
