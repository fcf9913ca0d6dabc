//! The validator against a network of which a fifth refuses connections and a fifth takes them and says nothing.

use std::time::{Duration, Instant};

use bigbrotr_tests::{Cluster, ClusterOptions, truth::only};
use tokio_postgres::Client;

use crate::watch::{self, Peak, verdict};
use crate::world::World;

/// Seconds: the default of `bigbrotr.request_timeout`.
const REQUEST_TIMEOUT: f64 = 10.0;
/// Seconds beyond the rounds of silent ones.
const SLACK: f64 = 2.0;
/// MB.
const MEMORY: f64 = 100.0;
/// Default of `bigbrotr.validator_concurrency`.
const CONCURRENCY: usize = 512;
const DEADLINE: Duration = Duration::from_secs(300);

/// Tries `candidates`, so many at a time (`None`: the default), and prints what it took.
pub async fn run(candidates: usize, concurrency: Option<usize>) {
    let world = World::start(Duration::ZERO);
    // Mixed, as names come in.
    let urls: Vec<String> = (0..candidates)
        .map(|n| match n % 5 {
            0 => world.silent(n / 5),
            1 => world.refusing(n),
            _ => world.relay(n),
        })
        .collect();
    let silent = candidates.div_ceil(5);
    let live = (0..candidates).filter(|n| n % 5 > 1).count();
    let slots = concurrency.unwrap_or(CONCURRENCY);
    println!("{candidates} candidates: {live} live, {silent} silent, the rest refuses; {slots} at a time");

    let mut options = ClusterOptions::preloaded().with("bigbrotr.allow_private_addresses", "on");
    for (name, value) in only(&["validator"]) {
        options = options.with(&name, value);
    }
    if let Some(slots) = concurrency {
        options = options.with("bigbrotr.validator_concurrency", &slots.to_string());
    }
    let mut cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let seeded: i32 = client.query_one("SELECT bigbrotr.seed($1)", &[&urls]).await.expect("seeded").get(0);
    assert_eq!(usize::try_from(seeded).ok(), Some(candidates));

    let before = cluster.server_cpu_seconds();
    cluster.set(&[("bigbrotr.databases", "postgres")]).await;
    let pid = watch::pid(&client, "validator").await;
    let (started, peak) = (Instant::now(), Peak::of(pid));
    let all_live = until(&cluster, &client, started, live, candidates - live, false).await;
    let wall = until(&cluster, &client, started, live, candidates - live, true).await;
    let cpu = cluster.server_cpu_seconds() - before;

    let rounds = silent.div_ceil(slots);
    let bound = rounds as f64 * REQUEST_TIMEOUT + SLACK;
    println!("live ones promoted after {all_live:.2} s");
    println!(
        "all tried after {wall:.2} s: {:.2} of {bound} s ({rounds} rounds of silent ones), {}",
        wall / bound,
        verdict(wall <= bound)
    );
    let memory = peak.megabytes();
    println!(
        "peak RssAnon of the validator {memory:.0} MB: {:.2} of {MEMORY} MB, {}",
        memory / MEMORY,
        verdict(memory <= MEMORY)
    );
    println!("CPU {cpu:.2} s, {:.2} ms per candidate", cpu * 1e3 / candidates as f64);
}

/// Seconds until all live ones are relays, and, if `failed`, all others have failed once.
async fn until(cluster: &Cluster, client: &Client, started: Instant, live: usize, others: usize, failed: bool) -> f64 {
    let sql = "SELECT (SELECT count(*) FROM bigbrotr.relay), (SELECT count(*) FILTER (WHERE failures > 0) FROM bigbrotr.candidate)";
    loop {
        let row = client.query_one(sql, &[]).await.expect("progress");
        let (relays, failures): (i64, i64) = (row.get(0), row.get(1));
        let reaches = |count: i64, wanted: usize| usize::try_from(count).unwrap_or(0) >= wanted;
        if reaches(relays, live) && (!failed || reaches(failures, others)) {
            return started.elapsed().as_secs_f64();
        }
        assert!(started.elapsed() < DEADLINE, "{relays} relays, {failures} failures\n{}", cluster.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
