//! The validator against a network of which a part is not there: how long until all are tried, and with how much memory.

use std::time::{Duration, Instant};

use bigbrotr_tests::truth::only;
use bigbrotr_tests::{Cluster, ClusterOptions};
use tokio_postgres::Client;

use crate::figure::{at_most, mb};
use crate::watch::Watch;
use crate::world::{Host, World};

/// Defaults of `bigbrotr.connect_timeout` and `bigbrotr.request_timeout`: a silent host takes one of them.
const TIMEOUT_S: usize = 10;
/// Default of `bigbrotr.validator_concurrency`.
pub const CONCURRENCY: usize = 512;
/// For everything but the silent ones.
const SLACK_S: f64 = 2.0;
/// MB of private memory for 2,000 candidates; more of them may take more.
const MEMORY: f64 = 100.0;
const MEMORY_PER: f64 = 2_000.0;
/// Of ten candidates: six live, two refused, two silent, one of these before the upgrade and one after it.
const MIX: [Host; 10] = {
    use Host::{Live, Mute, MuteWebSocket, Refused};
    [Live, Refused, Live, Mute, Live, Live, Refused, Live, MuteWebSocket, Live]
};

/// Runs it with so many candidates and prints the figures.
pub async fn run(count: usize, concurrency: usize) {
    let hosts: Vec<Host> = MIX.into_iter().cycle().take(count).collect();
    let of = |wanted: Host| hosts.iter().filter(|host| **host == wanted).count();
    let (live, silent) = (of(Host::Live), of(Host::Mute) + of(Host::MuteWebSocket));
    let rounds = silent.div_ceil(concurrency);
    println!(
        "\n{count} candidates, {live} live, {} refused, {silent} silent; concurrency {concurrency}",
        of(Host::Refused)
    );

    let world = World::start(Duration::ZERO);
    let mut options = ClusterOptions::preloaded()
        .with("bigbrotr.databases", "postgres")
        .with("bigbrotr.allow_private_addresses", "on")
        .with("bigbrotr.validator_concurrency", &concurrency.to_string());
    for (name, value) in only(&["validator"]) {
        options = options.with(&name, value);
    }
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let watch = Watch::worker(&cluster, &client, "validator").await;
    println!("private memory of the idle validator: {:.1} MB", mb(watch.memory()));

    let urls: Vec<String> = hosts.iter().enumerate().map(|(number, host)| world.url(number, *host)).collect();
    let before = cluster.server_cpu_seconds();
    let started = Instant::now();
    client
        .execute("INSERT INTO bigbrotr.candidate (url, network, source) SELECT u, 'clearnet', 'operator' FROM unnest($1::text[]) AS u", &[&urls])
        .await
        .expect("seeded");
    client.batch_execute("SELECT bigbrotr.run_service('validator')").await.expect("woken");
    let quick = wait(&cluster, &client, silent, started).await;
    let wall = wait(&cluster, &client, 0, started).await;
    let (cpu, all) = (watch.cpu(), cluster.server_cpu_seconds() - before);

    let bound = (rounds * TIMEOUT_S) as f64;
    println!("as many as are not silent are tried after {quick:.2} s");
    println!("the silent ones take {rounds} × {TIMEOUT_S} s at this concurrency; over it: {:.2} s", wall - bound);
    at_most("wall until all are tried", wall, bound + SLACK_S, "s");
    at_most(
        "peak private memory of the validator",
        mb(watch.peak()),
        MEMORY * (count as f64 / MEMORY_PER).max(1.0),
        "MB",
    );
    println!(
        "CPU: {cpu:.2} s the validator, {all:.2} s the server with it; {:.2} ms a candidate",
        cpu * 1000.0 / count as f64
    );
    verify(&client, live, count - live).await;
}

/// Until at most `rest` candidates have not been tried; seconds since `started`.
async fn wait(cluster: &Cluster, client: &Client, rest: usize, started: Instant) -> f64 {
    let untried = format!("SELECT count(*) <= {rest} FROM bigbrotr.candidate WHERE failures = 0");
    cluster.wait_for(client, &untried, Duration::from_secs(600), "all candidates").await;
    started.elapsed().as_secs_f64()
}

/// A quick wrong answer is none.
async fn verify(client: &Client, live: usize, failed: usize) {
    let row = client
        .query_one("SELECT (SELECT count(*) FROM bigbrotr.relay), (SELECT count(*) FROM bigbrotr.candidate)", &[])
        .await
        .expect("counts");
    let counts = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    let rows = client
        .query("SELECT format('%s %s', count(*), split_part(last_error, ':', 1)) FROM bigbrotr.candidate GROUP BY split_part(last_error, ':', 1) ORDER BY 1", &[])
        .await
        .expect("classes");
    let classes: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    println!("promoted {}, failed {}: {}", counts.0, counts.1, classes.join(", "));
    let wanted = (i64::try_from(live).unwrap_or(0), i64::try_from(failed).unwrap_or(0));
    assert_eq!(counts, wanted, "relays and failures");
}
